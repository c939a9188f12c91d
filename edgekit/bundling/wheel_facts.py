"""What a wheel says of itself, and what it unpacks to."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import parse_email
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from device_runtime.contract.manifest import BlobRef
from device_runtime.errors import BadFileError
from device_runtime.files import refused, sha256_of
from device_runtime.install.fsops import FileSystem
from device_runtime.install.unpack import left_out, unpack_wheel

_MAX_METADATA_BYTES = 4 << 20
_LONGEST_LICENCE = 80
"""Letters of a licence's name; some packages put the whole text there."""


@dataclass(frozen=True)
class WheelFacts:
    """A wheel: package, version, licence, the Pythons that it is for, and how many files and bytes it unpacks to.

    ``expression`` is the licence in SPDX's language, ``licences`` are its names where only those are said.
    """

    name: str
    version: str
    expression: str
    licences: tuple[str, ...]
    requires_python: str
    files: int
    unpacked_size: int


def read_wheel(path: Path, file: str) -> WheelFacts:
    """Read what a wheel says. Raises BadFileError: it is none."""
    try:
        name, version, _, _ = parse_wheel_filename(file)
        with zipfile.ZipFile(path) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir() and not left_out(info.filename)]
            metadata = [info for info in entries if _is_metadata(info.filename)]
            if len(metadata) != 1 or metadata[0].file_size > _MAX_METADATA_BYTES:
                raise BadFileError(
                    f"{file}: not a wheel: expected one METADATA of a moderate size, got {len(metadata)}"
                )
            raw, _ = parse_email(archive.read(metadata[0]))
    except OSError as error:
        raise refused(error, path, "read") from error
    except (InvalidWheelFilename, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, UnicodeError) as error:
        raise BadFileError(f"{file}: not a wheel: {error}") from error
    return WheelFacts(
        str(name),
        str(version),
        raw.get("license_expression", ""),
        _licences(raw.get("classifiers", []), raw.get("license", "")),
        raw.get("requires_python", ""),
        len(entries),
        sum(info.file_size for info in entries),
    )


def fits_python(facts: WheelFacts, python: str) -> bool:
    """Return whether a wheel is for a version of Python; uv does not look at upper bounds."""
    try:
        return SpecifierSet(facts.requires_python).contains(python)
    except InvalidSpecifier:
        return True  # pip does not mind either


def check_wheel(path: Path, facts: WheelFacts) -> None:
    """Unpack a wheel as a board does, and throw it away. Raises BadFileError: a board would not take it."""
    digest = f"sha256:{sha256_of(path)}"
    blob = BlobRef("wheel", digest, path.stat().st_size, path.name, facts.unpacked_size, facts.files)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        unpacked = Path(folder) / "wheel"
        unpack_wheel(FileSystem(), blob, path, unpacked, unpacked)


def _is_metadata(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder.endswith(".dist-info") and file == "METADATA"


def _licences(classifiers: list[str], text: str) -> tuple[str, ...]:
    """Return the names of licences: of the classifiers, else what is written where it is one short line."""
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    named = [name for name in named if name != "OSI Approved"]
    if named:
        return tuple(sorted(set(named)))
    text = text.strip()
    return (text,) if text and "\n" not in text and len(text) <= _LONGEST_LICENCE else ()
