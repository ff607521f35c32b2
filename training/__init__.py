"""A handful of artworks becomes a style: artworks in, the training run, the job folder."""
