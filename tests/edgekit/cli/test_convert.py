import json

import pytest

from device_runtime.contract.decode import read_json
from device_runtime.contract.model import ModelSpec
from tests.support.conversions import fake, trained

__all__ = ["fake", "trained"]

PROJECT = """
[project]
name = "colours"
[model]
source = "plain.keras"
recipe = "float16"
calibration = "pictures"
labels = "labels.txt"
[prep]
normalise = "-1..1"
[task]
max_items = 2
"""


@pytest.fixture
def project(tmp_path, trained):
    (tmp_path / "edgekit.toml").write_text(PROJECT)
    (tmp_path / "plain.keras").symlink_to(trained / "plain.keras")
    (tmp_path / "pictures").symlink_to(trained / "pictures")
    (tmp_path / "labels.txt").write_text("dark\nred\ngreen\nblue\n")
    return tmp_path


def test_a_project_is_converted_as_its_file_says_and_options_replace_that(edgekit, project):
    found = edgekit.ok("convert", "--recipe", "static-int8", "--json").json
    spec = read_json(ModelSpec, project / "out" / "colours.json")
    assert found["recipe"] == spec.provenance.recipe == "static-int8"
    assert found["parity"]["litert"]["agreement"] == 1.0
    assert found["tflite_bytes"] == (project / "out" / "colours.tflite").stat().st_size
    assert (spec.task.max_items, spec.labels) == (2, ("dark", "red", "green", "blue"))
    shown = edgekit.ok(
        "predict", project / "out" / "colours.tflite", project / "pictures" / "01-red.png", "--json"
    ).json
    assert shown["predictions"][0]["items"][0]["label"] == "red"


def test_the_answer_tells_size_agreement_differences_and_the_next_command(edgekit, fake, trained, tmp_path):
    shown = edgekit.ok(
        "convert", fake(), "-o", tmp_path / "m.tflite", "--calibration", trained / "pictures", "--normalise", "-1..1"
    )
    assert "KB as float32 →" in shown.out
    assert "agreement  100.0% with the trained model on 24 samples, run by litert" in shown.out
    assert "where it differs most:" in shown.out
    assert shown.out.rstrip().endswith(f"next: edgekit bundle {tmp_path / 'm.tflite'}")
    assert "run the trained model" in shown.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["absent.keras", "--calibration", "."], 3, "no such model: absent.keras"),
        (["model.fake", "--recipe", "int8"], 2, 'unknown recipe "int8"'),
        (["model.fake"], 2, "measures value ranges on pictures"),
        (["model.fake", "--recipe", "float32"], 2, "does not say how pixels are normalised"),
        (["model.fake", "--normalise", "0-1"], 2, 'unknown normalisation "0-1"'),
        (["model.fake", "--input-size", "big"], 2, "expected HEIGHTxWIDTH"),
        (["model.fake", "--input-shape", "1xx3"], 2, '--input-shape: expected sizes, got "1xx3"'),
        (["model.fake", "--max-size", "huge"], 2, '--max-size: expected a size, got "huge"'),
        (["model.fake", "--recipe", "auto"], 2, "recipe auto measures value ranges"),
        (["model.fake", "--recipe", "float16", "--float-io"], 2, "float_io is for recipes with int8 or int16"),
        (["model.fake", "--recipe", "float32", "-o", "m.bin"], 2, "ends in .tflite"),
        (["model.fake", "--recipe", "float32", "-o", "absent/m.tflite"], 1, "folder absent does not exist"),
        ([], 2, "no edgekit.toml"),
    ],
)
def test_a_wrong_request_is_an_error_with_its_code(edgekit, fake, tmp_path, arguments, code, says):
    fake()
    answer = edgekit("convert", *arguments, "--json")
    assert answer.code == code
    assert says in answer.json["error"]["message"]
    assert answer.json["error"]["exit_code"] == code
    assert "Traceback" not in answer.err
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".tflite", ".json")] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "got an empty file"), (b"PK\3\4 cut", "damaged Keras model"), (b"GIF89a.......", "expected a Keras model")],
)
def test_a_file_that_is_no_model_is_refused(edgekit, tmp_path, content, says):
    (tmp_path / "m.keras").write_bytes(content)
    (tmp_path / "pictures").mkdir()
    answer = edgekit("convert", "m.keras", "--calibration", "pictures")
    assert answer.code == 3
    assert says in answer.err


def auto(folder, fake, trained, *arguments):
    return (
        "convert", fake(), "-o", folder / "m.tflite", "--calibration", trained / "pictures", "--normalise", "-1..1",
        "--recipe", "auto", "--samples", 8, *arguments,
    )  # fmt: skip


def test_a_search_tells_what_it_chose_and_writes_a_report_beside_the_model(edgekit, fake, trained, tmp_path):
    shown = edgekit.ok(*auto(tmp_path, fake, trained, "--candidates", "static-int8", "--max-drop", 2))
    assert "chosen     static-int8 of 1 candidates" in shown.out
    assert "held-out samples" in shown.out
    assert "note       8 held-out samples cannot tell" in shown.out
    report = json.loads((tmp_path / "m.search.json").read_text())
    assert (report["chosen"], report["options"]["max_drop"]) == ("static-int8", 2.0)
    assert "static-int8" in (tmp_path / "m.search.html").read_text()
    assert "m.search.html" in shown.err


def test_a_missed_budget_is_exit_8_with_the_report_and_no_model(edgekit, fake, trained, tmp_path):
    answer = edgekit(*auto(tmp_path, fake, trained, "--max-size", "0.5KB", "--candidates", "static-*", "--json"))
    assert answer.code == 8
    assert "no candidate of" in answer.json["error"]["message"]
    assert "in at most 500 bytes" in answer.json["error"]["message"]
    assert json.loads((tmp_path / "m.search.json").read_text())["chosen"] is None
    assert (tmp_path / "m.search.html").exists()
    assert not (tmp_path / "m.tflite").exists()


def test_a_project_says_what_a_search_is_to_find(edgekit, project):
    text = (project / "edgekit.toml").read_text().replace('recipe = "float16"', 'recipe = "auto"')
    (project / "edgekit.toml").write_text(text + '[search]\nmax_drop = 3\ncandidates = ["float16"]\n')
    found = edgekit.ok("convert", "--samples", 8, "--json").json
    assert (found["recipe"], found["search"]["options"]["max_drop"]) == ("float16", 3.0)
    (project / "edgekit.toml").write_text(text + '[search]\nmetric = "f1"\n')
    answer = edgekit("convert")
    assert answer.code == 3
    assert "search: metric: expected one of top1, map, miou, agreement, got f1" in answer.err


def test_what_stays_float_can_be_named(edgekit, fake, trained, tmp_path):
    arguments = ("convert", fake(), "-o", tmp_path / "m.tflite", "--calibration", trained / "pictures")
    kept = edgekit.ok(*arguments, "--normalise", "-1..1", "--keep-float", "FULLY_CONNECTED", "--json").json
    assert "keep:FULLY_CONNECTED" in kept["recipe"]
    answer = edgekit(*arguments, "--normalise", "-1..1", "--keep-float", "FULLY_CONECTED")
    assert answer.code == 2
    assert "FULLY_CONNECTED" in answer.err
