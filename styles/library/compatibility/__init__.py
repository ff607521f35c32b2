"""Where a style opens: what other programs take and leave of a file, by their own rules."""
