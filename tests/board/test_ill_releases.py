"""Releases that do not do their work on an arm64 board: each is taken back with its reason, and the old one serves."""

import dataclasses
import json
import threading

import pytest

from tests.board.releases import HEALTH, SERVICE, ill
from tests.support.bundles import release_of
from tests.support.waiting import wait_for

LONG_WATCH = dataclasses.replace(HEALTH, watch_s=60)
IMPATIENT = dataclasses.replace(SERVICE, health=dataclasses.replace(HEALTH, start_s=60, watchdog_s=20, watch_s=15))


@pytest.fixture
def served(command, board, first):
    """The board of this file with a release that works and is healthy."""
    command.ok("deploy", first, board.target)
    wait_for(lambda: looks_like(command, board)[0] == "healthy", 120)
    return board


def looks_like(command, board):
    status = command("status", board.target, "--json").json
    return status["health"]["word"], status["status"]


def assert_taken_back(command, board, bundle, first, answer, codes):
    assert answer.code == 7, answer.err
    error = answer.json["error"]
    assert error["code"] in codes, error
    assert "bright 1.0 still runs" in error["message"]
    wait_for(lambda: looks_like(command, board)[0] == "healthy", 120)
    status = looks_like(command, board)[1]
    assert status["current"]["release"] == status["service"]["pulse"]["release"] == release_of(first)
    assert status["trial"] is None
    quarantined = {bad["release"]: bad for bad in status["bad"]}
    assert quarantined[release_of(bundle)]["code"] == error["code"]
    again = command("deploy", bundle, board.target)
    assert again.code == 7
    assert "failed on this board at" in again.err


@pytest.mark.parametrize(
    "case",
    [
        ("6.1", "_os.abort()", 3, {"crashed", "crash-loop"}),
        ("6.2", "_os._exit(0)", 3, {"stopped"}),
        ("6.3", "_time.sleep(3600)", 0, {"not-ready", "hung"}),
        ("6.4", "_time.sleep(3600)", 4, {"hung", "no-frames", "crashed", "crash-loop"}),
        ("6.5", "_os.kill(_os.getpid(), 4)", 1, {"crashed", "crash-loop"}),
    ],
    ids=["aborts", "ends", "hangs before it is ready", "hangs after it was ready", "illegal instruction"],
)
def test_a_release_that_fails_as_a_service(command, served, shelf, first, case):
    version, does, after, codes = case
    bundle = shelf.with_runtime(shelf.well(f"{version}.0", service=IMPATIENT), version, ill(does, after))
    answer = command("deploy", bundle, served.target, "--json")
    assert_taken_back(command, served, bundle, first, answer, codes)


@pytest.mark.parametrize(("make", "version"), [("with_nan", "7.1"), ("with_golden", "7.2")])
def test_a_release_that_answers_otherwise_is_not_even_switched_to(command, served, shelf, first, make, version):
    pid = served.run("systemctl", "show", "edgekit", "-p", "MainPID").stdout
    bundle = getattr(shelf, make)(first, version)
    answer = command("deploy", bundle, served.target, "--json")
    assert_taken_back(command, served, bundle, first, answer, {"golden-mismatch"})
    assert served.run("systemctl", "show", "edgekit", "-p", "MainPID").stdout == pid


def test_a_release_without_its_camera(command, served, shelf, first):
    service = dataclasses.replace(SERVICE, source="v4l2:7", health=dataclasses.replace(HEALTH, start_s=60))
    bundle = shelf.well("7.3", service=service)
    answer = command("deploy", bundle, served.target, "--json")
    assert "camera" in answer.json["error"]["message"]
    assert_taken_back(command, served, bundle, first, answer, {"no-frames", "not-ready"})


def test_the_old_release_serves_while_a_new_one_is_checked(command, served, shelf, first):
    bundle = shelf.with_runtime(first, "7.4", "\n\nimport time as _time\n_time.sleep(20)\n")
    answers = []
    worker = threading.Thread(target=lambda: answers.append(command("deploy", bundle, served.target, "--json")))
    worker.start()
    journal = served.root / "var/lib/edgekit/journal.jsonl"
    wait_for(lambda: release_of(bundle) in journal.read_text(), 120)
    seen = [predictions(served)]
    wait_for(lambda: predictions(served) > seen[0] or not worker.is_alive(), 120)
    assert worker.is_alive()
    worker.join()


def predictions(board):
    """Return how many predictions the running release has made."""
    return json.loads(board.run("cat", "/run/edgekit/pulse.json").stdout)["predictions"]


def test_a_reboot_in_the_middle_of_a_trial_ends_with_a_decision(command, served, shelf):
    bundle = shelf.well("8.0", bias=0.8, service=dataclasses.replace(SERVICE, health=LONG_WATCH))
    worker = threading.Thread(target=lambda: command("deploy", bundle, served.target, "--json"))
    worker.start()
    wait_for(lambda: '"trial": {' in (served.root / "var/lib/edgekit/state.json").read_text(), 240)
    served.reboot()
    worker.join()
    wait_for(lambda: looks_like(command, served)[1]["trial"] is None, 300)
    word, status = looks_like(command, served)
    assert word == "healthy", status
    assert status["current"]["release"] == release_of(bundle)
    assert [entry["code"] for entry in status["journal"]][-1] == "committed"


def test_a_committed_release_that_begins_to_crash_gives_way_to_the_one_before(command, served, shelf, first):
    lurking = (
        "\n\nimport os as _os\n_invoke = TfliteEngine.invoke\n\n\ndef _ill(self):\n"
        "    if _os.path.exists('/var/lib/edgekit/data/crash'):\n        _os.abort()\n    _invoke(self)\n\n\n"
        "TfliteEngine.invoke = _ill\n"
    )
    bundle = shelf.with_runtime(first, "9.0", lurking)
    command.ok("deploy", bundle, served.target)
    before = looks_like(command, served)[1]["previous"]["release"]
    served.run("sudo", "touch", "/var/lib/edgekit/data/crash")
    wait_for(lambda: looks_like(command, served)[1]["current"]["release"] == before, 400)
    word, status = looks_like(command, served)
    assert word in ("healthy", "starting"), status
    bad = {each["release"]: each for each in status["bad"]}[release_of(bundle)]
    assert bad["code"] == "crash-loop"
