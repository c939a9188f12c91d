"""Labelled pictures on disk: a folder per class, or a ``labels.csv``."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.files import refused
from device_runtime.vision.picture import list_pictures

LABELS_FILE = "labels.csv"
_CLASS_COLUMNS = ["file", "label"]
_BOX_COLUMNS = [*_CLASS_COLUMNS, "x1", "y1", "x2", "y2"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and the truth about it.

    ``label`` is its class; in a data set with boxes it is empty, and ``objects`` are (label, box) with boxes x1 y1 x2
    y2 in px of the picture, upright.
    """

    path: Path
    label: str = ""
    objects: tuple[tuple[str, Box], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures; ``boxes`` tells whether the labels are boxes."""

    path: Path
    pictures: tuple[LabelledPicture, ...]
    boxes: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        found = {picture.label for picture in self.pictures if picture.label}
        found.update(label for picture in self.pictures for label, _ in picture.objects)
        return tuple(sorted(found))


def read_dataset(path: Path) -> Dataset:
    """Read a data set.

    Args:
        path: a folder with one folder per class, a folder with a ``labels.csv``, or that file itself. Its header is
            ``file,label`` or ``file,label,x1,y1,x2,y2`` (one row per object; a picture without objects has one row
            with nothing behind its file); files are relative to it.

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
    return Dataset(path, tuple(pictures), boxes=False)


@dataclass
class _Rows:
    """The rows of one picture, while the table is read."""

    label: str = ""
    objects: list[tuple[str, Box]] = field(default_factory=list)


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
    if header not in (_CLASS_COLUMNS, _BOX_COLUMNS):
        forms = " or ".join(",".join(columns) for columns in (_CLASS_COLUMNS, _BOX_COLUMNS))
        raise BadFileError(f"{path}: expected the header {forms}, got {','.join(header)}")
    pictures: dict[str, _Rows] = {}
    for number, row in enumerate(rows, start=2):
        if row:
            _read_row([cell.strip() for cell in row], header, pictures, f"{path}:{number}")
    if not pictures:
        raise BadFileError(f"{path}: no rows")
    return Dataset(
        path,
        tuple(
            LabelledPicture(path.parent / name, entry.label, tuple(entry.objects)) for name, entry in pictures.items()
        ),
        boxes=header == _BOX_COLUMNS,
    )


def _read_row(row: list[str], header: list[str], pictures: dict[str, _Rows], where: str) -> None:
    if len(row) != len(header):
        raise BadFileError(f"{where}: expected {len(header)} columns, got {len(row)}")
    name, label = row[:2]
    if not name:
        raise BadFileError(f"{where}: expected a file, got nothing")
    if header == _CLASS_COLUMNS:
        if not label:
            raise BadFileError(f"{where}: expected a label, got nothing")
        if name in pictures:
            raise BadFileError(f"{where}: {name} is labelled a second time")
        pictures[name] = _Rows(label)
        return
    entry = pictures.setdefault(name, _Rows())
    if not any(row[1:]):
        return
    try:
        x1, y1, x2, y2 = (float(cell) for cell in row[2:])
    except ValueError as error:
        raise BadFileError(f"{where}: expected four numbers x1,y1,x2,y2, got {','.join(row[2:])}") from error
    if not (label and x2 > x1 and y2 > y1):
        raise BadFileError(f"{where}: expected a label and x1 < x2, y1 < y2, got {','.join(row[1:])}")
    entry.objects.append((label, (x1, y1, x2, y2)))
