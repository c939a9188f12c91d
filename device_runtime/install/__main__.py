"""``python -m device_runtime.install``: JSON lines on stdout, the last one is the result or the error."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Optional

from device_runtime.contract.events import Event
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.contract.status import Answer, encode_line
from device_runtime.errors import EdgeError
from device_runtime.install.application import CHECK_TIMEOUT_S, CheckedApplication
from device_runtime.install.apply import apply_bundle
from device_runtime.install.commands import recover_root, roll_back, status, verify
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.site import Site
from device_runtime.signals import interrupt_on

_BUG_EXIT_CODE = 70


def main(arguments: Sequence[str], fs: Optional[FileSystem] = None) -> int:
    """Run one command, changing files through ``fs``, and return its exit code (docs/reference/installer.md)."""
    options = _parser().parse_args(arguments)
    interrupt_on(signal.SIGTERM, signal.SIGINT)
    # A host that goes away must not stop an installation between two steps.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    try:
        site = Site(Root(options.root.absolute()), CheckedApplication(options.check_timeout), fs or FileSystem(), _tell)
        _say(encode_line(_run(site, options)))
    except EdgeError as error:
        _say(encode_line(report_of(error)))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - what reaches this line is a bug, and is reported as one
        traceback.print_exc()
        message = f"a bug in the installer: {type(error).__name__}: {error}"
        _say(encode_line(ReportedError("bug", message, "please report it, with the trace", _BUG_EXIT_CODE)))
        return _BUG_EXIT_CODE
    return 0


def _run(site: Site, options: argparse.Namespace) -> Answer:
    if options.command == "apply":
        return apply_bundle(site, options.bundle, retry=options.retry, wait_s=options.wait)
    if options.command == "rollback":
        return roll_back(site, wait_s=options.wait)
    if options.command == "verify":
        return verify(site, wait_s=options.wait)
    if options.command == "recover":
        return recover_root(site, wait_s=options.wait)
    return status(site)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder that holds the releases")
    shared.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for another installer (default: 0)"
    )
    shared.add_argument(
        "--check-timeout",
        type=float,
        default=CHECK_TIMEOUT_S,
        metavar="S",
        help="seconds that a release's check may take (default: %(default)g)",
    )
    parser = argparse.ArgumentParser(
        prog="python -m device_runtime.install",
        description="Install bundles, whole or not at all.",
        epilog="example: python -m device_runtime.install apply app-1.0.edgekit --root /var/lib/edgekit",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    apply = commands.add_parser("apply", parents=[shared], help="install a bundle, try it, commit it or go back")
    apply.add_argument("bundle", type=Path, metavar="BUNDLE")
    apply.add_argument("--retry", action="store_true", help="try a release once more that failed here before")
    for name, text in (
        ("status", "tell what is installed"),
        ("releases", "the same as status"),
        ("rollback", "return to the previous release"),
        ("verify", "read every byte of what is installed"),
        ("recover", "settle what a killed command left, and remove what nothing needs"),
    ):
        commands.add_parser(name, parents=[shared], help=text)
    return parser


def _tell(event: Event) -> None:
    _say(encode_line(event))


def _say(line: str) -> None:
    """Print a line; when nobody listens any more, the work goes on all the same."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        # Also for what is still buffered, and what Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> NoReturn:
    """Run as a program."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
