"""The conversation with a board's installer (``device_runtime/contract/session.py``), wherever it runs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from device_runtime.contract.events import Events, Notice, silent
from device_runtime.contract.reported import ReportedError
from device_runtime.contract.session import (
    GREETING,
    NEED_INSTALLER,
    Apply,
    Bench,
    Blob,
    Command,
    Index,
    Installer,
    Request,
    encode_request,
)
from device_runtime.contract.status import Answer, BenchResult, BoardStatus, InstallResult, decode_line
from device_runtime.errors import BadFileError, EdgeError, Interrupted, UnfitError
from edgekit.boards.channel import Channel, Stopper
from edgekit.boards.errors import UnreachableError
from edgekit.boards.ssh import SshTarget, ssh_error
from edgekit.boards.way import InstallerPack, Way

WAIT_S = 10.0
"""A board's installer may wait so long for another one: a question, or what a boot settles, takes no longer."""
_GREETING_S = 120.0
"""An old board under load, which settles what a power cut left before it speaks."""
_ASKED_S = 600.0
"""With a user at the keyboard, who may have to find a password or a key."""
_PATIENCE_S = 5.0
_MAX_NOISE_BYTES = 1 << 20
_PART_BYTES = 65536
_POLL_S = 0.1
_FAMILY = "edgekit-session "
_SSH_FAILED = 255
"""ssh's own exit code where the connection failed (ssh(1), "EXIT STATUS")."""


