"""What an image is written to: a file, or a card. It is bootable only when all of it was written, and read back.

Both keep back the first MiB, with the partition table in it, until ``finish``. Until then a card has zeros there, and a
file lies under another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from device_runtime.contract.events import Events, Notice, Progress, Step
from device_runtime.errors import Interrupted, UnfitError, UsageError
from device_runtime.files import Replacement, refused
from edgekit.flashing.capacity import check_capacity
from edgekit.flashing.drives import Drive
from edgekit.flashing.errors import NotWrittenError
from edgekit.flashing.medium import PIECE_BYTES, CardError, Medium, open_medium
from edgekit.flashing.partitions import HELD_BACK
from edgekit.flashing.sparse import write_sparse

_START_BYTES = 4096  # what of the first MiB is written as the very last: the boot sector, and no block less


class Card(Protocol):
    """What is written from its beginning to its end, looked at, and finished."""

    @property
    def path(self) -> Path:
        """Where what was written is read, at the same offsets."""
        ...

    def write(self, piece: bytes) -> None:
        """Write what follows. Raises EdgeError, CardError where the card is to blame, UnfitError when it is full."""
        ...

    def verify(self, events: Events) -> None:
        """Read everything but the first MiB back from the medium. Raises NotWrittenError naming bytes that differ."""
        ...

    def finish(self) -> None:
        """Write the first MiB, and read it back. Raises as ``write`` and ``verify`` do."""
        ...


@contextmanager
def file_card(out: Path, apart_from: Collection[Path] = ()) -> Iterator[Card]:
    """Yield a card that is a file; ``finish`` gives it the name ``out``. Otherwise nothing is left of it.

    Args:
        out: an existing file is replaced.
        apart_from: files that it must not be.

    Raises:
        UsageError: ``out`` is a folder, a device, or one of ``apart_from``.
        EdgeError: its folder is missing or not writable, or the disk is full.
    """
    _check_out(out, apart_from)
    replacement = Replacement(out)
    try:
        with contextlib.closing(_FileCard(replacement)) as card:
            yield card
    finally:
        replacement.discard()


@contextmanager
def device_card(drive: Drive, needed: int | None, events: Events) -> Iterator[Card]:
    """Yield a card that is a device: it was looked at once more, and keeps as much as it says.

    What leaves before ``finish`` is done leaves a card that does not boot, and a notice says so.

    Args:
        drive: as ``find_drive`` found it.
        needed: the image's bytes, where they are known.
        events: hear what is done before anything of the image is written.

    Raises:
        UnfitError: the card is too small, mounted, in use or read-only.
        CardError: it is another one by now, was pulled out, is broken, or a fake.
        EdgeError: this user may not write it.
        Interrupted: Ctrl-C.
    """
    if needed is not None and needed > drive.size:
        raise _too_small(drive.path, f"{needed} bytes", drive.size)
    with open_medium(drive) as medium, contextlib.closing(_DeviceCard(medium)) as card:
        card.spoil()
        state = f"{drive.path} does not boot: it was not written to its end"
        try:
            card.prepare(events)
            yield card
        except (KeyboardInterrupt, Interrupted) as stop:
            if card.finished:
                raise
            raise Interrupted(f"interrupted; {state}", hint="flash it anew before it is used") from stop
        finally:
            if not card.finished:
                card.give_up()
                events(Notice(f"{state}; flash it anew before it is used", "warning"))


class _Written(NamedTuple):
    at: int
    size: int
    digest: bytes


class _Gathered(ABC):
    """Gathers what is written to pieces, which another thread puts down while the next one is gathered."""

    def __init__(self) -> None:
        self.finished = False
        self._size = 0
        self._first = b""
        self._gathering = bytearray()
        self._written: list[_Written] = []
        self._thread = ThreadPoolExecutor(1, "card")
        self._putting: Future[None] | None = None

    def write(self, piece: bytes) -> None:
        self._gathering += piece
        while len(self._gathering) >= PIECE_BYTES:
            self._pass_on(PIECE_BYTES)

    def verify(self, events: Events) -> None:
        events(Step("read the card back"))
        self._pass_on(len(self._gathering))
        self._wait()
        self._settle(self._size)
        total = sum(each.size for each in self._written)
        done = 0
        for each in self._written:
            if _digest(self._get(each.at, each.size)) != each.digest:
                raise self._differs(each.at, each.size)
            done += each.size
            events(Progress(done, total, "bytes"))

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown(cancel_futures=True)

    def _check_first(self) -> None:
        if self._get(0, len(self._first)) != self._first:
            raise self._differs(0, len(self._first))

    def _pass_on(self, size: int) -> None:
        """Give the first ``size`` gathered bytes to the thread, when it is done with those before."""
        if not size:
            return
        with memoryview(self._gathering) as gathered:
            content = bytes(gathered[:size])
        del self._gathering[:size]
        at = self._size
        self._make_room(at + size)
        self._size += size
        if not at:
            self._first, content, at = content[:HELD_BACK], content[HELD_BACK:], HELD_BACK
        self._wait()
        if content:
            self._putting = self._thread.submit(self._put_down, at, content)

    def _put_down(self, at: int, content: bytes) -> None:
        self._put(at, content)
        self._written.append(_Written(at, len(content), _digest(content)))

    def _wait(self) -> None:
        if self._putting:
            self._putting.result()
            self._putting = None

    @abstractmethod
    def _make_room(self, size: int) -> None:
        """Refuse to become ``size`` bytes large when that cannot be."""

    @abstractmethod
    def _put(self, at: int, content: bytes) -> None:
        """Write, in the thread. Raises EdgeError."""

    @abstractmethod
    def _get(self, at: int, size: int) -> bytes:
        """Return what is on the medium. Raises EdgeError."""

    @abstractmethod
    def _settle(self, size: int) -> None:
        """Put everything onto the medium, ``size`` bytes, so that ``_get`` reads it from there. Raises EdgeError."""

    @abstractmethod
    def _differs(self, at: int, size: int) -> NotWrittenError:
        """Return the error that says so."""


class _FileCard(_Gathered):
    """A temporary file beside the one that it becomes."""

    def __init__(self, replacement: Replacement) -> None:
        super().__init__()
        self._replacement = replacement
        try:
            self._descriptor = os.open(replacement.temporary, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise refused(error, replacement.path, "write") from error

    @property
    def path(self) -> Path:
        return self._replacement.path if self.finished else self._replacement.temporary

    def finish(self) -> None:
        self._put(0, self._first)
        self._settle(self._size)
        self._check_first()
        self._replacement.commit()
        self.finished = True

    def close(self) -> None:
        super().close()
        os.close(self._descriptor)

    def _make_room(self, size: int) -> None:
        """A disk says by itself when it is full."""

    def _put(self, at: int, content: bytes) -> None:
        with self._said("write"):
            write_sparse(self._descriptor, at, content)

    def _get(self, at: int, size: int) -> bytes:
        pieces = []
        with self._said("read"):
            while size:
                piece = os.pread(self._descriptor, size, at)
                if not piece:
                    break
                pieces.append(piece)
                at, size = at + len(piece), size - len(piece)
        return b"".join(pieces)

    def _settle(self, size: int) -> None:
        with self._said("write"):
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _differs(self, at: int, size: int) -> NotWrittenError:
        return NotWrittenError(
            f"{self._replacement.path}: bytes {at} to {at + size - 1} are not what was written; nothing was kept",
            hint=f"the disk or its memory is broken: write to another one; see: df {self._replacement.path.parent}",
        )

    @contextmanager
    def _said(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise refused(error, self._replacement.path, action) from error


class _DeviceCard(_Gathered):
    """A whole device."""

    def __init__(self, medium: Medium) -> None:
        super().__init__()
        self._medium = medium
        self._finishing = False

    @property
    def path(self) -> Path:
        return self._medium.path

    def prepare(self, events: Events) -> None:
        """See whether the card keeps what it is given, and erase an old GPT's copy at its end."""
        events(Step("check the card"))
        check_capacity(self._medium, str(self.path), events)
        end = max(0, self._medium.size - HELD_BACK)
        self._medium.write(end, bytes(self._medium.size - end))
        self._medium.flush()
        self._medium.forget()

    def spoil(self) -> None:
        """Erase the first MiB: from now on the card does not boot."""
        self._medium.write(0, bytes(min(HELD_BACK, self._medium.size)))
        self._medium.flush()

    def give_up(self) -> None:
        """Leave a card that does not boot, if it is still there."""
        self.close()
        if self._finishing:
            with contextlib.suppress(CardError):
                self.spoil()

    def finish(self) -> None:
        self._finishing = True
        rest = self._first[_START_BYTES:]
        if rest:
            self._medium.write(_START_BYTES, rest)
            self._medium.flush()
        self._medium.write(0, self._first[:_START_BYTES])
        self._settle(self._size)
        self._check_first()
        self.finished = True
        self._medium.show_partitions()

    def _make_room(self, size: int) -> None:
        if size > self._medium.size:
            raise _too_small(self.path, f"more than {self._medium.size} bytes", self._medium.size)

    def _put(self, at: int, content: bytes) -> None:
        self._medium.write(at, content)

    def _get(self, at: int, size: int) -> bytes:
        return self._medium.read(at, size)

    def _settle(self, size: int) -> None:
        del size
        self._medium.flush()
        self._medium.forget()

    def _differs(self, at: int, size: int) -> NotWrittenError:
        return NotWrittenError(
            f"{self.path}: bytes {at} to {at + size - 1} are not what was written",
            hint="flash it anew; if bytes differ once more, take another card or reader",
        )


def _check_out(out: Path, apart_from: Collection[Path]) -> None:
    """Raise UsageError when ``out`` is nothing that a file can replace."""
    try:
        state = out.stat()
    except OSError:
        return  # it is not there, or its folder says why
    if stat.S_ISDIR(state.st_mode):
        raise UsageError(f"{out} is a folder", hint=f"name a file in it: --out {out / 'card.img'}")
    if stat.S_ISBLK(state.st_mode):
        raise UsageError(f"{out} is a device, not a file", hint=f"to write a card: --device {out}")
    if not stat.S_ISREG(state.st_mode):
        raise UsageError(f"{out} is no regular file", hint="name another one: --out card.img")
    for other in apart_from:
        if other.exists() and other.samefile(out):
            raise UsageError(f"{out} would replace {other}, which is read", hint="name another file: --out card.img")


def _too_small(path: Path, needed: str, size: int) -> UnfitError:
    return UnfitError(
        f"{path} is too small: the image needs {needed}, the card has {size} bytes", hint="take a larger card"
    )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
