"""A quantised model whose answers differ from what was recorded, installed with the real runtime (number 9)."""

import numpy as np
import pytest

from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec
from device_runtime.install.layout import open_bundle
from edgekit.boards.catalog import find_boards
from edgekit.bundling.build import BundleRequest, build_bundle
from edgekit.bundling.layout import content_of
from tests.support.bundles import pack
from tests.support.installing import current, install
from tests.support.tflite import constant_model

_ANSWER = np.array([[-100, 20, 90, -128]], np.int8)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A bundle of a model with int8 scores that are always the same, and of the real runtime."""
    folder = tmp_path_factory.mktemp("real")
    image, scores = constant_model(folder / "same.tflite", [("scores", _ANSWER, 1 / 256, -128)])
    labels = ("one", "two", "three", "four")
    prep = ImagePrep(8, 8, mean=(0.0,), std=(255.0,))
    spec = ModelSpec("same", TaskSpec("classification", "probabilities"), prep, (image,), scores, labels)
    request = BundleRequest(
        folder / "same.tflite", spec, "same", "1.0", folder / "same.edgekit", find_boards(("local",))
    )
    build_bundle(request, silent)
    return folder / "same.edgekit"


def with_answer(bundle, folder, version, answer):
    """Return the same bundle, in which something else is recorded as the first sample's answer."""
    np.save(folder / "answer.npy", answer)
    replaced = {"output-0-0.npy": (folder / "answer.npy").read_bytes()}
    with open_bundle(bundle) as opened:
        contents = [
            content_of(
                blob.role,
                blob.name,
                replaced.get(blob.name, b"".join(opened.read(blob))),
                unpacked_size=blob.unpacked_size,
                files=blob.files,
            )
            for blob in opened.packages[0].manifest.blobs
        ]
    return pack(folder / "other.edgekit", contents, name="same", version=version)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_ANSWER + np.array([1, 0, 0, 0], np.int8), None),
        (_ANSWER + np.array([4, -4, 3, 1], np.int8), None),
        (_ANSWER + np.array([5, 0, 0, 0], np.int8), "expected at most 4 steps off, got 5"),
        (_ANSWER + np.array([0, -5, 0, 0], np.int8), "expected at most 4 steps off, got 5"),
        (np.full((1, 4), np.nan, np.float32), "expected [1, 4] float32, got [1, 4] int8"),
        (_ANSWER[:, :3], "sample 0"),
    ],
)
def test_a_golden_is_met_within_four_steps_or_the_old_release_stays(real, tmp_path, answer, reason):
    root = tmp_path / "root"
    assert install("apply", root, real).code == 0
    old = current(root)
    done = install("apply", root, with_answer(real, tmp_path, "2.0", answer))
    if reason is None:
        assert done.code == 0, done.error
        assert current(root) != old
        return
    assert done.code == 7
    assert current(root) == old
    assert reason in done.error["message"], done.error
