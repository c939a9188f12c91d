"""Bundles that several tests of the installer share, and a root with one of them installed."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.bundles import tiny_bundle
from tests.support.fault_boards import Boards
from tests.support.installing import install
from tests.support.small_disks import why_not


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A folder for bundles."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def first(bundles):
    """A bundle that works."""
    return tiny_bundle(bundles, "1.0")


@pytest.fixture(scope="session")
def second(bundles):
    """Its successor: another model, the same wheel."""
    return tiny_bundle(bundles, "2.0")


@pytest.fixture(scope="session")
def board_with_first(tmp_path_factory, first):
    """A root with the first bundle installed: to be copied, not to be used."""
    root = tmp_path_factory.mktemp("boards") / "first"
    assert install("apply", root, first).code == 0
    return root


@pytest.fixture
def board(board_with_first, tmp_path):
    """A root of its own with the first bundle installed."""
    return shutil.copytree(board_with_first, tmp_path / "board", symlinks=True)


@pytest.fixture(scope="session")
def boards(tmp_path_factory):
    """The bundles and boards of the fault suite."""
    return Boards(tmp_path_factory.mktemp("boards"))


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one: a killed process loses nothing there, and flushing takes no time."""
    shared = Path("/dev/shm")  # noqa: S108 - the folder below it has a name of its own
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared, prefix="edgekit-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def small_disks():
    """Whether small disks can be mounted here; skipped otherwise."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
