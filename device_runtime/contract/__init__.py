"""The data that host and board exchange: frozen dataclasses, checked when they are made. Standard library only."""
