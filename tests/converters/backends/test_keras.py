"""Keras models in the child process; one process serves all tests, because it imports TensorFlow."""

import pytest

from converters.backends.interface import ExportPlan, InputFacts
from converters.errors import ConversionError
from converters.tasks import Activation
from converters.tflite_reader import read_tflite
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import ModelError
from tests.support.colours import SIDE
from tests.support.exports import exported, opened

PIXELS = ImagePrep(SIDE, SIDE)
SIGNED = ImagePrep(SIDE, SIDE, mean=(127.5,), std=(127.5,))
IMAGE = (1, SIDE, SIDE, 3)


@pytest.fixture
def open_model(worker, trained):
    return lambda name: opened(worker, trained / name)


def test_a_plain_model_says_what_it_is(open_model):
    facts = open_model("plain.keras")
    assert (facts.image.shape, facts.leading) == ((None, SIDE, SIDE, 3), None)
    (output,) = facts.outputs
    assert (output.name, output.shape, output.activation) == ("colour", (1, 4), Activation.SOFTMAX)
    assert set(facts.tools) == {"keras", "tensorflow"}


@pytest.mark.parametrize("name", ["legacy.h5", "legacy.keras"])
def test_a_model_of_keras_2_is_read_by_tf_keras(worker, sources, name):
    facts = opened(worker, sources / name)
    assert facts.image.shape == (None, SIDE, SIDE, 3)
    assert set(facts.tools) == {"tf_keras", "tensorflow"}
    assert facts.leading.removable
    assert facts.leading.mean == pytest.approx((127.5,))
    assert facts.outputs[0].activation is Activation.SOFTMAX


def test_leading_layers_are_found_behind_augmentation(open_model):
    facts = open_model("rescaled.keras")
    assert facts.leading.removable
    assert facts.leading.mean == pytest.approx((127.5,))
    assert facts.leading.std == pytest.approx((127.5,))
    assert facts.outputs[0].activation is Activation.LINEAR


def test_a_normalisation_per_channel_is_found(open_model):
    facts = open_model("normalised.keras")
    assert facts.leading.mean == pytest.approx((123.675, 116.28, 103.53), rel=1e-5)
    assert facts.leading.std == pytest.approx((58.395, 57.12, 57.375), rel=1e-5)


def test_a_detectors_outputs_are_told_in_its_own_order(open_model):
    outputs = open_model("detector.keras").outputs
    assert [(output.name, output.shape) for output in outputs] == [("scores", (1, 16, 3)), ("boxes", (1, 16, 4))]
    assert outputs[0].activation is Activation.SIGMOID


def test_an_open_size_is_left_open(open_model):
    assert open_model("open-size.keras").image.shape == (None, None, None, 3)


def test_a_model_that_takes_tensors_says_so(open_model):
    facts = open_model("no-image.keras")
    assert facts.image is None
    assert facts.inputs[0].shape == (None, 8)


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5"])
def test_the_export_answers_as_the_trained_model_does(worker, trained, tmp_path, name):
    made = exported(worker, trained / name, tmp_path, prep=SIGNED)
    assert made.differences == pytest.approx({"colour": 0.0}, abs=1e-5)


@pytest.mark.parametrize("name", ["legacy.h5", "legacy-function.h5"])
def test_the_export_of_a_keras_2_model_answers_as_it_does(worker, sources, tmp_path, name):
    made = exported(worker, sources / name, tmp_path, prep=PIXELS)
    assert made.differences == pytest.approx({"answer": 0.0}, abs=1e-5)


@pytest.mark.parametrize("name", ["rescaled.keras", "legacy.h5"])
def test_a_model_without_its_leading_layers_answers_the_same_to_normalised_pixels(
    worker, trained, sources, tmp_path, name
):
    path = trained / name if (trained / name).exists() else sources / name
    plan = ExportPlan((IMAGE,), bare=True)
    made = exported(worker, path, tmp_path, prep=PIXELS, plan=plan, float_prep=SIGNED)
    assert max(made.differences.values()) < 1e-3


