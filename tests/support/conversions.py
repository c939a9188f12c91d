"""Fixtures: small models that are trained once for all tests of conversion, and a source for another backend."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_FAKE_BACKEND = _ROOT / "tests" / "support" / "fake_backend"


@functools.cache
def _made_by(script, folder):
    """Run a script once for all modules that import its fixture: each import makes a fixture of its own."""
    folder.mkdir()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{script}", folder],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder of small trained Keras models, a float TFLite one, and ``pictures``."""
    return _made_by("train_models", tmp_path_factory.getbasetemp() / "trained")


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """A folder of untrained models of the TensorFlow family, good and bad."""
    return _made_by("make_sources", tmp_path_factory.getbasetemp() / "sources")


@pytest.fixture
def fake(trained, tmp_path, monkeypatch):
    """Make a source for a backend of another package: ``fake(export="die")`` gives a path to convert."""
    monkeypatch.syspath_prepend(str(_FAKE_BACKEND))

    def make(**told):
        path = tmp_path / "model.fake"
        path.write_text(json.dumps({"model": str(trained / "plain.tflite"), **told}))
        return path

    return make
