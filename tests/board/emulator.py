"""The emulator of the board's CPU, and its registration with the kernel, which then runs arm64 programs with it.

binfmt_misc: Documentation/admin-guide/binfmt-misc.rst of the kernel. Handlers are asked from the newest to the oldest,
so that ours wins over one that the system has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from converters.cache import cache_folder
from device_runtime.errors import UnfitError
from device_runtime.files import making_folder
from tests.board.debian import unpack_package
from tests.board.running import done, locked, say

# Bookworm's 7.2 crashes in LiteRT's invoke; 10.0 does not.
_SUITE, _PACKAGE, _PROGRAM = "trixie", "qemu-user", "qemu-aarch64"
CPU = "cortex-a72"
"""A Raspberry Pi 4's. The emulator's own choice has instructions that no Pi has."""

_REGISTRY = Path("/proc/sys/fs/binfmt_misc")
_NAME = "edgekit-aarch64"
_GATE, _IN_USE = Path("/run/edgekit-aarch64.gate"), Path("/run/edgekit-aarch64.lock")
# An ELF header (gABI, chapter 4): 64 bits, little endian, version 1, e_type 2 or 3 (position independent), e_machine
# 183 (EM_AARCH64); the ABI's version is not looked at, and of the ABI only that it is 0.
_MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
_MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
# O: an open file is handed over; C: setuid programs (sudo) keep their user; P: the first argument stays as it was
# ("-bash" is a login shell); F: opened now, so that it works in another root.
_FLAGS = "OCPF"


def emulator() -> Path:
    """Return the path of qemu-aarch64, got from Debian and unpacked into the cache when it is not there yet.

    Raises:
        UnfitError: there is no mirror, no network, or no such package.
    """
    folder = cache_folder() / f"board-{_PROGRAM}-{_SUITE}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if not folder.exists():
                say(f"getting {_PACKAGE} of Debian {_SUITE}")
                with making_folder(folder) as made, tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
                    unpack_package(_PACKAGE, _SUITE, Path(unpacked))
                    (Path(unpacked) / "usr/bin" / _PROGRAM).rename(made / _PROGRAM)  # it needs nothing else of it
    return folder / _PROGRAM


@contextlib.contextmanager
def arm64_programs() -> Iterator[None]:
    """Let the kernel run arm64 programs, in every root, as long as this lasts.

    The last of several processes to leave takes our handler away; one of the system stays as it was.

    Raises:
        UnfitError: the emulator cannot be got, or the kernel has no binfmt_misc or does not let us.
    """
    program = emulator()
    with _IN_USE.open("a") as using:
        with locked(_GATE):
            _register(program)
            fcntl.flock(using, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with locked(_GATE), contextlib.suppress(BlockingIOError):  # another process still uses it
                fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _unregister()


def _register(program: Path) -> None:
    if not (_REGISTRY / "register").exists():
        done(["mount", "-t", "binfmt_misc", "binfmt_misc", _REGISTRY])
    handler = _REGISTRY / _NAME
    if handler.exists():
        if f"interpreter {program}\n" in handler.read_text():
            return
        _unregister()
    try:
        (_REGISTRY / "register").write_text(f":{_NAME}:M::{_MAGIC}:{_MASK}:{program}:{_FLAGS}")
    except OSError as error:
        raise UnfitError(f"{_REGISTRY}: {os.strerror(error.errno or 0)}: cannot register {program}") from error


def _unregister() -> None:
    with contextlib.suppress(FileNotFoundError):
        (_REGISTRY / _NAME).write_text("-1")
