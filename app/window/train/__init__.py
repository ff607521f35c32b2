"""The Train room: artworks, the form, and what a training tells while it runs."""
