"""A process that carries packets between two TUN devices as a slow and lossy line does: ``forwarder.py SETTINGS``.

TUN devices hand over whole IP packets with their checksums made, none larger than the device's MTU
(Documentation/networking/tuntap.rst of the kernel). It reads commands from stdin and answers to each with what it
counted, a line of JSON each.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
"""linux/if_tun.h: bare IP packets, without a header of the device."""
_MTU_BYTES = 1500
_TCP = 6
_RST = 0x04


@dataclass(frozen=True)
class Segment:
    """What of a packet of TCP over IPv4 is needed here (RFC 791, 3.1; RFC 9293, 3.1)."""

    source: bytes
    destination: bytes
    ports: tuple[int, int]
    sequence: int
    acknowledged: int
    flags: int
    payload_bytes: int


def segment_of(packet: bytes) -> Segment | None:
    """Return the segment of TCP that a packet carries, or None."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != _TCP:
        return None
    start = (packet[0] & 15) * 4
    total = struct.unpack_from("!H", packet, 2)[0]
    from_port, to_port, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", packet, start)
    payload_bytes = max(0, total - start - (offset >> 4) * 4)
    return Segment(packet[12:16], packet[16:20], (from_port, to_port), sequence, acknowledged, flags, payload_bytes)


def reset(source: bytes, destination: bytes, ports: tuple[int, int], sequence: int) -> bytes:
    """Return a packet that ends a connection at ``destination``, which takes it when ``sequence`` is its next."""
    tcp = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 5 << 4, _RST, 0, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, _TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, _TCP, 0) + source + destination
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


def checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Direction:
    """One direction of the line: packets queue up, take their time to be sent, and arrive later; some are lost."""

    name: str
    arrives_at: int
    rate_bytes_s: float
    delay_s: float
    loss: float
    queue_bytes: int
    dice: random.Random
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    free_at_s: float = 0.0
    waiting_bytes: int = 0

    def arrival_s(self, packet: bytes, now_s: float) -> float | None:
        """Return when a packet that comes now has arrived at the other end, or None when it does not."""
        if self.dice.random() < self.loss:
            self.counts["lost"] += 1
            return None
        if self.waiting_bytes + len(packet) > self.queue_bytes:
            self.counts["overflowed"] += 1
            return None
        self.waiting_bytes += len(packet)
        self.free_at_s = max(self.free_at_s, now_s) + len(packet) / self.rate_bytes_s
        return self.free_at_s + self.delay_s


class Line:
    """Both directions, and the state of the line: whole, or to be cut after so many bytes of payload to the board."""

    def __init__(self, settings: dict[str, float], host: int, board: int) -> None:
        """Take the settings as ``link.py`` writes them, and the descriptors of both devices."""
        shared = (settings["rate_bits_s"] / 8, settings["delay_s"], settings["loss"], int(settings["queue_bytes"]))
        seed = int(settings["seed"])
        self.directions = {
            host: Direction("to_board", board, *shared, random.Random(seed)),  # noqa: S311 - to be repeatable
            board: Direction("to_host", host, *shared, random.Random(seed + 1)),  # noqa: S311 - to be repeatable
        }
        self.left_bytes: float = float("inf")
        self.resets = False
        self.is_cut = False
        self._under_way: list[tuple[float, int, bytes, int]] = []
        self._number = 0

    def command(self, told: dict[str, object]) -> dict[str, object]:
        """Do what a command tells, and return what was counted."""
        if "cut_after_bytes" in told:
            self.left_bytes, self.resets = float(str(told["cut_after_bytes"])), bool(told.get("resets"))
            self.is_cut = self.left_bytes <= 0
        if told.get("mend"):
            self.left_bytes, self.is_cut = float("inf"), False
        counted: dict[str, object] = {line.name: dict(line.counts) for line in self.directions.values()}
        return {**counted, "is_cut": self.is_cut}

    def take(self, came_from: int, packet: bytes) -> None:
        """Take a packet that one end sent."""
        direction = self.directions[came_from]
        if self.is_cut:
            self._refuse(came_from, packet)
            return
        arrival_s = direction.arrival_s(packet, time.monotonic())
        if arrival_s is not None:
            self._number += 1
            heapq.heappush(self._under_way, (arrival_s, self._number, packet, came_from))

    def deliver(self) -> float | None:
        """Hand over what has arrived, and return the time until the next one does, in seconds."""
        while self._under_way:
            wait_s = self._under_way[0][0] - time.monotonic()
            if wait_s > 0:
                return wait_s
            _, _, packet, came_from = heapq.heappop(self._under_way)
            direction = self.directions[came_from]
            direction.waiting_bytes -= len(packet)
            segment = segment_of(packet)
            payload_bytes = segment.payload_bytes if segment else 0
            if direction.name == "to_board":
                self.is_cut = self.is_cut or payload_bytes > self.left_bytes
                self.left_bytes -= payload_bytes
            if self.is_cut:
                self._refuse(came_from, packet)
                continue
            direction.counts.update(packets=1, bytes=len(packet), payload_bytes=payload_bytes)
            _hand_over(direction.arrives_at, packet)
        return None

    def _refuse(self, came_from: int, packet: bytes) -> None:
        direction, segment = self.directions[came_from], segment_of(packet)
        direction.counts["cut"] += 1
        if self.resets and segment and not segment.flags & _RST:
            self._reset(came_from, direction, segment)

    def _reset(self, came_from: int, direction: Direction, segment: Segment) -> None:
        """End the connection at both ends: each takes a reset with the number that it expects next.

        RFC 9293, 3.10.7.4.
        """
        back = reset(segment.destination, segment.source, segment.ports[::-1], segment.acknowledged)
        _hand_over(came_from, back)
        forth = reset(segment.source, segment.destination, segment.ports, segment.sequence)
        _hand_over(direction.arrives_at, forth)


def _hand_over(device: int, packet: bytes) -> None:
    # A device that is down refuses (EIO), as a cable that is pulled loses.
    with contextlib.suppress(OSError):
        os.write(device, packet)


def open_tun(name: str) -> int:
    """Return the descriptor of a new TUN device, which lasts as long as it is open."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def main() -> None:
    """Carry packets until stdin ends."""
    settings = json.loads(sys.argv[1])
    host, board = open_tun(settings["host_device"]), open_tun(settings["board_device"])
    line = Line(settings, host, board)
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - its interface
    poll = select.poll()
    for descriptor in (host, board, sys.stdin.fileno()):
        poll.register(descriptor, select.POLLIN)
    while True:
        wait_s = line.deliver()
        # Rounded up: an early wake-up would only look again.
        for descriptor, _ in poll.poll(None if wait_s is None else int(wait_s * 1000) + 1):
            if descriptor == sys.stdin.fileno():
                told = sys.stdin.readline()
                if not told:
                    return
                print(json.dumps(line.command(json.loads(told))), flush=True)  # noqa: T201 - its interface
            else:
                line.take(descriptor, os.read(descriptor, _MTU_BYTES + 100))


if __name__ == "__main__":
    main()
