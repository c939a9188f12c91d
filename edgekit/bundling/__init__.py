"""Bundles on the host: built, verified, described. What a board reads of them is ``device_runtime.install.layout``."""
