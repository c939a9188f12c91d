"""What is written into a model is what our reader and ``describe`` find there."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from converters.metadata import METADATA_NAME, SPEC_NAME, read_label_file, read_metadata
from converters.metadata_writer import with_metadata
from converters.shrink import shrink
from converters.tflite_reader import parse_tflite, read_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.contract.decode import dumps
from device_runtime.contract.model import (
    BoxFormat,
    BoxUnit,
    Colour,
    ImagePrep,
    ModelSpec,
    Provenance,
    Resize,
    SsdAnchors,
    TaskSpec,
    TensorSpec,
)
from device_runtime.engine.litert import open_engine
from device_runtime.errors import BadFileError, ModelError
from tests.support.tflite import constant_model, detector_model
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier

NOTHING = (PrepOptions(), TaskOptions(), None)
PROVENANCE = Provenance("cats.keras", "ab" * 32, "static-int8", "cd" * 32, {"tensorflow": "2.21.0"})


def classifier_spec(**changed):
    spec = ModelSpec(
        "cats",
        TaskSpec("classification", "probabilities"),
        ImagePrep(2, 2, resize=Resize.LETTERBOX, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
        (TensorSpec("image", (1, 2, 2, 3), "float32"),),
        (TensorSpec("scores", (1, 3), "float32"),),
        ("cat", "dog", "Köter"),
        PROVENANCE,
    )
    return dataclasses.replace(spec, **changed)


@pytest.fixture
def written(tmp_path):
    """A function that writes a spec into a model, and gives the file."""

    def write(content, spec):
        path = tmp_path / "written.tflite"
        path.write_bytes(with_metadata(content, spec))
        return path

    return write


def test_a_classifier_tells_its_normalisation_colour_and_labels(written):
    path = written(classifier(), classifier_spec())
    metadata = read_metadata(read_tflite(path), "written")
    (image,), (scores,) = metadata.inputs, metadata.outputs
    assert (image.name, image.mean, image.std, image.colour) == ("image", (1, 2, 3), (4, 5, 6), Colour.RGB)
    assert scores.name == "scores"
    assert read_label_file(path, scores.label_file) == "cat\ndog\nKöter\n"
    assert metadata.name == "cats"
    assert "cats.keras" in metadata.description


def test_a_file_alone_is_described_as_it_was_made(written):
    spec = classifier_spec()
    assert describe_tflite(written(classifier(), spec), *NOTHING) == spec


def test_options_change_the_task_of_an_embedded_spec(written):
    found = describe_tflite(
        written(classifier(), classifier_spec()), PrepOptions(), TaskOptions(score_threshold=0.25), None
    )
    assert (found.task.score_threshold, found.labels) == (0.25, ("cat", "dog", "Köter"))


def test_the_json_beside_the_model_wins_over_the_one_inside(written):
    path = written(classifier(), classifier_spec())
    beside = classifier_spec(labels=("one", "two", "three"))
    path.with_suffix(".json").write_text(dumps(beside))
    assert describe_tflite(path, *NOTHING) == beside


def test_an_embedded_spec_of_another_model_is_an_error_that_names_both(written):
    path = written(classifier(dtype="uint8"), classifier_spec())
    with pytest.raises(ModelError, match=r"EDGEKIT_MODEL_SPEC is of another model: .* float32, the model has .* uint8"):
        describe_tflite(path, *NOTHING)


def test_a_damaged_embedded_spec_is_an_error_that_names_it(tmp_path):
    model = unpack(with_metadata(classifier(), classifier_spec()))
    entry = next(item for item in model.metadata if item.name == SPEC_NAME.encode())
    model.buffers[entry.buffer].data = model.buffers[entry.buffer].data[:50]
    path = tmp_path / "damaged.tflite"
    path.write_bytes(pack(model))
    with pytest.raises(BadFileError, match="EDGEKIT_MODEL_SPEC: not JSON"):
        describe_tflite(path, *NOTHING)


def test_without_the_embedded_spec_the_metadata_tell_other_readers_enough(written, tmp_path):
    """What another tool knows: normalisation, colour and labels."""
    content = written(classifier(), classifier_spec()).read_bytes()
    path = tmp_path / "foreign.tflite"
    path.write_bytes(content.replace(SPEC_NAME.encode(), b"SOMETHING_OF_OTHER"))
    found = describe_tflite(path, *NOTHING)
    spec = classifier_spec()
    assert (found.prep.mean, found.prep.std, found.labels) == (spec.prep.mean, spec.prep.std, spec.labels)


@pytest.mark.parametrize("box_format", list(BoxFormat))
def test_a_detector_tells_the_order_of_its_boxes(written, tmp_path, box_format):
    path = tmp_path / "made.tflite"
    spec = detector_model(path, [[0, 0, 1, 1]], [[0.9, 0.1]], ("cat", "dog"), box_format=box_format)
    metadata = read_metadata(read_tflite(written(path.read_bytes(), spec)), "written")
    assert [output.box_format for output in metadata.outputs] == [box_format, None]
    assert [output.label_file for output in metadata.outputs] == ["", "labels.txt"]


@pytest.mark.parametrize(
    ("task", "shapes", "labels"),
    [
        (
            TaskSpec("detection", "ssd", anchors=SsdAnchors((8, 16), 0.1), background=True, label_offset=1),
            [(1, 3, 4), (1, 3, 4)],
            ("background", "a", "b", "c"),
        ),
        (TaskSpec("detection", "boxes-scores", box_unit=BoxUnit.PIXEL), [(1, 3, 4), (1, 3, 2)], ("a", "b")),
        (TaskSpec("detection", "yolov8"), [(1, 6, 3)], ("a", "b")),
        (TaskSpec("pose", "heatmaps"), [(1, 4, 4, 2), (1, 4, 4, 4)], ("nose", "tail")),
    ],
)
def test_heads_without_words_in_the_schema_are_described_by_the_embedded_spec(written, tmp_path, task, shapes, labels):
    path = tmp_path / "made.tflite"
    tensors = [(f"out{index}", np.zeros(shape, np.float32), 0.0, 0) for index, shape in enumerate(shapes)]
    image, outputs = constant_model(path, tensors)
    spec = ModelSpec("made", task, ImagePrep(8, 8, mean=(0.0,), std=(255.0,)), (image,), outputs, labels)
    found = written(path.read_bytes(), spec)
    assert describe_tflite(found, *NOTHING) == spec
    told = read_metadata(read_tflite(found), "written").outputs
    assert [output.label_file for output in told] == [""] * len(shapes)
    assert {output.box_format for output in told} == {None}


def test_lines_of_a_label_file_are_classes_whatever_the_offset(written, tmp_path):
    """Other tools know no offset: line i names class i."""
    path = tmp_path / "made.tflite"
    spec = detector_model(path, [[0, 0, 1, 1]], [[0.9, 0.1]], ("background", "cat", "dog"), label_offset=1)
    assert read_label_file(written(path.read_bytes(), spec), "labels.txt") == "cat\ndog\n"
    spec = dataclasses.replace(spec, task=dataclasses.replace(spec.task, label_offset=-1), labels=("dog",))
    assert read_label_file(written(path.read_bytes(), spec), "labels.txt") == "???\ndog\n"


def test_values_of_several_outputs_each_get_their_names(written, tmp_path):
    path = tmp_path / "made.tflite"
    image, outputs = constant_model(
        path, [("angle", np.float32([[1]]), 0.0, 0), ("place", np.float32([[1, 2]]), 0.0, 0)]
    )
    spec = ModelSpec(
        "where",
        TaskSpec("regression", "values"),
        ImagePrep(8, 8, mean=(0.0,), std=(255.0,)),
        (image,),
        outputs,
        ("angle", "x", "y"),
    )
    path = written(path.read_bytes(), spec)
    metadata = read_metadata(read_tflite(path), "written")
    assert [read_label_file(path, output.label_file) for output in metadata.outputs] == ["angle\n", "x\ny\n"]
    assert describe_tflite(path, *NOTHING) == spec


def test_a_tensor_model_has_no_normalisation(written):
    tensors = [Tensor("a", (1, 4)), Tensor("b", (1, 4)), Tensor("sum", (1, 4))]
    content = build(Net(tensors, [Op("MAXIMUM", [0, 1], [2])], inputs=[0, 1]))
    specs = tuple(TensorSpec(name, (1, 4), "float32") for name in ("a", "b", "sum"))
    spec = ModelSpec("adder", TaskSpec("regression", "values"), None, specs[:2], specs[2:])
    path = written(content, spec)
    metadata = read_metadata(read_tflite(path), "written")
    assert [(tensor.name, tensor.mean) for tensor in metadata.inputs] == [("a", ()), ("b", ())]
    assert describe_tflite(path, *NOTHING) == spec
    assert not zipfile.is_zipfile(path)


def test_writing_again_replaces_what_was_there_and_equal_specs_give_equal_bytes(written):
    content = classifier()
    once = with_metadata(content, classifier_spec())
    assert with_metadata(content, classifier_spec()) == once
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)
    other = classifier_spec(name="dogs")
    twice = with_metadata(once, other)
    assert list(parse_tflite(twice, "twice").metadata) == [METADATA_NAME, SPEC_NAME]
    assert describe_tflite(written(once, other), *NOTHING) == other


def test_a_described_model_runs_as_before(written, engine):
    content = shrink(classifier())
    path = written(content, classifier_spec())
    loaded = open_engine(path, engine)
    assert [tensor.name for tensor in loaded.inputs] == ["image"]
    loaded.invoke()
    assert loaded.output(0).shape == (1, 3)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["mobilenet_v2_1.0_224_quant", "coco_ssd_mobilenet_v1_quant", "deeplabv3_mnv2_dm05_pascal_quant"]
)
def test_a_real_models_description_survives_in_the_file_alone(shared_data, written, name):
    path = shared_data / "models" / f"{name}.tflite"
    spec = describe_tflite(path, *NOTHING)
    again = written(shrink(path.read_bytes()), spec)
    assert describe_tflite(again, *NOTHING) == spec
    metadata = read_metadata(read_tflite(again), name)
    assert (metadata.inputs[0].mean, metadata.inputs[0].std) == (spec.prep.mean, pytest.approx(spec.prep.std))
