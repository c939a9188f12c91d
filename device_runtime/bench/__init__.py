"""The bench harness: the real loop, timed stage by stage. The same code measures on the host and on the board.

Nothing is imported here: a cold start, and whoever compares two reports, needs a part of it only.
"""
