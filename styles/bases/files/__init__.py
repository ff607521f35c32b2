"""A base on disk: what its files say before a tensor is read, and its parts loaded from them."""
