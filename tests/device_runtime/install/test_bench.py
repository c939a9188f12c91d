"""Measuring on a board whose service a fake keeper plays: what is refused, and what becomes of the service."""

import contextlib
import dataclasses
import json
import os
import pwd
import signal
import time

import pytest

from device_runtime.contract.events import silent
from device_runtime.contract.session import Bench, Index
from device_runtime.contract.status import Trial
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.install import bench as benching
from device_runtime.install.bench import bench
from device_runtime.install.commands import status
from device_runtime.install.fsops import FileSystem
from device_runtime.install.guard import Guard
from device_runtime.install.host import Host
from device_runtime.install.lock import BusyError
from device_runtime.install.pause import go_on, is_paused, pause
from device_runtime.install.receive import Receiver
from device_runtime.install.service.account import find_account
from device_runtime.install.service.keeper import Kept
from device_runtime.install.state import read_state, write_state
from tests.support import benched
from tests.support.benched import benched_bundle, everything
from tests.support.bundles import tiny_bundle
from tests.support.conversing import conversation, parts_of
from tests.support.fake_keeper import FakeKeeper
from tests.support.served import SYSTEM_PYTHON, accessible
from tests.support.service_boards import ServiceBoard
from tests.support.waiting import wait_for


@pytest.fixture
def place():
    """A folder that the account of the releases may enter and write to."""
    with accessible() as folder:
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def host():
    """A host that stays, and says nothing."""
    read, write = os.pipe()
    yield Host(read)
    os.close(read)
    os.close(write)


def board_with(place, harness, keeper=None):
    """Return a board on which a release with this harness is current, and runs."""
    board = ServiceBoard(place / "board", **({} if keeper is None else {"keeper": keeper}))
    board.apply(benched_bundle(place, harness))
    assert board.runs == board.current
    return board


def measure(board, host, events=silent, **options):
    # As the one who calls: the Python of these tests may be where no other account comes.
    site = dataclasses.replace(board.site(events=events), scope="local")
    with contextlib.closing(Receiver(site, host)) as receiver:
        return bench(site, host, receiver, Bench(**options))


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_service_is_only_stopped_when_that_is_asked_for(place, host, exclusive):
    board = board_with(place, benched.REPORTS)
    runs, before = board.keeper.runs, everything(board.root.path)
    result = measure(board, host, exclusive=exclusive)
    assert (result.release, result.beside) == ("app 1.0", None if exclusive else "app 1.0")
    assert (board.keeper.runs != runs, board.runs) == (exclusive, board.current)
    assert everything(board.root.path) == before


def test_a_service_that_its_owner_stopped_stays_so(place, host):
    board = board_with(place, benched.REPORTS)
    board.keeper.stop()
    result = measure(board, host, exclusive=True)
    assert (board.runs, result.beside) == (None, None)


def test_nothing_is_measured_while_a_release_is_on_trial(place, host):
    board = board_with(place, benched.REPORTS)
    trial = Trial(board.current, None, "2026-01-01T00:00:00Z", 2, "boot-1")
    write_state(FileSystem(), board.root, dataclasses.replace(board.state, trial=trial))
    before = everything(board.root.path)
    with pytest.raises(BusyError, match="on trial"):
        measure(board, host)
    assert read_state(board.root).trial == trial
    assert everything(board.root.path) == before


def test_a_service_that_crashes_again_and_again_is_not_stopped(place, host):
    board = board_with(place, benched.REPORTS)
    board.keeper.behaviours[board.current] = Kept("starting", 0, 3, "exit 1")
    runs = board.keeper.runs
    with pytest.raises(BusyError, match="is started again and again \\(3 times\\)"):
        measure(board, host, exclusive=True)
    assert board.keeper.runs == runs
    assert measure(board, host).beside == "app 1.0"


def test_a_measurement_makes_room_for_who_decides_when_the_service_beside_fails(place, host, monkeypatch):
    monkeypatch.setattr(benching, "_LOOK_EVERY", 1)
    board = board_with(place, benched.WAITS)
    board.keeper.behaviours[board.current] = Kept("running", 1)

    def events(event):
        if getattr(event, "title", "").startswith("measure"):
            board.keeper.behaviours[board.current] = Kept("failed", 0, 5, "exit 1", "its camera is gone")

    with pytest.raises(EdgeError, match="the service beside failed while it was measured"):
        measure(board, host, events)


class RefusingKeeper(FakeKeeper):
    """Its systemd does not answer any more, once it was told to stop."""

    refuses = False

    def stop(self):
        super().stop()
        self.refuses = True

    def restart(self):
        if self.refuses:
            raise EdgeError("systemctl restart: no answer")
        super().restart()


