"""``python -m device_runtime.install``: JSON lines on stdout, the last one is the result or the error."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Optional

from device_runtime.contract.events import Event, Events, LogLine
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.contract.status import Answer, Scope, encode_line
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.install.application import CHECK_TIMEOUT_S
from device_runtime.install.apply import apply_bundle
from device_runtime.install.commands import logs, recover_root, roll_back, status, trust, verify
from device_runtime.install.first_boot import Card, Story, first_boot
from device_runtime.install.fsops import FileSystem
from device_runtime.install.host import Host
from device_runtime.install.launch import run_launch
from device_runtime.install.lock import receiving
from device_runtime.install.pack import read_scope
from device_runtime.install.remove import remove
from device_runtime.install.root import Root
from device_runtime.install.service.choose import application_for
from device_runtime.install.service.process import supervise, supervise_options
from device_runtime.install.service.systemd import surroundings
from device_runtime.install.session import converse
from device_runtime.install.settle import crashed, settle
from device_runtime.install.site import Site, boot_of
from device_runtime.install.trust import signers_in
from device_runtime.signals import interrupt_on

_BUG_EXIT_CODE = 70
_FIRST_BOOT = "first-boot"
_SCOPES = ("local", "system", "user")


@dataclass(frozen=True)
class _Command:
    """A command: what it does, in words and in deed, and its own options. One that answers nothing returns None."""

    help: str
    run: Callable[[Site, argparse.Namespace], Optional[Answer]]
    options: Callable[[argparse.ArgumentParser], None] = lambda _: None


def main(arguments: Sequence[str], fs: Optional[FileSystem] = None) -> int:
    """Run one command, changing files through ``fs``, and return its exit code (docs/reference/installer.md)."""
    options = _parser().parse_args(arguments)
    interrupt_on(signal.SIGTERM, signal.SIGINT)
    # A host that goes away must not stop an installation between two steps.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    fs = fs or FileSystem()
    if options.command == _FIRST_BOOT:
        return _first_boot(options, fs)
    try:
        answer = _COMMANDS[options.command].run(_site(options, fs, _tell), options)
        if answer is not None:
            _say(encode_line(answer))
    except EdgeError as error:
        _say(encode_line(report_of(error)))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - what reaches this line is a bug, and is reported as one
        traceback.print_exc()
        message = f"a bug in the installer: {type(error).__name__}: {error}"
        _say(encode_line(ReportedError("bug", message, "please report it, with the trace", _BUG_EXIT_CODE)))
        return _BUG_EXIT_CODE
    return 0


def _site(options: argparse.Namespace, fs: FileSystem, events: Events) -> Site:
    root = Root(options.root.absolute())
    scope: Scope = options.scope or read_scope(root)
    # Those two are what is kept: they ask no keeper.
    kept: Scope = "local" if options.command in ("launch", "supervise") else scope
    return Site(root, application_for(kept, root, fs, options.check_timeout, events), fs, events, scope, boot_of(scope))


def _first_boot(options: argparse.Namespace, fs: FileSystem) -> int:
    """Do what it does, and return its exit code: it is for people, who read plain lines on the board's console."""
    root = Root(options.root.absolute())
    units = surroundings("system").units if (options.scope or read_scope(root)) == "system" else None
    card = Card(options.card.absolute(), root, units)
    return first_boot(card, fs, lambda events: _site(options, fs, events), Story(_say, root), wait_s=options.wait)


def _apply(site: Site, options: argparse.Namespace) -> Answer:
    with contextlib.ExitStack() as stack:
        if site.root.is_incoming(options.bundle) and site.root.path.is_dir():
            stack.enter_context(receiving(site.fs, site.root, options.wait))
        return apply_bundle(site, options.bundle.absolute(), retry=options.retry, wait_s=options.wait)


def _session(site: Site, options: argparse.Namespace) -> Optional[Answer]:
    again = ["--root", str(site.root.path), "--scope", site.scope, "--check-timeout", str(options.check_timeout)]
    return converse(site, Host(sys.stdin.fileno()), _say, again)


def _trust(site: Site, options: argparse.Namespace) -> Answer:
    return trust(site, signers_in(options.file), replace=options.replace, wait_s=options.wait)


def _launch(site: Site, options: argparse.Namespace) -> NoReturn:
    del options
    run_launch(site.root, site.scope)


def _supervise(site: Site, options: argparse.Namespace) -> None:
    supervise(site.root, options)


def _apply_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle, or a folder with one unpacked")
    parser.add_argument("--retry", action="store_true", help="try a release once more that failed here before")


def _trust_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="signers, as ssh-keygen(1) describes allowed_signers")
    parser.add_argument("--replace", action="store_true", help="replace the signers that are trusted now")


def _first_boot_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", type=Path, dest="card", required=True, metavar="DIR", help="the card's folder, with the bundle"
    )


def _recover_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--boot", action="store_true", help="the machine is starting: a trial goes on")


def _remove_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", action="store_true", help="remove what the application made, too")


def _logs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lines", type=int, default=100, metavar="N", help="lines to begin with (default: %(default)s)"
    )
    parser.add_argument("--follow", action="store_true", help="go on with new lines as they come")


_COMMANDS = {
    "apply": _Command("install a bundle, try it, commit it or go back", _apply, _apply_options),
    "session": _Command("talk with a host: requests on stdin, answers on stdout", _session),
    "status": _Command("tell what is installed", lambda site, _: status(site)),
    "releases": _Command("the same as status", lambda site, _: status(site)),
    "rollback": _Command("return to the previous release", lambda site, options: roll_back(site, wait_s=options.wait)),
    "verify": _Command("read every byte of what is installed", lambda site, options: verify(site, wait_s=options.wait)),
    "recover": _Command(
        "settle what a killed command left, and remove what nothing needs",
        lambda site, options: recover_root(site, boot=options.boot, wait_s=options.wait),
        _recover_options,
    ),
    "settle": _Command(
        "after a boot: finish the trial that it interrupted", lambda site, options: settle(site, wait_s=options.wait)
    ),
    "crashed": _Command(
        "decide about a release that crashes again and again", lambda site, options: crashed(site, wait_s=options.wait)
    ),
    "logs": _Command(
        "tell the application's log",
        lambda site, options: logs(site, options.lines, follow=options.follow),
        _logs_options,
    ),
    "trust": _Command("take nothing but what the signers in FILE signed", _trust, _trust_options),
    "launch": _Command("become the application that is installed", _launch),
    "supervise": _Command("keep it running, on a machine without systemd", _supervise, supervise_options),
    "remove": _Command(
        "stop what runs, and remove it with all releases",
        lambda site, options: remove(site, data=options.data, wait_s=options.wait),
        _remove_options,
    ),
}


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder that holds the releases")
    shared.add_argument(
        "--scope",
        choices=_SCOPES,
        help="how releases run: not by themselves, as a service of the system, or as the user's "
        "(default: as they did, or local)",
    )
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
    for name, command in _COMMANDS.items():
        command.options(commands.add_parser(name, parents=[shared], help=command.help))
    _first_boot_options(
        commands.add_parser(_FIRST_BOOT, parents=[shared], help="install what came with a card, and tell how that went")
    )
    return parser


def _tell(event: Event) -> None:
    heard = _say(encode_line(event))
    if not heard and isinstance(event, LogLine):
        raise Interrupted("nobody reads the log any more")


def _say(line: str) -> bool:
    """Print a line, and return whether somebody listens; when nobody does any more, the work goes on all the same."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        # Also for what is still buffered, and what Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def run() -> NoReturn:
    """Run as a program."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
