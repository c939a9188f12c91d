"""Keras models in the child process; one process serves all tests, because it imports TensorFlow."""

import numpy as np
import pytest

from converters.arrays import ArrayWriter, open_array
from converters.backends.interface import ExportPlan, SourceFacts
from converters.jobs import Done, ExportFloat, OpenSource, Outputs, RunModel, RunSource
from converters.process import open_worker
from converters.tasks import Activation
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import ModelError
from tests.support.colours import SIDE, colour_pictures

PIXELS = ImagePrep(SIDE, SIDE)
SIGNED = ImagePrep(SIDE, SIDE, mean=(127.5,), std=(127.5,))


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent) as opened:
        yield opened


@pytest.fixture
def open_model(worker, trained):
    def run(name):
        job = OpenSource("converters.backends.keras:open_source", str(trained / name))
        return worker.call(job, SourceFacts, f"load {name}")

    return run


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npy"
    with ArrayWriter(path, (SIDE, SIDE, 3), np.uint8) as writer:
        for pixels in colour_pictures(8, seed=3)[0]:
            writer.append(pixels)
    return path


def export_error(worker, samples, folder, source_prep, plan, float_prep):
    """The largest difference between the trained model's and the exported model's answers."""
    wanted = worker.call(RunSource(str(samples), source_prep, str(folder)), Outputs, "run")
    target = folder / "float.tflite"
    worker.call(ExportFloat(str(target), plan), Done, "export")
    with open_worker(folder, silent) as runner:
        got = runner.call(RunModel(str(target), float_prep, str(samples), str(folder)), Outputs, "run")
    return np.abs(open_array(wanted.files[0]) - open_array(got.files[0])).max()


def test_a_plain_model_says_what_it_is(open_model):
    facts = open_model("plain.keras")
    assert (facts.height, facts.width, facts.channels, facts.leading) == (SIDE, SIDE, 3, None)
    (output,) = facts.outputs
    assert (output.name, output.shape, output.activation) == ("colour", (1, 4), Activation.SOFTMAX)
    assert set(facts.tools) == {"keras", "tensorflow"}


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
    facts = open_model("open-size.keras")
    assert (facts.height, facts.width) == (None, None)


def test_the_export_answers_as_the_trained_model_does(open_model, worker, samples, tmp_path):
    open_model("plain.h5")
    assert export_error(worker, samples, tmp_path, SIGNED, ExportPlan(SIDE, SIDE), SIGNED) < 1e-5


def test_a_model_without_its_leading_layers_answers_the_same_to_normalised_pixels(
    open_model, worker, samples, tmp_path
):
    open_model("rescaled.keras")
    assert export_error(worker, samples, tmp_path, PIXELS, ExportPlan(SIDE, SIDE, bare=True), SIGNED) < 1e-3


def test_a_normalisation_put_into_the_graph_takes_pixels(open_model, worker, samples, tmp_path):
    open_model("plain.keras")
    prep = ImagePrep(SIDE, SIDE, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    plan = ExportPlan(SIDE, SIDE, mean=prep.mean, std=prep.std)
    assert export_error(worker, samples, tmp_path, prep, plan, PIXELS) < 1e-5


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("two-inputs.keras", "expected 1 input, an image, got 2"),
        ("no-image.keras", "expected an image input of shape"),
        ("nan.keras", r"weights .* hold NaN or infinity"),
        ("lambda.keras", "is a Lambda"),
    ],
)
def test_a_model_that_cannot_be_converted_is_refused(open_model, name, says):
    with pytest.raises(ModelError, match=says) as caught:
        open_model(name)
    assert caught.value.exit_code == 3


@pytest.mark.shared
def test_a_file_that_only_keras_2_reads_is_refused_with_the_way_out(worker, shared_data):
    job = OpenSource("converters.backends.keras:open_source", str(shared_data / "models" / "vww_96.h5"))
    with pytest.raises(ModelError, match=r"written by Keras 2\.4\.0") as caught:
        worker.call(job, SourceFacts, "load")
    assert "load_weights" in caught.value.hint
