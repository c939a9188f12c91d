import pytest

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps
from device_runtime.contract.model import BoxFormat, BoxUnit, Colour, Resize
from device_runtime.errors import BadFileError, ModelError, UsageError
from device_runtime.vision.prepare import Preparer
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier, image_metadata, with_zip

NOTHING = (PrepOptions(), TaskOptions(), None)


@pytest.fixture
def describe(tmp_path):
    def run(content, prep=NOTHING[0], task=NOTHING[1], labels=None):
        path = tmp_path / "model.tflite"
        path.write_bytes(content)
        return describe_tflite(path, prep, task, labels)

    return run


def detector(boxes=(1, 6, 4), scores=(1, 6, 3)):
    tensors = [Tensor("image", (1, 4, 4, 3), "uint8"), Tensor("boxes", boxes), Tensor("scores", scores)]
    return build(Net(tensors, [Op("RESHAPE", [0], [1]), Op("LOGISTIC", [0], [2])], outputs=[1, 2]))


def test_a_quantised_byte_input_is_its_own_normalisation(describe):
    spec = describe(classifier(dtype="uint8", scale=0.0078125, zero_point=128))
    assert (spec.prep.mean, spec.prep.std) == ((128.0,), (128.0,))
    assert Preparer(spec.prep, spec.inputs[0]).straight


def test_a_quantised_int8_input_takes_bytes_less_128(describe):
    spec = describe(classifier(dtype="int8", scale=1 / 255, zero_point=-128))
    assert spec.prep.mean == (0.0,)
    assert spec.prep.std == pytest.approx((255.0,))
    assert Preparer(spec.prep, spec.inputs[0]).straight


def test_a_plain_byte_input_takes_pixels_as_they_are(describe):
    spec = describe(classifier(dtype="uint8"))
    assert (spec.prep.mean, spec.prep.std) == ((0.0,), (1.0,))


def test_a_float_input_without_metadata_asks_for_the_normalisation(describe):
    with pytest.raises(UsageError, match="does not say how pixels are normalised") as caught:
        describe(classifier())
    assert "--normalise" in caught.value.hint


def test_an_option_tells_the_normalisation(describe):
    spec = describe(classifier(), PrepOptions(mean=(0.0,), std=(255.0,), resize=Resize.LETTERBOX))
    assert (spec.prep.mean, spec.prep.std, spec.prep.resize) == ((0.0,), (255.0,), Resize.LETTERBOX)


def test_metadata_tell_normalisation_and_labels(describe):
    content = classifier(metadata=image_metadata([127.5], [127.5], label_file="names.txt"))
    spec = describe(with_zip(content, {"names.txt": "cat\ndog\nbird"}))
    assert (spec.prep.mean, spec.prep.std) == ((127.5,), (127.5,))
    assert spec.labels == ("cat", "dog", "bird")


def test_the_last_operator_tells_probabilities_from_logits(describe):
    known = PrepOptions(mean=(0.0,), std=(1.0,))
    assert describe(classifier(last="SOFTMAX"), known).task.decoder == "probabilities"
    assert describe(classifier(last="LOGISTIC"), known).task.decoder == "probabilities"
    assert describe(classifier(last=None), known).task.decoder == "logits"


def test_an_unusual_last_operator_asks_for_the_decoder(describe):
    with pytest.raises(UsageError, match="probabilities or logits") as caught:
        describe(classifier(last="TANH"), PrepOptions(mean=(0.0,), std=(1.0,)))
    assert "--decoder" in caught.value.hint


def test_boxes_and_scores_are_a_detector(describe):
    spec = describe(detector())
    assert (spec.task.name, spec.task.decoder) == ("detection", "boxes-scores")


def test_outputs_without_a_known_shape_ask_for_the_task(describe):
    with pytest.raises(UsageError, match=r"boxes \[1, 6, 5\]") as caught:
        describe(detector(boxes=(1, 6, 5)))
    assert "--task" in caught.value.hint


