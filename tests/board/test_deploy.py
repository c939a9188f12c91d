"""From a bundle to a service that predicts on an arm64 board, and what updates of it cost: the whole way, for real.

The tests of this file go on from each other's board, in their order.
"""

import json
import shutil
import subprocess
import sys

import pytest

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps
from tests.support.bundles import release_of
from tests.support.signing import allow, make_key
from tests.support.waiting import wait_for

_ROOT = "/var/lib/edgekit"


@pytest.fixture(scope="module")
def second(shelf):
    """Another model, and nothing else that is new."""
    return shelf.well("2.0", bias=0.3)


def status_of(command, board):
    return command("status", board.target, "--json").json


def deploy(command, bundle, board, *options):
    document = command.ok("deploy", bundle, board.target, "--json", *options).json
    return document["boards"][0]["done"] if "boards" in document else document


def on_release(board, *words):
    """Run the runtime of the board's current release on the board, as its service would, and return what it said."""
    script = (
        f'cd {_ROOT}/current && export PYTHONPATH="$(while read -r path; do realpath "$path"; done < paths.txt '
        '| paste -s -d :)" && exec python3 -m device_runtime "$@"'
    )
    return board.run("sh", "-c", script, "sh", *words).stdout


def test_a_first_deployment_ends_with_a_service_that_predicts(command, board, first):
    done = deploy(command, first, board)
    assert done["result"]["outcome"] == "installed"
    assert done["exchanges"] == 3
    assert done["sent_bytes"] > 70_000_000
    status = status_of(command, board)
    assert status["health"]["word"] == "healthy", status
    told = status["status"]
    assert (told["scope"], told["service"]["kind"], told["service"]["state"]) == ("system", "systemd", "running")
    assert told["service"]["pulse"]["release"] == release_of(first)
    assert told["service"]["pulse"]["predictions"] > 0
    assert told["facts"]["machine"] == "aarch64"
    assert told["facts"]["board"].startswith("Raspberry Pi 4")


def test_its_process_is_not_root_and_sees_a_board_that_it_cannot_change(board):
    shown = board.run("systemctl", "show", "edgekit", "-p", "MainPID,User,ActiveState,Type,WatchdogUSec").stdout
    figures = dict(line.split("=", 1) for line in shown.splitlines())
    assert (figures["ActiveState"], figures["Type"]) == ("active", "notify")
    assert figures["WatchdogUSec"] == "1min"
    pid = figures["MainPID"]
    owner = board.run("ps", "-o", "user=", "-p", pid).stdout.strip()
    assert owner == figures["User"] == "edgekit"
    capabilities = board.run("sudo", "grep", "^Cap", f"/proc/{pid}/status").stdout.split()
    assert set(capabilities[1::2]) == {"0000000000000000"}


def test_its_answers_are_those_of_the_machine_that_made_it(board):
    report = json.loads(on_release(board, "check", "--release", f"{_ROOT}/current", "--json"))
    assert report["ok"] is True
    assert report["samples"] == 4
    assert report["min_cosine"] > 0.999


def test_what_is_installed_is_intact(command, board):
    answer = command.ok("verify", "--target", board.target)
    assert "every byte" in answer.out


def test_the_same_again_is_one_exchange_and_nothing_sent(command, board, first):
    before = board.run("systemctl", "show", "edgekit", "-p", "MainPID").stdout
    done = deploy(command, first, board)
    assert (done["result"] or done["plan"])["outcome" if done["result"] else "action"] in ("unchanged", "nothing")
    assert (done["exchanges"], done["sent_bytes"]) == (1, 0)
    assert board.run("systemctl", "show", "edgekit", "-p", "MainPID").stdout == before


def test_another_model_is_sent_alone(command, board, second):
    planned = command.ok("deploy", second, board.target, "--dry-run")
    assert "bright-2.0" not in planned.err
    assert ".whl" not in planned.out
    done = deploy(command, second, board)
    assert done["result"]["outcome"] == "installed"
    assert done["exchanges"] == 2
    assert done["sent_bytes"] < 40_000
    status = status_of(command, board)
    assert status["health"]["word"] == "healthy"
    assert status["status"]["current"]["version"] == "2.0"
    assert status["status"]["previous"]["version"] == "1.0"


def test_the_log_tells_what_the_service_said(command, board):
    assert command.ok("logs", board.target, "-n", "50").out.strip()


@pytest.mark.parametrize("exclusive", [False, True], ids=["beside the service", "in its place"])
def test_it_is_measured_there_and_serves_as_before(command, board, second, exclusive):
    def pid():
        return board.run("systemctl", "show", "edgekit", "-p", "MainPID").stdout

    before = pid()
    options = ("--exclusive",) if exclusive else ()
    answer = command.ok("bench", "--target", board.target, "--duration", "5", "--runs", "5", "--json", *options)
    report = answer.json
    assert report["beside"] == (None if exclusive else "bright 2.0")
    assert report["frames"] >= 5
    assert report["before"]["emulated"] == "qemu-user"
    assert any("wall times" in reason for reason in report["disturbed"])
    wait_for(lambda: status_of(command, board)["health"]["word"] == "healthy", 120)
    assert status_of(command, board)["status"]["service"]["pulse"]["release"] == release_of(second)
    assert (pid() == before) is not exclusive
    assert not (board.root / "var/lib/edgekit/.tmp-bench").exists()


