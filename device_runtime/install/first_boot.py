"""The first boot of a card that came with a bundle: installs it, and tells people without a terminal how that went."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import platform
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from device_runtime.contract.events import Event, Events, Notice, Progress, Step
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.contract.status import InstallResult, Outcome, ReleaseInfo
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.files import refused
from device_runtime.install.apply import apply_bundle
from device_runtime.install.commands import trust
from device_runtime.install.compat import choose_package, machine_facts
from device_runtime.install.fsops import (
    FileSystem,
    make_folders,
    remove_if_there,
    replace_file,
    sync_everything,
    sync_folder,
)
from device_runtime.install.layout import open_bundle
from device_runtime.install.lock import BRIEF_S, BusyError, locked
from device_runtime.install.recover import settled
from device_runtime.install.release import result_of
from device_runtime.install.room import DiskFullError, free_bytes
from device_runtime.install.root import TEMPORARY, Root
from device_runtime.install.service.units import BOOT_TARGET, FIRST_BOOT
from device_runtime.install.site import Site, uninterrupted
from device_runtime.install.trial import RolledBackError
from device_runtime.install.trust import signers_in

BUNDLE = "application.edgekit"
SIGNERS = "allowed_signers"
REPORT = "edgekit-report.txt"
_BUG_EXIT_CODE = 70
_PROGRESS_S = 5.0
_LOG_LINES = 30
_SHORTEST_SECRET = 4
_SECRET = re.compile(r"(?<=://)\S+(?=@)|(?<=token=)[^\s&]+|(?<=password=)[^\s&]+")
"""A name, and maybe a password, in the URL of a camera or a broker; what opens a page. Rather too much than less."""

_HOST = "HOST"

_FAILED = "FIRST BOOT FAILED: "
_BEGUN = "the first boot has begun; if this is all that you read, the power was cut, or it has not ended yet"
_STATUS = ("To see how it does:  edgekit status ssh://USER@HOST",)
_TRIED_AGAIN = "It is tried again each time the board starts."
_FAILED_HERE = f"{_TRIED_AGAIN} Was a camera not plugged in? If not, the release itself needs mending."
_NOT_GROWN = "The card's second partition may not have grown to the card's size yet; by then it has."
_REPLACE = (
    "Copy a good bundle to this card, in place of edgekit/application.edgekit, and start the board again;",
    "or deploy one over the network:  edgekit deploy APP.edgekit ssh://USER@HOST",
)

MakeSite = Callable[[Events], Site]


@dataclass(frozen=True)
class Card:
    """Where things lie at a first boot.

    ``folder`` came with the card, on a file system that any laptop reads; ``units`` is the folder of systemd's units,
    or None where none starts this.
    """

    folder: Path
    root: Root
    units: Optional[Path] = None

    @property
    def bundle(self) -> Path:
        """What is installed."""
        return self.folder / BUNDLE

    @property
    def signers(self) -> Path:
        """Whose bundles the board takes from now on, where the card says so."""
        return self.folder / SIGNERS

    @property
    def report(self) -> Path:
        """What people read: where they look first, not in a folder."""
        return self.folder.parent / REPORT

    @property
    def done(self) -> Path:
        """The mark that a first boot has come to its end, with the id of the release; it outlives a removal."""
        return self.root.path.with_name(f"{self.root.path.name}-first-boot") / "done"

    @property
    def attempts(self) -> Path:
        """How often it was begun."""
        return self.done.with_name("attempts")

    @property
    def link(self) -> Optional[Path]:
        """What lets systemd start this at each boot."""
        return None if self.units is None else self.units / f"{BOOT_TARGET}.wants" / FIRST_BOOT


def since_boot_s() -> float:
    """Return the seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Story:
    """What happens: told at once, in short plain lines, and kept for the report.

    Nothing of it holds what is secret, or what could move a terminal's cursor.
    """

    def __init__(self, say: Callable[[str], object], root: Root, clock_s: Callable[[], float] = since_boot_s) -> None:
        """Begin one.

        Args:
            say: hears each line.
            root: whose ``environment`` is secret.
            clock_s: the seconds since the board was started; the time of day is anything before a network is there.
        """
        self._say = say
        self._clock_s = clock_s
        self._root = root
        self._told_s = clock_s()
        self._step = ""
        self.lines: list[str] = []

    @property
    def now_s(self) -> float:
        """The seconds since the board was started."""
        return self._clock_s()

    def tell(self, text: str) -> None:
        """Say what happens, and keep it."""
        self.lines.append(f"{self.now_s:8.1f}  {self.plain(text)}")
        self.say(text)

    def say(self, text: str) -> None:
        """Say what the report need not have."""
        self._told_s = self.now_s
        self._say(f"edgekit: {self.plain(text)}")

    def hear(self, event: Event) -> None:
        """Tell of an event of the installer; of progress only when nothing was said for some seconds."""
        if isinstance(event, Step):
            self._step = event.title
            self.tell(event.title)
        elif isinstance(event, Notice):
            self.tell(f"{event.severity}: {event.message}")
        elif isinstance(event, Progress) and self.now_s - self._told_s >= _PROGRESS_S:
            self.say(f"{self._step}: {_amount(event)}")

    def plain(self, text: str) -> str:
        """Return a text as one line that may be shown to anybody."""
        text = _SECRET.sub("(hidden)", text)
        for secret in self._secrets():
            text = text.replace(secret, "(hidden)")
        return "".join(letter if letter.isprintable() else " " for letter in text)

    def _secrets(self) -> list[str]:
        """Return the values of the owner's ``environment``, the longest first."""
        try:
            lines = (self._root.path / "environment").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        values = (line.partition("=")[2].strip().strip("\"'") for line in lines if not line.lstrip().startswith("#"))
        return sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


