"""What the library's page and its idle hours need besides the library itself."""