class Link:
    """An open conversation.

    ``status`` is what the board told at its beginning, ``began`` (monotonic, s) is when that was; ``exchanges`` counts
    how often the board was waited for; ``sent_bytes`` are the bytes of installers, indexes and blobs that went to it.
    """

    def __init__(self, way: Way, channel: Channel, events: Events) -> None:
        """Begin it. Raises as ``open_link`` does."""
        self._way = way
        self._channel = channel
        self._events = events
        self._final: Answer | ReportedError | None = None
        self._applying = self._measuring = False
        self.began = time.monotonic()
        self.exchanges = 0
        self.sent_bytes = 0
        self._write(way.opening, may_fail=True)
        self.status = self._greeted(may_need=way.pack is not None)

    @property
    def name(self) -> str:
        """What the user called the board."""
        return str(self._way.target)

    @property
    def installer(self) -> InstallerPack | None:
        """The installer that this host has for the board; None where the board runs this very host's."""
        return self._way.pack() if self._way.pack else None

    def renew_installer(self) -> None:
        """Go on with this host's installer. Raises as ``open_link`` does."""
        self._send_installer()
        self.status = self._greeted(may_need=False)

    def send(self, request: Index | Blob, pieces: Iterable[bytes]) -> Iterator[int]:
        """Send something of a bundle; yields the numbers of bytes as they go.

        Raises:
            EdgeError: what the board said meanwhile, or that it is gone.
        """
        self._ask(request)
        for part in _parts(pieces):
            self._write(part)
            self.sent_bytes += len(part)
            yield len(part)

    def ask(self, request: Apply | Command | Bench, events: Events) -> Answer:
        """Let the installer do something, report its events, and return its answer.

        Raises:
            EdgeError: what the installer raised, with its own codes; or that the connection was lost.
        """
        self._measuring = isinstance(request, Bench)
        self._applying = isinstance(request, Apply) or (
            isinstance(request, Command) and request.name not in ("logs", "verify")
        )
        self._ask(request)
        self.exchanges += 1
        while self._final is None:
            self._listen(events)
        if isinstance(self._final, ReportedError):
            raise self._final.error()
        return self._final

    def result(self, request: Apply | Command, events: Events) -> InstallResult:
        """Let the installer change something; as ``ask``."""
        answer = self.ask(request, events)
        if not isinstance(answer, InstallResult):
            raise BadFileError(f"{self.name}: expected a result, got {type(answer).__name__}", hint="update edgekit")
        return answer

    def measure(self, request: Bench, events: Events) -> BenchResult:
        """Let the installer measure a release; as ``ask``."""
        answer = self.ask(request, events)
        if not isinstance(answer, BenchResult):
            raise BadFileError(f"{self.name}: expected a report, got {type(answer).__name__}", hint="update edgekit")
        return answer

    def interrupted(self) -> Interrupted:
        """Return what it means that the user broke off now."""
        if not isinstance(self._way.target, SshTarget):
            return Interrupted("interrupted; nothing was left half-written")
        if self._measuring:
            return Interrupted(
                f"interrupted; {self.name} ends the measurement, and what was stopped for it runs again",
                hint=f"ask it: edgekit status {self.name}",
            )
        if self._applying:
            return Interrupted(
                f"interrupted; {self.name} goes on by itself if it had begun",
                hint=f"ask it: edgekit status {self.name}",
            )
        return Interrupted(f"interrupted; what came to {self.name} is kept there, and is not sent once more")

    def _send_installer(self) -> None:
        pack = self.installer
        if pack is None:
            raise UnreachableError(f"{self.name}: asked for an installer that it has")
        self._ask(Installer(pack.digest, pack.size, len(pack.deflated)))
        self._write(pack.deflated)
        self.sent_bytes += len(pack.deflated)

    def _greeted(self, *, may_need: bool) -> BoardStatus:
        """Skip a login shell's noise, and return the status that follows the greeting."""
        self.exchanges += 1
        until = time.monotonic() + (_ASKED_S if self._way.ask else _GREETING_S)
        noise = 0
        if self._way.ask and not self._channel.wait(_PATIENCE_S):
            self._events(Notice("ssh waits: for a password, or for the touch of a security key?"))
        while (line := self._text(until)) != GREETING:
            if line == NEED_INSTALLER and may_need:
                may_need = False
                self._send_installer()
                self.exchanges += 1
            elif line.startswith(_FAMILY):
                raise self._refusal(line.removeprefix(_FAMILY))
            noise += len(line)
            if noise > _MAX_NOISE_BYTES:
                raise UnreachableError(f"{self.name}: its login shell prints without end, and edgekit is not heard")
        while self._final is None:
            self._listen(silent, until)
        if not isinstance(self._final, BoardStatus):
            raise self._error_of(self._final)
        status, self._final = self._final, None
        return status

    def _text(self, until: float) -> str:
        line = self._line(until)
        if line is None:
            raise self._not_greeted()
        return line.decode("utf-8", "replace").strip()

    def _line(self, until: float | None = None) -> bytes | None:
        try:
            return self._channel.line(None if until is None else max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.name}: it let us in, and then said nothing more", hint=f"try it by hand: {self._way.by_hand}"
            ) from error

    def _listen(self, events: Events, until: float | None = None) -> None:
        """Take one line of the installer."""
        line = self._line(until)
        if line is None:
            raise self._lost()
        if not line.strip():
            return
        message = decode_line(printable(line))
        if isinstance(message, (InstallResult, BoardStatus, BenchResult, ReportedError)):
            self._final = message
        elif message is not None:
            events(message)

    def _error_of(self, answer: Answer | ReportedError) -> EdgeError:
        if isinstance(answer, ReportedError):
            return answer.error()
        return BadFileError(f"{self.name}: got {type(answer).__name__} out of turn", hint="update edgekit")

    def _ask(self, request: Request) -> None:
        self._write(encode_request(request).encode() + b"\n")

    def _write(self, content: bytes | memoryview, *, may_fail: bool = False) -> None:
        """Write all of it, and hear meanwhile what the board has to say: whatever is wrong is said at once."""
        rest = memoryview(content)
        while rest:
            count = self._channel.write(rest, _POLL_S)
            if count is None and may_fail:
                return
            # What comes once all of it is there may be the answer to it, and is not judged here.
            rest = rest[count or 0 :]
            # When it hung up, its reason is among what it said before.
            while count is None or (rest and self._channel.waiting() and not may_fail):
                self._listen(self._events)
                if self._final is not None:
                    raise self._error_of(self._final)

    def _refusal(self, words: str) -> EdgeError:
        """Return what start.sh found missing, or that the other side speaks otherwise."""
        word, _, detail = words.partition(" ")
        if word == "no-python":
            had = "it has none" if detail in ("", "none") else f"it has {detail[:20]}"
            return UnfitError(
                f"{self.name}: needs python3 3.9 or newer, and {had}",
                hint=f"{self._way.by_hand} sudo apt-get install python3",
            )
        if word == "no-sudo":
            return UnfitError(
                f"{self.name}: a service of the system needs root, and {detail[:64] or 'this user'} cannot use sudo "
                "without a password",
                hint="install as this user: --scope user\nor let sudo not ask: see sudoers(5), NOPASSWD",
            )
        return UnfitError(
            f"{self.name}: expected {GREETING!r}, got {_FAMILY + words[:40]!r}", hint="update edgekit on this machine"
        )

    def _not_greeted(self) -> EdgeError:
        """Return why a process ended before it spoke to us."""
        code, target = self._channel.end(), self._way.target
        if isinstance(target, SshTarget) and code == _SSH_FAILED:
            return ssh_error(target, self._channel.said)
        return UnreachableError(
            f"{self.name}: edgekit could not be started there{_last(self._channel.said)} (exit code {code})",
            hint=f"does it let you run commands? {self._way.by_hand} id",
        )

    def _lost(self) -> EdgeError:
        """Return what a conversation that broke off means."""
        code, said = self._channel.end(), self._channel.said
        if self._measuring:
            hint = (
                f"the board ends the measurement, and starts again what it stopped; ask it: edgekit status {self.name}"
            )
        elif self._applying:
            hint = f"the board goes on by itself if it had begun; ask it: edgekit status {self.name}"
        else:
            hint = "do the same again: what came is kept, and is not sent once more"
        if isinstance(self._way.target, SshTarget) and code == _SSH_FAILED:
            return UnreachableError(f"{self.name}: the connection was lost{_last(said)}", hint=hint)
        return UnreachableError(f"{self.name}: its installer ended with {code} and no answer{_last(said)}", hint=hint)


