"""Boards: what kinds there are (catalog), where one is (target), and how to reach its installer (link)."""
