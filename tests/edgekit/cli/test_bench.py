"""``edgekit bench``, with real child processes and a tiny model; comparisons and gates also with runs made before."""

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import dumps, loads
from edgekit.cli.bench import command
from edgekit.cli.bench_options import SECTIONS
from tests.support.bench_reports import bench_report, full_report
from tests.support.noisy_runs import noisy_report
from tests.support.tflite import brightness_model

_SHORT = ("--duration", "0.2", "--cold-starts", "0", "--no-operators")
"""A real run that takes as little time as one can."""

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


@pytest.fixture
def project(model):
    """A project in the current folder with that model."""
    (model.parent / "edgekit.toml").write_text(_PROJECT)
    return model.parent


@pytest.fixture
def runs(tmp_path):
    """Saved runs in the current folder: one, one like it, and one that takes a tenth longer."""
    for name, report in {
        "before.json": noisy_report(1),
        "like.json": noisy_report(2),
        "slower.json": noisy_report(3, slower=1.1),
        "busy.json": noisy_report(4, disturbed=("others took 40% of the cores",)),
    }.items():
        (tmp_path / name).write_text(dumps(report))
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_gives_a_table_the_figures_and_a_report(edgekit, model, tmp_path):
    arguments = ("--duration", 0.2, "--threads", 2, "--cold-starts", 1, "--html", tmp_path / "bench.html")
    answer = edgekit.ok("bench", model, *arguments)
    for part in ("brightness on ", ", 2 threads", "95% of p50", "p95", "prepare", "invoke", "total", " fps over "):
        assert part in answer.out
    for part in ("peak memory ", "cold start ", "measuring itself costs "):
        assert part in answer.out
    assert answer.out.splitlines()[-1] == f"report: {tmp_path / 'bench.html'}"
    assert "· measure brightness.tflite on synthetic:pattern for 0.2 s" in answer.err
    page = (tmp_path / "bench.html").read_text()
    assert "<h1>brightness</h1>" in page
    assert page.rstrip().endswith("</html>")


def test_json_is_the_documented_report_and_warnings_go_to_stderr(edgekit, model):
    answer = edgekit.ok("bench", model, *_SHORT, "--source", "synthetic:belt", "--draw", "--json")
    report = loads(BenchReport, answer.out, "stdout")
    assert (report.model.name, report.source) == ("brightness", "synthetic:belt")
    assert "draw" in report.stages
    assert (report.operators, report.cold_start) == (None, None)
    assert all(f"warning: {warning}" in answer.err for warning in report.warnings)
    assert not {"gates", "comparison", "exit_code"} & set(answer.json)


@pytest.mark.usefixtures("model")
def test_without_a_model_the_project_is_measured_on_its_own_source(edgekit, tmp_path):
    (tmp_path / "edgekit.toml").write_text(_PROJECT + '[demo]\nsource = "synthetic:belt"\n')
    answer = edgekit.ok("bench", *_SHORT, "--json")
    assert answer.json["source"] == "synthetic:belt"


@pytest.mark.usefixtures("project")
def test_a_project_without_a_source_is_measured_on_the_pattern(edgekit):
    assert edgekit.ok("bench", *_SHORT, "--json").json["source"] == "synthetic:pattern"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "camera:97"], 1, "no camera at /dev/video97"),
        (["--engine", "onnx"], 2, "onnx"),
        (["--threads", "0"], 2, "threads"),
        (["--duration", "0"], 2, "duration: expected a number of seconds above 0"),
        (["--duration", "nan"], 2, "duration: expected a number of seconds above 0"),
        (["--fail-over", "p95"], 2, "--fail-over: expected FIGURE=LIMIT"),
        (["--fail-regression", "much"], 2, "--fail-regression: expected a share"),
        (["--compare", "none.json"], 3, "no saved run none.json"),
        (["--compare", "last"], 2, "no edgekit.toml here or above"),
        (["--fail-regression", "10%"], 2, "no edgekit.toml here or above"),
        (["--save"], 2, "no edgekit.toml here or above"),
        (["--exclusive"], 2, "--exclusive is for boards"),
        (["--rounds", "2"], 2, "--rounds is for sweeps"),
        (["--sweep", "threads=1,2", "--compare", "last"], 2, "--compare does not go with --sweep"),
        (["--sweep", "threads=1,2", "--write"], 2, "--write: the model is not a project's"),
        (["--target", "pi", "--all"], 2, "--all names every target already"),
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
@pytest.mark.parametrize("option", ["--html", "--junit", "--markdown", "--save"])
def test_a_result_that_cannot_be_written_is_an_error_before_anything_is_measured(
    edgekit, model, tmp_path, option, place
):
    answer = edgekit("bench", model, f"{option}={tmp_path / place}{'/' if place == '.' else ''}")
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


