"""Painting: what a person asks for, the mix, the base that is open, and the pictures that were made."""
