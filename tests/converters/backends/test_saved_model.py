"""SavedModel folders in the child process."""

import shutil

import pytest

from converters.backends.interface import ExportPlan, InputFacts
from converters.errors import ConversionError
from converters.tasks import Activation
from converters.tflite_reader import read_tflite
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import ModelError, UsageError
from tests.support.exports import exported, opened

PIXELS = ImagePrep(16, 16)


def test_a_model_that_keras_exported_answers_the_same(worker, sources, tmp_path):
    made = exported(worker, sources / "exported", tmp_path, prep=ImagePrep(16, 16, std=(255.0,)))
    assert made.facts.image.shape == (None, 16, 16, 3)
    assert made.facts.outputs[0].activation is Activation.SOFTMAX
    assert made.differences == pytest.approx({"output_0": 0.0}, abs=1e-5)


def test_a_normalisation_put_into_the_graph_takes_pixels(worker, sources, tmp_path):
    prep = ImagePrep(16, 16, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    plan = ExportPlan(((1, 16, 16, 3),), mean=prep.mean, std=prep.std)
    made = exported(worker, sources / "exported", tmp_path, prep=prep, plan=plan, float_prep=PIXELS)
    assert max(made.differences.values()) < 1e-5
    assert read_tflite(made.model).operator_counts[("DEPTHWISE_CONV_2D", 1)] == 1


def test_inputs_and_outputs_are_in_the_order_of_their_names(worker, sources, tmp_path):
    made = exported(worker, sources / "exported-two", tmp_path)
    assert made.facts.inputs == (InputFacts("alpha", (None, 6)), InputFacts("zeta", (None, 4)))
    assert made.differences == pytest.approx({"first": 0.0, "last": 0.0}, abs=1e-5)


def test_a_signature_without_the_default_name_is_taken_when_it_is_the_only_one(worker, sources):
    (output,) = opened(worker, sources / "only").outputs
    assert (output.name, output.activation) == ("sums", Activation.LINEAR)


def test_of_several_signatures_one_has_to_be_named(worker, sources, tmp_path):
    with pytest.raises(UsageError, match=r"which of its signatures to convert\? scores, sums") as caught:
        opened(worker, sources / "several")
    assert caught.value.hint == "--signature scores"
    made = exported(worker, sources / "several", tmp_path, signature="scores")
    assert made.facts.outputs[0].activation is Activation.SOFTMAX
    assert made.differences == pytest.approx({"scores": 0.0}, abs=1e-5)


def test_a_signature_that_is_not_there_is_refused_with_those_that_are(worker, sources):
    with pytest.raises(UsageError, match="no signature 'other'") as caught:
        opened(worker, sources / "several", signature="other")
    assert caught.value.hint == "it has: scores, sums"


def test_a_model_that_takes_bytes_of_any_size_is_fixed_to_one(worker, sources, tmp_path):
    made = exported(worker, sources / "picture", tmp_path, shapes=((1, 16, 16, 3),), prep=PIXELS)
    assert made.facts.inputs == (InputFacts("picture", (None, None, None, 3)),)
    assert (made.facts.leading.mean, made.facts.leading.std) == ((0.0,), (1.0,))
    assert made.differences == pytest.approx({"colour": 0.0}, abs=1e-5)
    info = read_tflite(made.model)
    assert info.inputs[0].shape_signature == (1, 16, 16, 3)
    assert "CAST" not in {name for name, _ in info.operator_counts}


def test_whole_numbers_stay_whole_numbers(worker, sources, tmp_path):
    made = exported(worker, sources / "ids", tmp_path)
    assert made.facts.inputs == (InputFacts("ids", (None, 6), "int64"),)
    assert made.differences == pytest.approx({"sums": 0.0}, abs=1e-5)


def test_an_input_without_a_shape_gets_the_one_that_is_told(worker, sources, tmp_path):
    with pytest.raises(ModelError, match="input anything has no shape") as caught:
        opened(worker, sources / "shapeless")
    assert "--input-shape" in caught.value.hint
    made = exported(worker, sources / "shapeless", tmp_path, input_shapes=((1, 2, 4),))
    assert made.facts.inputs == (InputFacts("anything", (1, 2, 4)),)
    assert made.differences == pytest.approx({"sums": 0.0}, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nan", "weights .* hold NaN or infinity"),
        ("wide", "input wide is float64"),
        ("constant", "signature serving_default has no inputs"),
        ("unsigned", "has no signature"),
        ("writes", "reach out of the model .*: WriteFile"),
        ("calls", "reach out of the model .*: EagerPyFunc"),
        ("large", r"less than 2 GB.* got 3\.0 GB"),
    ],
)
def test_a_model_that_cannot_be_converted_is_refused(worker, sources, name, says):
    with pytest.raises(ModelError, match=says) as caught:
        opened(worker, sources / name)
    assert caught.value.hint
    assert not (sources / "written-by-a-model").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("lacking", "TFLite has no operator for Cholesky"), ("inner_wide", "computes in float64, as in MatMul")],
)
def test_what_tflite_lacks_is_named(worker, sources, tmp_path, name, says):
    with pytest.raises(ConversionError, match=says) as caught:
        exported(worker, sources / name, tmp_path)
    assert caught.value.hint


def test_a_recurrent_layer_starts_anew_with_every_sample(worker, sources, tmp_path):
    made = exported(worker, sources / "lstm-one", tmp_path)
    assert max(made.differences.values()) < 1e-5


def test_a_recurrent_layer_of_any_batch_is_refused_with_the_way_out(worker, sources, tmp_path):
    with pytest.raises(ConversionError, match="recurrent layers were saved for any batch") as caught:
        exported(worker, sources / "lstm-any-batch", tmp_path)
    assert "batch_size=1" in caught.value.hint


def test_a_damaged_folder_is_refused(worker, sources, tmp_path):
    damaged, bare = tmp_path / "damaged", tmp_path / "bare"
    shutil.copytree(sources / "only", damaged)
    (damaged / "saved_model.pb").write_bytes((damaged / "saved_model.pb").read_bytes()[:100])
    shutil.copytree(sources / "only", bare)
    shutil.rmtree(bare / "variables")
    with pytest.raises(ModelError, match="damaged SavedModel"):
        opened(worker, damaged)
    with pytest.raises(ModelError, match="cannot load it"):
        opened(worker, bare)