@pytest.mark.usefixtures("runs")
def test_two_saved_runs_are_compared_by_their_intervals_and_nothing_is_measured(edgekit):
    answer = edgekit.ok("bench", "--compare", "before.json", "slower.json")
    assert "slower: total p50 +" in answer.out
    assert re.search(r"invoke p50 .* slower", answer.out)
    assert "no difference that these runs can show" in edgekit.ok("bench", "--compare", "before.json", "like.json").out
    assert "faster: total p50 " in edgekit.ok("bench", "--compare", "slower.json", "before.json").out
    assert "measure" not in answer.err.replace("measuring", "")


@pytest.mark.usefixtures("runs")
def test_json_of_a_comparison_is_the_later_report_and_more_keys(edgekit):
    answer = edgekit("bench", "--compare", "before.json", "slower.json", "--fail-regression", "5%", "--json")
    assert answer.code == answer.json["exit_code"] == 8
    assert loads(BenchReport, answer.out, "stdout") == noisy_report(3, slower=1.1)
    assert answer.json["comparison"]["word"] == "slower"
    assert {gate["outcome"] for gate in answer.json["gates"]} == {"missed"}
    assert answer.json["error"]["code"] == "gate-missed"


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (
            ["--compare", "before.json", "slower.json", "--fail-regression", "0%"],
            8,
            "MISSED: total.p50",
            "2 gates were",
        ),
        (["--compare", "before.json", "slower.json", "--fail-regression", "5%"], 8, "MISSED: invoke.p50", "error: 2"),
        (["--compare", "before.json", "slower.json", "--fail-regression", "20%"], 0, "passed: invoke.p50", ""),
        (["--compare", "before.json", "like.json", "--fail-regression", "0%"], 0, "passed: total.p50", ""),
        (["--compare", "before.json", "busy.json", "--fail-regression", "0%"], 8, "NOT DECIDED", "--accept-disturbed"),
        (
            ["before.json", "--fail-over", "invoke.p50=5ms"],
            8,
            "MISSED: invoke.p50 ≤ 5.00 ms",
            "error: a gate was missed",
        ),
        (["before.json", "--fail-over", "fps=20", "--fail-over", "invoke.p50=50ms"], 0, "passed: fps ≥ 20.0", ""),
        (["busy.json", "--fail-over", "invoke.p50=50ms"], 8, "NOT DECIDED", "error: a gate was not decided"),
        (["busy.json", "--fail-over", "invoke.p50=50ms", "--accept-disturbed"], 0, "passed: invoke.p50", ""),
    ],
)
def test_gates_decide_the_exit_code_and_say_why(edgekit, arguments, code, out, err):
    answer = edgekit("bench", *arguments)
    assert answer.code == code, answer.err
    assert out in answer.out
    assert err in answer.err


def test_a_missed_gate_leaves_every_result_written(edgekit, runs):
    outputs = ("--html", "r.html", "--junit", "r.xml", "--markdown", "r.md")
    answer = edgekit("bench", "--compare", "before.json", "slower.json", "--fail-regression", "5%", *outputs)
    assert answer.code == 8
    assert (runs / "r.html").read_text().rstrip().endswith("</html>")
    [suite] = ET.fromstring((runs / "r.xml").read_bytes())  # noqa: S314 - edgekit wrote it
    assert suite.get("failures") == "2"
    assert "❌ missed" in (runs / "r.md").read_text()


