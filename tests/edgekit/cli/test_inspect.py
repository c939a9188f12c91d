import pytest

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps
from device_runtime.contract.manifest import BlobRef
from tests.support.conversions import sources, trained
from tests.support.tflite import tensor_model
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier

__all__ = ["sources", "trained"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(classifier(dtype="uint8", scale=0.0078125, zero_point=128))
    return path


def test_a_model_shows_tensors_operators_and_how_it_is_run(edgekit, model):
    out = edgekit.ok("inspect", model).out
    assert "3 operators" in out
    assert "0.0078125 * (stored - 128)" in out
    assert "FULLY_CONNECTED" in out
    assert "normalised 128:128" in out
    assert "classification, probabilities" in out


def test_a_model_as_json_is_one_document(edgekit, model):
    found = edgekit.ok("inspect", model, "--json").json
    assert (found["kind"], found["size_bytes"]) == ("tflite", model.stat().st_size)
    assert {"name": "SOFTMAX", "version": 1, "count": 1} in found["operators"]
    assert found["spec"]["prep"]["mean"] == [128.0]


def test_the_spec_beside_a_model_is_shown(edgekit, model):
    spec = describe_tflite(model, PrepOptions(), TaskOptions(max_items=1), None)
    model.with_suffix(".json").write_text(dumps(spec))
    assert edgekit.ok("inspect", model, "--json").json["spec"]["task"]["max_items"] == 1


def test_what_cannot_be_told_is_said_with_the_option_that_tells_it(edgekit, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(classifier())
    assert "--normalise" in edgekit.ok("inspect", path).out
    assert "normalised 0..1" in edgekit.ok("inspect", path, "--normalise", "0..1").out


def test_a_custom_operator_is_named(edgekit, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(build(Net([Tensor("image", (1, 2, 2, 3)), Tensor("out", (1, 3))], [Op("MyMagic", [0], [1])])))
    assert "custom operators: MyMagic" in edgekit.ok("inspect", path).out


@pytest.mark.slow
def test_a_saved_model_shows_its_signatures(edgekit, sources):
    found = edgekit.ok("inspect", sources / "several", "--json").json
    assert [item["name"] for item in found["signatures"]] == ["scores", "sums"]
    assert found["signatures"][0]["inputs"] == [{"name": "numbers", "shape": [None, 8], "dtype": "float32"}]
    assert "sums" in edgekit.ok("inspect", sources / "several").out
    other = edgekit("inspect", sources)
    assert (other.code, "without saved_model.pb" in other.err) == (2, True)


def test_a_keras_file_shows_its_layers(edgekit, trained):
    assert "DepthwiseConv2D" in edgekit.ok("inspect", trained / "plain.keras").out
    assert edgekit.ok("inspect", trained / "lambda.keras", "--json").json["lambdas"] == ["lambda"]
    assert edgekit.ok("inspect", trained / "plain.h5", "--json").json["layers"]["Conv2D"] == 2


def test_a_bundle_shows_its_blobs(edgekit, tmp_path):
    (tmp_path / "m.tflite").write_bytes(classifier())
    named = ("--name", "app", "--version", "1.0", "--normalise", "0..1")
    edgekit.ok("bundle", "m.tflite", "-o", tmp_path / "app.edgekit", *named)
    found = edgekit.ok("inspect", tmp_path / "app.edgekit", "--json").json
    assert (found["kind"], found["name"], found["version"]) == ("bundle", "app", "1.0")
    blobs = [BlobRef(**blob) for blob in found["packages"][0]["blobs"]]
    assert {"model", "spec"} <= {blob.role for blob in blobs}
    assert blobs[0].hex in edgekit.ok("inspect", tmp_path / "app.edgekit").out.replace("\n", "")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.tflite", None, "no such file"),
        ("m.tflite", b"", "got an empty file"),
        ("m.tflite", b"\x1c\0\0\0TFL3\x10", "damaged TFLite model"),
        ("m.keras", b"PK\3\4", "damaged Keras model"),
        ("m.edgekit", b"nonsense", "m.edgekit"),
        ("m.txt", b"nonsense", "something else"),
    ],
)
def test_a_damaged_or_foreign_file_is_an_error(edgekit, tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    answer = edgekit("inspect", path, "--json")
    assert answer.code == 3
    assert says in answer.json["error"]["message"]


def test_a_model_that_takes_tensors_is_shown_as_such(edgekit, tmp_path):
    tensor_model(tmp_path / "t.tflite")
    out = edgekit.ok("inspect", "t.tflite").out
    assert "input: tensors, no picture" in out
    assert "task: regression, values" in out
    assert edgekit.ok("inspect", "t.tflite", "--json").json["spec"]["prep"] is None
