"""TFLite files as sources; no framework is needed."""

import dataclasses

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters import convert
from converters.backends.interface import ExportPlan
from converters.interface import ConvertRequest, PrepOptions, TaskOptions
from converters.parity.metrics import mean_iou, overlap
from converters.tasks import Activation
from converters.tflite_reader import read_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import silent
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.engine.litert import open_engine
from device_runtime.errors import BadFileError, ModelError, UsageError
from device_runtime.vision.picture import list_pictures, read_picture
from device_runtime.vision.prepare import Preparer
from tests.support.colours import LABELS, SIDE
from tests.support.exports import exported, opened
from tests.support.quantising import quantise
from tests.support.tflite import brightness_model
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier, image_metadata, with_zip

SIGNED = ImagePrep(SIDE, SIDE, mean=(127.5,), std=(127.5,))
PIXELS = ImagePrep(SIDE, SIDE)


def written(folder, content, name="model.tflite"):
    path = folder / name
    path.write_bytes(content)
    return path


def open_sized(folder, *, fixed_reshape=False):
    """A model whose picture may have any size: means of the channels, or a reshape that knows one size only."""
    tensors = [Tensor("image", (1, 8, 8, 3), signature=(-1, -1, -1, 3))]
    if fixed_reshape:
        tensors += [Tensor("shape", (2,), "int32", values=np.array([1, 192], np.int32)), Tensor("flat", (1, 192))]
        ops = [Op("RESHAPE", [0, 1], [2])]
    else:
        axes = np.array([1, 2], np.int32)
        tensors += [Tensor("axes", (2,), "int32", values=axes), Tensor("means", (1, 3), signature=(-1, 3))]
        ops = [Op("MEAN", [0, 1], [2], options=(schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()))]
    return written(folder, build(Net(tensors, ops)))


@pytest.fixture
def halves(trained, tmp_path):
    """A model whose weights are stored as float16."""
    return quantise(trained / "plain.tflite", tmp_path / "halves.tflite", "float16", (), SIGNED)


def test_a_float_model_says_what_its_tensors_tell(worker, trained):
    facts = opened(worker, trained / "plain.tflite")
    assert facts.image.shape == (None, SIDE, SIDE, 3)
    assert (facts.quantised, facts.remarks, facts.stated.prep) == (False, (), PrepOptions())
    assert facts.outputs[0].activation is Activation.SOFTMAX


def test_the_export_of_a_float_model_answers_as_the_file_does(worker, trained, tmp_path):
    assert max(exported(worker, trained / "plain.tflite", tmp_path, prep=SIGNED).differences.values()) == 0.0


