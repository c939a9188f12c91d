"""Readers of trained models, one module per framework; their frameworks are imported in the child process only."""
