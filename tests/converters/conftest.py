"""Fixtures of the converter tests."""

from tests.support.conversions import fake, trained

__all__ = ["fake", "trained"]