@pytest.mark.usefixtures("runs")
def test_markdown_on_stdout_takes_the_place_of_the_table(edgekit):
    answer = edgekit.ok("bench", "before.json", "--markdown", "-")
    assert answer.out.startswith("### belt on Raspberry Pi 4")
    assert "95% of p50" in answer.out
    assert "───" not in answer.out


@pytest.mark.usefixtures("runs")
def test_json_and_markdown_are_not_both_on_stdout(edgekit):
    answer = edgekit("bench", "before.json", "--json", "--markdown", "-")
    assert answer.code == 2
    assert answer.json["error"]["message"] == "--json and --markdown - would both be on stdout"


def test_a_disturbed_run_is_never_shown_without_saying_so(edgekit, tmp_path):
    (tmp_path / "hot.json").write_text(dumps(full_report()))
    answer = edgekit.ok("bench", "hot.json")
    assert "ms, disturbed" in answer.out
    assert "Disturbed run: " in answer.out
    for part in ("as a camera of 30 fps", "cold start 912 ms (median of 5", "the first 5 of 60 operators"):
        assert part in answer.out


def test_runs_are_saved_and_the_next_one_is_compared_with_the_last(edgekit, project):
    first = edgekit.ok("bench", *_SHORT, "--save")
    [path] = (project / "bench").iterdir()
    assert f"saved: {path}" in first.out
    assert path.name.endswith("-brightness.json")
    answer = edgekit.ok("bench", *_SHORT, "--compare", "last", "--save", "--json")
    saved = loads(BenchReport, path.read_text(), "saved")
    assert answer.json["comparison"]["before"]["created"] == saved.created
    assert len(list((project / "bench").iterdir())) == 2
    named = edgekit.ok("bench", *_SHORT, "--save", "baseline", "--compare", "last")
    assert "compared with brightness of " in named.out
    assert (project / "bench" / "baseline.json").exists()


def test_a_run_may_be_saved_anywhere(edgekit, model, tmp_path):
    edgekit.ok("bench", model, *_SHORT, "--save", tmp_path / "mine.json")
    assert loads(BenchReport, (tmp_path / "mine.json").read_text(), "mine").model.name == "brightness"


def test_a_run_that_became_slower_is_not_what_the_next_one_is_compared_with(edgekit, project):
    run = loads(BenchReport, edgekit.ok("bench", *_SHORT, "--json").out, "stdout")
    fast = {stage: tuple(value / 100 for value in values) for stage, values in run.samples_ms.items()}
    stages = {
        stage: dict(vars(stats)) | {name: getattr(stats, name) / 100 for name in ("p50", "mean", "min", "max")}
        for stage, stats in run.stages.items()
    }
    (project / "bench").mkdir()
    quick = {**vars(run), "samples_ms": fast, "stages": stages, "disturbed": (), "steady": True}
    (project / "bench" / "quick.json").write_text(dumps(quick))
    arguments = ("--fail-regression", "10%", "--accept-disturbed", "--save")
    answer = edgekit("bench", *_SHORT, *arguments)
    assert answer.code == 8, answer.out
    assert "the run missed a gate and was not saved" in answer.err
    assert files(project / "bench") == ["quick.json"]


def test_without_a_run_of_its_kind_a_comparison_is_said_to_be_missing_and_a_gate_is_not_decided(edgekit, project):
    (project / "bench").mkdir()
    (project / "bench" / "other.json").write_text(dumps(bench_report(70)))
    answer = edgekit.ok("bench", *_SHORT, "--compare", "last")
    assert "no saved run of brightness on this machine with litert, threads 1: nothing was compared" in answer.err
    answer = edgekit("bench", *_SHORT, "--fail-regression", "10%")
    assert answer.code == 8
    assert "there is no saved run to compare with" in answer.out
    assert "hint: save one: edgekit bench --save" in answer.err