@contextlib.contextmanager
def open_link(way: Way, stopper: Stopper | None = None, events: Events = silent) -> Iterator[Link]:
    """Begin a conversation, which ends with the context; an error, or Ctrl-C, breaks it off.

    Args:
        way: where to.
        stopper: lets another thread break it off.
        events: told what the user may have to do.

    Raises:
        UnreachableError: the board does not answer, or the connection was lost.
        UnfitError: the board lacks what edgekit needs.
        EdgeError: what the installer said.
    """
    channel = Channel(way.words, own_session=not way.ask, settle_s=way.settle_s)
    stopper = stopper or Stopper()
    stopper.add(channel)
    link: Link | None = None
    try:
        link = Link(way, channel, events)
        yield link
        channel.end()
    except BaseException as error:
        channel.stop()
        channel.end()
        if link is not None and isinstance(error, (KeyboardInterrupt, Interrupted)):
            raise link.interrupted() from error
        raise
    finally:
        stopper.remove(channel)


def printable(line: bytes) -> str:
    """Return a line of JSON without control characters in its texts: a board is not to write on our terminal.

    Raises:
        BadFileError: it is no line of JSON.
    """
    try:
        return json.dumps(_printable(json.loads(line)))
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"the installer's answer: expected a line of JSON, got {line[:200]!r}") from error


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(
            letter if letter.isprintable() or letter in "\t\n" else "\N{REPLACEMENT CHARACTER}" for letter in value
        )
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


def _parts(pieces: Iterable[bytes]) -> Iterator[memoryview]:
    """Yield pieces in parts that are on their way soon, so that progress is told over a slow line too."""
    for piece in pieces:
        for start in range(0, len(piece), _PART_BYTES):
            yield memoryview(piece)[start : start + _PART_BYTES]


def _last(said: str) -> str:
    lines = [line.strip() for line in _printable(said).splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
