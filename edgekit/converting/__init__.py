"""What is shown of a conversion."""
