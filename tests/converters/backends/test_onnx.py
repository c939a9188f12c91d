"""ONNX models in the environment that reads them; ONNX Runtime's answers are what an export is held against."""

import pytest

from converters.backends.interface import ExportPlan
from converters.errors import ConversionError
from converters.jobs import Done, ExportFloat
from converters.tasks import Activation
from converters.tflite_reader import read_tflite
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import ModelError
from tests.support.exports import exported, opened
from tests.support.isolated import onnx_models, onnx_worker

__all__ = ["onnx_models", "onnx_worker"]

pytestmark = pytest.mark.environments

CLOSE = 2e-5
IMAGE = (1, 16, 16, 3)


@pytest.fixture
def export(onnx_worker, onnx_models, tmp_path):
    return lambda name, **options: exported(onnx_worker, onnx_models / f"{name}.onnx", tmp_path, **options)


@pytest.fixture
def facts_of(onnx_worker, onnx_models):
    return lambda name: opened(onnx_worker, onnx_models / f"{name}.onnx")


def operators(model):
    return {operator.name for graph in read_tflite(model).subgraphs for operator in graph.operators}


@pytest.mark.parametrize(
    "name",
    [
        "classifier",
        "mobile-block",
        "gated-hardswish",
        "gated-tanh",
        "gated-at-the-end",
        "two-outputs",
        "concat-resize",
        "two-inputs",
        "channels-last",
        "even-sides",
        "recurrent",
        "tensors",
        "listed-weights",
        "open-batch",
        "half",
        "double",
    ],
)
def test_an_export_answers_as_onnx_runtime_does(export, name):
    made = export(name)
    assert made.differences == pytest.approx(dict.fromkeys(made.differences, 0), abs=CLOSE)
    assert len(made.differences) == len(made.facts.outputs)


def test_images_have_their_channels_last_at_both_ends(facts_of):
    facts = facts_of("concat-resize")
    assert facts.image.shape == (1, 12, 20, 3)
    assert [(output.name, output.shape) for output in facts.outputs] == [("map", (1, 12, 20, 6))]


def test_an_input_with_its_channels_last_already_stays_as_it_is(facts_of):
    assert facts_of("channels-last").image.shape == IMAGE


def test_what_is_no_image_keeps_its_axes(facts_of):
    facts = facts_of("two-inputs")
    assert facts.image is None
    assert [(item.name, item.shape) for item in facts.inputs] == [("vector", (1, 4)), ("image", IMAGE)]
    assert facts_of("recurrent").inputs[0].shape == (1, 6, 4)


def test_an_open_size_is_left_open_and_fixed_by_the_plan(export, facts_of):
    assert facts_of("open-size").image.shape == (None, None, None, 3)
    made = export("open-size", shapes=((1, 24, 32, 3),))
    assert made.differences["scores"] < CLOSE
    assert [tensor.shape for tensor in read_tflite(made.model).inputs] == [(1, 24, 32, 3)]


def test_what_computes_an_output_is_told(facts_of):
    assert [output.activation for output in facts_of("classifier").outputs] == [Activation.SOFTMAX]
    assert [output.activation for output in facts_of("two-outputs").outputs] == [Activation.UNKNOWN, Activation.LINEAR]


def test_the_tools_are_those_of_the_environment(facts_of):
    assert facts_of("classifier").tools == {"onnx": "1.20.1", "onnx2tf": "2.6.9", "onnxruntime": "1.26.0"}


@pytest.mark.parametrize(("name", "kind"), [("half", "float16"), ("double", "float64")])
def test_other_floats_become_float32_and_that_is_said(facts_of, name, kind):
    facts = facts_of(name)
    assert facts.inputs[0].dtype == "float32"
    assert facts.remarks == (f"the model computes in {kind}; it is converted with the same weights in float32",)


@pytest.mark.parametrize("name", ["classifier", "channels-last"])
def test_pixels_are_normalised_by_a_layer_in_front(export, name):
    prep = ImagePrep(16, 16, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 56.0))
    plan = ExportPlan((IMAGE,), mean=prep.mean, std=prep.std)
    made = export(name, prep=prep, plan=plan, float_prep=ImagePrep(16, 16))
    assert made.differences["scores"] < CLOSE


def test_nothing_that_computes_shapes_is_left_in_the_export(export):
    kinds = operators(export("open-batch").model)
    assert not kinds & {"SHAPE", "SLICE", "STRIDED_SLICE", "GATHER", "TRANSPOSE"}


@pytest.mark.parametrize("name", ["mobile-block", "gated-hardswish", "gated-tanh"])
def test_no_feature_map_is_turned_round_on_the_way(export, name):
    assert "TRANSPOSE" not in operators(export(name).model)


@pytest.mark.parametrize("name", ["two-inputs", "tensors", "steps"])
def test_a_product_with_a_constant_is_a_fully_connected_layer(export, name):
    made = export(name)
    assert made.differences == pytest.approx(dict.fromkeys(made.differences, 0), abs=CLOSE)
    assert operators(made.model) & {"FULLY_CONNECTED", "BATCH_MATMUL"} == {"FULLY_CONNECTED"}


def test_a_recurrent_layer_does_not_remember_the_sample_before(export):
    assert not operators(export("recurrent").model) & {"UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("not-a-number", "weights w hold NaN or infinity"),
        ("unknown-operator", "operators that ONNX's set 17 does not have: Frobnicate"),
        ("custom-operator", "operators that ONNX's set 17 does not have: com.microsoft::Gelu"),
        ("newer-operators", "expected an operator set from 1 to 25, got 99"),
        ("text", "input x is string; expected one of float32"),
        ("batch-of-4", "input image is 4x3x16x16; expected a first axis that is the batch, 1 or open"),
        ("steps-first", "input steps is 6x1x4; expected a first axis that is the batch, 1 or open"),
        ("external", "its weights are in another file, which is not there: weights.bin"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(facts_of, name, said):
    with pytest.raises(ModelError) as caught:
        facts_of(name)
    assert said in str(caught.value)
    assert caught.value.hint


def test_an_operator_that_tflite_has_not_is_told(onnx_worker, facts_of, tmp_path):
    facts_of("inconvertible")
    with pytest.raises(ConversionError, match=r"inconvertible\.onnx: .*Unique"):
        onnx_worker.call(ExportFloat(str(tmp_path / "x.tflite"), ExportPlan((IMAGE,))), Done, "export")
    assert list(tmp_path.iterdir()) == []


def test_what_onnx2tf_converts_wrongly_is_refused(onnx_worker, facts_of, tmp_path):
    facts_of("norm-of-channels")
    said = "converts it wrongly: output_0 is 1x16x16x8, expected 1x8x16x16"
    with pytest.raises(ConversionError, match=said) as caught:
        onnx_worker.call(ExportFloat(str(tmp_path / "x.tflite"), ExportPlan((IMAGE,))), Done, "export")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shared
def test_a_face_detector_answers_as_onnx_runtime_does(onnx_worker, shared_data, tmp_path):
    made = exported(onnx_worker, shared_data / "models" / "version-slim-320.onnx", tmp_path)
    assert made.facts.image.shape == (1, 240, 320, 3)
    assert [output.shape for output in made.facts.outputs] == [(1, 4420, 2), (1, 4420, 4)]
    assert made.differences == pytest.approx({"scores": 0, "boxes": 0}, abs=CLOSE)
