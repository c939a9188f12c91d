"""Label files: one class name per line."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.files import refused

_NUMBERED = re.compile(r"\s*(\d+)(?:\s*[:,]\s*|\s+)(\S.*)")


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a label file.

    Raises:
        BadFileError: it is missing, empty or not UTF-8 text.
        EdgeError: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadFileError(f"no such label file: {path}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise BadFileError(
            f"{path}: expected labels as UTF-8 text, got byte 0x{error.object[error.start]:02x}"
        ) from error
    return parse_labels(text, str(path))


def parse_labels(text: str, where: str) -> tuple[str, ...]:
    """Return the labels of a text: one per line, or ``NUMBER NAME`` when every line is numbered in order from 0.

    Numbers may be left out of the sequence: their classes get empty names. Lines at the end that are empty are
    no labels.

    Raises:
        BadFileError: there is none.
    """
    lines = text.rstrip().splitlines()
    if not lines:
        raise BadFileError(f"{where}: expected one label per line, got an empty file")
    numbered = [match for match in map(_NUMBERED.fullmatch, lines) if match]
    indices = [int(match[1]) for match in numbered]
    counts_up = indices[:1] == [0] and all(one < two for one, two in itertools.pairwise(indices))
    if len(numbered) == len(lines) and counts_up and indices[-1] < 10 * len(lines):
        names = {int(match[1]): match[2].strip() for match in numbered}
        return tuple(names.get(index, "") for index in range(indices[-1] + 1))
    return tuple(line.strip() for line in lines)
