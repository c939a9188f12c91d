"""Files are offered in an order that the seed decides, until enough were taken."""

from pathlib import Path

import pytest

from converters.gathering import Choice, Outcome, gather
from device_runtime.contract.events import Progress, silent
from device_runtime.errors import BadFileError

FILES = [(f"{index}.png", Path(f"{index}.png")) for index in range(20)]


def test_as_many_as_are_wanted_are_taken_and_equal_seeds_take_the_same():
    heard = []
    found = gather("photos", FILES, Choice(5, 1), lambda _name, _path: Outcome.TAKEN, heard.append)
    assert len(set(found.names)) == 5
    assert heard[-1] == Progress(5, 5, "samples")
    assert gather("photos", FILES, Choice(5, 1), lambda _name, _path: Outcome.TAKEN, silent) == found
    assert gather("photos", FILES, Choice(5, 2), lambda _name, _path: Outcome.TAKEN, silent) != found


def test_what_cannot_be_read_or_was_there_before_is_made_up_for():
    def take(name, path):
        del path
        return {"3": Outcome.UNREADABLE, "4": Outcome.REPEATED}.get(name[0], Outcome.TAKEN)

    found = gather("photos", FILES, Choice(20, 0), take, silent)
    assert len(found.names) == 18
    assert found.skipped == ("3.png",)


def test_a_folder_that_nothing_can_be_read_of_is_an_error():
    with pytest.raises(BadFileError, match="photos: none of its 20 samples can be read"):
        gather("photos", FILES, Choice(3, 0), lambda _name, _path: Outcome.UNREADABLE, silent)
