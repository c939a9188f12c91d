"""``python -m device_runtime``: the board's own command line, in its own process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device_runtime.install.lock import in_use
from tests.device_runtime.test_check import install
from tests.support.running import children_of
from tests.support.tflite import brightness_model
from tests.support.waiting import wait_for


def runtime(*arguments, **options):
    command = [sys.executable, "-m", "device_runtime", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_run_prints_one_line_per_prediction(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    done = runtime("run", "--model", tmp_path / "m.tflite", "--source", "synthetic:pattern", "--frames", 3)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame_index"] for line in lines] == [0, 1, 2]
    assert {item["label"] for item in lines[0]["items"]} == {"dark", "red", "green", "blue"}
    assert "3 frames, 0 dropped" in done.stderr


def test_a_release_runs_with_its_own_settings(tmp_path):
    done = runtime("run", "--release", install(tmp_path), "--frames", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 2


def test_a_release_that_runs_is_not_removed(tmp_path):
    release = install(tmp_path)
    assert not in_use(release)
    command = [sys.executable, "-m", "device_runtime", "run", "--release", release]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline()
        assert in_use(release)
        running.terminate()
        running.communicate(timeout=30)
    assert not in_use(release)


def test_check_says_how_close_the_goldens_are(tmp_path):
    done = runtime("check", "--release", install(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ok": True,
        "samples": 1,
        "worst_steps": 0,
        "min_cosine": pytest.approx(1.0),
        "min_same_cells": 1.0,
    }


def test_check_refuses_a_mismatch_with_code_7_and_one_document(tmp_path):
    install(tmp_path)
    np.save(tmp_path / "golden" / "output-0-0.npy", np.array([[0, 0, 0, 1]], np.float32))
    done = runtime("check", "--release", tmp_path, "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["error"]["code"] == "golden-mismatch"
    assert done.stderr.startswith("error: sample 0")


def test_bench_prints_one_document(tmp_path):
    done = runtime("bench", "--release", install(tmp_path), "--duration", 0.2, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["release"] == "app 1.0"
    assert document["stages"]["invoke"]["count"] == document["frames"]


def test_bench_measures_all_that_is_asked_for(tmp_path):
    options = ("--duration", 0.2, "--runs", 30, "--draw", "--camera-fps", 50, "--cold-starts", 1, "--delegate", "none")
    done = runtime("bench", "--release", install(tmp_path), *options, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["frames"] >= 30
    assert document["stages"]["draw"]["count"] == document["frames"]
    assert document["at_rate"]["camera_fps"] == 50
    assert len(document["cold_start"]["first_prediction_ms"]) == 1
    assert document["engine"]["delegate"] == "none"


def test_bench_says_what_to_know_of_its_figures(tmp_path):
    done = runtime("bench", "--release", install(tmp_path), "--duration", 0.01, "--runs", 70)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^invoke +p50 +[\d.]+ ms", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [("--duration", "600"), ("--duration", "600", "--cold-starts", "100")])
def test_a_signal_ends_a_measurement_without_a_report_and_without_a_process_left(tmp_path, options, number):
    brightness_model(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "device_runtime", "bench", "--model", tmp_path / "m.tflite", *options, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: len(list(Path(f"/proc/{running.pid}/task").iterdir())) > 3 or children_of(running.pid))
        children = children_of(running.pid)
        os.kill(running.pid, number)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out)["error"]["code"] == "interrupted"
    wait_for(lambda: not any(is_running(child) for child in children))


def is_running(pid):
    """Whether a process does anything any more: what has ended may still wait for the system to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 2, "expected --release DIR or --model FILE"),
        (("run", "--model", "no.tflite"), 3, "no such file: no.json"),
        (("run", "--release", "nowhere"), 3, "no installed release"),
        (("fly",), 2, "invalid choice"),
        (("bench", "--model", "m.tflite", "--runs", "1"), 2, "runs: expected 2 or more, got 1"),
        (("bench", "--model", "m.tflite", "--duration", "-1"), 2, "duration: expected a number of seconds above 0"),
        (("bench", "--model", "m.tflite", "--source", "synthetic:x"), 2, "no synthetic scene"),
        (("bench", "--model", "m.tflite", "--delegate", "gpu"), 2, "delegate: expected auto, xnnpack or none"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(tmp_path, arguments, code, message):
    brightness_model(tmp_path / "m.tflite")
    done = runtime(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_quietly(tmp_path, number):
    brightness_model(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "device_runtime", "run", "--model", tmp_path / "m.tflite"]
    with subprocess.Popen(
        [*command, "--source", "synthetic:pattern"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline()
        time.sleep(0.1)
        os.kill(running.pid, number)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "frames" in err
    assert out.endswith("}\n")


def test_a_reader_that_goes_away_ends_a_run_quietly(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "device_runtime", "run", "--model", tmp_path / "m.tflite"]
    with subprocess.Popen(
        [*command, "--source", "synthetic:pattern"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline()
        running.stdout.close()
        running.wait(timeout=30)
        assert "Traceback" not in running.stderr.read()


def test_the_board_needs_nothing_of_the_host(tmp_path):
    """With ``edgekit``, ``converters`` and their packages out of reach, the runtime still runs."""
    brightness_model(tmp_path / "m.tflite")
    script = (
        "import sys, runpy\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in "
        "{'edgekit', 'converters', 'click', 'rich', 'jinja2', 'matplotlib', 'tensorflow', 'flatbuffers'}:\n"
        "            raise ImportError(f'{name} is not on a board')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "sys.argv = ['device_runtime', *sys.argv[1:]]\n"
        "runpy.run_module('device_runtime', run_name='__main__')\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "run",
            "--model",
            tmp_path / "m.tflite",
            "--source",
            "synthetic:belt",
            "--frames",
            "1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"]


def test_the_journal_learns_how_bad_a_line_is(tmp_path):
    with (tmp_path / "journal").open("w") as journal:
        found = os.fstat(journal.fileno())
        command = [sys.executable, "-m", "device_runtime", "run", "--model", "no.tflite"]
        environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        subprocess.run(command, stderr=journal, env=environment, cwd=tmp_path, timeout=60, check=False)
    assert (tmp_path / "journal").read_text() == "<3>error: no such file: no.json\n"
