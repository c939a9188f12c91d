"""What a Raspberry Pi's firmware does at power on: it reads kernel, initramfs and command line from the card's FAT."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.board.running import done, plain_environment

_MTOOLS = {"MTOOLSRC": "/dev/null"}


@dataclass(frozen=True)
class Loaded:
    """What it hands to the CPU."""

    kernel: Path
    initramfs: Path
    line: str


def load(card: Path, folder: Path) -> Loaded:
    """Read what is to be booted from a card into a folder.

    The firmware names the serial port, as a Raspberry Pi's does; the machine has no screen, which would be ``tty1``.

    Raises:
        UnfitError: something is not on the card.
    """
    kernel, initramfs = folder / "kernel8.img", folder / "initramfs8"
    kernel.write_bytes(read(card, "kernel8.img"))
    initramfs.write_bytes(read(card, "initramfs8"))
    words = read(card, "cmdline.txt").decode().partition("\n")[0].split(" ")
    line = " ".join(word.replace("serial0", "ttyAMA0") for word in words if word != "console=tty1")
    return Loaded(kernel, initramfs, line.strip())


def read(card: Path, name: str) -> bytes:
    """Return a file of a card's FAT. Raises UnfitError."""
    at = card.with_name(f"{card.name}.file")
    _mtools("mcopy", "-n", "-i", _fat(card), f"::{name}", at)
    content = at.read_bytes()
    at.unlink()
    return content


def put(card: Path, files: dict[str, bytes]) -> None:
    """Put files into the root of a card's FAT, over those that are there. Raises UnfitError."""
    at = card.with_name(f"{card.name}.file")
    for name, content in files.items():
        at.write_bytes(content)
        _mtools("mcopy", "-o", "-i", _fat(card), at, f"::{name}")
        at.unlink()


def names(card: Path) -> set[str]:
    """Return the names in the root of a card's FAT. Raises UnfitError."""
    listed = _mtools("mdir", "-b", "-i", _fat(card), "::/")
    return {line.removeprefix("::/").rstrip("/") for line in listed.splitlines()}


def _fat(card: Path) -> str:
    with card.open("rb") as stream:
        table = stream.read(512)[446:]
    (first,) = struct.unpack_from("<I", table, 8)  # the first partition's first sector
    return f"{card}@@{first * 512}"


def _mtools(*words: str | Path) -> str:
    return done(words, env={**plain_environment(), **_MTOOLS})