def test_a_rollback_returns_to_the_release_before(command, board):
    back = command.ok("rollback", board.target)
    assert "bright 1.0" in back.out
    assert status_of(command, board)["status"]["service"]["pulse"]["release"]
    again = command.ok("rollback", board.target)
    assert "bright 2.0" in again.out


def test_it_runs_again_after_a_reboot(command, board, second):
    board.reboot()
    board.run("sh", "-c", "until systemctl is-active --quiet edgekit; do sleep 1; done")
    status = status_of(command, board)
    assert status["health"]["word"] == "healthy", status
    assert status["status"]["service"]["pulse"]["release"] == release_of(second)
    assert status["status"]["trial"] is None


def test_two_deployments_at_once_end_with_one_of_the_two(command, board, shelf):
    bundles = [shelf.well(version, bias=bias) for version, bias in (("3.1", 0.31), ("3.2", 0.32))]
    answers = in_parallel(lambda bundle: command("deploy", bundle, board.target, "--json"), bundles)
    codes = sorted(answer.code for answer in answers)
    assert codes in ([0, 0], [0, 1]), [answer.err for answer in answers]
    assert status_of(command, board)["health"]["word"] == "healthy"
    assert status_of(command, board)["status"]["current"]["version"] in ("3.1", "3.2")


@pytest.mark.shared
def test_a_classifier_of_others_sees_there_what_it_sees_here(command, board, shelf, shared_data, tmp_path):
    model = shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    spec = describe_tflite(model, PrepOptions(), TaskOptions(), None)
    photos = sorted((shared_data / "images" / "imagenet100").glob("*.JPEG"))
    bundle = shelf.of(model, spec, "4.0", pictures=photos[::25])
    assert deploy(command, bundle, board)["result"]["outcome"] == "installed"
    assert status_of(command, board)["health"]["word"] == "healthy"
    report = json.loads(on_release(board, "check", "--release", f"{_ROOT}/current", "--json"))
    assert (report["ok"], report["samples"]) == (True, 4)

    (tmp_path / "spec.json").write_text(dumps(spec))
    (board.root / "home/pi/photos").mkdir()
    for photo in photos[10::30]:  # others than the goldens'
        shutil.copy(photo, board.root / "home/pi/photos")
    run = ("run", "--no-page", "--workers", "1", "--source")
    there = on_release(board, *run, "dir:/home/pi/photos", "--release", f"{_ROOT}/current")
    of_the_file = (f"dir:{board.root}/home/pi/photos", "--model", model, "--spec", tmp_path / "spec.json")
    here = subprocess.run(
        [sys.executable, "-m", "device_runtime", *run, *of_the_file],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seen_there, seen_here = best_of(there), best_of(here)
    assert len(seen_here) == 3
    assert [label for label, _ in seen_there] == [label for label, _ in seen_here]
    steps = [abs(one - other) * 256 for (_, one), (_, other) in zip(seen_there, seen_here, strict=True)]
    assert max(steps) <= 4


def best_of(lines):
    """Return the best label and its score of each prediction."""
    items = [json.loads(line)["items"][0] for line in lines.splitlines()]
    return [(item["label"], item["score"]) for item in items]


def test_a_board_that_trusts_signers_takes_what_they_signed_and_nothing_older(command, board, shelf, tmp_path):
    key, other = make_key(tmp_path), make_key(tmp_path, "other")
    signed = shelf.well("5.0", bias=0.5, sign=key, sequence=2)
    others = {
        ("unsigned", 3): shelf.well("5.1", bias=0.51),
        ("older-sequence", 7): shelf.well("5.2", bias=0.52, sign=key, sequence=1),
        ("unknown-signer", 3): shelf.well("5.3", bias=0.53, sign=other, sequence=3),
    }
    command.ok("trust", allow(tmp_path / "allowed_signers", ("me", key)), board.target)
    assert deploy(command, signed, board)["result"]["outcome"] == "installed"
    for expected, bundle in others.items():
        refused = command("deploy", bundle, board.target, "--json")
        assert (refused.json["error"]["code"], refused.code) == expected, refused.err
    assert status_of(command, board)["status"]["current"]["version"] == "5.0"


def test_all_of_it_is_removed(command, board):
    command.ok("remove", board.target, "--yes")
    assert command("status", board.target).code == 1
    left = board.run("sh", "-c", f"ls {_ROOT}; ls /etc/systemd/system | grep edgekit; true").stdout
    # Whose bundles it takes, and the highest sequence that it had, outlast a removal.
    assert set(left.split()) <= {"data", "lock", "environment", "allowed_signers", "state.json"}


def test_a_user_without_sudo_has_a_service_of_his_own(command, board, first):
    target = "ssh://maker@board"
    done = command.ok("deploy", first, target, "--json").json
    assert done["result"]["outcome"] == "installed", done
    status = command.ok("status", target, "--json").json["status"]
    assert (status["scope"], status["service"]["kind"]) == ("user", "systemd-user")
    assert status["root"] == "/home/maker/.local/share/edgekit"
    shown = board.run("systemctl", "--user", "is-active", "edgekit", user="maker").stdout
    assert shown.strip() == "active"
    command.ok("remove", target, "--yes")


def in_parallel(work, items):
    """Do ``work`` on all items at once, and return the results in their order."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - one test needs it

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))
