"""Every mutating system call of the installer, failed in turn: the old release or the new one, never a mixture.

The releases are real wheels whose ``device_runtime check`` is a few lines, because the real runtime takes a second to
start and there are some hundred points; ``tests/edgekit/cli/test_deploy.py`` installs the real one.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.bundles import OFF_IN_SERVICE, release_of, tiny_bundle
from tests.support.installing import REPOSITORY, environment, install

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one: a killed process loses nothing there, and flushing takes no time."""
    shared = Path("/dev/shm")  # noqa: S108 - the folder below it has a name of its own
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared, prefix="edgekit-") as folder:
        yield Path(folder)


def fault_points(folder, base, fault, command, *arguments, **options):
    """Fail ``command`` at each of its mutating calls and return what was left each time."""
    plan = {"base": str(base), "root": str(folder / "root"), "fault": fault, "command": command}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.fault_points",
            json.dumps({**plan, "arguments": [str(argument) for argument in arguments], **options}),
        ],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_settled(record):
    """Check that recovery left nothing undecided and nothing unfinished."""
    settled = record["settled"]
    undecided = {name: settled[name] for name in ("damage", "left", "trial", "way_back")}
    assert undecided == {"damage": [], "left": [], "trial": False, "way_back": False}, record


def assert_safe(records, allowed, after):
    """Check that at any moment one of ``allowed`` is whole, that settling leaves nothing, and that it succeeds then."""
    for number, record in enumerate(records):
        at_once, settled, again = record["at_once"], record["settled"], record["again"]
        assert at_once["current"] in allowed, (number, record)
        assert at_once["damage"] == [], (number, record)
        if settled is not None:
            assert settled["current"] in allowed, (number, record)
            assert settled["link"] == (settled["current"] is not None), (number, record)
            assert_settled(record)
        assert (again["current"], again["damage"], again["left"]) == (after, [], []), (number, record)


@pytest.fixture(scope="module")
def board_with_two(tmp_path_factory, board_with_first, second):
    root = tmp_path_factory.mktemp("boards") / "two"
    shutil.copytree(board_with_first, root, symlinks=True)
    assert install("apply", root, second).code == 0
    return root


def test_a_first_installation_killed_at_any_call_leaves_nothing_or_the_release(memory, first):
    records = fault_points(memory, memory / "none", "kill", "apply", first)
    release = release_of(first)
    assert len(records) > 80
    assert_safe(records, {None, release}, release)
    assert {record["again"]["code"] for record in records} == {0}


def test_an_update_killed_at_any_call_leaves_the_old_or_the_new_release(memory, board_with_two, second, bundles):
    # It brings another wheel and pushes a release out: unpacking, compiling and removing are all on the way.
    update = tiny_bundle(bundles, "3.0", check="time.time()\nprint('{\"ok\": true}')\n")
    records = fault_points(memory, board_with_two, "kill", "apply", update, in_recovery=6)
    assert len(records) > 80
    assert_safe(records, {release_of(second), release_of(update)}, release_of(update))
    assert {record["again"]["code"] for record in records} == {0}
    assert sum(record.get("in_recovery", 0) for record in records) > 30


def test_a_return_from_a_failed_trial_killed_at_any_call_ends_with_the_old_release(
    memory, board_with_first, first, bundles
):
    bad = tiny_bundle(bundles, "6.6", check=OFF_IN_SERVICE)
    records = fault_points(memory, board_with_first, "kill", "apply", bad, in_recovery=6)
    old = release_of(first)
    # Killed in its trial, the bad release may still be what ``current`` shows; recovery ends that.
    assert {record["at_once"]["current"] for record in records} == {old, release_of(bad)}
    for record in records:
        assert_settled(record)
        assert record["settled"]["current"] == old
        assert (record["again"]["code"], record["again"]["current"]) == (7, old)


def test_a_rollback_killed_at_any_call_leaves_one_of_the_two_releases(memory, board_with_two, first, second):
    records = fault_points(memory, board_with_two, "kill", "rollback")
    one, other = release_of(first), release_of(second)
    assert len(records) > 10
    for record in records:
        assert_settled(record)
        assert record["at_once"]["damage"] == []
        assert {record["at_once"]["current"], record["settled"]["current"]} <= {one, other}
        assert record["again"]["code"] == 0


def test_an_update_told_to_stop_at_any_call_stops_with_nothing_half_written(memory, board_with_first, first, second):
    records = fault_points(memory, board_with_first, "stop", "apply", second)
    old, new = release_of(first), release_of(second)
    for record in records:
        left = [record["at_once"][name] for name in ("left", "trial", "way_back")]
        assert left == [[], False, False], record
        assert record["code"] in (130, 0), record
        # Stopped after the decision it is an interrupted command, but the new release is committed and whole.
        assert record["settled"]["current"] == record["at_once"]["current"], record
    assert_safe(records, {old, new}, new)
    assert any(record["at_once"]["current"] == old for record in records)


@pytest.mark.parametrize("fault", ["refuse", "full"])
def test_an_update_refused_by_the_disk_at_any_call_leaves_a_whole_release(
    memory, board_with_first, first, second, fault
):
    records = fault_points(memory, board_with_first, fault, "apply", second, step=2)
    old, new = release_of(first), release_of(second)
    assert_safe(records, {old, new}, new)
    for record in records:
        if record["code"]:
            assert record["said"]["error"]["exit_code"] == record["code"] in (1, 6), record
        else:
            assert record["at_once"]["current"] == new
    if fault == "full":
        # The way back takes no space: whoever was not committed does not stay.
        assert {record["at_once"]["current"] for record in records if record["code"]} == {old}
        full = [record["said"]["error"] for record in records if record["code"] == 6]
        assert full
        assert all("needs" in error["message"] and "bytes free" in error["message"] for error in full)


def test_a_failed_trial_on_a_disk_that_fills_up_at_any_call_returns_at_once(memory, board_with_first, first, bundles):
    bad = tiny_bundle(bundles, "6.6", check=OFF_IN_SERVICE)
    records = fault_points(memory, board_with_first, "full", "apply", bad, step=3)
    old = release_of(first)
    assert {record["at_once"]["current"] for record in records} == {old}
    assert {record["settled"]["current"] for record in records} == {old}
    assert {record["code"] for record in records} <= {1, 6, 7}
