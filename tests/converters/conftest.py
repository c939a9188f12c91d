"""Fixtures of the converter tests."""

from tests.support.conversions import fake, sources, trained

__all__ = ["fake", "sources", "trained"]