def test_a_normalisation_put_in_front_takes_pixels(worker, trained, tmp_path):
    prep = ImagePrep(SIDE, SIDE, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    plan = ExportPlan(((1, SIDE, SIDE, 3),), mean=prep.mean, std=prep.std)
    made = exported(worker, trained / "plain.tflite", tmp_path, prep=prep, plan=plan, float_prep=PIXELS)
    assert max(made.differences.values()) < 1e-5


def test_weights_of_16_bits_become_the_floats_that_they_stand_for(worker, halves, tmp_path):
    made = exported(worker, halves, tmp_path, prep=SIGNED)
    assert not made.facts.quantised
    assert made.facts.remarks == ("weights stored as float16 are taken as the float32 numbers that they stand for",)
    assert max(made.differences.values()) < 1e-6
    assert "DEQUANTIZE" in {name for name, _ in read_tflite(halves).operator_counts}
    assert "DEQUANTIZE" not in {name for name, _ in read_tflite(made.model).operator_counts}


def test_metadata_state_normalisation_colour_and_labels(worker, tmp_path):
    content = classifier(metadata=image_metadata([100.0], [50.0], label_file="labels.txt"))
    facts = opened(worker, written(tmp_path, with_zip(content, {"labels.txt": "a\nb\nc\n"})))
    assert (facts.stated.prep.mean, facts.stated.prep.std) == ((100.0,), (50.0,))
    assert facts.stated.prep.colour is Colour.RGB
    assert facts.stated.labels == ("a", "b", "c")


def test_the_json_beside_a_model_states_all(worker, tmp_path):
    spec = brightness_model(tmp_path / "bright.tflite")
    stated = opened(worker, tmp_path / "bright.tflite").stated
    assert (stated.prep.mean, stated.prep.std, stated.labels) == (spec.prep.mean, spec.prep.std, spec.labels)
    assert (stated.task.name, stated.task.decoder) == ("classification", "logits")


def test_an_open_size_is_fixed_for_every_tensor(worker, tmp_path):
    made = exported(worker, open_sized(tmp_path), tmp_path, shapes=((1, 4, 6, 3),))
    assert made.facts.image.shape == (None, None, None, 3)
    assert max(made.differences.values()) == 0.0
    info = read_tflite(made.model)
    assert (info.inputs[0].shape_signature, info.outputs[0].shape_signature) == ((1, 4, 6, 3), (1, 3))


def test_a_size_that_the_graph_does_not_work_with_is_refused_by_its_option(worker, tmp_path):
    path = open_sized(tmp_path, fixed_reshape=True)
    with pytest.raises(ModelError, match=r"does not work with inputs of shape \[1, 4, 6, 3\]") as caught:
        exported(worker, path, tmp_path, shapes=((1, 4, 6, 3),))
    assert "--input-size" in caught.value.hint


def test_a_file_without_a_signature_gets_one(worker, trained, tmp_path):
    model = unpack((trained / "plain.tflite").read_bytes())
    model.signatureDefs = None
    path = written(tmp_path, pack(model))
    assert max(exported(worker, path, tmp_path, prep=SIGNED).differences.values()) == 0.0


def test_operators_of_an_old_file_are_known_to_the_quantiser(trained, tmp_path):
    model = unpack((trained / "plain.tflite").read_bytes())
    for code in model.operatorCodes:
        code.builtinCode = 0
    path = written(tmp_path, pack(model))
    wanted = ConvertRequest(
        path,
        tmp_path / "out.tflite",
        "static-int8",
        trained / "pictures",
        prep=PrepOptions(mean=(127.5,), std=(127.5,)),
    )
    assert convert(wanted, silent).parity["litert"].agreement == 1.0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (build(Net([Tensor("a", (1, 4)), Tensor("b", (1, 4))], [Op("my-op", [0], [1])])), "custom operator my-op"),
        (build(Net([Tensor("a", (4,)), Tensor("b", (4,))], [Op("RELU", [0], [1])])), "expected the batch as its first"),
        (b"\x1c\0\0\0TFL3 and no more", "damaged TFLite model"),
        (b"", "got an empty file"),
        (
            build(
                Net(
                    [
                        Tensor("a", (1, 2)),
                        Tensor("w", (1, 2), values=np.array([[1, np.nan]], np.float32)),
                        Tensor("b", (1, 2)),
                    ],
                    [Op("ADD", [0, 1], [2])],
                )
            ),
            "weights w hold NaN",
        ),
    ],
)
def test_a_model_that_cannot_be_a_source_is_refused(worker, tmp_path, content, says):
    with pytest.raises(ModelError, match=says):
        opened(worker, written(tmp_path, content))


def test_a_file_beyond_2_gb_is_refused_by_its_size(worker, tmp_path):
    path = written(tmp_path, b"\x1c\0\0\0TFL3")
    with path.open("r+b") as stream:
        stream.truncate(3_000_000_000)
    with pytest.raises(ModelError, match=r"less than 2 GB, got 3\.0 GB"):
        opened(worker, path)


def test_a_signature_that_is_not_there_is_refused(worker, trained):
    with pytest.raises(ModelError, match="no signature 'other'") as caught:
        opened(worker, trained / "plain.tflite", signature="other")
    assert caught.value.hint == "it has: serving_default"


@pytest.fixture(scope="module")
def quantised(trained, tmp_path_factory):
    """What a conversion to static-int8 wrote."""
    folder = tmp_path_factory.mktemp("quantised")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(LABELS))
    prep = PrepOptions(mean=(127.5,), std=(127.5,))
    wanted = ConvertRequest(
        trained / "plain.tflite", folder / "q.tflite", "static-int8", trained / "pictures", labels, prep
    )
    return convert(wanted, silent)


def test_a_quantised_model_goes_through_as_it_is_with_what_it_says_of_itself(quantised, trained, tmp_path):
    result = convert(
        ConvertRequest(quantised.tflite, tmp_path / "out.tflite", calibration=trained / "pictures"), silent
    )
    assert result.recipe == "as-is"
    assert result.parity["litert"].outputs[0].worst_abs == 0.0
    assert (result.spec.prep, result.spec.task) == (quantised.spec.prep, quantised.spec.task)
    assert result.spec.labels == LABELS


