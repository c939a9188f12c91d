"""Checks of a machine: what is wrong with it, and the command that mends it. Nothing is changed by looking."""
