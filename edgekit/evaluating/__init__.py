"""Labelled data sets, and how well a model does on them."""
