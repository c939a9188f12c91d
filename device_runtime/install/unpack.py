"""Wheels to importable folders: every name, mode, size and hash is checked, then everything is byte-compiled."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import importlib.util
import io
import marshal
import os
import stat
import sys
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Optional

from device_runtime.contract.manifest import BlobRef
from device_runtime.errors import BadFileError
from device_runtime.files import sha256_of
from device_runtime.install.fsops import FileSystem, make_folders, write_all, write_file

LISTING = ".edgekit-files"
"""In an unpacked wheel: SHA-256 and name of every file, compiled ones included, as ``sha256sum --check`` reads it."""

_CHUNK_BYTES = 1 << 20
# The central directory of a wheel with 15,000 files takes 2 MB; zipfile holds all of it in memory.
_MAX_DIRECTORY_BYTES = 16 << 20
_END_RECORD_BYTES = 22
_MAX_COMMENT_BYTES = 65535
_UNIX_FILE_TYPE = 0xF000
_ENCRYPTED = 0x1
# PEP 427: the signature files are not listed in RECORD.
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# PEP 552: flags of a .pyc that is checked by no one: it was made from a source that RECORD vouches for.
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")


@dataclass
class _Unpacking:
    """A wheel on its way: where to, what is known of it, what was written."""

    archive: zipfile.ZipFile
    folder: Path
    blob: BlobRef
    fs: FileSystem
    written: dict[str, str] = field(default_factory=dict)  # file name in the folder -> hex SHA-256
    hashes: dict[str, str] = field(default_factory=dict)  # name in the archive -> hex SHA-256
    size: int = 0


def unpack_wheel(fs: FileSystem, blob: BlobRef, source: Path, folder: Path, final: Path) -> None:
    """Unpack a wheel into a new folder and compile it.

    Args:
        fs: the file system.
        blob: the wheel, with the number of files and bytes that it says it unpacks to.
        source: the verified blob.
        folder: where to, below a name that does not count yet; it must not exist.
        final: what ``folder`` will be called: the path that tracebacks show.

    Raises:
        BadFileError: the wheel is damaged, has an entry that could do harm, or is more than it says.
        OSError: the disk refuses.
    """
    _check_directory(source, blob)
    try:
        with zipfile.ZipFile(source) as archive:
            work = _Unpacking(archive, folder, blob, fs)
            fs.make_folder(folder)
            _unpack(work)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise BadFileError(f"{blob.name}: not a readable wheel: {error}") from error
    except ValueError as error:  # zipfile: a name or number that no archive may have
        raise BadFileError(f"{blob.name}: not a readable wheel: {error}") from error
    _compile(work, final)
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(work.written.items()))
    write_file(fs, folder / LISTING, listing.encode())


def left_out(name: str) -> bool:
    """Return whether a file of a wheel is not unpacked: compiled files, which some wheels have, are made anew.

    Nobody checks on import that they are what their sources say.
    """
    parts = name.split("/")
    return parts[-1].endswith(".pyc") and "__pycache__" in parts[:-1]


def unpacked_intact(folder: Path) -> Optional[str]:
    """Return None when an unpacked wheel is what was installed, or what is wrong with it."""
    try:
        lines = (folder / LISTING).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{folder.name}: {LISTING} is missing or damaged"
    listed = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        listed[name] = digest
    for name, digest in listed.items():
        path = folder / name
        try:
            actual = sha256_of(path)
        except OSError:
            return f"{folder.name}: {name} is missing"
        if path.is_symlink() or actual != digest:
            return f"{folder.name}: {name} was altered"
    strangers = sorted(set(_files_below(folder)) - set(listed) - {LISTING})
    return f"{folder.name}: {strangers[0]} does not belong there" if strangers else None


def _check_directory(source: Path, blob: BlobRef) -> None:
    """Look at the end record before zipfile reads the whole directory into memory."""
    with source.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _END_RECORD_BYTES - _MAX_COMMENT_BYTES))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END_RECORD_BYTES:
        raise BadFileError(f"{blob.name}: not a wheel: no zip directory")
    entries = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if entries == 0xFFFF or directory > _MAX_DIRECTORY_BYTES:
        raise BadFileError(f"{blob.name}: expected a directory of at most {_MAX_DIRECTORY_BYTES} bytes, and no zip64")
    if entries > 2 * blob.files:  # folders may be entries too, and no wheel has more of them than files
        raise BadFileError(f"{blob.name}: expected {blob.files} files, got {entries} entries")


def _unpack(work: _Unpacking) -> None:
    names = _checked_names(work)
    record = _record(work)
    for info, target in names:
        digest = _extract(work, info, target)
        listed = record.pop(info.filename, None)
        if PurePosixPath(info.filename).name in _UNLISTED and _in_dist_info(info.filename):
            continue
        if listed != digest:
            what = "is not in RECORD" if listed is None else "was altered: RECORD has another hash"
            raise BadFileError(f"{work.blob.name}: {info.filename} {what}")
    missing = sorted(name for name, digest in record.items() if digest and not left_out(name))
    if missing:
        raise BadFileError(f"{work.blob.name}: {missing[0]} is in RECORD and missing")
    if (len(names), work.size) != (work.blob.files, work.blob.unpacked_size):
        raise BadFileError(
            f"{work.blob.name}: expected {work.blob.files} files of {work.blob.unpacked_size} bytes, "
            f"got {len(names)} of {work.size}"
        )


def _checked_names(work: _Unpacking) -> list[tuple[zipfile.ZipInfo, str]]:
    """Return the files of the archive and where each goes, when all are safe to write."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    result = []
    for info in work.archive.infolist():
        where = f"{work.blob.name}: entry {info.filename!r}"
        _check_entry(info, where)
        if info.is_dir():
            _safe_parts(info.filename.rstrip("/"), where)
            continue
        if left_out(info.filename):
            continue
        parts = _safe_parts(info.filename, where)
        # PEP 427: files below NAME.data/purelib and platlib go to the top; RECORD keeps their long names.
        if len(parts) > 2 and parts[0].endswith(".data") and parts[1] in ("purelib", "platlib"):
            parts = parts[2:]
        target = "/".join(parts)
        if _folded(target) in seen:
            raise BadFileError(f"{where}: the same file as {seen[_folded(target)]!r}, or differs from it in case alone")
        seen[_folded(target)] = info.filename
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folders.setdefault(_folded(folder), folder) != folder:
                raise BadFileError(f"{where}: its folder differs from {folders[_folded(folder)]!r} in case alone")
        result.append((info, target))
    clash = sorted(set(seen) & set(folders))
    if clash:
        raise BadFileError(f"{work.blob.name}: {clash[0]!r} is both a file and a folder")
    return result


