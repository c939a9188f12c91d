"""Fixtures of the tests with a machine that boots from a card; ``make test-flash`` runs them."""

import os
from pathlib import Path

import pytest

from device_runtime.errors import UnfitError
from tests.board.place import check_root
from tests.board.releases import Shelf
from tests.board.running import done
from tests.machine.image import KINDS, stock_image, unpack
from tests.machine.machine import machine_with
from tests.support.cli import ChildCommandLine
from tests.support.marking import mark_folder

_HERE = Path(__file__).parent
# The first one may have to make the image.
_LIMIT_S = 7200


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All tests here need a machine: they carry its marker, so that they run only when they are asked for."""
    mark_folder(items, _HERE, pytest.mark.machine, _LIMIT_S)


# The short form has the kind that shares the virtual board's root file system: the other one takes ten minutes more.
_KINDS = ["firstrun"] if os.environ.get("EDGEKIT_FLASH_SHORT") == "1" else list(KINDS)


@pytest.fixture(scope="session", params=_KINDS)
def kind(request):
    """A generation of Raspberry Pi OS, by what sets it up at its first boot."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def stock(kind):
    """Its image as it is downloaded; where it cannot be made, the tests are skipped and say why, and fail on CI."""
    try:
        check_root()
        return stock_image(kind)
    except UnfitError as error:
        reason = f"no virtual machine here: {error}" + (f"; {error.hint}" if error.hint else "")
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def plain(stock, tmp_path_factory):
    """A machine that is up, with a card as it was downloaded, for a whole file of tests."""
    card = tmp_path_factory.mktemp("plain") / "card.img"
    unpack(stock, card)
    with machine_with(card) as machine:
        machine.power_on()
        machine.wait_up()
        yield machine


@pytest.fixture(scope="session")
def shelf(kind, tmp_path_factory):
    """Where bundles for it are made."""
    return Shelf(tmp_path_factory.mktemp("shelf"), kind.suite)


@pytest.fixture(scope="session")
def bundle(shelf):
    """A bundle with everything that it needs."""
    return shelf.well("1.0")


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """The private key of who may log in; the public one is beside it."""
    path = tmp_path_factory.mktemp("key") / "key"
    done(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "maker@laptop", "-f", path])
    return path


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """The command line."""
    return ChildCommandLine(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="session")
def flash(command, stock, key):
    """Write a card with an application; returns what the command line said."""

    def flashed(bundle, card):
        who = ("--hostname", "belt-7", "--user", "maker", "--ssh-key", key.with_suffix(".pub"))
        return command("flash", "--image", stock, "--bundle", bundle, "--out", card, *who, "--json")

    return flashed
