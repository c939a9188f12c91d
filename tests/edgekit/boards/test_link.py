import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runtime.contract.events import Progress, Step, silent
from device_runtime.contract.status import Outcome
from device_runtime.errors import EdgeError
from edgekit.boards.link import LocalLink
from edgekit.boards.target import LocalTarget
from tests.support.bundles import MISMATCH, OK, release_of, tiny_bundle
from tests.support.installing import current, environment, leftovers


@pytest.fixture
def link(tmp_path):
    return LocalLink(LocalTarget(tmp_path / "board", "local:board"))


def test_a_bundle_is_applied_and_its_events_arrive(link, tmp_path):
    heard = []
    result = link.apply(tiny_bundle(tmp_path, "1.0"), heard.append)
    assert (result.outcome, result.current.version) == (Outcome.INSTALLED, "1.0")
    assert {type(event) for event in heard} == {Step, Progress}
    assert link.status().current == result.current
    link.apply(tiny_bundle(tmp_path, "2.0"), silent)
    assert link.roll_back(silent).current.version == "1.0"


def test_the_installers_error_is_raised_here_with_its_own_code(link, tmp_path):
    with pytest.raises(EdgeError, match=r"still runs|nothing runs") as caught:
        link.apply(tiny_bundle(tmp_path, "1.0", check=MISMATCH), silent)
    assert (caught.value.code, caught.value.exit_code) == ("golden-mismatch", 7)


def test_a_host_that_is_told_to_stop_takes_its_installer_along(link, tmp_path):
    link.apply(tiny_bundle(tmp_path, "1.0"), silent)
    started = tmp_path / "started"
    slow = tiny_bundle(tmp_path, "2.0", check=f"open({str(started)!r}, 'w').close()\ntime.sleep(600)\n{OK}")
    words = [sys.executable, "-m", "edgekit", "deploy", str(slow), f"local:{tmp_path / 'board'}"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not started.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    # The lock is free again at once: the installer ended before the host did.
    assert link.status().busy is False
    assert current(tmp_path / "board") == release_of(Path(tmp_path / "app-1.0.edgekit"))
    assert leftovers(tmp_path / "board") == []
