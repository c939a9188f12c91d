"""A folder under a budget: the oldest of its own go first, and nothing else ever goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import EdgeError
from device_runtime.sinks.disk_budget import DiskBudget, stem_of
from tests.support.events import event

SUFFIXES = (".jpg", ".json")
UNFINISHED = ".20260301T120001.000Z_stays_0123456789ab-1-abcd_123.jpg"


def fill(folder, numbers, size=100):
    for number in numbers:
        for suffix in SUFFIXES:
            (folder / f"{stem_of(event(number))}{suffix}").write_bytes(bytes(size))


def numbers_in(folder):
    return sorted({int(path.stem.rpartition("-")[2]) for path in folder.iterdir()})


def test_names_sort_by_time_and_say_which_event_of_which_rule_it_was():
    assert stem_of(event(5)) == "20260301T120005.000Z_stays_0123456789ab-5"
    assert sorted(map(stem_of, map(event, range(1, 20)))) == list(map(stem_of, map(event, range(1, 20))))


def test_the_oldest_make_room_with_all_their_files(tmp_path):
    fill(tmp_path, [3, 1, 4, 2])
    DiskBudget(tmp_path, 1000, SUFFIXES).make_room(500)
    assert numbers_in(tmp_path) == [3, 4]


@given(st.sets(st.integers(1, 30), max_size=10), st.integers(0, 1000))
def test_what_is_left_and_what_is_needed_fit_and_no_more_was_removed(tmp_path_factory, numbers, needed):
    folder = tmp_path_factory.mktemp("budget")
    fill(folder, numbers)
    DiskBudget(folder, 1000, SUFFIXES).make_room(needed)
    left = numbers_in(folder)
    assert left == sorted(numbers)[len(numbers) - len(left) :]
    assert len(left) * 200 + needed <= 1000
    assert len(left) == len(numbers) or (len(left) + 1) * 200 + needed > 1000


def test_what_others_put_there_is_never_removed(tmp_path):
    fill(tmp_path, [1, 2])
    mine = ["holiday.jpg", ".hidden", "20260301T120001.000Z_stays.jpg", "x" + stem_of(event(1)) + ".jpg"]
    mine += [stem_of(event(3)) + suffix for suffix in (".mp4", ".jpg.bak")]
    for name in mine:
        (tmp_path / name).write_bytes(bytes(5000))
    (tmp_path / (stem_of(event(4)) + ".jpg")).mkdir()
    outside = tmp_path.parent / "outside.jpg"
    outside.write_bytes(bytes(5000))
    (tmp_path / (stem_of(event(5)) + ".jpg")).symlink_to(outside)
    DiskBudget(tmp_path, 1000, SUFFIXES).make_room(1000)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*mine, stem_of(event(4)) + ".jpg", stem_of(event(5)) + ".jpg"}
    assert outside.exists()


def test_what_never_fits_is_an_error_and_costs_nothing(tmp_path):
    fill(tmp_path, [1])
    with pytest.raises(EdgeError, match=r"expected at most 0.001 MB for one event, got 2.0 MB"):
        DiskBudget(tmp_path, 1000, SUFFIXES).make_room(2_000_000)
    assert numbers_in(tmp_path) == [1]


def test_what_a_killed_process_left_is_removed_at_the_start_and_nothing_else(tmp_path):
    other = ".notes-abcd_123.jpg"
    for name in (UNFINISHED, other, UNFINISHED.removesuffix("jpg") + "mp4"):
        (tmp_path / name).write_bytes(b"half")
    DiskBudget(tmp_path, 1000, SUFFIXES).close()
    assert {path.name for path in tmp_path.iterdir()} == {other, UNFINISHED.removesuffix("jpg") + "mp4"}


def test_what_another_process_may_still_be_writing_stays(tmp_path):
    first = DiskBudget(tmp_path, 1000, SUFFIXES)
    (tmp_path / UNFINISHED).write_bytes(b"half")
    second = DiskBudget(tmp_path, 1000, SUFFIXES)
    assert (tmp_path / UNFINISHED).exists()
    first.close()
    third = DiskBudget(tmp_path, 1000, SUFFIXES)
    assert (tmp_path / UNFINISHED).exists()
    second.close()
    third.close()
    DiskBudget(tmp_path, 1000, SUFFIXES).close()
    assert not (tmp_path / UNFINISHED).exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match="cannot make"):
        DiskBudget(tmp_path / "file" / "snapshots", 1000, SUFFIXES)
