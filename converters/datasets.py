"""Labelled pictures on disk: a folder per class, or a ``labels.csv``."""

from __future__ import annotations

import csv
import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.contract.decode import suggestion
from device_runtime.contract.model import TaskSpec
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import refused
from device_runtime.vision.picture import list_pictures, read_mask
from device_runtime.vision.placement import Mask

LABELS_FILE = "labels.csv"

Box = tuple[float, float, float, float]


class LabelKind(enum.Enum):
    """What the labels of a data set are; the value is how ``labels.csv`` has them."""

    CLASSES = "file,label"
    BOXES = "file,label,x1,y1,x2,y2"
    MASKS = "file,mask"
    VALUES = "file,value"


KIND_OF_TASK = {
    "classification": LabelKind.CLASSES,
    "detection": LabelKind.BOXES,
    "segmentation": LabelKind.MASKS,
    "regression": LabelKind.VALUES,
}
"""The labels that each task is measured by; there are none for poses."""


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and the truth about it; what the data set's kind does not give is empty.

    ``label`` is its class. ``objects`` are (label, box) with boxes x1 y1 x2 y2 in px of the picture, upright. ``mask``
    is a picture of class ids (see ``read_mask``) of the same size. ``values`` are the numbers that a regression should
    give, in its order.
    """

    path: Path
    label: str = ""
    objects: tuple[tuple[str, Box], ...] = ()
    mask: Path | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures."""

    path: Path
    pictures: tuple[LabelledPicture, ...]
    kind: LabelKind

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        found = {picture.label for picture in self.pictures if picture.label}
        found.update(label for picture in self.pictures for label, _ in picture.objects)
        return tuple(sorted(found))


def read_dataset(path: Path) -> Dataset:
    """Read a data set.

    Args:
        path: a folder with one folder per class, a folder with a ``labels.csv``, or that file itself; files in it are
            relative to it. Its header is ``file,label``; ``file,label,x1,y1,x2,y2`` (one row per object; a picture
            without objects has one row with nothing behind its file); ``file,mask``; or ``file,value``, with one more
            column ``value`` for each further value.

    Raises:
        BadFileError: it is none of these, or a row is wrong.
    """
    if path.is_file():
        return _read_table(path)
    if not path.is_dir():
        raise BadFileError(f"no such data set: {path}")
    if (path / LABELS_FILE).is_file():
        return _read_table(path / LABELS_FILE)
    pictures = [
        LabelledPicture(picture, folder.name)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for picture in list_pictures(folder)
    ]
    if not pictures:
        raise BadFileError(
            f"{path}: expected a folder per class with pictures in it, or a {LABELS_FILE}",
            hint=f"see: ls {path}",
        )
    return Dataset(path, tuple(pictures), LabelKind.CLASSES)


@dataclass
class _Rows:
    """What the table says of one picture, while it is read."""

    label: str = ""
    objects: list[tuple[str, Box]] = field(default_factory=list)
    mask: Path | None = None
    values: tuple[float, ...] = ()


def _read_table(path: Path) -> Dataset:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            rows = list(reader)
    except OSError as error:
        raise refused(error, path, "read") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFileError(f"{path}: not a CSV table in UTF-8: {error}") from error
    kind = _kind_of(header)
    if kind is None:
        forms = " or ".join(known.value for known in LabelKind)
        raise BadFileError(f"{path}: expected the header {forms}, got {','.join(header)}")
    pictures: dict[str, _Rows] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}:{number}"
        cells = [cell.strip() for cell in row]
        if not cells:
            continue
        if len(cells) != len(header):
            raise BadFileError(f"{where}: expected {len(header)} columns, got {len(cells)}")
        if not cells[0]:
            raise BadFileError(f"{where}: expected a file, got nothing")
        if cells[0] in pictures and kind is not LabelKind.BOXES:
            raise BadFileError(f"{where}: {cells[0]} is labelled a second time")
        _read_row(kind, cells[1:], pictures.setdefault(cells[0], _Rows()), path.parent, where)
    if not pictures:
        raise BadFileError(f"{path}: no rows")
    return Dataset(
        path,
        tuple(
            LabelledPicture(path.parent / name, entry.label, tuple(entry.objects), entry.mask, entry.values)
            for name, entry in pictures.items()
        ),
        kind,
    )


