"""Boots a card in a virtual machine, to look inside by hand: ``python -m tests.machine CARD.img``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from device_runtime.errors import UnfitError
from tests.board.running import say
from tests.machine.image import KINDS, stock_image, unpack
from tests.machine.machine import machine_with
from tests.machine.shell import GoneError


def main() -> int:
    """Make what is missing, boot a card, and run what is typed as root on it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description="Boot a card in a virtual machine.")
    parser.add_argument(
        "card", type=Path, nargs="?", metavar="CARD.img", help="what edgekit flash --out wrote; it changes"
    )
    parser.add_argument(
        "--stock", choices=list(KINDS), help="print where the image for edgekit flash --image is, and end"
    )
    parser.add_argument(
        "--unpack", type=Path, metavar="FILE", help="with --stock: write that image as a card, not set up"
    )
    told = parser.parse_args()
    try:
        if told.stock:
            image = stock_image(KINDS[told.stock])
            print(image)  # noqa: T201 - the command's answer
            if told.unpack:
                unpack(image, told.unpack)
            return 0
        if told.card is None:
            parser.error("CARD.img or --stock is missing")
        with machine_with(told.card) as machine:
            machine.power_on()
            return _converse(machine)
    except UnfitError as error:
        print(f"error: {error}\n{error.hint}".rstrip(), file=sys.stderr)  # noqa: T201 - as edgekit does
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _converse(machine) -> int:
    """Run lines of shell as they are typed, until the end of input."""
    start_s = time.monotonic()
    machine.wait_up()
    say(f"up after {time.monotonic() - start_s:.0f} s: commands for root's shell; cut: the power; console; Ctrl-D ends")
    for line in sys.stdin:
        if line.strip() == "cut":
            lost = machine.power_cut()
            say(f"{lost} writes were lost; it boots again")
            machine.power_on()
            machine.wait_up()
        elif line.strip() == "console":
            print(machine.console, flush=True)  # noqa: T201 - as the rest
        else:
            try:
                ended = machine.run("sh", "-c", line, check=False)
            except GoneError:
                machine.wait_up()
                continue
            print(f"{ended.stdout}{ended.stderr}", end="", flush=True)  # noqa: T201 - as a shell does
    return 0


if __name__ == "__main__":
    sys.exit(main())
