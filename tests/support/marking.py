"""Folders of tests that run only when they are asked for."""

import pytest


def mark_folder(items, folder, marker, limit_s):
    """Give the tests below a folder a marker, and seconds that each may take where it says nothing itself."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(marker)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(limit_s))
