import dataclasses
import re

import pytest

from device_runtime.engine.litert import ENGINES
from device_runtime.errors import UsageError
from edgekit.boards.catalog import Board, find_boards, load_catalog
from edgekit.bundling.needs import ENGINE_PACKAGES, provided_by
from edgekit.bundling.resolve import LOCKS

CATALOG = load_catalog()


@pytest.mark.parametrize("board", CATALOG.values(), ids=CATALOG)
def test_every_board_of_the_catalogue_is_complete(board):
    assert all((board.title, board.system, board.machine, board.python))
    assert board.memory_bytes >= 0
    if board.packages == "present":
        assert (board.engine, board.glibc, board.system_packages) == ("", "", ())
        return
    assert re.fullmatch(r"cp3(11|12|13)", board.python)
    assert re.fullmatch(r"2\.\d\d", board.glibc)
    assert (LOCKS / f"{board.engine}.txt").is_file()
    assert bool(board.system_packages) == (board.packages == "system")
    assert provided_by(board) <= {"numpy", "opencv-python-headless", "pillow"}


def test_boards_of_all_kinds_that_are_promised_are_there():
    kinds = {f"{kind}-{system}" for kind in ("pi3", "pi4", "pi5", "zero2w") for system in ("bookworm", "trixie")}
    assert kinds | {"pi-bookworm-32", "aarch64-bookworm", "aarch64-trixie", "aarch64", "local"} <= set(CATALOG)


def test_boards_of_one_system_share_their_platform():
    platforms = {(board.system, board.machine, board.python, board.glibc, board.engine) for board in CATALOG.values()}
    assert len(platforms) == len({board.system for board in CATALOG.values()})


def test_the_engines_are_those_of_the_runtime_and_come_from_their_own_packages():
    assert {name: package for name, (_, package) in ENGINES.items()} == ENGINE_PACKAGES
    assert {board.engine for board in CATALOG.values()} == {"", *ENGINES}


def test_an_unknown_board_is_answered_with_the_one_that_was_probably_meant():
    with pytest.raises(UsageError, match='no board "locl"') as caught:
        find_boards(("locl",))
    assert caught.value.hint == 'did you mean "local"?'


def test_the_reference_lists_every_board_and_every_key():
    page = (LOCKS.parents[2] / "docs" / "reference" / "boards.md").read_text()
    named = set(re.findall(r"`([^`]+)`", page))
    assert set(CATALOG) <= named
    assert {field.name for field in dataclasses.fields(Board)} <= {name.removesuffix("[]") for name in named}
