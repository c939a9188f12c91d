"""Labelled pictures as a search takes them: prepared as the board prepares frames, the truth in input coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter
from converters.calibration import Samples
from converters.datasets import LabelledPicture, class_indices, read_dataset, require_kind, true_mask
from converters.gathering import Choice, Outcome, gather
from converters.parity.scores import TrueObjects, Truth
from device_runtime.contract.events import Events, Notice
from device_runtime.contract.model import ImagePrep, TaskSpec
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import sha256_of
from device_runtime.vision.frame import Frame
from device_runtime.vision.picture import read_picture
from device_runtime.vision.placement import plan_placement
from device_runtime.vision.prepare import prepare_bytes


@dataclass(frozen=True)
class Labelled:
    """Prepared pictures; ``groups`` and ``truths`` have the class and the truth of each."""

    samples: Samples
    groups: tuple[str, ...]
    truths: tuple[Truth, ...]


@dataclass(frozen=True)
class Answers:
    """What a model's outputs mean: its task, its labels, and the shapes of its outputs."""

    task: TaskSpec
    labels: tuple[str, ...]
    shapes: Sequence[tuple[int, ...]]


def collect_labelled(
    path: Path, prep: ImagePrep, means: Answers, choice: Choice, target: Path, events: Events
) -> Labelled:
    """Prepare pictures of a labelled data set, one at a time.

    Raises:
        UsageError: the labels are not the model's, or of another kind than the task needs.
        BadFileError: it is no data set, a mask does not fit, or no picture can be read.
        EdgeError: the disk is full.
    """
    if means.task.name == "regression":
        raise UsageError(
            "a regression is compared with the trained model by agreement, which needs no labels",
            hint="leave --evaluation out; edgekit evaluate measures the error of the result",
        )
    dataset = read_dataset(path)
    require_kind(dataset, means.task)
    indices = class_indices(dataset, means.task, means.labels, means.shapes)
    chosen: list[tuple[LabelledPicture, Truth]] = []
    pictures = {str(picture.path): picture for picture in dataset.pictures}
    with ArrayWriter(target, (prep.height, prep.width, prep.channels), np.uint8) as writer:

        def take(name: str, path: Path) -> Outcome:
            try:
                frame = read_picture(path)
            except BadFileError as error:
                events(Notice(f"skipped: {error}", "warning"))
                return Outcome.UNREADABLE
            picture = pictures[name]
            chosen.append((picture, _truth(picture, frame, prep, means.task, indices)))
            writer.append(prepare_bytes(frame, prep))
            return Outcome.TAKEN

        found = gather(f"data set {path}", [(name, each.path) for name, each in pictures.items()], choice, take, events)
    samples = Samples((target,), found.names, found.skipped, sha256_of(target))
    return Labelled(samples, tuple(picture.label for picture, _ in chosen), tuple(truth for _, truth in chosen))


def _truth(picture: LabelledPicture, frame: Frame, prep: ImagePrep, task: TaskSpec, indices: dict[str, int]) -> Truth:
    placement = plan_placement(prep, frame.width, frame.height)
    if task.name == "detection":
        boxes = np.array([box for _, box in picture.objects], np.float32).reshape(-1, 4)
        classes = np.array([indices[label] for label, _ in picture.objects], np.int64)
        return TrueObjects(placement.boxes_to_input(boxes, prep), classes)
    if task.name == "segmentation":
        return placement.mask_to_input(true_mask(picture, frame.width, frame.height), prep)
    return indices[picture.label]
