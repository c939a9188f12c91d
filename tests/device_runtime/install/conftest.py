"""Bundles that several tests of the installer share, and a root with one of them installed."""

import shutil

import pytest

from tests.support.bundles import tiny_bundle
from tests.support.installing import install


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
