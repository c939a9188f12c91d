"""Fixtures of the page's tests."""

from tests.support.browser import browser, tab

__all__ = ["browser", "tab"]
