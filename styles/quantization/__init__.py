"""The weights of a base in four bits."""