@dataclass(frozen=True)
class _Ending:
    """How a first boot ended: the report's first line, what runs or was to run, what went wrong, and what to do."""

    headline: str
    release: Optional[ReleaseInfo] = None
    error: Optional[ReportedError] = None
    log: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code."""
        return self.error.exit_code if self.error else 0


def first_boot(card: Card, fs: FileSystem, make_site: MakeSite, story: Story, *, wait_s: float = 0.0) -> int:
    """Install what came with a card, unless that was done, or somebody deployed meanwhile; it may be cut off anywhere.

    It raises nothing: what went wrong is told, and stands in the report on the card, with what to do about it.

    Args:
        card: where things lie.
        fs: how files are changed.
        make_site: returns what an installer works with, given who listens.
        story: hears what happens.
        wait_s: how long to wait for another installer.

    Returns:
        The exit code: 0 when a release is committed and the mark is made, or that of the error.
    """
    try:
        with _alone(card, fs, wait_s):
            return _first_boot(card, fs, make_site, story, wait_s)
    except (BusyError, Interrupted) as error:  # what interrupts waits for the end of steps that belong together
        story.say(f"{_FAILED}{error}")
        return error.exit_code


@contextlib.contextmanager
def _alone(card: Card, fs: FileSystem, wait_s: float) -> Iterator[None]:
    """Let no other first boot run at the same time, where the disk lets that be said. Raises BusyError."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            make_folders(fs, card.done.parent)
            stack.enter_context(locked(fs, Root(card.done.parent), wait_s))
        yield


def _first_boot(card: Card, fs: FileSystem, make_site: MakeSite, story: Story, wait_s: float) -> int:
    if os.path.lexists(card.done):
        story.say("the first boot was done before; nothing is installed")
        _disable(card, fs, story)
        return 0
    attempt = _count(card, fs)
    story.tell(f"the first boot begins, attempt {attempt}")
    _report(card, fs, story, attempt, _Ending(_BEGUN))
    ending = _try(card, make_site, story, wait_s)
    with uninterrupted():
        return _end(card, fs, story, attempt, ending)


def _try(card: Card, make_site: MakeSite, story: Story, wait_s: float) -> _Ending:
    try:
        return _worked(_install(make_site(story.hear), card, story, wait_s), story)
    except RolledBackError as error:
        return _failed_release(card, report_of(error))
    except EdgeError as error:
        cause = error.__cause__
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        return _failed(report_of(error), _NOT_GROWN if full or isinstance(error, DiskFullError) else "")
    except Exception as error:  # noqa: BLE001 - what reaches this line is a bug, and is reported as one
        traceback.print_exc()
        message = f"a bug in the installer: {type(error).__name__}: {error}"
        return _failed(ReportedError("bug", message, "please report it, with this file", _BUG_EXIT_CODE))