def test_a_quantised_model_cannot_be_quantised_again(quantised, trained, tmp_path):
    wanted = ConvertRequest(quantised.tflite, tmp_path / "out.tflite", "static-int8", trained / "pictures")
    with pytest.raises(UsageError, match="is quantised already") as caught:
        convert(wanted, silent)
    assert "--recipe as-is" in caught.value.hint
    assert not (tmp_path / "out.tflite").exists()


def test_labels_inside_that_do_not_fit_the_outputs_are_refused(trained, tmp_path):
    content = classifier(size=(SIDE, SIDE), metadata=image_metadata([0.0], [255.0], label_file="labels.txt"))
    path = written(tmp_path, with_zip(content, {"labels.txt": "a\nb\n"}))
    with pytest.raises(BadFileError, match="expected 3 labels, got 2"):
        convert(ConvertRequest(path, tmp_path / "out.tflite", "float32", trained / "pictures"), silent)


def test_a_normalisation_that_contradicts_the_files_own_is_told(trained, tmp_path):
    path = written(tmp_path, classifier(size=(SIDE, SIDE), metadata=image_metadata([0.0], [255.0])))
    told = PrepOptions(mean=(127.5,), std=(127.5,))
    result = convert(ConvertRequest(path, tmp_path / "o.tflite", "float32", trained / "pictures", prep=told), silent)
    assert any("itself says that pixels are normalised 0..1; -1..1 is used" in line for line in result.warnings)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "labels"),
    [
        ("coco_ssd_mobilenet_v1_quant", TaskOptions(), 90),
        ("mobilenet_v2_1.0_224_quant", TaskOptions(), 1001),
        ("movenet_single_pose_lightning_ptq", TaskOptions(name="regression"), 0),
    ],
)
def test_real_quantised_models_go_through_as_they_are(shared_data, tmp_path, name, task, labels):
    pictures = shared_data / "images" / "imagenet100"
    wanted = ConvertRequest(
        shared_data / "models" / f"{name}.tflite", tmp_path / "out.tflite", calibration=pictures, task=task, samples=4
    )
    result = convert(wanted, silent)
    assert result.recipe == "as-is"
    assert max(output.worst_abs for output in result.parity["litert"].outputs) == 0.0
    assert len(result.spec.labels) == labels


@pytest.mark.shared
def test_the_points_of_a_pose_are_taken_for_a_pose_and_not_for_a_map(shared_data, tmp_path):
    source = shared_data / "models" / "movenet_single_pose_lightning_ptq.tflite"
    wanted = ConvertRequest(source, tmp_path / "out.tflite", calibration=shared_data / "images" / "imagenet100")
    result = convert(wanted, silent)
    assert (result.spec.task.name, result.spec.task.decoder) == ("pose", "movenet")


@pytest.mark.shared
def test_a_real_model_of_an_operator_that_no_engine_has_is_refused_by_its_name(worker, shared_data):
    with pytest.raises(ModelError, match="custom operator fake-op-double: no engine here has it"):
        opened(worker, shared_data / "models" / "model_invoking_error.tflite")


@pytest.mark.shared
@pytest.mark.slow
def test_a_real_segmenter_keeps_its_maps_at_int8(shared_data, tmp_path):
    pictures = shared_data / "images" / "imagenet100"
    source = shared_data / "models" / "deeplabv3_float.tflite"
    result = convert(ConvertRequest(source, tmp_path / "out.tflite", calibration=pictures), silent)
    assert (result.recipe, result.spec.task.name, len(result.spec.labels)) == ("static-int8", "segmentation", 21)
    float_prep = dataclasses.replace(result.spec.prep, mean=(127.5,), std=(127.5,))
    pairs = zip(
        class_maps(source, float_prep, pictures), class_maps(result.tflite, result.spec.prep, pictures), strict=True
    )
    # Of each photo: over all of them together, a class of three pixels would count as much as the background.
    assert np.mean([mean_iou(overlap(wanted, got, 21, None)).mean for wanted, got in pairs]) >= 0.85


def class_maps(model, prep, pictures):
    """The class of every cell, for each of the pictures, one after the other."""
    engine = open_engine(model)
    preparer = Preparer(prep, engine.inputs[0])
    for path in list_pictures(pictures):
        preparer.write(read_picture(path), engine.input_view())
        engine.invoke()
        yield engine.output(0)[0].argmax(-1)
