"""How sure a figure of accuracy is; the figures themselves are tested with the command line."""

import numpy as np
import pytest
from PIL import Image

from converters.datasets import read_dataset
from converters.statistics import proportion
from device_runtime.contract.decode import encode
from device_runtime.contract.events import silent
from edgekit.evaluating.evaluate import evaluate
from tests.support.datasets import write_class_folders, write_table
from tests.support.tflite import brightness_model, detector_model, regressor_model, segmenter_model


def test_a_share_of_pictures_has_wilsons_interval(tmp_path):
    spec = brightness_model(tmp_path / "m.tflite")
    write_class_folders(tmp_path / "set")
    Image.new("RGB", (9, 9), (0, 0, 255)).save(tmp_path / "set/red/wrong.png")
    found = evaluate(tmp_path / "m.tflite", spec, read_dataset(tmp_path / "set"), silent)
    assert found.interval() == proportion(8, 9)
    assert set(encode(found)) == {"task", "pictures", "metrics", "per_class", "skipped"}


def detections(folder):
    spec = detector_model(folder / "m.tflite", [[0, 0, 0.5, 0.5]], [[0.9]], ("nut",))
    rows = [(f"{index}.png", "nut", *((0, 0, 320, 240) if index % 3 else (320, 240, 640, 480))) for index in range(6)]
    return spec, write_table(folder / "set", [*rows, ("none.png", "", "", "", "", "")])


def masks(folder):
    ids = np.zeros((8, 8))
    ids[:, 4:] = 1
    spec = segmenter_model(folder / "m.tflite", ids, ("floor", "part"))
    rows = [(f"{index}.png", f"mask-{index}.png") for index in range(5)]
    write_table(folder / "set", rows, ("file", "mask"), (64, 64))
    for index, (_, name) in enumerate(rows):
        truth = np.zeros((64, 64), np.uint8)
        truth[:, 32 + 4 * index :] = 1
        Image.fromarray(truth).save(folder / "set" / name)
    return spec, folder / "set"


def numbers(folder):
    spec = regressor_model(folder / "m.tflite", [3.0])
    return spec, write_table(folder / "set", [(f"{index}.png", index) for index in range(7)], ("file", "value"))


@pytest.mark.parametrize("make", [detections, masks, numbers])
def test_other_figures_have_an_interval_by_drawing_pictures_again(tmp_path, make):
    spec, folder = make(tmp_path)
    found = evaluate(tmp_path / "m.tflite", spec, read_dataset(folder), silent)
    (value,) = found.metrics.values()
    interval = found.interval()
    assert interval.value == pytest.approx(value)
    assert interval.low < value < interval.high
    assert found.interval() == interval
