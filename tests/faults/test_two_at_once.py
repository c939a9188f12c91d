"""Several installers at once, against recovery, and the removal of what runs (number 7)."""

import random
import signal
import subprocess
import sys

import pytest

from tests.support.bundles import release_of
from tests.support.fault_points import look
from tests.support.installing import REPOSITORY, command_line, environment, install

_HOLD = """
import sys, time
from pathlib import Path
from device_runtime.install.lock import using
with using(Path(sys.argv[1])):
    print("holds it", flush=True)
    time.sleep(600)
"""


def start(command, root, *arguments):
    return subprocess.Popen(
        command_line(command, root, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
    )


@pytest.mark.parametrize("seed", range(6))
def test_many_installers_at_once_leave_one_whole_release(boards, memory, seed):
    chance = random.Random(seed)  # noqa: S311 - faults, not secrets
    root = boards.copy("two", memory / "root")
    bundles = ["first", "second", "update", "third", "bad"]
    commands = [
        *(("apply", boards.bundles[chance.choice(bundles)]) for _ in range(5)),
        ("rollback",), ("recover",), ("recover",), ("status",), ("verify",),
    ]  # fmt: skip
    chance.shuffle(commands)
    waiting = [(*command, "--wait", "120") if chance.random() < 0.7 else command for command in commands]
    running = [start(command[0], root, *command[1:]) for command in waiting]
    for process in chance.sample(running, 2):
        process.send_signal(signal.SIGKILL)
    for process in running:
        assert process.communicate()[1] == b""
        assert process.returncode in (0, 1, 7, -signal.SIGKILL), process.args
    assert install("recover", root).code == 0
    found = look(root)
    assert boards.name(found["current"]) in ("first", "second", "update", "third")
    assert found["damage"] == found["fallback_damage"] == found["left"] == []
    assert install("apply", root, boards.bundles["third"]).code == 0


def test_recovery_again_and_again_does_not_disturb_an_installation(boards, memory):
    root = boards.copy("one", memory / "root")
    for name in ("second", "update", "third", "first"):
        installing = start("apply", root, boards.bundles[name], "--wait", "60")
        while installing.poll() is None:
            assert install("recover", root).code in (0, 1)
        installing.communicate()
        assert installing.returncode == 0
        assert boards.name(look(root)["current"]) == name


def test_what_a_process_runs_is_kept_until_the_process_is_gone(boards, memory):
    root = boards.copy("one", memory / "root")
    first = root / "releases" / release_of(boards.bundles["first"])
    words = [sys.executable, "-c", _HOLD, first]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=REPOSITORY, env=environment()) as holder:
        try:
            assert holder.stdout.readline() == b"holds it\n"
            for name in ("second", "update", "third"):
                assert install("apply", root, boards.bundles[name]).code == 0
            assert install("recover", root).code == 0
            assert (first / "model.tflite").read_bytes() == b"model1.0"
            assert (first / "manifest.json").is_file()
            assert len(install("status", root).status["releases"]) == 3
        finally:
            holder.kill()
    assert install("recover", root).code == 0
    assert not first.exists()
    assert install("verify", root).code == 0