def _end(card: Card, fs: FileSystem, story: Story, attempt: int, ending: _Ending) -> int:
    """Tell how it ended, and where a release is committed see to it that this was the last first boot."""
    story.tell(ending.headline)
    if ending.error is not None and ending.error.hint:
        story.say(f"hint: {ending.error.hint}")
    _report(card, fs, story, attempt, ending)
    if ending.error is not None:
        return ending.code
    try:
        sync_everything(fs, card.done.parent)  # what else was set up at this boot is not done again either
        _write_durably(fs, card.done, f"{ending.release.release if ending.release else ''}\n")
    except OSError as error:
        # The application runs; the next boot finds it, and makes the mark.
        reported = report_of(refused(error, card.done, "write"))
        story.tell(f"it could not be noted that this is done: {reported.message}")
        ending = dataclasses.replace(ending, error=reported, next=(_TRIED_AGAIN, *ending.next))
        _report(card, fs, story, attempt, ending)
        return ending.code
    _disable(card, fs, story)
    return 0


def _install(site: Site, card: Card, story: Story, wait_s: float) -> InstallResult:
    found = _committed(site, wait_s)
    if found is not None:
        story.tell("a release is committed here already: nothing else is installed")
        return found
    if os.path.lexists(card.signers):
        story.tell("take nothing from now on but what the signers sign that the card names")
        # Whoever put the card in stands at the board.
        trust(site, signers_in(card.signers), replace=True, wait_s=wait_s)
    # There is no release before it that would have to be kept from it, and what it failed for may be a camera that was
    # not plugged in: each boot is another try.
    return apply_bundle(site, card.bundle, retry=True, first=True, wait_s=wait_s)


def _committed(site: Site, wait_s: float) -> Optional[InstallResult]:
    """Return what is committed here, once whoever is at work has decided."""
    if not site.root.path.is_dir():
        return None
    with settled(site, max(wait_s, BRIEF_S), "keep") as state:
        if state.committed is None:
            return None
        runs = None if state.safe_mode is not None else state.committed
        return result_of(site.root, Outcome.UNCHANGED, runs, state.fallback)


def _worked(result: InstallResult, story: Story) -> _Ending:
    current = result.current
    if current is None:  # safe mode: somebody deployed here, and it came to nothing
        return _Ending("a release is installed, and nothing runs: see what edgekit status tells", next=_STATUS)
    name, seconds = f"{current.name} {current.version}", f"{story.now_s:.0f} s after the board was started"
    return _Ending(f"{name} is READY (release {current.release[:12]}), {seconds}", current, next=_STATUS)


def _failed(error: ReportedError, more: str = "") -> _Ending:
    """Return the ending with an error after which the next boot tries again; ``more`` to know about that."""
    again = f"{_TRIED_AGAIN} {more}".rstrip()
    return _Ending(_FAILED + error.message, error=error, next=(again, *_REPLACE))


def _failed_release(card: Card, error: ReportedError) -> _Ending:
    """Return the ending with a release that failed here."""
    release = _release_of(card)
    log = _last_lines(card.root.logs / f"{release.release[:12]}.log") if release else ()
    return _Ending(_FAILED + error.message, release, error, log, (_FAILED_HERE, *_REPLACE))


def _release_of(card: Card) -> Optional[ReleaseInfo]:
    """Return what the card's bundle becomes here; it was tried, so that it is known to be one, and to fit."""
    with contextlib.suppress(EdgeError, OSError), open_bundle(card.bundle) as bundle:
        package = choose_package(bundle.packages)
        return ReleaseInfo(package.release, package.manifest.name, package.manifest.version, "failed")
    return None


def _last_lines(path: Path) -> tuple[str, ...]:
    with contextlib.suppress(OSError):
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    return ()


