"""A slow and lossy line between this machine and a board, which can be cut: real packets, real TCP, real loss.

Not every kernel has netem, so a process of ours carries the packets (``forwarder.py``). The board's fast wire stays
as it is; the line is a second way to it, with addresses of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device_runtime.errors import UnfitError
from tests.board.machine import Board
from tests.board.running import done

_FORWARDER = Path(__file__).with_name("forwarder.py")
_TUN = Path("/dev/net/tun")
# tun(4) devices, driver 10, minor 200: Documentation/admin-guide/devices.txt of the kernel.
_TUN_NUMBERS = ("c", "10", "200")
_PACKET_BYTES = 1500


class Link:
    """A line to a board, as long as ``slow_link`` lasts.

    Attributes:
        ssh_config: as the board's own, but over this line.
    """

    def __init__(self, forwarder: subprocess.Popen[str], ssh_config: Path) -> None:
        self.ssh_config = ssh_config
        self._forwarder = forwarder

    def cut_after(self, payload_bytes: int, *, resets: bool = False) -> None:
        """Cut the line when so many bytes of TCP's payload went towards the board, from now on.

        Args:
            payload_bytes: 0 cuts it now. The packet that would exceed it is not delivered.
            resets: let both ends know: their connections end at once. Otherwise it is silence.
        """
        self._tell({"cut_after_bytes": payload_bytes, "resets": resets})

    def mend(self) -> None:
        """Let packets through again."""
        self._tell({"mend": True})

    @property
    def is_cut(self) -> bool:
        """Whether nothing goes through any more."""
        return bool(self.counts()["is_cut"])

    def counts(self) -> dict[str, Any]:
        """Return what was counted in each direction, ``to_board`` and ``to_host``.

        Of each: delivered ``packets``, ``bytes`` (with IP's headers) and ``payload_bytes``; and packets that were
        ``lost``, ``overflowed`` the queue or came to a ``cut``.
        """
        counted = self._tell({})
        names = ("packets", "bytes", "payload_bytes", "lost", "overflowed", "cut")
        for direction in ("to_board", "to_host"):
            counted[direction] = {name: counted[direction].get(name, 0) for name in names}
        return counted

    def _tell(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._forwarder.stdin and self._forwarder.stdout  # noqa: PT018 - both are pipes
        self._forwarder.stdin.write(f"{json.dumps(command)}\n")
        self._forwarder.stdin.flush()
        answer: dict[str, Any] = json.loads(self._forwarder.stdout.readline())
        return answer


@contextlib.contextmanager
def slow_link(
    board: Board, *, rate_bits_s: float = 64_000, delay_ms: float = 100, loss: float = 0.0, seed: int = 0
) -> Iterator[Link]:
    """Lay a line to a running board; at the end it is gone.

    Args:
        board: where to.
        rate_bits_s: of each direction, IP's headers included.
        delay_ms: of each direction.
        loss: the share of packets that are lost, of each direction.
        seed: which ones.

    Raises:
        UnfitError: the kernel has no TUN devices.
    """
    number = board.place.number
    host_device, board_device = f"ekl{number}", "line0"
    settings = {
        "host_device": host_device,
        "board_device": f"ekr{number}",
        "rate_bits_s": rate_bits_s,
        "delay_s": delay_ms / 1e3,
        "loss": loss,
        # Half a second, but no fewer than 20 packets: less, and TCP cannot fill a fast line.
        "queue_bytes": max(20 * _PACKET_BYTES, int(rate_bits_s / 8 * (0.5 + 2 * delay_ms / 1e3))),
        "seed": seed,
    }
    if not _TUN.exists():
        _TUN.parent.mkdir(exist_ok=True)
        done(["mknod", _TUN, *_TUN_NUMBERS])
    words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-I", _FORWARDER, json.dumps(settings)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forwarder:
        try:
            if not forwarder.stdout or not forwarder.stdout.readline():
                raise UnfitError(f"{_TUN}: cannot make a device")
            near, far = f"10.78.{number}.1", f"10.78.{number}.2"
            done(["ip", "address", "add", near, "peer", far, "dev", host_device])
            done(["ip", "link", "set", host_device, "addrgenmode", "none", "up"])  # no packets of IPv6's own
            within = ["ip", "-n", board.place.namespace]
            # An open device goes on working in another namespace.
            moved = ["ip", "link", "set", f"ekr{number}", "netns", board.place.namespace, "name", board_device]
            done(moved)
            done([*within, "address", "add", far, "peer", near, "dev", board_device])
            done([*within, "link", "set", board_device, "addrgenmode", "none", "up"])
            yield Link(forwarder, board.config_for(far, board.place.folder / "keys" / "line_config"))
        finally:
            if forwarder.stdin:
                forwarder.stdin.close()
            forwarder.wait()
