"""The samples of a model that takes tensors: one ``.npz`` or ``.npy`` file each, looked at and streamed."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import ArrayWriter
from converters.backends.interface import InputFacts
from converters.calibration import Samples
from converters.calibration_checks import TensorChecks
from converters.gathering import Choice, Outcome, gather
from device_runtime.contract.events import Events, Notice
from device_runtime.errors import BadFileError
from device_runtime.files import list_files, refused, sha256_of
from device_runtime.vision.frame import Tensor

_SUFFIXES = (".npy", ".npz")
_GENERATED = 16


def collect_tensors(
    folder: Path, inputs: Sequence[InputFacts], count: int, seed: int, target: Path, events: Events
) -> Samples:
    """Read up to ``count`` different samples of a folder, chosen by ``seed``, one at a time.

    Args:
        folder: ``.npz`` files whose keys are the inputs' names, or for a single input ``.npy`` files, at any depth; one
            sample in each, with or without the batch of 1 in front.
        inputs: the model's inputs, their shapes whole: (1, …).
        count: how many are wanted.
        seed: equal seeds and folders give equal samples.
        target: what is written is called like it, with the input's number: ``samples-0.npy``.
        events: hears of files that cannot be read, of what is doubtful in the set, and of progress.

    Raises:
        BadFileError: the folder is missing, a file has other keys, shapes or types, or there is nothing to measure on.
        EdgeError: the disk is full.
    """
    files = _files(folder)
    where = f"calibration folder {folder}"
    checks = TensorChecks(where, [tensor.name for tensor in inputs])
    paths = _paths(target, len(inputs))
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_writer(path, tensor)) for path, tensor in zip(paths, inputs, strict=True)]

        def take(name: str, path: Path) -> Outcome:
            values = _sample(path, inputs, events)
            if values is None:
                return Outcome.UNREADABLE
            if not checks.add(name, values):
                return Outcome.REPEATED
            for writer, value in zip(writers, values, strict=True):
                writer.append(value)
            return Outcome.TAKEN

        named = [(str(path.relative_to(folder)), path) for path in files]
        found = gather(where, named, Choice(count, seed), take, events)
    for doubt in checks.doubts():
        events(Notice(doubt, "warning"))
    return Samples(paths, found.names, found.skipped, _digest(paths))


def generate_tensors(inputs: Sequence[InputFacts], seed: int, target: Path) -> Samples:
    """Make up random samples, for a comparison without a folder of them: normal floats, 0 or 1 for whole numbers."""
    generator = np.random.default_rng(seed)
    paths = _paths(target, len(inputs))
    for path, tensor in zip(paths, inputs, strict=True):
        shape = (_GENERATED, *_shape(tensor)[1:])
        real = np.dtype(tensor.dtype).kind == "f"
        values = generator.standard_normal(shape) if real else generator.integers(0, 2, shape)
        with _writer(path, tensor) as writer:
            for row in values:
                writer.append(row)
    names = tuple(f"generated sample {index}" for index in range(_GENERATED))
    return Samples(paths, names, generated=True)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadFileError(f"expected a folder of .npz or .npy samples, got {folder}")
    found = list_files(folder, _SUFFIXES)
    if not found:
        raise BadFileError(
            f"calibration folder {folder} has no .npz or .npy files",
            hint="write a sample into each: numpy.savez('0001.npz', input_name=array)",
        )
    return found


def _sample(path: Path, inputs: Sequence[InputFacts], events: Events) -> list[Tensor] | None:
    """Return a sample, (…) for each input; None for a file that cannot be read, which is told."""
    try:
        found = _load(path, inputs)
    except _UnreadableError as error:
        events(Notice(f"skipped: {error}", "warning"))
        return None
    return [_fitting(path, found[tensor.name], tensor) for tensor in inputs]


class _UnreadableError(Exception):
    """A file is damaged, or holds what is no number."""


def _load(path: Path, inputs: Sequence[InputFacts]) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream:
            return _arrays(path, np.load(stream, allow_pickle=False), [tensor.name for tensor in inputs])
    except OSError as error:
        if error.errno is not None:
            raise refused(error, path, "read") from error
        raise _UnreadableError(f"{path}: damaged file: {error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise _UnreadableError(
                f"{path}: expected numbers, got Python objects (or no NumPy file), which are never loaded"
            ) from error
        raise _UnreadableError(f"{path}: damaged file: {error}") from error


def _arrays(path: Path, loaded: Any, wanted: list[str]) -> dict[str, Tensor]:
    """Return the inputs' values by name, of what ``numpy.load`` gave: an array, or a table of arrays."""
    if not isinstance(loaded, np.ndarray):
        _check_keys(path, set(loaded.files), set(wanted))
        return {name: loaded[name] for name in wanted}
    if len(wanted) > 1:
        raise BadFileError(
            f"{path}: the model has the inputs {', '.join(wanted)}: expected an .npz file with a key for each"
        )
    return {wanted[0]: loaded}


def _check_keys(path: Path, found: set[str], wanted: set[str]) -> None:
    if found == wanted:
        return
    parts = []
    if wanted - found:
        parts.append(f"{', '.join(sorted(wanted - found))} missing")
    if found - wanted:
        parts.append(f"{', '.join(sorted(found - wanted))} unknown")
    raise BadFileError(
        f"{path}: expected the keys {', '.join(sorted(wanted))}: {'; '.join(parts)}",
        hint="the keys are the names of the model's inputs",
    )


def _fitting(path: Path, value: Tensor, tensor: InputFacts) -> Tensor:
    """Return a value as the input takes it, without the batch."""
    shape = _shape(tensor)
    if value.shape not in (shape, shape[1:]):
        raise BadFileError(
            f"{path}: input {tensor.name}: expected one sample of shape {list(shape[1:])}, got {list(value.shape)}",
            hint="one sample in each file, prepared as in training",
        )
    dtype = np.dtype(tensor.dtype)
    if value.dtype.kind not in "fiub" or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise BadFileError(f"{path}: input {tensor.name}: expected {dtype.name} values, got {value.dtype.name}")
    with np.errstate(over="ignore"):
        cast: Tensor = value.reshape(shape[1:]).astype(dtype)
    if dtype.kind == "f" and not np.isfinite(cast).all():
        raise BadFileError(f"{path}: input {tensor.name} holds NaN or infinity (or what {dtype.name} cannot hold)")
    if dtype.kind in "iu" and not np.array_equal(cast, value.reshape(shape[1:])):
        raise BadFileError(f"{path}: input {tensor.name} holds numbers that {dtype.name} cannot hold")
    return cast


def _shape(tensor: InputFacts) -> tuple[int, ...]:
    if None in tensor.shape[1:]:
        raise ValueError(f"input {tensor.name}: expected a whole shape, got {tensor.shape}")
    return (1, *(int(side or 1) for side in tensor.shape[1:]))


def _writer(path: Path, tensor: InputFacts) -> ArrayWriter:
    return ArrayWriter(path, _shape(tensor)[1:], tensor.dtype)


def _paths(target: Path, count: int) -> tuple[Path, ...]:
    return tuple(target.with_name(f"{target.stem}-{index}.npy") for index in range(count))


def _digest(paths: Sequence[Path]) -> str:
    return hashlib.sha256("".join(sha256_of(path) for path in paths).encode()).hexdigest()
