"""Goldens: what may differ between machines, and what may not."""

import dataclasses

import numpy as np
import pytest

from device_runtime.check import GoldenMismatchError, check_release, compare, compare_maps, record_golden
from device_runtime.contract.decode import dumps
from device_runtime.contract.manifest import BlobRef, BundleManifest, GoldenSpec
from device_runtime.contract.model import TensorSpec
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError, ModelError
from device_runtime.predictor import Predictor
from device_runtime.release import read_release
from tests.support.tflite import brightness_model, segmenter_model

GOLDEN = GoldenSpec(count=1)
QUANTISED = TensorSpec("scores", (1, 3), "int8", 0.1)
FLOAT = TensorSpec("scores", (1, 3), "float32")


def stored(*values):
    return np.array([values], np.int8)


@pytest.mark.parametrize("got", [stored(10, 50, 20), stored(9, 47, 24), stored(6, 46, 16)])
def test_a_few_steps_are_within_the_tolerance(got):
    steps, cosine = compare(stored(10, 50, 20), got, QUANTISED, GOLDEN, "x")
    assert steps <= 4
    assert cosine == 1.0


def test_five_steps_are_not():
    with pytest.raises(GoldenMismatchError, match="x: expected at most 4 steps off, got 5"):
        compare(stored(10, 50, 20), stored(10, 45, 20), QUANTISED, GOLDEN, "x")


def test_steps_do_not_wrap_around():
    with pytest.raises(GoldenMismatchError, match="got 255"):
        compare(stored(-128, 0, 0), stored(127, 0, 0), QUANTISED, GOLDEN, "x")


def test_equal_best_values_may_change_places_but_a_clear_one_may_not():
    compare(stored(50, 50, 0), stored(49, 50, 0), QUANTISED, GOLDEN, "x")
    wide = dataclasses.replace(GOLDEN, tolerance_steps=4)
    with pytest.raises(GoldenMismatchError, match="expected value 0 to be the best, got 1"):
        compare(stored(52, 50, 0), stored(48, 54, 0), QUANTISED, wide, "x")


def test_float_outputs_are_compared_by_their_direction():
    wanted = np.array([[0.1, 0.8, 0.1]], np.float32)
    steps, cosine = compare(wanted, wanted * np.float32(1.001), FLOAT, GOLDEN, "x")
    assert steps == 0
    assert cosine == pytest.approx(1.0)
    with pytest.raises(GoldenMismatchError, match=r"expected a cosine of 0\.999 or more, got 0\."):
        compare(wanted, wanted[:, ::-1] + np.float32([[0.3, 0, 0]]), FLOAT, GOLDEN, "x")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_never_pass(bad):
    wanted = np.array([[0.1, 0.8, 0.1]], np.float32)
    got = wanted.copy()
    got[0, 1] = bad
    with pytest.raises(GoldenMismatchError, match="NaN or infinity"):
        compare(wanted, got, FLOAT, GOLDEN, "x")


def test_zeros_match_zeros_only():
    zeros = np.zeros((1, 3), np.float32)
    compare(zeros, zeros, FLOAT, GOLDEN, "x")
    with pytest.raises(GoldenMismatchError, match="cosine"):
        compare(zeros, np.ones((1, 3), np.float32), FLOAT, GOLDEN, "x")


def test_another_shape_is_named():
    with pytest.raises(GoldenMismatchError, match=r"expected \[1, 3\] int8, got \[1, 2\] int8"):
        compare(stored(1, 2, 3), stored(1, 2), QUANTISED, GOLDEN, "x")


def test_a_map_may_differ_in_some_cells_and_by_any_number_there(tmp_path):
    spec = segmenter_model(tmp_path / "model.tflite", np.zeros((10, 10)))
    predictor = Predictor(tmp_path / "model.tflite", spec)
    wanted = np.zeros((1, 10, 10), np.int32)
    got = wanted.copy()
    got[0, 0, :] = 20
    assert compare_maps(predictor, wanted, got, GOLDEN, "x") == 0.9
    got[0, 1, 0] = 1
    with pytest.raises(
        GoldenMismatchError, match=r"x: expected the same class in 90% of the cells or more, got 89\.0%"
    ):
        compare_maps(predictor, wanted, got, GOLDEN, "x")
    with pytest.raises(GoldenMismatchError, match=r"expected \[1, 10, 10\] int32, got \[1, 10, 9\] int32"):
        compare_maps(predictor, wanted, got[:, :, :9], GOLDEN, "x")


def test_a_release_of_a_segmenter_is_checked_by_its_map(tmp_path):
    spec = segmenter_model(tmp_path / "model.tflite", [[0, 1], [2, 3]])
    install(tmp_path, spec=spec, dtype=np.uint8)
    assert check_release(read_release(tmp_path)).min_same_cells == 1.0
    np.save(tmp_path / "golden" / "output-0-0.npy", np.zeros((1, 2, 2), np.int32))
    with pytest.raises(GoldenMismatchError, match=r"sample 0: expected the same class .* got 25\.0%"):
        check_release(read_release(tmp_path))


def install(folder, goldens=1, spec=None, dtype=np.float32):
    """Lay out a release as the installer does; of a model that answers by brightness, or of ``spec``."""
    spec = spec or brightness_model(folder / "model.tflite")
    (folder / "golden").mkdir()
    inputs = [np.full((1, 8, 8, 3), 0.2 * (index + 1), dtype) for index in range(goldens)]
    for sample, outputs in enumerate(record_golden(folder / "model.tflite", spec, inputs)):
        np.save(folder / "golden" / f"input-{sample}.npy", inputs[sample])
        for index, output in enumerate(outputs):
            np.save(folder / "golden" / f"output-{sample}-{index}.npy", output)
    blobs = tuple(BlobRef(role, "sha256:" + "0" * 64, 1, role) for role in ("model", "spec", "service"))
    manifest = BundleManifest("app", "1.0", blobs, golden=GoldenSpec(count=goldens))
    (folder / "manifest.json").write_text(dumps(manifest))
    (folder / "service.json").write_text(dumps(ServiceSpec(source="synthetic:pattern")))
    return folder


def test_a_release_that_answers_as_recorded_passes_on_both_engines(tmp_path, engine):
    report = check_release(read_release(install(tmp_path, 2)), engine)
    assert report.ok
    assert (report.samples, report.worst_steps) == (2, 0)
    assert report.min_cosine == pytest.approx(1.0)


def test_a_release_that_answers_differently_is_refused_with_the_place(tmp_path):
    install(tmp_path)
    np.save(tmp_path / "golden" / "output-0-0.npy", np.array([[0, 0, 0, 1]], np.float32))
    with pytest.raises(GoldenMismatchError, match="sample 0, output logits: expected a cosine"):
        check_release(read_release(tmp_path))


def test_a_release_without_goldens_is_run_once(tmp_path):
    assert check_release(read_release(install(tmp_path, 0))).samples == 0
    (tmp_path / "model.tflite").write_bytes(b"broken")
    with pytest.raises(ModelError):
        check_release(read_release(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_a_damaged_golden_is_a_bad_file(tmp_path, content):
    path = install(tmp_path) / "golden" / "input-0.npy"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFileError, match="not a golden tensor"):
        check_release(read_release(tmp_path))


def test_a_pickled_golden_is_not_loaded(tmp_path):
    path = install(tmp_path) / "golden" / "input-0.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(BadFileError, match="allow_pickle"):
        check_release(read_release(tmp_path))


def test_what_is_no_release_is_said_to_be_none(tmp_path):
    with pytest.raises(BadFileError, match=r"no installed release: manifest\.json is missing"):
        read_release(tmp_path)