@pytest.mark.parametrize("name", ["plain.keras", "legacy-function.h5"])
def test_a_normalisation_put_into_the_graph_takes_pixels(worker, trained, sources, tmp_path, name):
    path = trained / name if (trained / name).exists() else sources / name
    prep = ImagePrep(SIDE, SIDE, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    plan = ExportPlan((IMAGE,), mean=prep.mean, std=prep.std)
    made = exported(worker, path, tmp_path, prep=prep, plan=plan, float_prep=PIXELS)
    assert max(made.differences.values()) < 1e-5


@pytest.mark.parametrize("name", ["two.keras", "two-legacy.h5"])
def test_inputs_and_outputs_stay_in_the_models_order_whatever_their_names(worker, sources, tmp_path, name):
    made = exported(worker, sources / name, tmp_path)
    assert made.facts.inputs == (InputFacts("zeta", (None, 4)), InputFacts("alpha", (None, 6)))
    assert made.differences == pytest.approx({"last": 0.0, "first": 0.0}, abs=1e-5)
    info = read_tflite(made.model)
    assert [(item.name, item.shape) for item in info.inputs] == [("zeta", (1, 4)), ("alpha", (1, 6))]
    assert [(item.name, item.shape) for item in info.outputs] == [("last", (1, 3)), ("first", (1, 2))]


def test_a_model_made_of_named_inputs_answers_the_same(worker, sources, tmp_path):
    made = exported(worker, sources / "two-named.keras", tmp_path)
    assert [item.name for item in made.facts.inputs] == ["alpha", "zeta"]
    assert made.differences == pytest.approx({"first": 0.0, "last": 0.0}, abs=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "regressor.keras",
        "lstm.keras",
        "lstm-any-batch.h5",
        "gru.keras",
        "states.keras",
        "sequential.keras",
        "ids.keras",
    ],
)
def test_a_model_of_tensors_is_exported_with_builtin_operators(worker, sources, tmp_path, name):
    made = exported(worker, sources / name, tmp_path)
    assert max(made.differences.values()) < 1e-5
    assert read_tflite(made.model).custom_operators == ()


def test_outputs_of_one_layer_get_names_of_their_own(worker, sources):
    assert [item.name for item in opened(worker, sources / "states.keras").outputs] == ["state_0", "state_1", "state_2"]


def test_a_model_that_takes_bytes_is_exported_without_a_detour(worker, sources, tmp_path):
    made = exported(worker, sources / "bytes.keras", tmp_path, prep=PIXELS)
    assert (made.facts.image.dtype, made.facts.leading.mean, made.facts.leading.std) == ("float32", (0.0,), (1.0,))
    assert made.differences == pytest.approx({"answer": 0.0}, abs=1e-5)
    assert "CAST" not in {name for name, _ in read_tflite(made.model).operator_counts}


@pytest.mark.parametrize(("name", "policy"), [("mixed.keras", "float16, mixed_float16"), ("float64.keras", "float64")])
def test_a_model_of_another_precision_is_converted_in_float32_and_the_user_is_told(
    worker, sources, tmp_path, name, policy
):
    prep = PIXELS if name == "mixed.keras" else None
    made = exported(worker, sources / name, tmp_path, prep=prep)
    assert made.facts.inputs[0].dtype == "float32"
    assert max(made.differences.values()) < 1e-5
    assert made.facts.remarks == (
        f"the model was saved to compute in {policy}; it is converted with the same weights in float32",
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nan.keras", r"weights .* hold NaN or infinity"),
        ("lambda.keras", "is a Lambda"),
        ("custom.keras", "custom layers is not in the file: Mine"),
        ("only.weights.h5", "weights without the model"),
        ("text.keras", "takes text"),
        ("nothing.keras", "no layers that compute"),
        ("empty.keras", "without fixed inputs"),
        ("large.h5", r"less than 2 GB.* got 2\.4 GB"),
        ("large.keras", r"less than 2 GB.* got 2\.4 GB"),
        ("legacy-lambda.h5", "is a Lambda"),
        ("legacy-custom.h5", "Mine"),
        ("legacy-evil.h5", r"not in the file: tf\.io\.write_file"),
    ],
)
def test_a_model_that_cannot_be_converted_is_refused(worker, trained, sources, name, says):
    path = trained / name if (trained / name).exists() else sources / name
    with pytest.raises(ModelError, match=says) as caught:
        opened(worker, path)
    assert caught.value.exit_code == 3


def test_an_operator_that_tflite_lacks_is_named(worker, sources, tmp_path):
    with pytest.raises(ConversionError, match="TFLite has no operator for Erfinv") as caught:
        exported(worker, sources / "erfinv.keras", tmp_path)
    assert "compute it before or after the model" in caught.value.hint


@pytest.mark.shared
def test_a_real_model_of_keras_2_is_exported(worker, shared_data, tmp_path):
    prep = ImagePrep(96, 96, mean=(0.0,), std=(255.0,))
    made = exported(worker, shared_data / "models" / "vww_96.h5", tmp_path, prep=prep)
    assert made.differences == pytest.approx({"dense": 0.0}, abs=1e-5)
    assert set(made.facts.tools) == {"tf_keras", "tensorflow"}
