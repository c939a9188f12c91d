"""Fixtures of the benchmark's tests."""

from tests.support.browser import browser, tab
from tests.support.conversions import trained

__all__ = ["browser", "tab", "trained"]
