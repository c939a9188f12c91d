"""Boots a virtual board and leaves it running until Enter, to look inside by hand: ``python -m tests.board``."""

from __future__ import annotations

import argparse
import sys

from device_runtime.errors import UnfitError
from tests.board.link import slow_link
from tests.board.machine import boot
from tests.board.rootfs import PYTHONS, root


def main() -> int:
    """Make what is missing, boot a board, and tell how to reach it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.board", description="Boot a virtual arm64 board.")
    parser.add_argument("--suite", choices=list(PYTHONS), default="bookworm", help="its Debian")
    parser.add_argument("--data-mb", type=int, default=0, help="the size of a disk of its own for /var/lib/edgekit")
    parser.add_argument("--only-make", action="store_true", help="make the root filesystem and end")
    told = parser.parse_args()
    try:
        if told.only_make:
            print(root(told.suite))  # noqa: T201 - the command's answer
            return 0
        with boot(told.suite, data_bytes=told.data_mb << 20) as board, slow_link(board) as line:
            print(  # noqa: T201 - the command's answer
                f"log in:         ssh -F {board.ssh_config} board    (or maker@board, root@board)\n"
                f"slowly:         ssh -F {line.ssh_config} board    (64 kbit/s)\n"
                f"deploy to it:   EDGEKIT_SSH_CONFIG={board.ssh_config} edgekit deploy … {board.target}\n"
                f"its files:      {board.root}\n"
                "Enter ends it.",
                flush=True,
            )
            sys.stdin.readline()
    except UnfitError as error:
        print(f"error: {error}\n{error.hint}".rstrip(), file=sys.stderr)  # noqa: T201 - as edgekit does
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
