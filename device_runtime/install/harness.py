"""Runs a release's own bench harness to its end: its report, its error, or how it died; bounded in time and words."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from device_runtime.contract.events import Events, LogLine, Notice, Progress, Step
from device_runtime.contract.reported import error_in
from device_runtime.contract.status import decode_line
from device_runtime.errors import BadFileError, EdgeError, UnfitError, UsageError
from device_runtime.install.application import end_program, start_program
from device_runtime.install.host import Host, HostGoneError
from device_runtime.install.launch import release_command, release_environment
from device_runtime.install.root import Root
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.processes import BENCH_MARK, die_with, end_marked
from device_runtime.signals import signal_name

MAX_REPORT_BYTES = 4 << 20
"""5,000 samples of eight stages are below 1 MiB; a host takes lines of up to 8 MiB."""
_KEPT_BYTES = 65536
_MOST_EVENTS = 10_000
_TICK_S = 1.0
_OOM_FIRST = b"1000"
"""proc(5): of all processes this is the one to be killed when memory runs out, and not sshd or the service."""
_UNKNOWN_OPTIONS = re.compile(r"unrecognized arguments: (.*)")
_NO_BENCH = re.compile(r"invalid choice: '?bench'?")
_USAGE_CODE = 2


class HarnessError(EdgeError):
    """The measuring process died, did not end, or answered something that is no report."""

    code = "bench-crashed"


@dataclass(frozen=True)
class HarnessCall:
    """What to run: a release's folder, its name for people, words for its harness, and whom it runs as.

    ``account`` None is the one who calls; ``groups`` are the account's besides its own.
    """

    root: Root
    folder: Path
    name: str
    options: tuple[str, ...]
    account: Optional[Account] = None
    groups: tuple[int, ...] = ()
    expected_s: float = 0.0
    limit_s: float = 3600.0


def run_harness(call: HarnessCall, host: Host, events: Events, look: Callable[[], None]) -> str:
    """Run the harness of a release, and return its report, one line of JSON.

    No process of it is left, however this ends, also when this process is killed.

    Args:
        call: what to run.
        host: who asked for it; it ends when they hang up.
        events: hears what the harness tells, or the time that went by.
        look: is called each second, and may raise.

    Raises:
        HostGoneError: the host hung up.
        UnfitError: the release's runtime does not know what was asked for.
        HarnessError: it gave no report, or not in time.
        EdgeError: what the harness said, with its own code.
    """
    environment = {**release_environment(call.folder, os.environ), BENCH_MARK: str(call.root.path)}
    # Ours come last: argparse lets them win.
    words = release_command(["bench", *call.options, "--release", str(call.folder), "--json"])
    parent = os.getpid()

    def at_birth() -> None:
        die_with(parent)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:  # noqa: PTH123 - between fork and exec less is more
            file.write(_OOM_FIRST)

    process = start_program(words, call.folder, environment, call.account, call.groups, at_birth)
    try:
        heard = _Hearing(process, call, host, events)
        code = heard.to_the_end(look)
    finally:
        end_program(process)
        end_marked(call.root, name=BENCH_MARK)
    if code == 0:
        return _report(bytes(heard.output), heard.last_words)
    raise _error(code, bytes(heard.output), bytes(heard.errors), heard.last_words, call.name)


class _Hearing:
    """What the harness says, as it says it."""

    def __init__(self, process: subprocess.Popen[bytes], call: HarnessCall, host: Host, events: Events) -> None:
        self._process = process
        self._call = call
        self._host = host
        self._events = events
        self._line = b""
        self._told = 0
        self._tells_progress = False
        self.output = bytearray()
        self.errors = bytearray()

    @property
    def last_words(self) -> str:
        """The last line of its errors, after a colon; empty without one."""
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1].strip()[:500]}" if lines else ""

    def to_the_end(self, look: Callable[[], None]) -> int:
        began = time.monotonic()
        next_s = began
        pipes: dict[Any, Callable[[bytes], None]] = {
            self._process.stdout: self._take_output,
            self._process.stderr: self._take_errors,
        }
        with selectors.SelectSelector() as selector:  # epoll refuses files, which a host may be in a script
            selector.register(self._host, selectors.EVENT_READ)
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
            open_pipes = len(pipes)
            while open_pipes:
                ended = self._process.poll() is not None
                ready = selector.select(0 if ended else max(0.0, next_s - time.monotonic()))
                for key, _ in ready:
                    if key.fileobj is self._host:
                        if self._host.hung_up():
                            raise HostGoneError("the host hung up; the measurement was ended")
                        continue
                    piece = os.read(key.fd, _KEPT_BYTES)
                    pipes[key.fileobj](piece)
                    if not piece:
                        selector.unregister(key.fileobj)
                        open_pipes -= 1
                if ended and all(key.fileobj is self._host for key, _ in ready):
                    break  # a grandchild may hold the pipes open for ever
                now = time.monotonic()
                if now >= next_s:
                    next_s = now + _TICK_S
                    self._tick(now - began)
                    look()
            return self._wait(began)

    def _wait(self, began: float) -> int:
        """Wait for the end of a process that says nothing any more."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(_TICK_S)
            self._tick(time.monotonic() - began)

    def _tick(self, gone_s: float) -> None:
        if gone_s > self._call.limit_s:
            raise HarnessError(
                f"the harness of {self._call.name} did not end within {self._call.limit_s:g} s{self.last_words}",
                hint="measure less at once, for instance: --duration 5",
            )
        if not self._tells_progress and self._call.expected_s > 0:
            total = int(self._call.expected_s)
            self._events(Progress(min(int(gone_s), total), total or None, "s"))

    def _take_output(self, piece: bytes) -> None:
        self.output += piece
        if len(self.output) > MAX_REPORT_BYTES:
            raise HarnessError(
                f"the harness of {self._call.name}: expected a report of at most {MAX_REPORT_BYTES} bytes, got more"
            )

    def _take_errors(self, piece: bytes) -> None:
        *lines, self._line = (self._line + piece).split(b"\n")
        if not piece:
            lines.append(self._line)
        for line in lines:
            if not self._tell(line) and line:
                self.errors += line + b"\n"
        self._line = self._line[-_KEPT_BYTES:]
        del self.errors[:-_KEPT_BYTES]

    def _tell(self, line: bytes) -> bool:
        """Tell an event, when a line is one; else return False. A flood of them ends unheard."""
        if not line.startswith(b'{"event"'):
            return False
        try:
            event = decode_line(line.decode("utf-8", "replace"))
        except BadFileError:
            return False
        if isinstance(event, (Step, Progress, Notice)) and self._told < _MOST_EVENTS:
            self._told += 1
            self._tells_progress = self._tells_progress or isinstance(event, Progress)
            self._events(event)
        return event is None or isinstance(event, (Step, Progress, Notice, LogLine))


