"""Deployment: decided by a pure plan, done by the board's own installer."""