def test_a_service_that_cannot_be_started_again_is_told_and_tried_by_the_next_command(place, host):
    board = board_with(place, benched.REPORTS, RefusingKeeper)
    with pytest.raises(EdgeError, match="could not be started again: systemctl restart: no answer"):
        measure(board, host, exclusive=True)
    assert is_paused(board.root)
    board.keeper.refuses = False

    status(board.site())
    assert (board.runs, is_paused(board.root), board.root.bench.exists()) == (board.current, False, False)


def test_a_note_is_left_before_the_service_is_stopped_and_taken_away_after_it_runs(place):
    board = board_with(place, benched.REPORTS)
    pause(board.site())
    assert (board.runs, is_paused(board.root)) == (None, True)
    go_on(board.site())
    assert (board.runs, is_paused(board.root), board.root.bench.exists()) == (board.current, False, False)
    runs = board.keeper.runs
    go_on(board.site())
    assert board.keeper.runs == runs


def test_a_boot_starts_the_service_by_itself(place):
    board = board_with(place, benched.REPORTS)
    pause(board.site())
    board.turn_on("boot-2")
    assert (board.runs, board.root.bench.exists()) == (board.current, False)
    board.assert_in_order()


def test_a_guard_does_its_duty_when_its_maker_is_killed_and_not_when_it_is_dismissed(tmp_path):
    done, dismissed = tmp_path / "done", tmp_path / "dismissed"
    child = os.fork()
    if child == 0:
        try:
            Guard(dismissed.touch).dismiss()
            Guard(done.touch)
            (tmp_path / "made").touch()
            time.sleep(60)
        finally:
            os._exit(0)
    wait_for((tmp_path / "made").exists)
    assert not done.exists()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(done.exists)
    assert not dismissed.exists()


def test_what_does_not_fit_is_refused_before(small_disk, tmp_path):
    bundle = tiny_bundle(tmp_path, "1.0")
    root = small_disk / "board"
    with conversation(root) as talk:
        talk.greeted()
        (index, content), *rest = parts_of(bundle).messages()[:-1]
        talk.say((Index(index.digest, index.size, throw_away=True), content), *rest)
        error = talk.answer()["error"]
        assert (error["code"], error["exit_code"]) == ("disk-full", 6)
    assert not root.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as somebody else")
def test_it_never_runs_as_root_and_makes_no_account_for_that(place):
    bundle = benched_bundle(place, "sys.argv.insert(2, f'{os.getuid()} {os.getgroups()}')\nreport()")
    root = place / "board"
    (index, content), *blobs = parts_of(bundle).messages()[:-1]
    with conversation(root, "--scope", "system", python=SYSTEM_PYTHON) as talk:
        talk.greeted()
        talk.say((Index(index.digest, index.size, throw_away=True), content), *blobs, Bench(throw_away=True))
        report = json.loads(talk.answer()["bench"]["report"])
    found = find_account() or pwd.getpwnam("nobody")
    assert report["source"] == f"{found.pw_uid} []"
    assert not root.exists()


def test_the_measurement_is_what_memory_is_taken_from_first(place, host):
    board = board_with(place, "sys.argv.insert(2, open('/proc/self/oom_score_adj').read().strip())\nreport()")
    assert json.loads(measure(board, host).report)["source"] == "1000"


def test_what_came_to_be_measured_cannot_be_installed_and_the_other_way_round(tmp_path):
    root = tmp_path / "board"
    bundle = tiny_bundle(tmp_path, "1.0")
    (index, content), *blobs, apply = parts_of(bundle).messages()
    with conversation(root) as talk:
        talk.greeted()
        talk.say((Index(index.digest, index.size, throw_away=True), content), *blobs, apply)
        assert "expected the bundle's index" in talk.answer()["error"]["message"]
    assert not root.exists()
    with conversation(root) as talk:
        talk.greeted()
        talk.say((index, content), *blobs, Bench(throw_away=True))
        assert "expected the index of the bundle that is to be measured" in talk.answer()["error"]["message"]
    with conversation(root) as talk:
        talk.greeted()
        talk.say((index, content), (Index(index.digest, index.size, throw_away=True), content))
        assert "expected one bundle in a conversation" in talk.answer()["error"]["message"]
    assert not (root / ".tmp-bench").exists()


def test_a_measurement_needs_its_bundle(place, host):
    board = board_with(place, benched.REPORTS)
    with pytest.raises(BadFileError, match="expected the index"):
        measure(board, host, throw_away=True)
