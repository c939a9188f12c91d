"""``edgekit bench``, with real child processes and a tiny model."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import loads
from tests.support.tflite import brightness_model

_PROJECT = """
[project]
name = "lights"
[model]
source = "lights.keras"
output = "brightness.tflite"
"""


@pytest.fixture
def model(tmp_path):
    brightness_model(tmp_path / "brightness.tflite")
    return tmp_path / "brightness.tflite"


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_gives_a_table_the_figures_and_a_report(edgekit, model, tmp_path):
    answer = edgekit.ok("bench", model, "--duration", 0.2, "--threads", 2, "--html", tmp_path / "bench.html")
    for part in ("brightness on ", ", 2 threads", "p50", "prepare", "invoke", "total", " fps over ", "peak memory "):
        assert part in answer.out
    assert answer.out.splitlines()[-1] == f"report: {tmp_path / 'bench.html'}"
    assert "· measure brightness.tflite on synthetic:pattern for 0.2 s" in answer.err
    page = (tmp_path / "bench.html").read_text()
    assert "<h1>brightness</h1>" in page
    assert page.rstrip().endswith("</html>")


def test_json_is_the_documented_report_and_warnings_go_to_stderr(edgekit, model):
    answer = edgekit.ok("bench", model, "--duration", 0.05, "--source", "synthetic:belt", "--json")
    report = loads(BenchReport, answer.out, "stdout")
    assert (report.model.name, report.source) == ("brightness", "synthetic:belt")
    assert all(f"warning: {warning}" in answer.err for warning in report.warnings)


@pytest.mark.usefixtures("model")
def test_without_a_model_the_project_is_measured_on_its_own_source(edgekit, tmp_path):
    (tmp_path / "edgekit.toml").write_text(_PROJECT + '[demo]\nsource = "synthetic:belt"\n')
    answer = edgekit.ok("bench", "--duration", 0.2, "--json")
    assert answer.json["source"] == "synthetic:belt"


@pytest.mark.usefixtures("model")
def test_a_project_without_a_source_is_measured_on_the_pattern(edgekit, tmp_path):
    (tmp_path / "edgekit.toml").write_text(_PROJECT)
    assert edgekit.ok("bench", "--duration", 0.2, "--json").json["source"] == "synthetic:pattern"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "camera:97"], 1, "no camera at /dev/video97"),
        (["--engine", "onnx"], 2, "onnx"),
        (["--threads", "0"], 2, "threads"),
        (["--duration", "0"], 2, "duration: expected a number of seconds above 0"),
        (["--duration", "nan"], 2, "duration: expected a number of seconds above 0"),
    ],
)
def test_errors_have_their_code_and_leave_no_report(edgekit, model, tmp_path, arguments, code, message):
    answer = edgekit("bench", model, "--html", tmp_path / "b.html", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert files(tmp_path) == ["brightness.json", "brightness.tflite"]


def test_an_error_of_the_harness_is_one_json_document(edgekit, model):
    answer = edgekit("bench", model, "--source", "camera:97", "--json")
    assert answer.code == answer.json["error"]["exit_code"] == 1
    assert answer.json["error"]["code"] == "camera"
    assert "--source synthetic:belt" in answer.json["error"]["hint"]


def test_a_model_that_does_not_load_is_a_bad_file(edgekit, model):
    model.write_bytes(model.read_bytes()[:100])
    answer = edgekit("bench", model)
    assert answer.code == 3
    assert "brightness.tflite" in answer.err


def test_a_model_that_is_not_there_is_a_bad_file(edgekit, tmp_path):
    assert edgekit("bench", tmp_path / "none.tflite").code == 3


@pytest.mark.parametrize("place", ["missing/b.html", "."])
def test_a_report_that_cannot_be_written_is_an_error_before_anything_is_measured(edgekit, model, tmp_path, place):
    answer = edgekit("bench", model, "--html", tmp_path / place)
    assert (answer.code, answer.out) == (1, "")
    assert "cannot write" in answer.err
    assert "measure" not in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_leaves_no_process_and_no_report(model, tmp_path, number):
    command = [sys.executable, "-c", "from edgekit.cli.app import main; main()", "bench", model]
    running = subprocess.Popen(
        [*command, "--duration", "120", "--html", tmp_path / "b.html"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 60
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # into the harness: it is no less stopped while it starts
    running.send_signal(number)  # to the command alone, not to its group
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b""), err
    assert b"interrupted; nothing was left half-written" in err
    assert files(tmp_path) == ["brightness.json", "brightness.tflite"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[0]), 0)
