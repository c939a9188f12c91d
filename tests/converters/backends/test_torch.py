"""PyTorch models in the environment that reads them; PyTorch's own answers are what an export is held against."""

from pathlib import Path

import pytest

from converters.backends.interface import ExportPlan
from converters.errors import ConversionError
from converters.jobs import Done, ExportFloat
from converters.process import open_worker
from converters.tasks import Activation
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import ModelError, UsageError
from tests.support.exports import exported, opened
from tests.support.isolated import made, torch_models, torch_worker

__all__ = ["torch_models", "torch_worker"]

pytestmark = pytest.mark.environments

CLOSE = 2e-5
IMAGE = (1, 16, 16, 3)
EXAMPLE = ((1, 3, 16, 16),)


@pytest.fixture
def export(torch_worker, torch_models, tmp_path):
    return lambda name, **options: exported(torch_worker, torch_models / f"{name}.pt2", tmp_path, **options)


@pytest.fixture
def facts_of(torch_worker, torch_models):
    return lambda name: opened(torch_worker, torch_models / f"{name}.pt2")


@pytest.fixture
def call(torch_models, tmp_path, monkeypatch):
    """Open a function of ``torch_modules.py`` in the folder where that lies."""
    monkeypatch.chdir(torch_models)

    def use(name, shapes=EXAMPLE, action=opened, **options):
        with open_worker(tmp_path, silent, made("torch")) as worker:
            return action(worker, Path(name), input_shapes=shapes, **options)

    return use


@pytest.mark.parametrize("name", ["classifier", "mobile-block", "two-inputs", "recurrent", "open-batch"])
def test_an_export_answers_as_pytorch_does(export, name):
    made_model = export(name)
    assert made_model.differences == pytest.approx(dict.fromkeys(made_model.differences, 0), abs=CLOSE)
    assert len(made_model.differences) == len(made_model.facts.outputs)


@pytest.mark.parametrize("name", ["torch_modules:mobile_block", "torch_modules:READY"])
def test_a_function_or_a_module_of_the_current_folder_is_exported(call, tmp_path, name):
    made_model = call(name, action=exported, folder=tmp_path)
    assert made_model.facts.image.shape == IMAGE
    assert max(made_model.differences.values()) < CLOSE


def test_images_have_their_channels_last_at_both_ends(facts_of):
    facts = facts_of("mobile-block")
    assert facts.image.shape == IMAGE
    assert [output.shape for output in facts.outputs] == [(1, 8, 8, 8)]


def test_several_inputs_and_named_outputs_are_told_in_their_order(facts_of):
    facts = facts_of("two-inputs")
    assert [(item.name, item.shape) for item in facts.inputs] == [("image", IMAGE), ("vector", (1, 5))]
    assert [(output.name, output.shape) for output in facts.outputs] == [("score", (1, 2)), ("map", (1, 14, 14, 4))]
    assert facts.outputs[0].activation is Activation.SOFTMAX


def test_an_open_size_is_left_open_and_fixed_by_the_plan(export, facts_of):
    assert facts_of("open-size").image.shape == (1, None, None, 3)
    made_model = export("open-size", shapes=((1, 24, 32, 3),))
    assert max(made_model.differences.values()) < CLOSE
    assert [tensor.shape for tensor in read_tflite(made_model.model).inputs] == [(1, 24, 32, 3)]


def test_the_tools_are_those_of_the_environment(facts_of):
    assert facts_of("classifier").tools == {"torch": "2.13.0+cpu", "litert-torch": "0.10.0"}


def test_pixels_are_normalised_by_a_layer_in_front(export):
    prep = ImagePrep(16, 16, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 56.0))
    plan = ExportPlan((IMAGE,), mean=prep.mean, std=prep.std)
    made_model = export("classifier", prep=prep, plan=plan, float_prep=ImagePrep(16, 16))
    assert max(made_model.differences.values()) < CLOSE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batch-of-4", "input image is 4x3x16x16; expected a first axis that is the batch, 1 or open"),
        ("double", "input image is float64; expected one of float32"),
        ("not-a-number", "weights head.weight hold NaN or infinity"),
        ("named", "it takes named or nested inputs"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(facts_of, name, said):
    with pytest.raises(ModelError) as caught:
        facts_of(name)
    assert said in str(caught.value)
    assert caught.value.hint


def test_code_that_a_file_brings_with_its_example_does_not_run(facts_of, torch_models):
    with pytest.raises(ModelError) as caught:
        facts_of("payload")
    assert "torch.export.save(" in caught.value.hint
    assert not (torch_models / "payload-ran").exists()


def test_an_operator_that_tflite_has_not_is_told(torch_worker, facts_of, tmp_path):
    facts_of("inconvertible")
    with pytest.raises(ConversionError, match=r"has no counterpart of aten\._linalg_svd"):
        torch_worker.call(ExportFloat(str(tmp_path / "x.tflite"), ExportPlan(((1, 4, 4),))), Done, "export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "shapes", "error", "said"),
    [
        ("torch_modules:classifier", (), UsageError, "does not tell the shape of the model's input"),
        ("torch_modules:classifier", ((1, 4, 16, 16),), ModelError, "cannot export it with inputs of 1x4x16x16"),
        ("torch_modules:number", EXAMPLE, ModelError, "expected a torch.nn.Module, got int"),
        ("torch_modules:failing", EXAMPLE, ModelError, "it fails with ValueError: weights.pth is not here"),
        (
            "torch_modules:needy",
            EXAMPLE,
            ModelError,
            "it imports no_such_package_here, which is not in the environment",
        ),
        ("torch_modules:nothing", EXAMPLE, UsageError, "torch_modules has no nothing"),
        ("no_such_module:make", EXAMPLE, UsageError, "no module no_such_module in"),
    ],
)
def test_a_function_that_makes_no_model_is_told_why(call, name, shapes, error, said):
    with pytest.raises(error) as caught:
        call(name, shapes)
    assert said in str(caught.value)
    assert caught.value.hint
