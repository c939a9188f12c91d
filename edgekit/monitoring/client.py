"""Asks a running application's page for its status."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from device_runtime.contract.decode import loads
from device_runtime.contract.live import LiveStatus
from device_runtime.errors import BadFileError, EdgeError, UsageError
from device_runtime.secret import read_secret_file
from device_runtime.web.access import TOKEN_VARIABLE
from edgekit.boards.errors import UnreachableError

_TIMEOUT_S = 5.0
_MOST_BYTES = 4_000_000

PATH = "/status.json"


def find_token(file: Path | None) -> str | None:
    """Return the page's token from a file or the environment; None when there is none. Raises EdgeError."""
    return read_secret_file(file, "token") if file else os.environ.get(TOKEN_VARIABLE) or None


class PageClient:
    """One page; each question is a connection of its own, so that a board that restarts is found again."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Ask the page at ``url``, as ``http://127.0.0.1:8080``. Raises UsageError for what is no such URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"url: expected http://HOST:PORT, got {url!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"url: expected http://HOST:PORT, got {url!r}", hint="a token goes into --token-file")
        self.url = f"{parts.scheme}://{parts.netloc}/"
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, port
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def answers(self) -> bool:
        """Tell whether anything speaks HTTP there."""
        try:
            self._get("/healthz")
        except UnreachableError:
            return False
        return True

    def status(self) -> LiveStatus:
        """Return how the application is doing.

        Raises:
            UnreachableError: nothing answers.
            UsageError: the page wants a token, or another one.
            BadFileError: what answers is not such a page.
        """
        code, body = self._get(PATH)
        if code in (401, 429):
            raise UsageError(
                f"{self.url}: the page wants {'another' if self._headers else 'a'} token: {_reason(body)}",
                hint=f"set {TOKEN_VARIABLE}, or name its file with --token-file",
            )
        if code != 200:
            raise EdgeError(f"{self.url}: answered {code}: {_reason(body)}")
        return loads(LiveStatus, body.decode("utf-8", "replace"), f"{self.url}{PATH[1:]}")

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = self._kind(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "the connection was closed"
            raise UnreachableError(
                f"{self.url}: no page answers: {reason.lower()}",
                hint="is the application running, with [service.page] in its edgekit.toml?",
            ) from error
        finally:
            connection.close()
        if len(body) > _MOST_BYTES:
            raise BadFileError(f"{self.url}{path[1:]}: expected at most {_MOST_BYTES} bytes")
        return answer.status, body


def _reason(body: bytes) -> str:
    """Return what the page says, or the beginning of what something else says."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:80].decode("utf-8", "replace").strip() or "nothing"
