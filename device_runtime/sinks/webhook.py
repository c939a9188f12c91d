"""Events and predictions posted to a URL."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import http.client
import random
import secrets
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from device_runtime import __version__
from device_runtime.contract.prediction import Prediction, json_line
from device_runtime.contract.service import WebhookSpec
from device_runtime.errors import EdgeError
from device_runtime.secret import read_secret
from device_runtime.vision.raw import AnyFrame

_WAITING = 64
"""Posts that may wait, as bytes and without their frames; the oldest are dropped."""

_ANSWER_BYTES = 1 << 16
_GRACE_S = 2.0
_TOO_MANY = 429
_AGAIN = (408, _TOO_MANY)
_WAIT_AS_TOLD = (_TOO_MANY, 503)


@dataclass(frozen=True)
class Patience:
    """How long is tried: the pauses double from ``first_s`` to ``longest_s``, and are shortened by up to a half.

    Chance in it keeps many boards from coming back at once: M. Brooker, "Exponential Backoff and Jitter" (AWS
    Architecture Blog, 2015), "equal jitter".
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    tries: int = 8

    def pause_s(self, tried: int, told_s: float | None) -> float:
        """Return how long to wait after so many tries; ``told_s`` is the server's wish, within bounds."""
        if told_s is not None:
            return min(told_s, self.longest_s)
        return min(self.longest_s, self.first_s * 2.0 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


@dataclass(frozen=True)
class _Post:
    key: str
    body: bytes


class _NotNowError(Exception):
    """It may work later; ``after_s`` is when the server wants it tried."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class _NeverError(Exception):
    """It will not work however often it is tried."""


class Webhook:
    """Posts JSON, one after the other, in a thread of its own: ``take`` never waits for the server.

    A server that is away is tried again for about two minutes. Redirects are not followed: a token is for one server.
    """

    name = "webhook"
    vital = False
    depth = 0

    def __init__(self, spec: WebhookSpec, data: Path, name: str, patience: Patience | None = None) -> None:
        """Prepare to post; nothing is sent yet.

        Args:
            spec: where to.
            data: the folder that relative paths lie in.
            name: what the application is called, for the server's log.
            patience: how long to try.

        Raises:
            EdgeError: the token's file cannot be read.
        """
        self.events_only = spec.what == "events"
        self._patience = patience or Patience()
        self._run = secrets.token_hex(6)
        self._link = _Link(spec, _headers(spec, data, name))
        self._posts: deque[_Post] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Let the events of ``prediction``, or itself, be posted.

        Raises:
            EdgeError: something was lost: a post before this one was given up, or too many wait.
        """
        del frame
        dropped = 0
        with self._changed:
            for post in self._posts_of(prediction):
                if len(self._posts) == _WAITING:
                    self._posts.popleft()
                    dropped += 1
                self._posts.append(post)
            self._changed.notify_all()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise EdgeError(f"{self._link.where}: {failure}")
        if dropped:
            raise EdgeError(f"{self._link.where}: too slow, more than {_WAITING} posts wait; the oldest are lost")

    def close(self, *, failed: bool) -> None:
        """Try what still waits once more, for a moment, and end.

        Raises:
            EdgeError: something was lost.
        """
        del failed
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_GRACE_S)
        self._link.end()
        self._thread.join(_GRACE_S)
        with self._changed:
            lost = len(self._posts) + (1 if self._thread.is_alive() else 0)
            failure, self._failure = self._failure, None
            self._posts.clear()
        if failure is not None or lost:
            raise EdgeError(
                f"{self._link.where}: {failure or 'the run ended'}" + (f"; {lost} more are lost" if lost else "")
            )

    def _posts_of(self, prediction: Prediction) -> list[_Post]:
        if self.events_only:
            return [_Post(f"{event.id}-{event.phase}", json_line(event).encode()) for event in prediction.events]
        number = f"{prediction.frame_index}-end" if prediction.closing else str(prediction.frame_index)
        return [_Post(f"{self._run}-{number}", json_line(prediction).encode())]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._posts or self._closing.is_set())
                if not self._posts:
                    break
                post = self._posts.popleft()
            try:
                self._deliver(post)
            except (_NotNowError, _NeverError) as error:
                self._failure = str(error)
                if self._closing.is_set():  # the next ones would fare no better, and nobody waits for them
                    break
        self._link.close()

    def _deliver(self, post: _Post) -> None:
        """Post until it is taken.

        Raises:
            _NeverError: it is refused.
            _NotNowError: the patience is over, or the run.
        """
        tried = 0
        while True:
            tried += 1
            try:
                self._link.post(post)
            except _NotNowError as error:
                if tried >= self._patience.tries:
                    raise _NotNowError(f"{error}; given up after {tried} tries") from error
                if self._closing.wait(self._patience.pause_s(tried, error.after_s)):
                    raise _NotNowError(f"{error}; the run ended") from error
            else:
                return