def _report(output: bytes, last_words: str) -> str:
    try:
        document = json.loads(output)
        text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "error" in document:
        said = output[:100].decode("utf-8", "replace")
        raise HarnessError(f"the harness answered no report: got {said!r}{last_words}")
    if len(json.dumps(text)) > MAX_REPORT_BYTES:
        raise HarnessError(f"the harness's report: expected at most {MAX_REPORT_BYTES} bytes, got more")
    return text


def _error(code: int, output: bytes, errors: bytes, last_words: str, name: str) -> EdgeError:
    """Return the error that the harness reported, or say how it died."""
    told = error_in(output.decode("utf-8", "replace"))
    if told is not None:
        return told
    said = errors.decode("utf-8", "replace")
    unknown = _UNKNOWN_OPTIONS.search(said)
    if code == _USAGE_CODE and (unknown or _NO_BENCH.search(said)):
        lacks = f"does not know {_options_in(unknown.group(1).split())}" if unknown else "has no harness"
        return UnfitError(
            f"{name}: its runtime is too old for this: it {lacks}",
            hint="leave that out, or measure a bundle that is made now: edgekit bundle",
        )
    if code == _USAGE_CODE:
        return UsageError(f"the harness of {name} refuses what was asked for{last_words}")
    if code < 0:
        return HarnessError(
            f"the harness of {name} was killed by {signal_name(-code)}{last_words}",
            hint="when memory ran out, it is the first to go: measure with --exclusive, or a smaller model",
        )
    return HarnessError(f"the harness of {name} ended with exit code {code} and no report{last_words}")


def _options_in(words: Sequence[str]) -> str:
    named = [word for word in words if word.startswith("--")]
    return ", ".join(named or words)
