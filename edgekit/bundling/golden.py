"""Goldens for a bundle: inputs that say something, what the model answers to them, and both as ``.npy`` blobs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from device_runtime.check import record_golden
from device_runtime.contract.events import Events, Notice
from device_runtime.contract.manifest import GoldenSpec
from device_runtime.contract.model import Colour, ModelSpec
from device_runtime.errors import BadFileError
from device_runtime.vision.frame import Frame, Tensor
from device_runtime.vision.picture import read_picture
from device_runtime.vision.prepare import Preparer
from edgekit.bundling.layout import Content, content_of

SAMPLES = 4
"""Enough that a model which answers one input right by chance is found out; each costs one inference in each check."""


def golden_contents(
    model: Path, spec: ModelSpec, pictures: Sequence[Path], events: Events
) -> tuple[GoldenSpec, list[Content]]:
    """Record what ``model`` answers to some of ``pictures``, or to noise where there are none.

    Args:
        model: the ``.tflite`` file.
        spec: its ModelSpec.
        pictures: candidates in a fixed order; ``SAMPLES`` of them are taken evenly, unreadable ones are left out.
        events: hears of pictures that are left out.

    Returns:
        The tolerances, and the blobs ``input-K.npy`` and ``output-K-J.npy`` (sample K, output J).

    Raises:
        ModelError: the model cannot be run.
    """
    frames = [frame for frame in (_frame(path, events) for path in _spread(pictures)) if frame]
    frames = frames or _noise(spec)
    preparer = Preparer(spec.image_prep, spec.inputs[0])
    inputs = [_prepared(preparer, frame) for frame in frames]
    contents = []
    for sample, (tensor, outputs) in enumerate(zip(inputs, record_golden(model, spec, inputs), strict=True)):
        contents.append(content_of("golden", f"input-{sample}.npy", _npy(tensor)))
        for number, output in enumerate(outputs):
            contents.append(content_of("golden", f"output-{sample}-{number}.npy", _npy(output)))
    return GoldenSpec(count=len(inputs)), contents


def _spread(pictures: Sequence[Path]) -> list[Path]:
    step = max(1, len(pictures) // SAMPLES)
    return list(pictures[::step][:SAMPLES])


def _frame(path: Path, events: Events) -> Frame | None:
    try:
        return read_picture(path)
    except BadFileError as error:
        events(Notice(f"left out of the goldens: {error}", "warning"))
        return None


def _noise(spec: ModelSpec) -> list[Frame]:
    """Return coarse noise, the same every time: patches keep something to see after a model's strides."""
    generator = np.random.default_rng(0)
    width, height = spec.image_prep.width, spec.image_prep.height
    frames = []
    for _ in range(SAMPLES):
        coarse = generator.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
        pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        frames.append(Frame(np.ascontiguousarray(pixels), Colour.RGB))
    return frames


def _prepared(preparer: Preparer, frame: Frame) -> Tensor:
    tensor: Tensor = np.empty(preparer.tensor.shape, preparer.tensor.dtype)
    preparer.write(frame, tensor)
    return tensor


def _npy(tensor: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(tensor), allow_pickle=False)
    return buffer.getvalue()
