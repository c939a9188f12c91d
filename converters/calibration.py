"""The pictures that a conversion measures ranges on and is compared by, prepared as the board prepares frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter
from converters.calibration_checks import PictureChecks
from converters.gathering import Choice, Outcome, gather
from device_runtime.contract.events import Events, Notice
from device_runtime.contract.model import ImagePrep
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import sha256_of
from device_runtime.vision.frame import Pixels
from device_runtime.vision.picture import list_pictures, read_picture
from device_runtime.vision.prepare import prepare_bytes

_GENERATED = 16


@dataclass(frozen=True)
class Samples:
    """Samples on disk, ready for a model.

    ``paths`` are one ``.npy`` per input: for an image model (n, height, width, channels) uint8 in the model's colour
    order, before normalisation; for a tensor model (n, …) of the input's dtype. ``names`` has the n files, ``skipped``
    those that could not be read; ``sha256`` is a digest of it all.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    sha256: str = ""
    generated: bool = False


def collect_samples(folder: Path, prep: ImagePrep, count: int, seed: int, target: Path, events: Events) -> Samples:
    """Prepare up to ``count`` different pictures of a folder, chosen by ``seed``, one at a time.

    Args:
        folder: where the pictures are, at any depth.
        prep: how to prepare them; its normalisation is not applied.
        count: how many are wanted.
        seed: equal seeds and folders give equal samples.
        target: the ``.npy`` to write.
        events: hears of pictures that cannot be read, of what is doubtful in the set, and of progress.

    Raises:
        BadFileError: the folder is missing, has no picture that can be read, or no set to calibrate with.
        EdgeError: the disk is full.
    """
    pictures = list_pictures(folder)
    if not pictures:
        raise BadFileError(
            f"calibration folder {folder} has no pictures", hint="put some there, like those the model will see"
        )
    where = f"calibration folder {folder}"
    checks = PictureChecks(where)
    with ArrayWriter(target, (prep.height, prep.width, prep.channels), np.uint8) as writer:

        def take(name: str, path: Path) -> Outcome:
            try:
                pixels = prepare_bytes(read_picture(path), prep)
            except EdgeError as error:
                events(Notice(f"skipped: {error}", "warning"))
                return Outcome.UNREADABLE
            if not checks.add(name, pixels):
                return Outcome.REPEATED
            writer.append(pixels)
            return Outcome.TAKEN

        files = [(str(path.relative_to(folder)), path) for path in pictures]
        found = gather(where, files, Choice(count, seed), take, events)
    for doubt in checks.doubts():
        events(Notice(doubt, "warning"))
    return Samples((target,), found.names, found.skipped, sha256_of(target))


def generate_samples(prep: ImagePrep, seed: int, target: Path) -> Samples:
    """Make up pictures of random coloured patches, for a comparison without a folder of pictures."""
    generator = np.random.default_rng(seed)
    names = []
    with ArrayWriter(target, (prep.height, prep.width, prep.channels), np.uint8) as writer:
        for index, pixels in enumerate(_patches(generator, prep)):
            writer.append(pixels)
            names.append(f"generated picture {index}")
    return Samples((target,), tuple(names), generated=True)


def _patches(generator: np.random.Generator, prep: ImagePrep) -> Iterator[Pixels]:
    """Yield pictures of 1 x 1 to 8 x 8 patches: plain ones, coarse and fine ones."""
    for index in range(_GENERATED):
        cells = 1 + index % 8
        coarse = generator.integers(0, 256, (cells, cells, prep.channels), np.uint8)
        rows = np.arange(prep.height) * cells // prep.height
        columns = np.arange(prep.width) * cells // prep.width
        yield coarse[rows[:, None], columns]
