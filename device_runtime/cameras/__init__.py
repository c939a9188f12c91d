"""Where frames come from: real cameras, videos, picture folders, and scenes that are drawn."""
