"""Boards: kinds (catalog), where one is (target), how to get there (way, ssh), and the conversation with it (link)."""
