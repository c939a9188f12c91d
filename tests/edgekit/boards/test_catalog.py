import pytest

from device_runtime.errors import UsageError
from edgekit.boards.catalog import find_boards, load_catalog


def test_every_board_of_the_catalogue_is_complete():
    catalog = load_catalog()
    assert "local" in catalog
    assert all(board.title and board.machine and board.python for board in catalog.values())


def test_an_unknown_board_is_answered_with_the_one_that_was_probably_meant():
    with pytest.raises(UsageError, match='no board "locl"') as caught:
        find_boards(("locl",))
    assert caught.value.hint == 'did you mean "local"?'
