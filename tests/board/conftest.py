"""Fixtures of the tests that deploy to a virtual arm64 board; ``make test-board`` runs them."""

import os
from pathlib import Path

import pytest

from device_runtime.errors import UnfitError
from tests.board import rootfs
from tests.board.machine import board_off, boot
from tests.board.place import check_root
from tests.board.releases import Shelf
from tests.support.cli import ChildCommandLine
from tests.support.marking import mark_folder

_HERE = Path(__file__).parent
# The first one may have to make the root filesystem.
_LIMIT_S = 3600


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All tests here need a board: they carry its marker, so that they run only when they are asked for."""
    mark_folder(items, _HERE, pytest.mark.board, _LIMIT_S)


@pytest.fixture(scope="session")
def suite():
    """The board's Debian, with its root filesystem made; where it cannot be, the tests are skipped and say why."""
    name = os.environ.get("EDGEKIT_BOARD_SUITE") or "bookworm"
    try:
        check_root()
        rootfs.root(name)
    except UnfitError as error:
        pytest.skip(f"no virtual board here: {error}" + (f"; {error.hint}" if error.hint else ""))
    return name


@pytest.fixture(scope="module")
def board(suite):
    """A board that is up, for a whole file of tests."""
    with boot(suite) as booted:
        yield booted


@pytest.fixture
def new_board(suite):
    """A board for one test, which is off."""
    with board_off(suite) as made:
        yield made


@pytest.fixture(scope="session")
def shelf(suite, tmp_path_factory):
    """Where bundles are made."""
    return Shelf(tmp_path_factory.mktemp("shelf"), suite)


@pytest.fixture(scope="session")
def first(shelf):
    """A bundle with everything that the board needs."""
    return shelf.well("1.0")


@pytest.fixture
def command(board, tmp_path, monkeypatch):
    """The command line, which reaches the board of this file as ``board.target``."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
    return ChildCommandLine(tmp_path)
