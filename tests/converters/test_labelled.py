"""Labelled pictures for a search: the truth is where the model's input shows it."""

import numpy as np
import pytest
from PIL import Image

from converters.arrays import open_array
from converters.gathering import Choice
from converters.labelled import Answers, collect_labelled
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep, Resize, TaskSpec
from device_runtime.errors import UsageError
from tests.support.datasets import write_class_folders, write_table

PREP = ImagePrep(8, 8)
CLASSIFIER = Answers(TaskSpec("classification", "probabilities"), ("dark", "red", "green", "blue"), [(1, 4)])
DETECTOR = Answers(TaskSpec("detection", "boxes-scores", 0.5, 10), ("nut", "bolt"), [(1, 9, 4), (1, 9, 2)])
SEGMENTER = Answers(TaskSpec("segmentation", "class-scores"), (), [(1, 8, 8, 3)])


def collect(folder, prep, means, target, count=99):
    return collect_labelled(folder, prep, means, Choice(count, 0), target / "labelled.npy", silent)


def test_classes_come_with_their_pictures(tmp_path):
    found = collect(write_class_folders(tmp_path / "data"), PREP, CLASSIFIER, tmp_path)
    pixels = open_array(found.samples.paths[0])
    assert len(found.truths) == len(found.groups) == len(pixels) == 8
    for picture, truth, group in zip(pixels, found.truths, found.groups, strict=True):
        assert CLASSIFIER.labels[truth] == group
        assert (int(picture.mean(axis=(0, 1)).argmax()) + 1 == truth) or group == "dark"
    assert len(collect(tmp_path / "data", PREP, CLASSIFIER, tmp_path, count=3).truths) == 3


def test_boxes_are_fractions_of_the_letterboxed_input(tmp_path):
    folder = write_table(tmp_path / "data", [("a.png", "bolt", 0, 0, 640, 480), ("b.png", "", "", "", "", "")])
    found = collect(folder, ImagePrep(8, 8, resize=Resize.LETTERBOX), DETECTOR, tmp_path)
    truths = dict(zip(found.samples.names, found.truths, strict=True))
    with_box = truths[str(folder / "a.png")]
    assert with_box.classes.tolist() == [1]
    np.testing.assert_allclose(with_box.boxes, [[0, 0.125, 1, 0.875]], atol=1e-6)
    assert truths[str(folder / "b.png")].boxes.shape == (0, 4)


def test_a_mask_covers_the_input_and_padding_has_no_class(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (16, 8)).save(folder / "a.png")
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 8:] = 2
    Image.fromarray(mask).save(folder / "a-mask.png")
    (folder / "labels.csv").write_text("file,mask\na.png,a-mask.png\n")
    found = collect(folder, ImagePrep(8, 8, resize=Resize.LETTERBOX), SEGMENTER, tmp_path)
    expected = np.full((8, 8), 255)
    expected[2:6, :4], expected[2:6, 4:] = 0, 2
    np.testing.assert_array_equal(found.truths[0], expected)


def test_labels_of_another_kind_are_refused(tmp_path):
    folder = write_class_folders(tmp_path / "data")
    with pytest.raises(UsageError, match="a detection model needs labels that are boxes"):
        collect(folder, PREP, DETECTOR, tmp_path)
    with pytest.raises(UsageError, match="needs no labels"):
        collect(folder, PREP, Answers(TaskSpec("regression", "values"), (), [(1, 1)]), tmp_path)
