"""The long form of the fault suite: all of it carries the marker ``faults``; its boards are the installer's tests'."""

from pathlib import Path

import pytest

from tests.device_runtime.install.conftest import (  # noqa: F401 - fixtures
    board,
    board_with_first,
    boards,
    bundles,
    first,
    memory,
    second,
    small_disks,
)

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark what is in this folder; each test may take as long as it has points."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(3600))