class _Link:
    """The connection to the server, which is kept between posts."""

    def __init__(self, spec: WebhookSpec, headers: dict[str, str]) -> None:
        parts = urlsplit(spec.url)
        # Paths of webhooks are often secrets themselves: only the host is named.
        self.where = f"webhook {parts.hostname}"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = spec.timeout_s
        self._headers = headers
        self._late = self._ended = False
        self._socket: socket.socket | None = None
        host, port = parts.hostname or "", parts.port
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=spec.timeout_s, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=spec.timeout_s)
        )

    def post(self, post: _Post) -> None:
        """Post once. Raises _NotNowError when it may work later, _NeverError when it will not."""
        self._late = False
        # The socket's time-out is for each of its calls: a server that sends byte after byte would hold us for ever.
        watch = threading.Timer(self._timeout_s, self._give_up)
        watch.daemon = True
        watch.start()
        kept = self._connection.sock is not None
        try:
            status, told = self._exchange(post)
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: a name that cannot be looked up
            self.close()
            if self._late or isinstance(error, TimeoutError):
                raise _NotNowError(f"no answer within {self._timeout_s:g} s") from error
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            # A server may close a connection that was kept, at any time: that is no trouble, another one is opened.
            raise _NotNowError(reason.lower(), 0.0 if kept else None) from error
        finally:
            watch.cancel()
        if self._late or self._ended:  # what was cut off looks like an answer that ends early
            self.close()
            raise _NotNowError(f"no answer within {self._timeout_s:g} s" if self._late else "no answer")
        _judge(status, told)

    def _exchange(self, post: _Post) -> tuple[int, str | None]:
        """Send a post and return the answer's status and its Retry-After."""
        if self._connection.sock is None:
            self._connection.connect()
        # An answer without a length takes the socket over from the connection.
        self._socket = self._connection.sock
        if self._ended:
            raise OSError("the run ended")
        self._connection.request("POST", self._target, post.body, {**self._headers, "Idempotency-Key": post.key})
        answer = self._connection.getresponse()
        with answer:
            if len(answer.read(_ANSWER_BYTES)) == _ANSWER_BYTES or answer.will_close:
                self.close()
        return answer.status, answer.getheader("Retry-After")

    def end(self) -> None:
        """End what is under way, from another thread, and post nothing more."""
        self._ended = True
        self._cut()

    def _give_up(self) -> None:
        self._late = True
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not a TLS socket's own method: it takes the encryption away from under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next post opens another one."""
        self._connection.close()


def _judge(status: int, told: str | None) -> None:
    if 200 <= status < 300:
        return
    said = f"expected an answer of 200–299, got {status}"
    if status >= 500 or status in _AGAIN:
        raise _NotNowError(said, _seconds(told) if told and status in _WAIT_AS_TOLD else None)
    if 300 <= status < 400:
        raise _NeverError(f"{said}: redirects are not followed, give the url that it leads to")
    raise _NeverError(said)


def _seconds(told: str) -> float | None:
    """Return what a Retry-After header says in s, or None (RFC 9110, section 10.2.3: seconds, or a date)."""
    if told.strip().isdecimal():
        return float(told)
    try:
        when = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    return max(0.0, (when - dt.datetime.now(dt.UTC)).total_seconds())


def _headers(spec: WebhookSpec, data: Path, name: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"edgekit/{__version__}",
        "Edgekit-Application": name.encode("ascii", "replace").decode(),
    }
    if spec.token_file is not None:
        headers["Authorization"] = f"Bearer {read_secret(data / spec.token_file, 'token')}"
    return headers
