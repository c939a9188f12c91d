"""Frames and their preparation: the one code between a picture and a model's input, on the host and on the board."""
