"""``edgekit explain`` on models that are made here, and on real ones."""

import pytest

from converters.shrink import shrink
from tests.support.layered_tflite import layered, quantised
from tests.support.tiny_tflite import Net, Op, Tensor, build


@pytest.fixture
def made(tmp_path):
    """An int8 model; its float version is beside it."""
    return quantised(layered(), "static-int8", tmp_path)


def test_operators_pieces_and_the_way_out_are_told(edgekit, made):
    answer = edgekit.ok("explain", made, "--runtime", "litert")
    assert "between them 1 HARD_SWISH (integers): active" in answer.out
    assert "--recipe wi8c-ai8+keep:HARD_SWISH" in answer.out
    assert "accuracy goes" not in answer.out


def test_layers_are_compared_with_the_float_version(edgekit, made, tmp_path):
    answer = edgekit.ok("explain", made, "--against", tmp_path / "float.tflite", "--normalise", "0..1", "--json").json
    assert [layer["name"] for layer in answer["layers"]] == [
        "stem",
        "active",
        "depth",
        "point",
        "pooled",
        "dense",
        "scores",
    ]
    assert (answer["samples"], answer["generated"]) == (16, True)
    assert [view["runtime"] for view in answer["runtimes"]] == ["litert", "tflite-runtime"]
    assert answer["runtimes"][0]["partitions"]["count"] == 2
    assert answer["operators"][0] == {
        "name": "CONV_2D",
        "version": 3,
        "count": 2,
        "runs_on": ["litert", "tflite-runtime"],
    }


def test_layers_of_a_finished_file_get_the_float_models_names(edgekit, made, tmp_path):
    small = tmp_path / "small.tflite"
    small.write_bytes(shrink(made.read_bytes()))
    answer = edgekit.ok("explain", small, "--against", tmp_path / "float.tflite", "--normalise", "0..1")
    assert "depth" in answer.out
    assert "HARD_SWISH #1" in answer.out


def test_a_model_that_does_not_tell_its_normalisation_asks_for_it(edgekit, tmp_path):
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(layered())
    answer = edgekit("explain", plain, "--against", plain)
    assert answer.code == 2
    assert "--normalise" in answer.err


def test_pictures_serve_as_samples_and_a_folder_without_any_is_an_error(edgekit, made, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = ("explain", made, "--against", tmp_path / "float.tflite", "--normalise", "0..1", "--calibration")
    answer = edgekit(*arguments, tmp_path / "empty")
    assert answer.code != 0
    assert "has no pictures" in answer.err


def test_a_model_that_no_runtime_has_the_operators_for_is_explained_and_not_loaded(edgekit, tmp_path):
    tensors = [Tensor("in", (1, 4)), Tensor("layer", (1, 4))]
    path = tmp_path / "flex.tflite"
    path.write_bytes(build(Net(tensors, [Op("FlexErf", [0], [1])])))
    answer = edgekit.ok("explain", path)
    assert "litert cannot run FlexErf version 1 (layer): Erf is an operator of TensorFlow itself" in answer.out
    assert "TFLITE_BUILTINS" in answer.out


def test_a_model_that_an_engine_refuses_is_explained_all_the_same(edgekit, tmp_path):
    """Its operator is known, but not with such inputs."""
    tensors = [Tensor("in", (1, 4)), Tensor("other", (3, 5)), Tensor("out", (1, 4))]
    path = tmp_path / "wrong.tflite"
    path.write_bytes(build(Net(tensors, [Op("ADD", [0, 1], [2])], inputs=[0, 1])))
    answer = edgekit.ok("explain", path, "--runtime", "litert")
    assert "it does not load" in answer.out
    assert "litert 2.3.0 cannot load the model" in " ".join(answer.out.split())


def test_something_else_is_an_error(edgekit, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello world")
    answer = edgekit("explain", path)
    assert (answer.code, "expected a TFLite model" in answer.err) == (3, True)


@pytest.mark.shared
def test_a_real_model_is_explained(edgekit, shared_data):
    answer = edgekit.ok("explain", shared_data / "models" / "coco_ssd_mobilenet_v1_quant.tflite", "--json").json
    litert = answer["runtimes"][0]["partitions"]
    outside = {item["operator"] for item in litert["outside"]}
    assert litert["inside"] + len(litert["outside"]) == 64
    assert "TFLite_Detection_PostProcess" in outside
