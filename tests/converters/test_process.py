"""Child processes that hang, and ones that run in an environment of their own."""

import pytest

from converters.backends.interface import ExportPlan
from converters.errors import ConversionError
from converters.jobs import Done, ExportFloat
from converters.process import open_worker
from device_runtime.contract.events import silent
from device_runtime.errors import UsageError
from tests.support.exports import opened
from tests.support.isolated import made, onnx_models

__all__ = ["onnx_models"]


def test_a_job_that_takes_too_long_is_ended_and_told(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_JOB_TIMEOUT_S", "2.5")
    source = fake(export="hang", started=str(tmp_path / "started"))
    with open_worker(tmp_path, silent) as worker:
        opened(worker, source)
        with pytest.raises(ConversionError, match=r"cannot export: it took longer than 2\.5 s and was ended") as caught:
            worker.call(ExportFloat(str(tmp_path / "x.tflite"), ExportPlan(())), Done, "export")
    assert (tmp_path / "started").exists()
    assert caught.value.hint == "give it more time: export EDGEKIT_JOB_TIMEOUT_S=10"


@pytest.mark.parametrize("limit", ["soon", "0", "-1", "nan", "1e30"])
def test_a_limit_that_is_no_time_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setenv("EDGEKIT_JOB_TIMEOUT_S", limit)
    with pytest.raises(UsageError, match="expected a number of seconds above 0"), open_worker(tmp_path, silent):
        pass


@pytest.mark.environments
def test_this_pythons_packages_are_not_seen_in_an_environment(onnx_models, tmp_path, monkeypatch):
    (tmp_path / "shadows").mkdir()
    (tmp_path / "shadows" / "onnxruntime.py").write_text("raise ImportError('of another Python')")
    monkeypatch.syspath_prepend(tmp_path / "shadows")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadows"))
    with open_worker(tmp_path, silent, made("onnx")) as worker:
        assert opened(worker, onnx_models / "classifier.onnx").tools["onnxruntime"] == "1.26.0"
    assert sorted(path.name for path in (tmp_path / "packages").iterdir()) == ["converters", "device_runtime"]
