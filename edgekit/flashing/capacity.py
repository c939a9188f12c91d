"""Whether a card is as large as it says: fakes answer for gigabytes that they do not have.

Marks are written all over the device and, when all of them were written, read back. The known kinds are those of f3
(Fight Flash Fraud): what is written beyond the real end is lost, or lands at the beginning again, because addresses
lose their highest bits. So a mark as far beyond a power of two as the first mark is from the beginning meets that one.
What begins again after another number of bytes may pass here; it is found when all that was written is read back.
"""

from __future__ import annotations

import hashlib
import math
import random
import secrets
from collections.abc import Mapping
from typing import Protocol

from device_runtime.contract.events import Events, Progress
from edgekit.flashing.medium import CardError
from edgekit.flashing.partitions import HELD_BACK

MARK_BYTES = 64 << 10
_MARKS = 64
_NONCE_BYTES = 16
_PLACE_BYTES = 8


class Storage(Protocol):
    """What is read and written at places that are multiples of ``block`` bytes."""

    size: int
    block: int

    def read(self, at: int, size: int) -> bytes:
        """Return ``size`` bytes. Raises CardError."""
        ...

    def write(self, at: int, content: bytes) -> None:
        """Write ``content``. Raises CardError."""
        ...

    def flush(self) -> None:
        """Let it be on the medium. Raises CardError."""
        ...


def check_capacity(storage: Storage, where: str, events: Events) -> None:
    """Find out whether a device keeps what it is given; what was on it is lost, but for its first MiB.

    Raises:
        CardError: it does not; the message tells how much it keeps, as far as that can be told.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    places = plan_places(storage.size, storage.block, random.SystemRandom())
    for number, place in enumerate(places, 1):
        storage.write(place, mark(nonce, place))
        events(Progress(number, 2 * len(places), "marks"))
    storage.flush()
    found = {}
    for number, place in enumerate(places, 1):
        found[place] = recognise(nonce, storage.read(place, MARK_BYTES))
        events(Progress(len(places) + number, 2 * len(places), "marks"))
    if reason := judge(storage.size, found):
        raise CardError(
            f"{where} is a fake or broken: {reason}",
            hint="take another card; this one loses data\nto know more: sudo apt install f3 && "
            f"sudo f3probe --destructive {where}",
        )


def plan_places(size: int, block: int, chance: random.Random) -> tuple[int, ...]:
    """Return where marks are put on a device of ``size`` bytes, sorted; they neither meet nor lie in the first MiB."""
    last = (size - MARK_BYTES) // block * block
    if last < HELD_BACK:
        return ()
    wanted = {HELD_BACK}
    for bits in range(HELD_BACK.bit_length(), size.bit_length()):
        wanted |= {(1 << bits) + beside for beside in (-MARK_BYTES, 0, HELD_BACK)}
    wanted |= {size // part + HELD_BACK for part in (2, 3, 4, 8)}
    wanted |= {chance.randrange(HELD_BACK, last + 1) for _ in range(_MARKS - len(wanted))}
    places = {place // MARK_BYTES * MARK_BYTES for place in wanted}
    return (*sorted(place for place in places if HELD_BACK <= place <= last - MARK_BYTES), last)


def mark(nonce: bytes, place: int) -> bytes:
    """Return what is written at ``place``: no other place, run or pattern of a lazy device has the same."""
    head = nonce + place.to_bytes(_PLACE_BYTES, "big")
    return head + hashlib.shake_128(head).digest(MARK_BYTES - len(head))


def recognise(nonce: bytes, content: bytes) -> int | None:
    """Return the place whose mark this is, or None when it is none of this run, or not whole."""
    place = int.from_bytes(content[_NONCE_BYTES : _NONCE_BYTES + _PLACE_BYTES], "big")
    return place if content == mark(nonce, place) else None


def judge(size: int, found: Mapping[int, int | None]) -> str:
    """Say what is wrong with a device of ``size`` bytes, or nothing.

    Args:
        size: as the device tells it.
        found: for each place, the place whose mark was read there, or None when none was.
    """
    wrong = sorted(place for place, got in found.items() if got != place)
    if not wrong:
        return ""
    apart = [abs(got - place) for place, got in found.items() if got is not None and got != place]
    if apart:
        return (
            f"it says {size} bytes and keeps {math.gcd(*apart)} bytes at most: "
            "what is written beyond them comes out at its beginning"
        )
    kept = [place for place, got in found.items() if got == place]
    if kept and max(kept) > wrong[0]:
        return f"what was written at byte {wrong[0]} was not there any more"
    least = max(kept) + MARK_BYTES if kept else 0
    return (
        f"it says {size} bytes and keeps only the first {least} to {wrong[0]} bytes: "
        "what is written beyond them is lost"
    )
