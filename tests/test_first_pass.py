"""From a trained model to predictions of an installed release: every stage as the command that a user types."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import loads
from device_runtime.contract.model import ModelSpec


def run(folder, *arguments):
    command = [sys.executable, "-m", "edgekit", *map(str, arguments)]
    temporary = folder / ".temporary"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert not list(temporary.iterdir()), "temporary files were left behind"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose model was converted and bundled, and installed on a local board."""
    folder = tmp_path_factory.mktemp("pass")
    run(folder, "new", "digits", "--sample", "digits")
    project = folder / "digits"
    run(project, "convert")
    run(project, "bundle")
    run(project, "deploy", "local:out/board")
    return project


@pytest.mark.slow
def test_the_converted_model_takes_camera_bytes_and_knows_its_digits(project):
    spec = loads(ModelSpec, (project / "out/digits.json").read_text(), "spec")
    assert spec.inputs[0].dtype == "uint8"
    assert (spec.inputs[0].scale, spec.inputs[0].zero_point) == (pytest.approx(1 / 255), 0)
    assert len(spec.labels) == 10
    result = json.loads(run(project, "evaluate", "out/digits.tflite", "images/evaluation", "--json"))
    assert result["pictures"] == 540
    assert result["metrics"]["top1"] > 0.97


@pytest.mark.slow
def test_model_and_bundle_give_the_same_predictions(project):
    pictures = sorted((project / "images/evaluation").rglob("*.png"))[:3]
    answers = [
        json.loads(run(project, "predict", file, *pictures, "--json"))["predictions"]
        for file in ("out/digits.tflite", "out/digits-0.1.0.edgekit")
    ]
    assert [row["items"] for row in answers[0]] == [row["items"] for row in answers[1]]


def told(item):
    """What both sides tell of a class; the board's stream also names what this task does not have."""
    return item["index"], item["label"], item["score"]


@pytest.mark.slow
def test_the_installed_release_answers_like_the_host_without_the_host(project):
    """The release's own copy of the runtime runs, with nothing of the project on the path."""
    release = project / "out/board/current"
    paths = ":".join((release / "paths.txt").read_text().split())
    pictures = project / "images/evaluation/7"
    done = subprocess.run(
        [sys.executable, "-m", "device_runtime", "run", "--release", ".", "--source", f"dir:{pictures}"],
        cwd=release.resolve(),
        env={"PYTHONPATH": paths, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    board = [json.loads(line)["items"] for line in done.stdout.splitlines()]
    host = json.loads(run(project, "predict", "out/digits.tflite", *sorted(pictures.iterdir()), "--json"))
    assert [[told(item) for item in items] for items in board] == [
        [told(item) for item in row["items"]] for row in host["predictions"]
    ]
    where = subprocess.run(
        [sys.executable, "-c", "import device_runtime; print(device_runtime.__file__)"],
        cwd=release.resolve(),
        env={"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(project / "out/board")


@pytest.mark.slow
def test_a_second_deployment_says_so_and_does_nothing(project):
    board = project / "out/board"
    before = sorted((path, path.lstat().st_mtime_ns) for path in board.rglob("*") if path.name != "journal.jsonl")
    assert "unchanged" in run(project, "deploy", "local:out/board")
    after = sorted((path, path.lstat().st_mtime_ns) for path in board.rglob("*") if path.name != "journal.jsonl")
    assert [path for path, _ in after] == [path for path, _ in before]


@pytest.mark.slow
def test_the_demo_recognises_most_digits_and_the_bench_reports_them(project):
    demo = json.loads(run(project, "demo", "--frames", 60, "--save", "out/demo.mp4", "--json"))
    assert demo["frames"] == 60
    assert (project / "out/demo.mp4").stat().st_size > 10_000
    text = run(project, "bench", "--duration", 0.5, "--html", "out/bench.html", "--json")
    assert loads(BenchReport, text, "bench").frames > 10
    assert "digits" in (project / "out/bench.html").read_text()


@pytest.mark.slow
def test_a_bundle_verifies_and_one_flipped_byte_does_not(project, tmp_path):
    bundle = project / "out/digits-0.1.0.edgekit"
    run(project, "verify", bundle)
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.edgekit").write_bytes(content)
    command = [sys.executable, "-m", "edgekit", "verify", tmp_path / "flipped.edgekit"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
