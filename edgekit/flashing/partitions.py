"""Where an image's partitions are: its MBR, the one kind of table that every Raspberry Pi boots from."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from device_runtime.errors import BadFileError

SECTOR_BYTES = 512
HELD_BACK = 1 << 20
"""The first bytes of a card, with the table in them, which are written last: no partition begins in them."""
_ENTRIES_AT = 446
_ENTRY = struct.Struct("<B3sB3sII")
_SIGNATURE = b"\x55\xaa"
_GPT = 0xEE
_FAT_KINDS = (0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E)
_LINUX = 0x83
_HINT = "name an image for an SD card, as Raspberry Pi OS"


@dataclass(frozen=True)
class Partition:
    """An entry of the table: its place there from 1, its first byte in the image, its bytes, and its type."""

    number: int
    start: int
    size: int
    kind: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


def read_partitions(first: bytes, where: str) -> tuple[Partition, ...]:
    """Return the entries of an MBR that are in use, in its order; what is inside extended ones is left out.

    Args:
        first: the image's first sector, 512 bytes.
        where: what the sector is of, for messages.

    Raises:
        BadFileError: it is no MBR or a GPT's, or its partitions are empty, on the table itself or on each other.
    """
    if len(first) < SECTOR_BYTES or first[510:512] != _SIGNATURE:
        got = first[510:512].hex() or "nothing"
        raise BadFileError(f"no partition table in {where}: expected 55aa at byte 510, got {got}", hint=_HINT)
    entries = [_ENTRY.unpack_from(first, _ENTRIES_AT + index * _ENTRY.size) for index in range(4)]
    if any(status not in (0, 0x80) for status, *_ in entries):
        what = "a file system alone" if first[0] in (0xEB, 0xE9) else "something else in its place"
        raise BadFileError(f"no partition table in {where}: it is {what}", hint=_HINT)
    if any(kind == _GPT for _, _, kind, *_ in entries):
        raise BadFileError(
            f"{where} has a GPT: expected an MBR alone, which boards of all ages boot from",
            hint=_HINT,
        )
    partitions = tuple(
        Partition(number, start * SECTOR_BYTES, sectors * SECTOR_BYTES, kind)
        for number, (_, _, kind, _, start, sectors) in enumerate(entries, 1)
        if kind
    )
    if not partitions:
        raise BadFileError(f"no partition in {where}: its table is empty", hint=_HINT)
    _require_places(partitions, where)
    return partitions


def boot_partition(partitions: Sequence[Partition], where: str) -> Partition:
    """Return the partition that boards boot from: the first FAT of the table.

    Raises:
        BadFileError: there is none, it begins in the first MiB, or another one lies before it.
    """
    found = next((partition for partition in partitions if partition.kind in _FAT_KINDS), None)
    if found is None:
        kinds = ", ".join(f"{partition.kind:#04x}" for partition in partitions)
        raise BadFileError(f"no FAT partition to boot from in {where}: it has those of type {kinds}", hint=_HINT)
    if found.start < HELD_BACK:
        raise BadFileError(
            f"partition {found.number} of {where} begins at byte {found.start}: expected {HELD_BACK} or more, "
            "because what is before is written last",
            hint=_HINT,
        )
    before = next((partition for partition in partitions if partition.start < found.start), None)
    if before is not None:
        raise BadFileError(
            f"partition {before.number} of {where} lies before {found.number}, the one to boot from: "
            "expected that one to be the first on the card",
            hint=_HINT,
        )
    return found


def root_partition(partitions: Sequence[Partition]) -> Partition | None:
    """Return the first partition of Linux's type, or None."""
    return next((partition for partition in partitions if partition.kind == _LINUX), None)


def _require_places(partitions: Sequence[Partition], where: str) -> None:
    for partition in partitions:
        if not partition.start or not partition.size:
            raise BadFileError(
                f"partition {partition.number} of {where} begins at byte {partition.start} and has {partition.size} "
                "bytes: expected more than 0 of both",
                hint=_HINT,
            )
    ordered = sorted(partitions, key=lambda partition: partition.start)
    for one, next_one in itertools.pairwise(ordered):
        if next_one.start < one.end:
            raise BadFileError(
                f"partitions {one.number} and {next_one.number} of {where} overlap: the one ends at byte {one.end}, "
                f"the other begins at {next_one.start}",
                hint=_HINT,
            )
