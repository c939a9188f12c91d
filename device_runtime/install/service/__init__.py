"""What runs from ``current`` as a service: who keeps it running, and whether it is healthy. Standard library only."""
