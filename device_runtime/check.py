"""Goldens: what a model answered where it was made, and whether it answers the same here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device_runtime.contract.manifest import GoldenSpec
from device_runtime.contract.model import ModelSpec, TensorSpec
from device_runtime.errors import BadFileError, InstallError
from device_runtime.predictor import Predictor
from device_runtime.release import Release
from device_runtime.tasks.interface import ClassMap
from device_runtime.vision.frame import Tensor


class GoldenMismatchError(InstallError):
    """The model does not answer here what it answered where it was made."""

    code = "golden-mismatch"


@dataclass(frozen=True)
class CheckReport:
    """The goldens were met: how closely.

    ``worst_steps`` is over quantised outputs, ``min_cosine`` over float ones, ``min_same_cells`` over class maps.
    """

    samples: int
    worst_steps: int
    min_cosine: float
    min_same_cells: float = 1.0
    ok: bool = True


def record_golden(
    model: Path, spec: ModelSpec, inputs: Sequence[Tensor], engine: str = "auto"
) -> list[tuple[Tensor, ...]]:
    """Run a model on prepared inputs, each (1, height, width, channels) of the input's dtype; return all outputs.

    Raises:
        ModelError: the model cannot be run.
    """
    predictor = Predictor(model, spec, engine)
    return [predictor.run(tensor) for tensor in inputs]


def check_release(release: Release, engine: str = "auto") -> CheckReport:
    """Load a release's model and run it on the release's goldens.

    Without goldens the model is still loaded, and run once on zeros.

    Raises:
        GoldenMismatchError: an output is off.
        ModelError: the model cannot be run here.
        BadFileError: the release is damaged.
    """
    service = release.service
    predictor = Predictor(release.model, release.spec, engine, service.threads, service.delegate)
    golden = release.manifest.golden
    report = CheckReport(golden.count, 0, 1.0)
    if golden.count == 0:
        tensor = release.spec.inputs[0]
        predictor.run(np.zeros(tensor.shape, tensor.dtype))
    for sample in range(golden.count):
        outputs = predictor.run(_load(release.golden_input(sample)))
        if release.spec.task.name == "segmentation":
            wanted = _load(release.golden_output(sample, 0))
            same = compare_maps(predictor, wanted, outputs[0], golden, f"sample {sample}")
            report = replace(report, min_same_cells=min(report.min_same_cells, same))
            continue
        for index in _compared(release.spec):
            wanted = _load(release.golden_output(sample, index))
            where = f"sample {sample}, output {release.spec.outputs[index].name}"
            steps, cosine = compare(wanted, outputs[index], release.spec.outputs[index], golden, where)
            worst = max(report.worst_steps, steps)
            report = replace(report, worst_steps=worst, min_cosine=min(report.min_cosine, cosine))
    return report


def compare(wanted: Tensor, got: Tensor, spec: TensorSpec, golden: GoldenSpec, where: str) -> tuple[int, float]:
    """Compare one output with its golden.

    Returns:
        The largest difference in quantisation steps (0 for float outputs) and the cosine (1 for quantised ones).

    Raises:
        GoldenMismatchError: they differ by more than ``golden`` allows.
    """
    _require_alike(wanted, got, where)
    if not spec.dtype.startswith("float"):
        return _compare_steps(wanted, got, golden, where), 1.0
    if not np.isfinite(got).all():
        raise GoldenMismatchError(f"{where}: expected finite numbers, got NaN or infinity")
    cosine = _cosine(wanted.astype(np.float64).ravel(), got.astype(np.float64).ravel())
    if cosine < golden.min_cosine:
        raise GoldenMismatchError(f"{where}: expected a cosine of {golden.min_cosine} or more, got {cosine:.6f}")
    return 0, cosine


def compare_maps(predictor: Predictor, wanted: Tensor, got: Tensor, golden: GoldenSpec, where: str) -> float:
    """Compare a segmentation's output with its golden; return the share (0–1) of cells of the same class.

    Raises:
        GoldenMismatchError: it is less than ``golden`` allows.
        ModelError: the output holds NaN.
    """
    _require_alike(wanted, got, where)
    one, two = predictor.decode((wanted,)), predictor.decode((got,))
    if not isinstance(one, ClassMap) or not isinstance(two, ClassMap):
        raise TypeError(f"expected class maps, got {type(one).__name__} and {type(two).__name__}")
    same = float(np.mean(one.ids == two.ids))
    if same < golden.min_same_cells:
        raise GoldenMismatchError(
            f"{where}: expected the same class in {golden.min_same_cells:.0%} of the cells or more, got {same:.1%}"
        )
    return same


def _require_alike(wanted: Tensor, got: Tensor, where: str) -> None:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        raise GoldenMismatchError(
            f"{where}: expected {list(wanted.shape)} {wanted.dtype}, got {list(got.shape)} {got.dtype}"
        )


def _compare_steps(wanted: Tensor, got: Tensor, golden: GoldenSpec, where: str) -> int:
    steps = int(np.abs(wanted.astype(np.int64) - got.astype(np.int64)).max(initial=0))
    if steps > golden.tolerance_steps:
        raise GoldenMismatchError(f"{where}: expected at most {golden.tolerance_steps} steps off, got {steps}")
    # Equal best values may change places within the tolerance; a best value that lost to others may not.
    flat = got.astype(np.int64).ravel()
    best = int(wanted.astype(np.int64).ravel().argmax())
    if flat.max() - flat[best] > golden.tolerance_steps:
        raise GoldenMismatchError(f"{where}: expected value {best} to be the best, got {int(flat.argmax())}")
    return steps


def _cosine(
    one: np.ndarray[tuple[int], np.dtype[np.float64]], other: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if lengths == 0.0:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float(one @ other) / lengths


def _compared(spec: ModelSpec) -> Sequence[int]:
    """The outputs worth comparing: DetectionPostProcess leaves garbage beyond its count, and may swap equal boxes."""
    return (2, 3) if spec.task.decoder == "detection-postprocess" else range(len(spec.outputs))


def _load(path: Path) -> Tensor:
    try:
        tensor: Tensor = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadFileError(f"{path}: not a golden tensor: {error}") from error
    return tensor
