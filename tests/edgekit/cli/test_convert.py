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
    assert found["parity"]["agreement"] == 1.0
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
    assert "agreement  100.0% with the trained model on 24 pictures" in shown.out
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
