"""What an installed system is, from its root file system: debugfs reads it, without a mount and without root.

Nothing in there is trusted: what is read is bounded in size and time, and what is odd is not told.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PATH = "/usr/sbin:/sbin"  # not on every user's PATH
_TIMEOUT_S = 30.0
_MOST_LINKS = 8
_MOST_TEXT_BYTES = 64 << 10
_MOST_STATUS_BYTES = 64 << 20
_LONGEST_NAME = 80
# Names as Debian has them: a request to debugfs is a line of words, and quotes and spaces have a meaning there.
_SAFE_PATH = re.compile(r"[A-Za-z0-9._+/-]{1,255}")
_LINK = re.compile(r'^Fast link dest: "([^"\n]*)"$', re.MULTILINE)
_PYTHON = re.compile(r"python(3)\.(\d{1,2})")
_GLIBC = re.compile(r"(?:\d+:)?(\d{1,2}\.\d{1,3})(?![\d.])")
_STATUS_KEYS = (b"Package", b"Architecture", b"Status", b"Version")
_PRETTY_NAME = re.compile(r"^PRETTY_NAME=(.*)$", re.MULTILINE)
# Class and machine of an ELF header (System V ABI, chapter 4), as the kernel and Debian call them.
_MACHINES = {(2, 183): ("aarch64", "arm64"), (1, 40): ("armv7l", "armhf"), (2, 62): ("x86_64", "amd64")}


@dataclass(frozen=True)
class SystemFacts:
    """A system, by its own words, and what a package for it has to fit.

    ``machine`` is what its Python is made for, as ``aarch64``; ``python`` is a tag as ``cp311``; ``glibc`` is the C
    library's version, as ``2.36``.
    """

    name: str
    machine: str
    python: str
    glibc: str


class _OddError(Exception):
    """The file system does not tell, or tells nonsense."""


def system_facts(path: Path, offset: int, program: str = "debugfs") -> SystemFacts | None:
    """Return what the system is whose root file system begins at byte ``offset`` of a file or device.

    None: there is no debugfs, no ext4, or it does not tell, for being damaged or no Debian.
    """
    try:
        with path.open("rb") as stream:
            return _facts(_Ext4(program, stream.fileno(), offset))
    except (OSError, ValueError, _OddError, subprocess.SubprocessError):
        return None


def _facts(system: _Ext4) -> SystemFacts:
    interpreter = system.resolve("/usr/bin/python3")
    version = _PYTHON.fullmatch(posixpath.basename(interpreter))
    machine, architecture = _machine(system.read(interpreter, 20))
    if version is None:
        raise _OddError
    name = _name(system.read(system.resolve("/etc/os-release"), _MOST_TEXT_BYTES))
    return SystemFacts(name, machine, f"cp{version[1]}{version[2]}", _glibc(system, architecture))


def _name(os_release: bytes) -> str:
    found = _PRETTY_NAME.search(os_release.decode("utf-8", "replace"))
    name = found[1].strip().strip("\"'") if found else ""
    return "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME] or "Linux"


def _machine(header: bytes) -> tuple[str, str]:
    """Return what a program is made for, and what Debian calls that."""
    little_endian = header[:4] == b"\x7fELF" and header[5:6] == b"\x01"
    if len(header) < 20 or not little_endian:
        raise _OddError
    machine = _MACHINES.get((header[4], int.from_bytes(header[18:20], "little")))
    if machine is None:
        raise _OddError
    return machine


def _glibc(system: _Ext4, architecture: str) -> str:
    """Return the version of the C library for an architecture, of which a system may have several: dpkg knows it."""
    with system.lines("/var/lib/dpkg/status", _MOST_STATUS_BYTES) as lines:
        entry: dict[bytes, bytes] = {}
        for line in lines:
            if line.strip():
                key, _, value = line.partition(b": ")
                if key in _STATUS_KEYS:
                    entry[key] = value.strip()
            elif found := _glibc_in(entry, architecture):
                return found
            else:
                entry = {}
        if found := _glibc_in(entry, architecture):
            return found
    raise _OddError


def _glibc_in(entry: dict[bytes, bytes], architecture: str) -> str | None:
    mine = entry.get(b"Package") == b"libc6" and entry.get(b"Architecture") == architecture.encode()
    if not mine or entry.get(b"Status", b"").split()[-1:] != [b"installed"]:
        return None
    found = _GLIBC.match(entry.get(b"Version", b"").decode("ascii", "replace"))
    return found[1] if found else None


class _Ext4:
    """An ext4 that is read by debugfs, at some offset of an open file."""

    def __init__(self, program: str, handle: int, offset: int) -> None:
        self._program = program
        self._handle = handle
        self._offset = offset

    def resolve(self, path: str) -> str:
        """Return the path that a path's last link leads to; debugfs follows those before it."""
        for _ in range(_MOST_LINKS):
            to = _LINK.search(self.ask(f"stat {_safe(path)}", _MOST_TEXT_BYTES).decode("utf-8", "replace"))
            if to is None:
                return path
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), _safe(to[1])))
        raise _OddError

    def read(self, path: str, size: int) -> bytes:
        """Return the first bytes of a file."""
        return self.ask(f"cat {_safe(path)}", size)

    def ask(self, request: str, size: int) -> bytes:
        """Return the first bytes of what debugfs answers."""
        with self._answer(request) as stream:
            return stream.read(size)

    @contextlib.contextmanager
    def lines(self, path: str, size: int) -> Iterator[Iterator[bytes]]:
        """Yield the lines of a file as they are read; none may be long, and all together have to be in ``size``."""
        with self._answer(f"cat {_safe(path)}") as stream:
            yield _lines(stream, size)

    @contextlib.contextmanager
    def _answer(self, request: str) -> Iterator[IO[bytes]]:
        process = subprocess.Popen(
            [self._program, "-R", request, f"/proc/self/fd/{self._handle}?offset={self._offset}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._handle],
            start_new_session=True,
            env={"PATH": f"{os.environ.get('PATH', '')}:{_PATH}", "LC_ALL": "C.UTF-8", "DEBUGFS_PAGER": "__none__"},
        )
        # A damaged file system may lead in circles; when this ends it, what it gave ends, and is too little.
        timer = threading.Timer(_TIMEOUT_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            yield process.stdout
        finally:
            timer.cancel()
            process.kill()
            with process:  # closes its pipe, and waits
                pass


def _lines(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (line := stream.readline(_MOST_TEXT_BYTES)):
        size -= len(line)
        yield line


def _safe(path: str) -> str:
    if not _SAFE_PATH.fullmatch(path):
        raise _OddError
    return path
