"""The inside of a card that lies or breaks: a file system with one file, for a loop device to stand on.

Run by ``loop_devices.fake_card``. It speaks FUSE as linux/fuse.h has it, in a process of its own: when that dies, what
waits for it gets an error instead of hanging. A line on stdin tells it what to do from now on; it answers with a line.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import sys

_FORGET, _INIT, _OPEN, _READ, _WRITE, _INTERRUPT, _BATCH_FORGET = 2, 26, 14, 15, 16, 36, 42
_LOOKUP, _GETATTR, _SETATTR = 1, 3, 4
_DONE = (18, 20, 25, 27, 29)  # release, fsync, flush, opendir, releasedir
_BIG_WRITES, _MAX_PAGES, _DIRECT_IO = 1 << 5, 1 << 22, 1
_MOST_BYTES = 1 << 20
_ROOT, _FILE = 1, 2


class Card:
    """``size`` bytes, as it says. ``kind`` is honest, wraps, loses, or ones; all but the first have ``real`` bytes."""

    def __init__(self, size: int, kind: str, real: int) -> None:
        self.size, self._kind, self._real = size, kind, real
        self._memory = os.memfd_create("card")
        self._rotten: set[int] = set()
        self._failing = (0, 0)
        os.ftruncate(self._memory, size)

    def do(self, words: list[str]) -> None:
        """flip BYTE: on the medium. rot BYTE: whenever it is read. fail FROM TO: from now on."""
        if words[0] == "flip":
            at = int(words[1])
            os.pwrite(self._memory, bytes([os.pread(self._memory, 1, at)[0] ^ 1]), at)
        elif words[0] == "rot":
            self._rotten.add(int(words[1]))
        elif words[0] == "fail":
            self._failing = (int(words[1]), int(words[2]))

    def read(self, at: int, size: int) -> bytes:
        self._look(at, size)
        content = bytearray()
        for start, count, kept in self._parts(at, min(size, self.size - at)):
            lost = b"\xff" if self._kind == "ones" else b"\0"
            content += os.pread(self._memory, count, start) if kept else lost * count
        for rotten in self._rotten:
            if at <= rotten < at + len(content):
                content[rotten - at] ^= 1
        return bytes(content)

    def write(self, at: int, content: bytes) -> None:
        self._look(at, len(content))
        done = 0
        for start, count, kept in self._parts(at, len(content)):
            if kept:
                os.pwrite(self._memory, content[done : done + count], start)
            done += count

    def _parts(self, at: int, size: int):
        """Yield where the bytes really lie, how many, and whether they are kept there."""
        end = at + size
        while at < end:
            if self._kind == "wraps":
                count = min(end - at, self._real - at % self._real)
                yield at % self._real, count, True
            elif self._kind == "honest" or at < self._real:
                count = min(end, self._real if self._kind != "honest" else end) - at
                yield at, count, True
            else:
                count = end - at
                yield at, count, False
            at += count

    def _look(self, at: int, size: int) -> None:
        start, end = self._failing
        if at < end and start < at + size:
            raise OSError(errno.EIO, "as it was told to")


def main() -> None:
    folder, size, kind, real = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    card = Card(size, kind, real)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"fake-card", os.fsencode(folder), b"fuse", 0, options.encode()):
        _say(f"cannot mount: {os.strerror(ctypes.get_errno())}")
        return
    _say("ready")
    while True:
        ready, _, _ = select.select([fuse, sys.stdin], [], [])
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            card.do(line.split())
            _say("done")
        if fuse in ready:
            try:
                request = os.read(fuse, _MOST_BYTES + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                raise
            _answer(fuse, card, request)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _answer(fuse: int, card: Card, request: bytes) -> None:
    _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
    if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
        return
    failure, content = 0, b""
    try:
        content = _content(card, opcode, node, request[40:])
    except OSError as error:
        failure = -error.errno
    os.write(fuse, struct.pack("<IiQ", 16 + len(content), failure, unique) + content)


def _content(card: Card, opcode: int, node: int, told: bytes) -> bytes:
    if opcode == _INIT:
        pages = _MOST_BYTES // 4096
        return struct.pack(
            "<IIIIHHIIHHI7I", 7, 31, 0, _BIG_WRITES | _MAX_PAGES, 16, 12, _MOST_BYTES, 1, pages, *[0] * 9
        )
    if opcode == _LOOKUP:
        if told.rstrip(b"\0") != b"card":
            raise OSError(errno.ENOENT, "no such file")
        return struct.pack("<QQQQII", _FILE, 0, 3600, 3600, 0, 0) + _attributes(card, _FILE)
    if opcode in (_GETATTR, _SETATTR):
        return struct.pack("<QII", 3600, 0, 0) + _attributes(card, node)
    if opcode == _OPEN:
        return struct.pack("<QII", 1, _DIRECT_IO, 0)
    if opcode == _READ:
        _, at, size = struct.unpack_from("<QQI", told)
        return card.read(at, size)
    if opcode == _WRITE:
        _, at, size = struct.unpack_from("<QQI", told)
        card.write(at, told[40 : 40 + size])
        return struct.pack("<II", size, 0)
    if opcode in _DONE:
        return bytes(16) if opcode == 27 else b""
    raise OSError(errno.ENOSYS, "nothing that a card does")


def _attributes(card: Card, node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == _ROOT else stat.S_IFREG | 0o600
    size = 0 if node == _ROOT else card.size
    return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


if __name__ == "__main__":
    main()
