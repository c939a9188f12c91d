"""Isolated Python environments for backends whose packages do not fit beside TensorFlow's (docs/adr/0005)."""