def _count(card: Card, fs: FileSystem) -> int:
    """Return how often this was begun, with this time. A disk that cannot note it keeps nobody."""
    try:
        before = int(card.attempts.read_text(encoding="ascii"))
    except (OSError, ValueError):
        before = 0
    with contextlib.suppress(OSError):
        _write_durably(fs, card.attempts, f"{before + 1}\n")
    return before + 1


def _write_durably(fs: FileSystem, path: Path, text: str) -> None:
    """Write a file so that it, and the folder that it is in, outlive a power cut. Raises OSError."""
    make_folders(fs, path.parent)
    sync_folder(fs, path.parent.parent)
    _replace(fs, path, text)


def _replace(fs: FileSystem, path: Path, text: str) -> None:
    """Replace a file, and where the disk refuses that leave nothing beside it. Raises OSError."""
    try:
        replace_file(fs, path, text.encode())
    except OSError:
        with contextlib.suppress(OSError):
            remove_if_there(fs, path.with_name(f"{TEMPORARY}{path.name}"))
        raise


def _disable(card: Card, fs: FileSystem, story: Story) -> None:
    """Let systemd not start this again. Where the disk refuses that, the mark lets the next boot do nothing else."""
    if card.link is None:
        return
    try:
        if os.path.lexists(card.link):
            remove_if_there(fs, card.link)
            sync_folder(fs, card.link.parent)
    except OSError as error:
        story.say(f"warning: {refused(error, card.link, 'remove')}")


def _report(card: Card, fs: FileSystem, story: Story, attempt: int, ending: _Ending) -> None:
    """Write the report. A card that takes none, being full or read-only, keeps nobody: it is told, and that is all."""
    text = "\r\n".join(_lines(card, story, attempt, ending)) + "\r\n"  # also for the oldest of editors
    try:
        try:
            _replace(fs, card.report, text)
        except OSError:
            # What stands there is of the past then: worth another try.
            _replace(fs, card.report, text)
    except OSError as error:
        story.say(f"warning: no report on the card: {refused(error, card.report, 'write')}")


def _lines(card: Card, story: Story, attempt: int, ending: _Ending) -> Iterator[str]:
    yield f"edgekit: {story.plain(ending.headline)}"
    yield ""
    yield f"This is attempt {attempt}, {story.now_s:.0f} s after the board was started. Its clock may be wrong."
    if ending.release is not None:
        yield from ("", "Release")
        yield f"  application  {story.plain(f'{ending.release.name} {ending.release.version}')}"
        yield f"  release      {ending.release.release}"
    if ending.error is not None:
        yield from ("", "What went wrong")
        yield f"  {story.plain(ending.error.message)}"
        yield f"  code         {ending.error.code}, exit code {ending.error.exit_code}"
        if ending.error.hint:
            yield f"  hint         {story.plain(ending.error.hint)}"
    if ending.next:
        yield from ("", "What to do next")
        yield from (f"  {line}".replace(_HOST, _address()) for line in ending.next)
    yield from ("", "What happened, in seconds since the board was started")
    yield from (f"  {line}" for line in story.lines)
    if ending.log:
        yield from ("", "The last lines of the application's log")
        yield from (f"  {story.plain(line)}" for line in ending.log)
    yield from ("", "This board")
    yield from (f"  {name:<11}  {story.plain(value)}" for name, value in _facts(card))


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    facts, system = machine_facts(), os.uname()
    yield "board", facts.board or "unknown"
    yield "machine", facts.machine
    yield "python", platform.python_version()
    yield "glibc", facts.glibc or "another C library"
    yield "memory", f"{facts.memory_bytes >> 20} MiB"
    with contextlib.suppress(OSError):
        yield "free space", f"{free_bytes(card.root.path) >> 20} MiB below {card.root.path}"
    yield "kernel", f"{system.sysname} {system.release}"
    yield "host name", system.nodename


def _address() -> str:
    name = os.uname().nodename
    return name if "." in name else f"{name}.local"


def _amount(progress: Progress) -> str:
    unit = progress.unit
    done, total = progress.done, progress.total
    if unit == "bytes":
        unit, done, total = "MB", done // 10**6, None if total is None else total // 10**6
    return f"{done} of {total} {unit}" if total is not None else f"{done} {unit}"
