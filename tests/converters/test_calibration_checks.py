import shutil

import numpy as np
import pytest

from converters import convert
from converters.calibration_checks import one_answer
from converters.interface import ConvertRequest, PrepOptions
from device_runtime.contract.events import Notice

SAME = np.tile(np.array([0.1, 0.7, 0.2], np.float32), (9, 1))


def test_a_classifier_that_always_says_the_same_is_warned_of():
    warning = one_answer([SAME])
    assert warning.startswith("the trained model says class 1 of all 9 samples")
    assert "normalisation" in warning


@pytest.mark.parametrize(
    "outputs",
    [
        [np.eye(3, dtype=np.float32)],
        [SAME[:1]],
        [SAME[:, :1]],
        [SAME, SAME],
        [np.zeros((9, 4, 3), np.float32)],
    ],
    ids=["it does not", "one sample", "one class", "two outputs", "no classifier"],
)
def test_nothing_is_said_of_what_may_be_right(outputs):
    assert one_answer(outputs) == ""


@pytest.mark.parametrize("shown", ["red", "*"])
def test_a_folder_with_one_class_only_is_warned_of_while_converting(fake, trained, tmp_path, shown):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in (trained / "pictures").glob(f"[0-9]*-{shown}.png"):
        shutil.copyfile(path, pictures / path.name)
    heard = []
    prep = PrepOptions(mean=(127.5,), std=(127.5,))
    convert(ConvertRequest(fake(), tmp_path / "out.tflite", "float16", pictures, prep=prep), heard.append)
    warnings = [event.message for event in heard if isinstance(event, Notice) and event.severity == "warning"]
    assert any("says class 1 of all" in warning for warning in warnings) == (shown == "red")
