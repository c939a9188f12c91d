"""Releases that do not work, boots in the middle, and installers and bundles of other ages (numbers 8-11 and 14)."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from device_runtime.contract.manifest import Compat
from tests.support.bundles import OK, journal_codes, pack, refitted, release_of, tiny_bundle, tiny_contents
from tests.support.fault_points import look
from tests.support.installing import command_line, content, environment, install
from tests.support.waiting import wait_for

_IN_SERVICE = "if sys.argv[3].endswith('current'):\n"
_EATS = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\nb = bytes(1 << 30)\n" + OK
_NO_CAMERA = (
    'print(\'{"error": {"code": "camera", "message": "no camera at /dev/video0", "hint": "", "exit_code": 1}}\')\n'
)
_CHECKS = {
    "an import error": ("import a_package_that_is_not_there\n", "check-failed", "a_package_that_is_not_there"),
    "a syntax error": ("def\n", "check-failed", "SyntaxError"),
    "out of memory": (_EATS, "check-failed", "MemoryError"),
    "killed, as by the kernel when memory is short": (
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        "check-crashed",
        "killed by SIGKILL",
    ),
    "an illegal instruction": ("os.kill(os.getpid(), signal.SIGILL)\n", "check-crashed", "killed by SIGILL"),
    "a bus error": ("os.kill(os.getpid(), signal.SIGBUS)\n", "check-crashed", "killed by SIGBUS"),
    "silence": ("sys.exit(0)\n", "check-failed", "no verdict"),
    "a verdict and another exit code": (OK + "sys.exit(1)\n", "check-failed", "ended with 1"),
    "no truth": ("print('{\"ok\": 1}')\n", "check-failed", "no verdict"),
    "an endless answer": ("while True:\n    print('x' * 65536)\n", "check-timeout", "did not end within 2 s"),
    "a hang": ("time.sleep(600)\n", "check-timeout", "did not end within 2 s"),
    "a hang that hears no signal": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n",
        "check-timeout",
        "did not end",
    ),
    "no camera": (
        _NO_CAMERA + "sys.exit(1)\n",
        "camera",
        "no camera at /dev/video0",
    ),
}


@pytest.mark.parametrize("when", ["before the switch", "after it"])
@pytest.mark.parametrize("name", _CHECKS)
def test_a_release_that_does_not_work_is_quarantined_with_its_reason(boards, memory, name, when):
    check, code, reason = _CHECKS[name]
    if when == "after it":
        if name == "a syntax error":
            pytest.skip("it is one at once")
        check = _IN_SERVICE + "".join(f"    {line}\n" for line in check.splitlines()) + OK
    root = boards.copy("one", memory / "root")
    bad = tiny_bundle(memory, "6.6", check)
    refused = install("apply", root, bad, "--check-timeout", "2")
    assert (refused.code, refused.error["code"]) == (7, code), refused.error
    assert reason in refused.error["message"]
    assert "app 1.0 still runs" in refused.error["message"]
    assert boards.name(look(root)["current"]) == "first"
    again = install("apply", root, bad)
    assert (again.code, again.error["code"]) == (7, "quarantined")
    assert reason in again.error["message"]
    (known,) = install("status", root).status["bad"]
    assert (known["release"], known["code"]) == (release_of(bad), code)
    assert journal_codes(root)[-1] == code
    assert release_of(bad) not in [path.name for path in (root / "releases").iterdir()]


def test_a_quarantine_outlives_updates_rollbacks_recoveries_and_a_lost_process(boards, memory):
    root = boards.copy("one", memory / "root")
    assert install("apply", root, boards.bundles["worse"]).code == 7
    for command in (["apply", boards.bundles["second"]], ["rollback"], ["recover"], ["status"], ["verify"]):
        assert install(command[0], root, *command[1:]).code == 0
        refused = install("apply", root, boards.bundles["worse"])
        assert (refused.code, refused.error["code"]) == (7, "quarantined")


def test_a_rollback_to_a_release_that_fails_now_leaves_the_current_one(boards, memory):
    root = boards.copy("one", memory / "root")
    flag = memory / "worn"
    worn = tiny_bundle(memory, "3.3", f"if os.path.exists({str(flag)!r}):\n    sys.exit('worn out')\n{OK}")
    for bundle in (worn, boards.bundles["second"]):
        assert install("apply", root, bundle).code == 0
    flag.touch()
    refused = install("rollback", root)
    assert refused.code == 7
    assert "worn out" in refused.error["message"]
    assert boards.name(look(root)["current"]) == "second"
    again = install("rollback", root)
    assert again.code != 0
    assert boards.name(look(root)["current"]) == "second"


def test_fifty_power_cycles_change_nothing_of_what_is_committed(boards, memory):
    root = boards.copy("two", memory / "root")
    before = content(root)
    for number in range(50):
        # Half of the boots end before the recovery does.
        with subprocess.Popen(
            command_line("recover", root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        ) as booting:
            if number % 2:
                booting.kill()
    assert install("status", root).status["current"]["version"] == "2.0"
    assert content(root) == before


def test_a_board_that_is_cut_off_in_a_trial_again_and_again_keeps_the_old_release(boards, memory):
    root = boards.copy("one", memory / "root")
    started = memory / "started"
    slow = tiny_bundle(
        memory, "5.5", f"{_IN_SERVICE}    open({str(started)!r}, 'w').close()\n    time.sleep(600)\n{OK}"
    )
    for _ in range(10):
        with subprocess.Popen(
            command_line("apply", root, slow), stdout=subprocess.DEVNULL, start_new_session=True, env=environment()
        ) as applying:
            wait_for(started.exists)
            applying.send_signal(signal.SIGKILL)
        started.unlink()
        assert install("recover", root).code == 0
        assert boards.name(look(root)["current"]) == "first"
    # Nothing is known against it.
    assert install("status", root).status["bad"] == []


@pytest.mark.parametrize(
    ("compat", "reason"),
    [
        ({"machine": "armv7l"}, "expected machine armv7l"),
        ({"machine": "aarch64", "python": "cp311"}, "expected machine aarch64"),
        ({"python": "cp38"}, "expected python cp38"),
        ({"glibc": "9.9"}, "expected glibc 9.9 or newer"),
        ({"installer": 1000}, "needs installer 1000"),
        ({"memory_bytes": 1 << 50}, "bytes of memory or more"),
    ],
)
def test_a_bundle_for_another_board_or_installer_is_refused_before_anything_is_written(boards, memory, compat, reason):
    if compat.get("machine") == os.uname().machine:
        pytest.skip("this is such a machine")
    root = boards.copy("one", memory / "root")
    before = content(root)
    other = refitted(boards.bundles["second"], memory / "other.edgekit", Compat(**compat))
    refused = install("apply", root, other)
    assert (refused.code, refused.error["code"]) == (6, "unfit")
    assert reason in refused.error["message"]
    assert content(root) == before
    assert install("apply", memory / "empty", other).code == 6
    assert not (memory / "empty").exists()


def test_of_platforms_for_others_alone_each_reason_is_said(memory):
    compats = [Compat(machine="armv7l", python="cp39"), Compat(machine="riscv128"), Compat(python="cp38")]
    other = pack(memory / "other.edgekit", tiny_contents(memory), compats=compats)
    message = install("apply", memory / "root", other).error["message"]
    assert all(text in message for text in ("armv7l", "riscv128", "cp38"))


def test_the_state_of_an_installer_that_knew_less_is_taken_over(boards, memory):
    root = boards.copy("two", memory / "root")
    state = json.loads((root / "state.json").read_text())
    (root / "state.json").write_text(json.dumps({name: state[name] for name in ("committed", "fallback", "bad")}))
    assert install("status", root).status["current"]["version"] == "2.0"
    assert install("rollback", root).result["current"]["version"] == "1.0"
    assert install("apply", root, boards.bundles["third"]).code == 0


def test_a_board_without_any_record_of_its_own_is_taken_over(boards, memory):
    root = boards.copy("two", memory / "root")
    for name in ("state.json", "journal.jsonl", "lock", "previous"):
        (root / name).unlink()
    shutil.rmtree(root / "incoming", ignore_errors=True)
    assert install("status", root).status["current"]["version"] == "2.0"
    assert install("apply", root, boards.bundles["third"]).code == 0
