import pytest

from converters.metadata import read_label_file, read_metadata
from converters.tflite_reader import parse_tflite, read_tflite
from device_runtime.contract.model import BoxFormat, Colour
from device_runtime.errors import ModelError
from tests.support.tiny_tflite import classifier, image_metadata, with_zip


def test_a_model_without_metadata_has_none():
    assert read_metadata(parse_tflite(classifier(), "tiny"), "tiny") is None


def test_normalisation_colour_and_label_file_are_read():
    content = image_metadata([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], label_file="names.txt")
    metadata = read_metadata(parse_tflite(classifier(metadata=content), "tiny"), "tiny")
    (image,) = metadata.inputs
    assert (image.mean, image.std, image.colour) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), Colour.RGB)
    assert [output.label_file for output in metadata.outputs] == ["names.txt"]


def test_damaged_metadata_are_a_model_error():
    with pytest.raises(ModelError, match="damaged metadata"):
        read_metadata(parse_tflite(classifier(metadata=image_metadata([1.0], [1.0])[:40]), "tiny"), "tiny")


def test_a_label_file_is_read_from_the_appended_zip(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(with_zip(classifier(), {"names.txt": "cat\ndog\n"}))
    assert read_label_file(path, "names.txt") == "cat\ndog\n"


@pytest.mark.parametrize("content", [classifier(), with_zip(classifier(), {"other.txt": "cat"})])
def test_a_label_file_that_is_not_there_is_an_error_that_names_the_option(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"names\.txt") as caught:
        read_label_file(path, "names.txt")
    assert "--labels" in caught.value.hint


@pytest.mark.shared
def test_a_detector_tells_its_normalisation_its_boxes_and_its_labels(shared_data):
    path = shared_data / "models" / "coco_ssd_mobilenet_v1_quant.tflite"
    metadata = read_metadata(read_tflite(path), "coco")
    assert (metadata.inputs[0].mean, metadata.inputs[0].std) == ((127.5,), (127.5,))
    assert [output.name for output in metadata.outputs] == ["locations", "classes", "scores", "number of detections"]
    assert metadata.outputs[0].box_format is BoxFormat.YXYX
    assert read_label_file(path, metadata.outputs[1].label_file).splitlines()[:2] == ["person", "bicycle"]
