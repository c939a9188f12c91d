"""Fixtures of the benchmark's tests."""

from tests.support.conversions import trained

__all__ = ["trained"]
