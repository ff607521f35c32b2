"""Artworks: pictures and their captions, opened, checked and brought to the sizes of a training."""