def test_save_says_when_it_took_the_model_for_a_name(edgekit, model):
    answer = edgekit("bench", "--save", model)
    assert answer.code == 2
    assert f"hint: edgekit bench {model} --save" in answer.err


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("option", ["--duration=1", "--target=pi", "--save", "--sweep=threads=1,2"])
def test_a_saved_run_is_not_measured_again(edgekit, option):
    answer = edgekit("bench", "before.json", option)
    assert answer.code == 2
    assert "before.json is a run that was measured already" in answer.err


def test_a_file_that_is_no_run_is_a_bad_file(edgekit, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    assert edgekit("bench", "run.json").code == 3
    assert edgekit("bench", "run.json", "--compare", "run.json").code == 3


def test_a_sweep_measures_every_setting_and_recommends_one(edgekit, model, tmp_path):
    arguments = ("--sweep", "threads=1,2", "--rounds", "1", "--duration", "1", "--html", "sweep.html")
    answer = edgekit.ok("bench", model, *arguments)
    assert "2 of 2 points measured" in answer.out
    assert "recommended: " in answer.out
    assert (tmp_path / "sweep.html").read_text().rstrip().endswith("</html>")


@pytest.mark.usefixtures("project")
def test_what_a_sweep_recommends_is_written_to_the_project_and_said(edgekit, tmp_path):
    arguments = ("--sweep", "threads=2", "--rounds", "1", "--duration", "1", "--write", "--markdown", "sweep.md")
    answer = edgekit.ok("bench", *arguments)
    assert "edgekit.toml: [service] threads: not set → 2" in answer.out
    assert "threads = 2" in (tmp_path / "edgekit.toml").read_text()
    assert (tmp_path / "sweep.md").read_text().startswith("### Sweep of lights\n")


def test_the_help_has_every_option_in_one_of_its_sections(edgekit):
    named = {name for names in SECTIONS.values() for name in names}
    options = {max(param.opts, key=len) for param in command.params if param.param_type_name == "option"}
    assert named == options
    out = edgekit.ok("bench", "--help").out
    assert all(f"{title}:\n" in out for title in SECTIONS)


def test_a_board_measures_its_own_release_and_a_model_leaves_no_trace(edgekit, in_folder):
    edgekit.ok("deploy", "bright-1.0.edgekit", "local:board")
    before = sorted(str(path) for path in (in_folder / "board").rglob("*") if "__pycache__" not in path.parts)
    answer = edgekit.ok(
        "bench", "--target", "local:board", "--duration", "0.2", "--source", "synthetic:pattern", "--json"
    )
    report = loads(BenchReport, answer.out, "stdout")
    assert (report.target, report.release) == ("local:board", "bright 1.0")
    assert report.model.name == "bright"
    arguments = ("bright.tflite", "--target", "local:board", "--duration", "0.2", "--fail-over", "memory=1MB")
    answer = edgekit("bench", *arguments)
    assert answer.code == 8, answer.err
    assert "bright on local:board (" in answer.out
    after = sorted(str(path) for path in (in_folder / "board").rglob("*") if "__pycache__" not in path.parts)
    assert after == before


def test_several_boards_have_a_line_and_an_exit_code_each(edgekit, in_folder):
    edgekit.ok("deploy", "bright-1.0.edgekit", "local:one")
    targets = ("--target", "local:one", "--target", "local:none")
    answer = edgekit(
        "bench", *targets, "--duration", "0.2", "--source", "synthetic:pattern", "--html", "b.html", "--json"
    )
    one, none = answer.json["boards"]
    assert (one["target"], one["exit_code"], one["error"]) == ("local:one", 0, None)
    assert one["done"]["model"]["name"] == "bright"
    assert none["done"] is None
    assert answer.code == answer.json["exit_code"] == none["exit_code"] == none["error"]["exit_code"] > 0
    assert (in_folder / "b-local-one.html").exists()
    assert not (in_folder / "b-local-none.html").exists()
