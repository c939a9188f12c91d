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
def _train(base):
    """Train once for all modules that import the fixture: each import makes a fixture of its own."""
    folder = base / "trained"
    folder.mkdir()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.train_models", folder],
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
    return _train(tmp_path_factory.getbasetemp())


@pytest.fixture
def fake(trained, tmp_path, monkeypatch):
    """Make a source for a backend of another package: ``fake(export="die")`` gives a path to convert."""
    monkeypatch.syspath_prepend(str(_FAKE_BACKEND))

    def make(**told):
        path = tmp_path / "model.fake"
        path.write_text(json.dumps({"model": str(trained / "plain.tflite"), **told}))
        return path

    return make
