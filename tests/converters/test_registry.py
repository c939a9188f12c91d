from pathlib import Path

import pytest

from converters.registry import backend_for, backends
from device_runtime.errors import UsageError


def test_builtin_suffixes_have_a_backend():
    assert backend_for(Path("a/Model.KERAS")) == backend_for(Path("m.h5")) == "converters.backends.keras:open_source"


def test_another_package_adds_a_backend(fake):
    assert backend_for(fake()) == "fake_backend:open_source"
    assert {".keras", ".h5", ".fake"} <= set(backends())


def test_a_suffix_that_nearly_fits_is_answered_with_the_right_one():
    with pytest.raises(UsageError) as caught:
        backend_for(Path("model.kears"))
    assert caught.value.hint == 'did you mean ".keras"?'


def test_a_tflite_file_is_said_to_be_converted_already():
    with pytest.raises(UsageError, match="TFLite model already") as caught:
        backend_for(Path("model.tflite"))
    assert "edgekit inspect" in caught.value.hint