def _kind_of(header: list[str]) -> LabelKind | None:
    if header[:1] == ["file"] and set(header[1:]) == {"value"}:
        return LabelKind.VALUES
    return next((kind for kind in LabelKind if kind.value.split(",") == header), None)


def _read_row(kind: LabelKind, cells: list[str], entry: _Rows, folder: Path, where: str) -> None:
    """Take what stands behind the file's name in a row."""
    if kind is LabelKind.BOXES:
        if any(cells):
            entry.objects.append(_object(cells, where))
        return
    if not all(cells):
        raise BadFileError(f"{where}: expected a {kind.value.rpartition(',')[2]}, got nothing")
    if kind is LabelKind.CLASSES:
        entry.label = cells[0]
    elif kind is LabelKind.MASKS:
        entry.mask = folder / cells[0]
    else:
        entry.values = tuple(_numbers(cells, f"{where}: expected {len(cells)} finite numbers"))


def _object(cells: list[str], where: str) -> tuple[str, Box]:
    label = cells[0]
    x1, y1, x2, y2 = _numbers(cells[1:], f"{where}: expected four numbers x1,y1,x2,y2")
    if not (label and x2 > x1 and y2 > y1):
        raise BadFileError(f"{where}: expected a label and x1 < x2, y1 < y2, got {','.join(cells)}")
    return label, (x1, y1, x2, y2)


def _numbers(cells: list[str], expected: str) -> list[float]:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError as error:
        raise BadFileError(f"{expected}, got {','.join(cells)}") from error
    if not all(math.isfinite(number) for number in numbers):
        raise BadFileError(f"{expected}, got {','.join(cells)}")
    return numbers


def require_kind(dataset: Dataset, task: TaskSpec) -> None:
    """Raise UsageError when a data set's labels are not what a task is measured by."""
    wanted = KIND_OF_TASK.get(task.name)
    if wanted is None:
        raise UsageError(
            f"{dataset.path}: there are no labels that a {task.name} model is measured by",
            hint="hold it against another model: edgekit compare MODEL OTHER PICTURES",
        )
    if dataset.kind is not wanted:
        raise UsageError(
            f"{dataset.path}: a {task.name} model needs labels that are {wanted.name.lower()}, got "
            f"{dataset.kind.name.lower()}",
            hint=f"write a labels.csv with the header {wanted.value}",
        )


def class_indices(
    dataset: Dataset, task: TaskSpec, labels: Sequence[str], outputs: Sequence[tuple[int, ...]]
) -> dict[str, int]:
    """Return the class index of every label that occurs: by its name, else as a number.

    Args:
        dataset: the labels.
        task: what the model is for.
        labels: the model's own.
        outputs: the shapes of its outputs.

    Raises:
        UsageError: a label is none of the model's.
    """
    named: dict[str, int] = {}
    for position, name in enumerate(labels):
        named.setdefault(name, position - task.label_offset)
    classes = outputs[0][-1] if task.name == "classification" else None
    indices: dict[str, int] = {}
    for label in dataset.labels:
        if label in named:
            indices[label] = named[label]
        elif label.isdecimal() and (classes is None or int(label) < classes):
            indices[label] = int(label)
        else:
            raise UsageError(
                f'{dataset.path}: label "{label}" is none of the model\'s',
                hint=suggestion(label, named) if named else "give the model's label file: --labels FILE",
            )
    return indices


def true_mask(picture: LabelledPicture, width: int, height: int) -> Mask:
    """Return the class of each of a picture's pixels.

    Raises:
        BadFileError: it has no mask, or one of another size than the picture's ``width`` and ``height``.
    """
    if picture.mask is None:
        raise BadFileError(f"{picture.path}: expected a mask")
    mask = read_mask(picture.mask)
    if mask.shape != (height, width):
        raise BadFileError(
            f"{picture.mask}: expected {width}x{height} px as {picture.path}, got {mask.shape[1]}x{mask.shape[0]}"
        )
    return mask
