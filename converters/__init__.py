"""Trained models to TFLite, with proof: heavy frameworks work in child processes, and nothing is printed."""
