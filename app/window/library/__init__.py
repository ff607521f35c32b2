"""The Library room: the shelf, a style's page, imports, exports and baking."""
