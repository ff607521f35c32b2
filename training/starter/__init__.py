"""The starter model: drawn scenes, their captions and the training from nothing."""
