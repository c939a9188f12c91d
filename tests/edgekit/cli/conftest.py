"""Bundles of a small real model, with the real device wheel and real goldens."""

import shutil

import pytest

from device_runtime.contract.events import silent
from edgekit.boards.catalog import find_boards
from edgekit.bundling.build import BundleRequest, build_bundle
from tests.support.tflite import brightness_model


@pytest.fixture(scope="session")
def real_bundles(tmp_path_factory):
    """A folder with ``bright.tflite``, ``bright.json``, ``bright-1.0.edgekit`` and ``bright-2.0.edgekit``."""
    folder = tmp_path_factory.mktemp("real-bundles")
    spec = brightness_model(folder / "bright.tflite")
    for version in ("1.0", "2.0"):
        output = folder / f"bright-{version}.edgekit"
        build_bundle(
            BundleRequest(folder / "bright.tflite", spec, "bright", version, output, find_boards(("local",))), silent
        )
    return folder


@pytest.fixture
def in_folder(real_bundles, tmp_path):
    """The current folder, with a copy of the model and the bundles in it."""
    return shutil.copytree(real_bundles, tmp_path, dirs_exist_ok=True)