def test_labels_that_do_not_fit_are_refused(describe, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    with pytest.raises(BadFileError, match=r"labels.txt: expected 3 labels, got 2"):
        describe(classifier(dtype="uint8"), labels=labels)


def test_one_label_too_many_suggests_the_background(describe, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("background\na\nb\nc\n")
    with pytest.raises(BadFileError) as caught:
        describe(detector(), labels=labels)
    assert "--label-offset 1" in caught.value.hint
    assert describe(detector(), task=TaskOptions(label_offset=1), labels=labels).label_of(0) == "a"


def test_a_custom_operator_is_refused_by_name(describe):
    tensors = [Tensor("image", (1, 2, 2, 3), "uint8"), Tensor("out", (1, 3))]
    with pytest.raises(ModelError, match="custom operator MyMagic"):
        describe(build(Net(tensors, [Op("MyMagic", [0], [1])])))


def test_a_dynamic_size_names_the_way_out(describe):
    with pytest.raises(ModelError, match="fixed size") as caught:
        describe(classifier(dtype="uint8", size=(1, 1), signature=(-1, -1, -1, 3)))
    assert "--input-size" in caught.value.hint


def test_a_model_that_takes_no_picture_is_a_tensor_model(describe):
    spec = describe(classifier(channels=2))
    assert (spec.prep, spec.task.name, spec.task.decoder) == (None, "regression", "values")
    with pytest.raises(UsageError, match="it takes tensors, so there is no picture to prepare"):
        describe(classifier(channels=2), PrepOptions(mean=(0.0,), std=(1.0,)))


def test_a_tensor_model_that_is_said_to_be_a_classifier_is_refused(describe):
    with pytest.raises(ModelError, match="expected regression for a model without a picture"):
        describe(classifier(channels=2), task=TaskOptions(name="classification"))


def test_a_described_tensor_model_has_no_preparation_to_contradict(describe, tmp_path):
    (tmp_path / "model.json").write_text(dumps(describe(classifier(channels=2))))
    with pytest.raises(UsageError, match="no picture to prepare"):
        describe(classifier(channels=2), PrepOptions(colour=Colour.BGR))


def segmenter(last="RESIZE_BILINEAR", dtype="float32", shape=(1, 4, 4, 3)):
    tensors = [Tensor("image", (1, 4, 4, 3), "uint8"), Tensor("map", shape, dtype)]
    return build(Net(tensors, [Op(last, [0], [1])]))


def test_a_map_of_class_scores_is_a_segmentation(describe):
    spec = describe(segmenter())
    assert (spec.task.name, spec.task.decoder, spec.task.score_threshold) == ("segmentation", "class-scores", 0.0)


def test_a_map_of_whole_numbers_holds_class_ids(describe):
    spec = describe(segmenter(last="ARG_MAX", dtype="int32", shape=(1, 4, 4)))
    assert (spec.task.name, spec.task.decoder) == ("segmentation", "class-map")


@pytest.mark.parametrize(("scale", "unit"), [(1 / 255, BoxUnit.FRACTION), (0.02, BoxUnit.PIXEL)])
@pytest.mark.parametrize(("dtype", "zero"), [("int8", -128), ("uint8", 0)])
def test_a_quantised_head_tells_what_its_boxes_are_counted_in(describe, dtype, zero, scale, unit):
    head = Tensor("head", (1, 84, 8400), dtype, scale * (320 if unit is BoxUnit.PIXEL else 1), zero)
    net = Net([Tensor("image", (1, 4, 4, 3), "uint8"), head], [Op("CONCATENATION", [0], [1])])
    assert (describe(build(net)).task.decoder, describe(build(net)).task.box_unit) == ("yolov8", unit)


def test_heat_maps_behind_their_offsets_cannot_be_read(describe):
    tensors = [Tensor("image", (1, 4, 4, 3), "uint8"), Tensor("offsets", (1, 9, 9, 34)), Tensor("maps", (1, 9, 9, 17))]
    net = Net(tensors, [Op("RESHAPE", [0], [1]), Op("LOGISTIC", [0], [2])], outputs=[1, 2])
    with pytest.raises(ModelError, match="expected heat maps as its first output and offsets as its second"):
        describe(build(net), task=TaskOptions(name="pose"))


def test_one_linear_value_is_a_regression(describe):
    known = PrepOptions(mean=(0.0,), std=(1.0,))
    assert describe(classifier(last=None, classes=1), known).task.name == "regression"
    assert describe(classifier(last="LOGISTIC", classes=1), known).task.name == "classification"


def test_the_json_beside_the_model_comes_first_and_options_change_its_task(describe, tmp_path):
    plain = describe(classifier(), PrepOptions(mean=(3.0,), std=(4.0,)))
    (tmp_path / "model.json").write_text(dumps(plain))
    assert describe(classifier()) == plain
    changed = describe(classifier(), PrepOptions(mean=(3.0,)), TaskOptions(score_threshold=0.25))
    assert (changed.prep, changed.task.score_threshold) == (plain.prep, 0.25)


def test_the_preparation_of_a_described_model_cannot_be_said_anew(describe, tmp_path):
    (tmp_path / "model.json").write_text(dumps(describe(classifier(), PrepOptions(mean=(3.0,), std=(4.0,)))))
    with pytest.raises(UsageError, match="made with colour rgb, not bgr"):
        describe(classifier(), PrepOptions(colour=Colour.BGR))


def test_a_json_of_another_model_is_refused(describe, tmp_path):
    plain = describe(classifier(), PrepOptions(mean=(3.0,), std=(4.0,)))
    (tmp_path / "model.json").write_text(dumps(plain))
    with pytest.raises(ModelError, match=r"model.json does not belong to .*inputs \[1, 2, 2, 3\] float32"):
        describe(classifier(dtype="uint8"))


def test_options_that_contradict_each_other_are_a_usage_error(describe):
    with pytest.raises(UsageError, match="decoder of classification"):
        describe(classifier(dtype="uint8"), task=TaskOptions(name="classification", decoder="boxes-scores"))
    with pytest.raises(UsageError, match="its input has 3 channels, got --colour gray"):
        describe(classifier(dtype="uint8"), PrepOptions(colour=Colour.GRAY))


@pytest.mark.shared
def test_an_imagenet_classifier_of_others_needs_nothing(shared_data):
    spec = describe_tflite(shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite", *NOTHING)
    assert (spec.task.name, spec.task.decoder) == ("classification", "probabilities")
    assert len(spec.labels) == 1001
    assert spec.labels[0] == "background"
    assert Preparer(spec.prep, spec.inputs[0]).straight


@pytest.mark.shared
def test_a_coco_detector_of_others_needs_nothing(shared_data):
    spec = describe_tflite(shared_data / "models" / "coco_ssd_mobilenet_v1_quant.tflite", *NOTHING)
    assert (spec.task.name, spec.task.decoder) == ("detection", "detection-postprocess")
    assert [tensor.shape for tensor in spec.outputs] == [(1, 10, 4), (1, 10), (1, 10), (1,)]
    assert spec.task.box_format is BoxFormat.YXYX
    assert (spec.label_of(0), spec.label_of(16)) == ("person", "cat")
    assert Preparer(spec.prep, spec.inputs[0]).straight


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deeplabv3_float", "deeplabv3_mnv2_dm05_pascal_quant"])
def test_a_segmenter_of_others_needs_nothing(shared_data, name):
    spec = describe_tflite(shared_data / "models" / f"{name}.tflite", *NOTHING)
    assert spec.task.name == "segmentation"


@pytest.mark.shared
def test_a_model_whose_operator_no_engine_has_is_refused_by_name(shared_data):
    with pytest.raises(ModelError, match="fake-op-double"):
        describe_tflite(shared_data / "models" / "model_invoking_error.tflite", *NOTHING)
