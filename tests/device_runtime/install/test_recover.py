import errno
import json
import os
import shutil

import pytest

from device_runtime.install.fsops import FileSystem
from device_runtime.install.journal import MAX_BYTES, Journal, last_entries
from device_runtime.install.root import Root
from tests.support.bundles import OK, journal_codes, release_of, tiny_bundle
from tests.support.fault_points import run
from tests.support.faulty_files import FaultyFiles, ShortFiles, full_from
from tests.support.installing import content, current, install, leftovers


@pytest.fixture
def two(board, second):
    """A root with the second bundle current and the first one previous."""
    assert install("apply", board, second).code == 0
    return board


@pytest.mark.parametrize("spoilt", [None, b"", b"{", b'{"committed": 3}', b"\xff\xfe", b"[]", b'"text"'])
def test_a_lost_or_damaged_state_is_made_again_from_the_links(two, first, second, spoilt):
    if spoilt is None:
        (two / "state.json").unlink()
    else:
        (two / "state.json").write_bytes(spoilt)
    status = install("status", two).status
    assert (status["current"]["release"], status["previous"]["release"]) == (release_of(second), release_of(first))
    assert journal_codes(two)[-1] == "state-rebuilt"
    assert json.loads((two / "state.json").read_text())["committed"] == release_of(second)
    assert install("rollback", two).result["current"]["version"] == "1.0"


def test_with_a_lost_state_a_current_release_that_fails_gives_way_to_the_previous_one(two, tmp_path):
    flag = tmp_path / "worn"
    worn = tiny_bundle(tmp_path, "3.0", check=f"if os.path.exists({str(flag)!r}):\n    raise SystemExit('worn')\n{OK}")
    assert install("apply", two, worn).code == 0
    flag.touch()
    (two / "state.json").unlink()
    status = install("status", two).status
    assert (status["current"]["version"], status["previous"]) == ("2.0", None)


def test_a_state_from_the_future_is_left_alone(two):
    state = json.loads((two / "state.json").read_text())
    del state["checksum"]
    (two / "state.json").write_text(json.dumps({**state, "schema": 99, "committed": "something new"}))
    before = content(two)
    for command in ("status", "rollback", "verify", "recover"):
        refused = install(command, two)
        assert (refused.code, refused.error["code"]) == (3, "bad-file")
        assert "newer installer" in refused.error["message"]
    assert content(two) == before


@pytest.mark.parametrize("link", ["missing", "dangling", "outside", "a file", "previous"])
def test_a_spoilt_current_is_put_right(two, second, link):
    path = two / "current"
    path.unlink()
    if link == "dangling":
        path.symlink_to("releases/" + "0" * 64)
    elif link == "outside":
        path.symlink_to("/etc")
    elif link == "a file":
        path.write_text("")
    elif link == "previous":
        path.symlink_to((two / "previous").readlink())
    assert install("status", two).status["current"]["version"] == "2.0"
    assert current(two) == release_of(second)


def test_a_lost_release_gives_way_to_the_previous_one(two, second):
    shutil.rmtree(two / "releases" / release_of(second))
    status = install("status", two).status
    assert (status["current"]["version"], status["previous"]) == ("1.0", None)
    assert journal_codes(two)[-1] == "release-lost"
    assert install("apply", two, second).result["previous"]["version"] == "1.0"


def test_with_all_releases_lost_nothing_runs_and_a_new_installation_succeeds(two, first):
    shutil.rmtree(two / "releases")
    assert install("status", two).status["current"] is None
    assert not os.path.lexists(two / "current")
    assert install("apply", two, first).code == 0


def test_recovering_twice_changes_nothing(two):
    (two / "blobs" / "sha256" / ("0" * 64 + ".part")).write_bytes(b"half")
    (two / "wheels" / ".tmp-thing").mkdir()
    (two / ".tmp-state.json").write_text("{")
    assert install("recover", two).result["outcome"] == "recovered"
    assert leftovers(two) == []
    before = content(two)
    assert install("recover", two).code == 0
    assert content(two) == before


def test_recover_removes_what_nothing_names(two):
    stray = two / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"of a killed installation")
    assert install("recover", two).code == 0
    assert not stray.exists()


def test_commands_on_a_root_that_is_not_there_make_none(tmp_path):
    root = tmp_path / "board"
    assert install("status", root).status["releases"] == []
    assert install("verify", root).code == install("recover", root).code == 0
    assert install("rollback", root).error["code"] == "no-previous"
    assert not root.exists()


def test_a_moved_root_still_works(two, tmp_path):
    moved = two.rename(tmp_path / "moved")
    assert install("verify", moved).code == 0
    assert install("rollback", moved).result["current"]["version"] == "1.0"


def test_a_journal_line_that_was_cut_does_not_spoil_the_next(two):
    journal = two / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    written = Journal(Root(two), FileSystem())
    written.write("rollback", message="said")
    assert [entry.code for entry in last_entries(Root(two), 100)][-2:] == ["trial", "rollback"]


def test_a_long_journal_begins_anew_and_keeps_one_old(two):
    (two / "journal.jsonl").write_bytes(b"x" * (MAX_BYTES + 1) + b"\n")
    Journal(Root(two), FileSystem()).write("rollback")
    assert [entry.code for entry in last_entries(Root(two), 100)] == ["rollback"]
    assert (two / "journal.1.jsonl").stat().st_size > MAX_BYTES


def test_a_journal_on_a_full_disk_stops_nobody(two):
    before = last_entries(Root(two), 100)
    Journal(Root(two), FaultyFiles(full_from(0))).write("rollback")
    assert last_entries(Root(two), 100) == before


def test_a_system_that_takes_a_few_bytes_at_a_time_gets_them_all(two):
    Journal(Root(two), ShortFiles()).write("rollback", message="a message that is longer than seven bytes")
    assert last_entries(Root(two), 100)[-1].message == "a message that is longer than seven bytes"


def test_a_board_whose_disk_became_read_only_still_tells_its_status(two, second):
    def read_only(_number, name):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)

    before = content(two)
    code, said, _ = run(["status", "--root", str(two)], FaultyFiles(read_only))
    assert (code, said["status"]["current"]["release"]) == (0, release_of(second))
    refused, said, _ = run(["recover", "--root", str(two)], FaultyFiles(read_only))
    assert (refused, "read-only file system" in said["error"]["message"]) == (1, True)
    assert content(two) == before
