import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from device_runtime.contract.events import Notice
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.application import ServiceApplication, Timing
from device_runtime.install.service.keeper import Account, Kept
from device_runtime.signals import interrupt_on
from tests.support.bundles import release_of
from tests.support.fake_keeper import CRASHES, FakeKeeper, quick_service
from tests.support.installing import environment

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run programs as somebody else")
NOBODY = Account("nobody", 65534, 65534)


class Clock:
    """A clock that only waiting moves; it begins where the machine's does."""

    def __init__(self, step_s=0.5) -> None:
        self.now_s = time.monotonic()
        self.step_s = step_s

    def __call__(self):
        return self.now_s

    def sleep(self, _):
        self.now_s += self.step_s


@pytest.fixture
def service(board, first):
    """A board with one release as a service that is watched without waiting, its keeper, and that release."""
    _spec(board, first, '{"health": {"watch_s": 0}}')
    application, keeper = quick_service(Root(board), FileSystem())
    return application, keeper, release_of(first)


def _spec(board, bundle, text):
    path = board / "releases" / release_of(bundle) / "service.json"
    path.unlink()
    path.write_text(text)


def test_a_release_is_started_with_its_own_settings_and_watched(service, board):
    application, keeper, release = service
    assert application.start(board / "current").ok
    assert keeper.prepared.health.watch_s == 0
    assert keeper.runs[0] == application.running() == release
    status = application.status()
    assert (status.kind, status.state, status.pulse.release) == ("process", "running", release)


def test_a_release_that_crashes_has_its_last_lines_in_the_reason_and_its_log_is_kept(service, board):
    application, keeper, release = service
    keeper.behaviours[release] = CRASHES
    keeper.said = [f"line {number}" for number in range(1200)] + ["\x1b[31mboom\a", ""]
    verdict = application.watch(board / "current")
    assert verdict.code == "not-ready"  # it was never started
    keeper.restart()
    verdict = application.watch(board / "current")
    assert (verdict.code, len(verdict.reason) <= 500) == ("crash-loop", True)
    assert verdict.reason.endswith("line 1199 | [31mboom")
    log = board / "logs" / f"{release[:12]}.log"
    assert log.read_text().splitlines()[-2:] == ["[31mboom", ""]
    assert len(log.read_text().splitlines()) == 1000
    assert log.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_read_or_kept_changes_no_verdict(service, board):
    application, keeper, release = service
    keeper.behaviours[release] = CRASHES
    keeper.restart()
    (board / "logs").write_text("")
    assert application.watch(board / "current").code == "crash-loop"

    def refuse(_lines, **_):
        raise EdgeError("no journal")

    keeper.logs = refuse
    assert application.watch(board / "current").reason == "it ended (exit 1), and 5 times in all"


def test_what_is_watched_takes_the_time_that_the_release_asks_for(board, first):
    _spec(board, first, '{"health": {"start_s": 20, "watch_s": 30}}')
    clock = Clock()
    began_s = clock()
    keeper = FakeKeeper(Root(board), {release_of(first): Kept("starting", 7)})
    timing = Timing(clock=clock, sleep=clock.sleep)
    application = ServiceApplication(Root(board), keeper, FileSystem(), timing=timing)
    assert application.start(board / "current").code == "not-ready"
    assert 20 <= clock() - began_s <= 22


def test_nothing_runs_where_current_is_missing(service, board):
    application, keeper, _ = service
    application.start(board / "current")
    (board / "current").unlink()
    application.prepare(board / "current")
    application.resume(board / "current")
    assert keeper.runs[0] is None
    assert application.start(board / "current").code == "bad-release"
    assert (application.status().state, application.running()) == ("stopped", None)


def test_a_release_that_is_taken_back_brings_its_settings_and_runs_without_them_too(board, first):
    events = []
    keeper = FakeKeeper(Root(board))
    application = ServiceApplication(Root(board), keeper, FileSystem(), events.append)
    application.resume(board / "current")
    assert keeper.prepared.threads == 1
    keeper.stop()
    _spec(board, first, "{")
    application.resume(board / "current")
    assert keeper.runs[0] == release_of(first)
    assert isinstance(events[-1], Notice)
    assert events[-1].message.startswith("the service keeps the settings that it has: ")


def test_a_pulse_that_another_process_left_is_not_told(service, board):
    application, keeper, release = service
    application.start(board / "current")
    keeper.behaviours[release] = Kept("starting", 99, detail="\x1b[1mloading")
    status = application.status()
    assert (status.pulse, status.state, status.detail) == (None, "starting", "[1mloading")


def test_a_keeper_that_cannot_say_how_it_is_makes_no_error_of_a_status(service):
    application, keeper, _ = service

    def refuse():
        raise EdgeError("no bus")

    keeper.look = refuse
    assert application.status().detail == "it cannot be told: no bus"


