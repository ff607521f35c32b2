"""A style on disk: headers and hashes, layer tables, the key names of every program, and how a file is read and written."""
