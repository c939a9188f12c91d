"""Checks every byte of a bundle, and that what it holds can be understood."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import replace
from pathlib import Path

from converters.tflite_reader import parse_tflite
from device_runtime.contract.decode import loads
from device_runtime.contract.events import Events, Progress, Step
from device_runtime.contract.manifest import BlobRef
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError
from device_runtime.files import refused
from device_runtime.install.fsops import FileSystem
from device_runtime.install.layout import Bundle, Package, open_bundle
from device_runtime.install.signature import verify_signature
from device_runtime.install.unpack import unpack_wheel
from edgekit.bundling.describe import BundleFacts, describe_bundle


def verify_bundle(path: Path, events: Events, signers: Path | None = None) -> BundleFacts:
    """Read a bundle from the first byte to the last.

    Checked are the tar's frame, the index and its checksum, size and digest of every manifest and blob, that no blob is
    missing and none is there unnamed, and that spec, service, model, goldens and wheels are what they are said to be.

    Args:
        path: the bundle.
        events: hears how far it is.
        signers: the file of those who may sign; the bundle has to be signed by one of them.

    Raises:
        SignatureError: it is not signed by one of ``signers``.
        BadFileError: something is not what it should be; the message names it.
        UnfitError: it needs a newer edgekit.
        EdgeError: it cannot be read.
    """
    events(Step(f"read {path}"))
    with open_bundle(path) as bundle, tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        signer = verify_signature(bundle.index_content, signers, str(path)) if signers is not None else ""
        try:
            for number, package in enumerate(bundle.packages):
                _verify_package(bundle, package, str(path), Path(folder), events)
                events(Progress(number + 1, len(bundle.packages), "platforms"))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # what is unpacked to be looked at
                raise refused(error, Path(folder), "write") from error
            raise refused(error, Path(error.filename or path), "read") from error
    return replace(describe_bundle(path), signer=signer)


def _verify_package(bundle: Bundle, package: Package, where: str, folder: Path, events: Events) -> None:
    manifest = package.manifest
    done, total = 0, sum(blob.size for blob in manifest.blobs)
    for blob in manifest.blobs:
        _verify_blob(bundle, blob, where, folder)
        done += blob.size
        events(Progress(done, total, "bytes"))
    names = [blob.name for blob in manifest.of_role("golden")]
    inputs = {f"input-{sample}.npy" for sample in range(manifest.golden.count)}
    if len(set(names)) != len(names) or inputs != {name for name in names if name.startswith("input-")}:
        raise BadFileError(f"{where}: expected goldens for {manifest.golden.count} samples, got {', '.join(names)}")


def _verify_blob(bundle: Bundle, blob: BlobRef, where: str, folder: Path) -> None:
    place = f"{where}: {blob.name}"
    path = folder / f"{blob.role}-{blob.hex}"
    if path.exists():
        return  # platforms share it, or an equal one, and it was checked
    with path.open("wb") as stream:
        stream.writelines(bundle.read(blob))
    if blob.role == "model":
        parse_tflite(path.read_bytes(), place)
    elif blob.role == "spec":
        loads(ModelSpec, _text(path, place), place)
    elif blob.role == "service":
        loads(ServiceSpec, _text(path, place), place)
    elif blob.role == "wheel":
        unpacked = folder / f"unpacked-{blob.hex}"
        unpack_wheel(FileSystem(), blob, path, unpacked, unpacked)
    elif blob.role == "golden":
        _verify_golden(path, place)


def _verify_golden(path: Path, place: str) -> None:
    import numpy as np  # noqa: PLC0415 - 0.1 s, for those who verify

    try:
        np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise BadFileError(f"{place}: not a golden tensor: {error}") from error


def _text(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{place}: not UTF-8 text") from error
