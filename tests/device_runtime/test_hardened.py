"""A service that may write to its own folders alone: no home, no /tmp, no capabilities, no writable code."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.service import ClipSpec, JsonLinesSpec, PageSpec, Rule, ServiceSpec, SnapshotSpec
from tests.device_runtime.test_check import install
from tests.support.manager import Manager
from tests.support.running import get, page_of
from tests.support.tflite import detector_model
from tests.support.waiting import wait_for

SCRIPT = Path(__file__).parent.parent / "support" / "hardened.sh"
PROJECT = SCRIPT.parent.parent.parent
NAMESPACE = ("unshare", "--mount", "sh", str(SCRIPT))


@pytest.fixture(name="folders")
def _folders(tmp_path):
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("it takes root, unshare and setpriv to take everything away from a process")
    folders = tmp_path / "state", tmp_path / "run"
    for folder in folders:
        folder.mkdir()
    tried = subprocess.run([*NAMESPACE, *folders, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespaces here: {tried.stderr.strip()}")
    return folders


def hardened(folders, *command):
    variables = (f"PYTHONPATH={PROJECT}", f"EDGEKIT_PULSE_FILE={folders[1] / 'pulse.json'}")
    return [*NAMESPACE, *map(str, folders), *variables, *map(str, command)]


def test_the_service_does_everything_it_was_asked_for(tmp_path, folders):
    state, run = folders
    release = tmp_path / "releases" / ("ab" * 32)
    release.mkdir(parents=True)
    boxes = [(0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)]
    spec = detector_model(release / "model.tflite", boxes, [(0.9, 0.0), (0.0, 0.8)], ("cat", "dog"))
    install(release, goldens=0, spec=spec)
    service = ServiceSpec(
        source="synthetic:belt?live",
        tracking=True,
        rules=(Rule("cats", labels=("cat",)),),
        page=PageSpec(port=0),
        jsonl=JsonLinesSpec("log/predictions.jsonl"),
        snapshots=SnapshotSpec("snapshots"),
        clips=ClipSpec("clips", after_s=0.0, before_s=0.5),
    )
    (release / "service.json").write_text(dumps(service))
    with Manager(run) as manager:
        arguments = ("-W", "error", "-m", "device_runtime", "run", "--service", "--release", release, "--data", state)
        command = hardened(folders, f"NOTIFY_SOCKET={manager.address}", sys.executable, *arguments)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                page = page_of(process)
                manager.wait("READY")
                wait_for((run / "pulse.json").exists)
                assert json.loads(get(page + "status.json"))["health"] == "ok"
                wait_for(lambda: list((state / "snapshots").glob("*.jpg")))
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 130, err
    assert "warning" not in err
    assert "Traceback" not in err
    assert list((state / "clips").glob("*.mp4"))
    assert (state / "log" / "predictions.jsonl").stat().st_size > 0
    assert not (run / "pulse.json").exists()


def test_everything_else_is_read_only(tmp_path, folders):
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        hardened(folders, "touch", folders[0] / "a", folders[1] / "b", tmp_path / "elsewhere" / "c"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a", "b"]
