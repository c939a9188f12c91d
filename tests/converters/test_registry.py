import importlib.util
from pathlib import Path

import pytest

from converters.environments.catalog import ENVIRONMENTS
from converters.registry import (
    BUILTIN,
    FUNCTION,
    SAVED_MODEL,
    backend_for,
    backends,
    check_source,
    environment_for,
    is_function,
)
from device_runtime.errors import ModelError, UsageError


def test_builtin_suffixes_have_a_backend():
    assert backend_for(Path("a/Model.KERAS")) == backend_for(Path("m.h5")) == "converters.backends.keras:open_source"


def test_another_package_adds_a_backend(fake):
    assert backend_for(fake()) == "fake_backend:open_source"
    assert {".keras", ".h5", ".fake"} <= set(backends())


def test_a_suffix_that_nearly_fits_is_answered_with_the_right_one():
    with pytest.raises(UsageError) as caught:
        backend_for(Path("model.kears"))
    assert caught.value.hint == 'did you mean ".keras"?'


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("m.keras", None),
        ("m.h5", None),
        ("m.tflite", None),
        ("m.onnx", "onnx"),
        ("m.pt2", "torch"),
        ("models:make", "torch"),
    ],
)
def test_each_source_has_its_environment(name, environment):
    found = environment_for(Path(name))
    assert (found and found.name) == environment


def test_every_builtin_backend_and_check_is_there():
    kinds = {**BUILTIN, "function": FUNCTION, "folder": SAVED_MODEL}.values()
    for name in {name for kind in kinds for name in (kind.opener, kind.check) if name}:
        module = importlib.util.find_spec(name.partition(":")[0])
        assert f"def {name.partition(':')[2]}(" in Path(module.origin).read_text(), name
    assert {kind.environment for kind in kinds} - {""} <= set(ENVIRONMENTS)


def test_a_folder_is_a_saved_model_or_nothing(tmp_path):
    with pytest.raises(UsageError, match=r"a folder without saved_model\.pb"):
        backend_for(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert backend_for(tmp_path) == "converters.backends.saved_model:open_source"


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.pkl", "m.bin", "M.CKPT"])
def test_pickles_are_refused_with_the_safe_way(name):
    with pytest.raises(UsageError, match="files are pickles, which run whatever code they hold") as caught:
        backend_for(Path(name))
    assert 'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")' in caught.value.hint


def test_a_file_whose_name_looks_like_a_function_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_function(Path("models:make"))
    Path("models:make").touch()
    assert not is_function(Path("models:make"))


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2"])
def test_what_is_plainly_no_model_is_refused_before_an_environment_is_made(tmp_path, monkeypatch, name):
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))
    path = tmp_path / name
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match="not a"):
        check_source(path)
    with pytest.raises(ModelError, match="no such model"):
        check_source(tmp_path / f"no-{name}")
    assert not (tmp_path / "environments").exists()
