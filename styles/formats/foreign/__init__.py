"""What people take for a style and what is none, or none for the bases here: told by its names and its metadata."""