def _hook(board, text, mode=0o755):
    path = board / "health-hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def test_the_owners_hook_has_the_last_word(service, board):
    application, _, release = service
    current = board / "current"
    _hook(board, f'[ "$1" = {board}/releases/{release} ] && [ -f "$1/manifest.json" ]')
    assert application.start(current).ok
    _hook(board, "echo the lamp is off >&2; exit 3")
    verdict = application.start(current)
    assert (verdict.code, verdict.reason) == (
        "hook",
        f"{board}/health-hook ended with 3: the lamp is off; log: a line | the last line",
    )


def test_a_hook_that_does_not_end_is_ended(board, first):
    _spec(board, first, '{"health": {"watch_s": 0}}')
    application, _ = quick_service(Root(board), FileSystem(), hook_timeout_s=0.2)
    _hook(board, "sleep 600")
    assert "did not end within 0.2 s" in application.start(board / "current").reason


@pytest.mark.parametrize(("mode", "what"), [(0o775, "write"), (0o757, "write"), (0o644, "expected a program")])
def test_a_hook_that_others_could_write_is_not_run_and_nothing_is_tried_before_it_is_mended(board, mode, what):
    application = ServiceApplication(Root(board), FakeKeeper(Root(board)), FileSystem())
    _hook(board, f"touch {board}/ran", mode)
    with pytest.raises(EdgeError, match=what):
        application.preflight((board / "current").resolve())
    assert application.start(board / "current").code == "hook"
    assert not (board / "ran").exists()


def test_who_stops_the_hook_has_not_judged(service, board):
    application, _, _ = service
    (board / "asked").unlink(missing_ok=True)
    _hook(board, f"touch {board}/asked; kill -TERM {os.getpid()}; sleep 600")
    before = signal.getsignal(signal.SIGTERM)
    interrupt_on(signal.SIGTERM)
    try:
        with pytest.raises(Interrupted):
            application.start(board / "current")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (board / "asked").exists()


def test_a_check_that_ends_with_the_machine_has_not_failed(board, first):
    keeper = FakeKeeper(Root(board))
    application = ServiceApplication(Root(board), keeper, FileSystem(), timing=Timing(check_timeout_s=0.001))
    keeper.going_down = True
    with pytest.raises(Interrupted, match="going down"):
        application.preflight(board / "releases" / release_of(first))
    keeper.going_down = False
    assert application.preflight(board / "releases" / release_of(first)).code == "check-timeout"


def test_a_link_is_no_hook(service, board):
    application = service[0]
    (board / "health-hook").symlink_to("/bin/true")
    assert "expected a file" in application.start(board / "current").reason


_PREFLIGHT = """
import sys
from pathlib import Path
from device_runtime.install.application import check_release
from device_runtime.install.service.keeper import Account

print(check_release(Path(sys.argv[1]), 60, Account("nobody", 65534, 65534)).reason)
"""
SYSTEM_PYTHON = Path("/usr/bin/python3")


@pytest.fixture
def open_board(board, tmp_path):
    """A board that everybody may look at."""
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    return board


@as_root
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="this Python may be one that only its owner can run")
def test_a_check_never_runs_as_root(open_board):
    package = next((open_board / "wheels").glob("*/device_runtime/__main__.py"))
    package.write_text(
        "import json, os\n"
        'who = f\'{os.getuid()} {os.getgid()} {os.getgroups()} {os.environ["HOME"]} {os.environ["USER"]}\'\n'
        "print(json.dumps({'error': {'code': 'who', 'message': who}}))\n"
    )
    for compiled in package.parent.rglob("*.pyc"):
        compiled.unlink()
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", _PREFLIGHT, (open_board / "current").resolve()],
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("65534 65534 [] / nobody\n", "")


@as_root
def test_a_hook_never_runs_as_root(open_board, first):
    _spec(open_board, first, '{"health": {"watch_s": 0}}')
    application, keeper = quick_service(Root(open_board), FileSystem())
    keeper.account = NOBODY
    _hook(open_board, "id -u >&2; exit 1")
    assert "ended with 1: 65534" in application.start(open_board / "current").reason


@as_root
def test_a_folder_that_the_account_may_not_enter_is_said_and_is_no_fault_of_the_release(board):
    keeper = FakeKeeper(Root(board))
    keeper.account = NOBODY
    board.chmod(0o700)
    application = ServiceApplication(Root(board), keeper, FileSystem())
    with pytest.raises(EdgeError, match="releases run as nobody, who may not enter this folder") as refused:
        application.preflight((board / "current").resolve())
    assert refused.value.hint == f"chmod o+x {board}"
