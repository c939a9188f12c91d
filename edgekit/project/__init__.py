"""A user's project: its ``edgekit.toml``, and the samples that new projects start from."""