def _check_entry(info: zipfile.ZipInfo, where: str) -> None:
    kind = (info.external_attr >> 16) & _UNIX_FILE_TYPE
    allowed = (0, stat.S_IFDIR) if info.is_dir() else (0, stat.S_IFREG)
    if kind not in allowed:
        raise BadFileError(f"{where}: expected a regular file or a folder, got type {kind >> 12:#x} (link, device, …)")
    if info.flag_bits & _ENCRYPTED:
        raise BadFileError(f"{where}: is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadFileError(f"{where}: expected stored or deflated, got method {info.compress_type}")


def _safe_parts(name: str, where: str) -> list[str]:
    # ZipInfo cuts a name at a NUL and turns the system's separator into "/"; what is left is judged here.
    parts = name.split("/")
    for part in parts:
        if part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255:
            raise BadFileError(f"{where}: expected a plain relative path")
        if "\\" in part or ":" in part or not part.isprintable():
            raise BadFileError(f"{where}: expected a path without backslashes, colons and control characters")
    if len(name) > 1024:
        raise BadFileError(f"{where}: expected a path of at most 1024 characters, got {len(name)}")
    if parts[-1] == LISTING and len(parts) == 1:
        raise BadFileError(f"{where}: the name is the installer's own")
    if parts[-1].endswith(".pyc"):
        raise BadFileError(f"{where}: a wheel holds sources, not compiled files")
    return parts


def _folded(name: str) -> str:
    """Return what a name is on a file system that knows no case: two that are equal there cannot both be written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _record(work: _Unpacking) -> dict[str, str]:
    """Return the hex SHA-256 of each file as RECORD has it; empty for RECORD itself."""
    names = [name for name in work.archive.namelist() if _in_dist_info(name) and name.endswith("/RECORD")]
    if len(names) != 1:
        raise BadFileError(f"{work.blob.name}: expected one RECORD, got {len(names)}")
    content = b"".join(_pieces(work, work.archive.getinfo(names[0])))
    record: dict[str, str] = {}
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFileError(f"{work.blob.name}: RECORD is not readable: {error}") from error
    for row in rows:
        if len(row) != 3:
            raise BadFileError(f"{work.blob.name}: RECORD: expected 3 columns, got {len(row)}")
        record[row[0]] = _hex_of(row[1], work.blob.name)
    return record


def _hex_of(text: str, where: str) -> str:
    method, _, value = text.partition("=")
    if not text:
        return ""
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    if method != "sha256" or len(raw) != 32:
        raise BadFileError(f"{where}: RECORD: expected sha256=…, got {text!r}")
    return raw.hex()


def _in_dist_info(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and parts[0].endswith(".dist-info")


def _extract(work: _Unpacking, info: zipfile.ZipInfo, target: str) -> str:
    """Write one file and return its hex SHA-256."""
    path = work.folder / target
    make_folders(work.fs, path.parent)
    executable = bool((info.external_attr >> 16) & stat.S_IXUSR)
    digest = hashlib.sha256()
    descriptor = work.fs.create(path)
    try:
        for piece in _pieces(work, info):
            work.size += len(piece)
            if work.size > work.blob.unpacked_size:
                raise BadFileError(f"{work.blob.name}: expected {work.blob.unpacked_size} bytes unpacked, got more")
            digest.update(piece)
            write_all(work.fs, descriptor, piece)
        # Only these bits: never setuid, setgid or writable by others.
        work.fs.set_mode(descriptor, 0o755 if executable else 0o644)
    finally:
        os.close(descriptor)
    work.written[target] = digest.hexdigest()
    return digest.hexdigest()


def _pieces(work: _Unpacking, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a file's content; zipfile stops at the size that the directory has, and checks the CRC."""
    if info.file_size > work.blob.unpacked_size:
        raise BadFileError(f"{work.blob.name}: {info.filename}: expected at most {work.blob.unpacked_size} bytes")
    with work.archive.open(info) as stream:
        while True:
            piece = stream.read(_CHUNK_BYTES)
            if not piece:
                return
            yield piece


def _compile(work: _Unpacking, final: Path) -> None:
    """Compile every source as this interpreter does when it imports it; what does not compile is left as it is."""
    for name in sorted(work.written):
        if not name.endswith(".py"):
            continue
        source = (work.folder / name).read_bytes()
        code = _compiled(source, str(final / name))
        if code is None:
            continue
        target = work.folder / _cache_name(name)
        make_folders(work.fs, target.parent)
        write_file(work.fs, target, code)
        work.written[target.relative_to(work.folder).as_posix()] = hashlib.sha256(code).hexdigest()


def _cache_name(name: str) -> str:
    """Return where an import looks for the compiled file (PEP 3147), whatever this process's own cache prefix is."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _compiled(source: bytes, name: str) -> Optional[bytes]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Templates and files for other Pythons; importing one will say so.
        return None
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


def _files_below(folder: Path) -> list[str]:
    return [Path(parent, name).relative_to(folder).as_posix() for parent, _, files in os.walk(folder) for name in files]
