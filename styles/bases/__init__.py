"""Stable Diffusions: inspected, opened on a device, listed on the shelf, fetched from the Hub, and stopped."""
