"""Fixtures: the real environments of the ONNX and PyTorch backends, and models that their Pythons write."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from converters.environments.catalog import ENVIRONMENTS, environments_folder
from converters.environments.make import prepare
from converters.process import open_worker
from device_runtime.contract.events import silent
from device_runtime.errors import EdgeError

_SUPPORT = Path(__file__).parent


def made(name):
    """Make an environment where this user's are.

    What only PyTorch's own index has, or a Python that has to be downloaded, may be out of reach of a machine that
    reaches PyPI: then there is nothing to test with, and the tests are skipped with that reason.
    """
    failure = _failure(name)
    if failure:
        pytest.skip(f"the {name} environment cannot be made here: {failure}")
    return ENVIRONMENTS[name]


@functools.cache
def _failure(name):
    # Some tests have a home of their own; nothing is made or downloaded again for each.
    os.environ["EDGEKIT_ENVIRONMENTS"] = str(environments_folder())
    os.environ.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    os.environ.setdefault("PYENV_ROOT", str(Path.home() / ".pyenv"))
    if "UV_FIND_LINKS" not in os.environ and "PIP_FIND_LINKS" not in os.environ:
        told = _pip_says("global.find-links")
        os.environ.update({"PIP_FIND_LINKS": told} if told else {})
    try:
        prepare(ENVIRONMENTS[name], lambda event: sys.stderr.write(f"{event}\n"))
    except EdgeError as error:
        if name == "torch" or "Python" in str(error):
            return str(error)
        raise
    return ""


def _pip_says(setting):
    """What pip's own configuration says, empty when nothing."""
    asked = [sys.executable, "-m", "pip", "config", "get", setting]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


@functools.cache
def _written_by(name, script, folder):
    python = made(name).python
    folder.mkdir()
    done = subprocess.run([python, "-I", _SUPPORT / script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def onnx_models(tmp_path_factory):
    """A folder of ONNX models, good and bad."""
    return _written_by("onnx", "make_onnx.py", tmp_path_factory.getbasetemp() / "onnx")


@pytest.fixture(scope="session")
def torch_models(tmp_path_factory):
    """A folder of PyTorch programs, good and bad, and ``torch_modules.py``, whose functions make the same modules."""
    return _written_by("torch", "make_torch.py", tmp_path_factory.getbasetemp() / "torch")


@pytest.fixture(scope="module")
def onnx_worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent, made("onnx")) as opened:
        yield opened


@pytest.fixture(scope="module")
def torch_worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent, made("torch")) as opened:
        yield opened
