"""Painting: what a person asks for, the mix, the easel, and the pictures that were made."""
