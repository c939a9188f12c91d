"""Writes the device wheel: the installed ``device_runtime`` as a wheel, of which equal sources have equal bytes."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import device_runtime
from edgekit.bundling.stored_zip import stored_zip

DISTRIBUTION = "edgekit_device_runtime"
_LEFT_OUT = ("__pycache__",)

# No Requires-Dist: what else a board needs differs from board to board and is the bundle's to say, and the contract
# and the installer need nothing.
_METADATA = """\
Metadata-Version: 2.1
Name: edgekit-device-runtime
Version: {version}
Summary: What runs on the board: camera frames in, predictions out, and the installer that put it there.
License: Apache-2.0
Requires-Python: >=3.9
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: edgekit {version}
Root-Is-Purelib: true
Tag: py3-none-any
"""


@dataclass(frozen=True)
class Wheel:
    """A wheel in memory: its file name, its bytes, and what it unpacks to."""

    name: str
    content: bytes
    unpacked_size: int
    files: int


def device_wheel() -> Wheel:
    """Return the wheel of the ``device_runtime`` that this process imports."""
    return package_wheel(Path(device_runtime.__file__).parent, device_runtime.__version__)


def package_wheel(package: Path, version: str) -> Wheel:
    """Return a wheel of one package folder: all its files but compiled ones and hidden ones.

    Raises:
        OSError: a file cannot be read.
    """
    info = f"{DISTRIBUTION}-{version}.dist-info"
    files = {f"{package.name}/{name}": (package / name).read_bytes() for name in _package_files(package)}
    files[f"{info}/METADATA"] = _METADATA.format(version=version).encode()
    files[f"{info}/WHEEL"] = _WHEEL.format(version=version).encode()
    record = f"{info}/RECORD"
    rows = [f"{name},sha256={_record_hash(content)},{len(content)}\n" for name, content in sorted(files.items())]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    # PEP 427: the metadata comes last, RECORD at the very end.
    ordered = sorted(files, key=lambda each: (each.startswith(info), each == record, each))
    name = f"{DISTRIBUTION}-{version}-py3-none-any.whl"
    return Wheel(
        name,
        stored_zip({name: files[name] for name in ordered}),
        sum(map(len, files.values())),
        len(files),
    )


def _package_files(package: Path) -> list[str]:
    names = [path.relative_to(package) for path in package.rglob("*") if path.is_file()]
    return sorted(
        name.as_posix()
        for name in names
        if not any(part in _LEFT_OUT or part.startswith(".") for part in name.parts) and name.suffix != ".pyc"
    )


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
