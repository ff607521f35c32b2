"""Trainings: preparing, measuring, starting and following them."""
