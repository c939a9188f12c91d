"""Who may see the page: its token, sessions of browsers, and by which names the board may be called."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from device_runtime.contract.service import PageSpec, is_loopback
from device_runtime.errors import UsageError
from device_runtime.secret import read_secret_file

TOKEN_VARIABLE = "EDGEKIT_PAGE_TOKEN"  # noqa: S105 - the variable's name, not a token
MIN_TOKEN = 16
"""Characters: as many random ones of base64 are 96 bits."""

MAKE_TOKEN = 'python3 -c "import secrets; print(secrets.token_urlsafe(24))"'  # noqa: S105 - a command that makes one

_SESSIONS = 64
_SESSION_S = 12 * 3600.0
_ADDRESSES = 1024
_FAILURES = 5
_FORGIVE_S = 60.0


def read_token(spec: PageSpec, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the page's token; None when it has none, which only loopback may.

    Raises:
        UsageError: it is too short or holds what no header can, or the page is to be seen from elsewhere without one.
        EdgeError: its file cannot be read, or everybody can read it.
    """
    token, where = _find_token(spec, environment)
    if token is None:
        if is_loopback(spec.host):
            return None
        raise UsageError(
            f'page: host "{spec.host}" lets other machines see the page, and there is no token',
            hint=f"leave the host at 127.0.0.1 and use: edgekit tunnel TARGET\nor set {TOKEN_VARIABLE}, or token_file; "
            f"a token is made by: {MAKE_TOKEN}",
        )
    if len(token) < MIN_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise UsageError(
            f"{where}: expected {MIN_TOKEN} characters or more, letters, digits and ASCII signs without spaces, "
            f"got {len(token)} characters" + (" with others" if len(token) >= MIN_TOKEN else ""),
            hint=MAKE_TOKEN,
        )
    return token


def _find_token(spec: PageSpec, environment: Mapping[str, str]) -> tuple[str | None, str]:
    given = environment.get(TOKEN_VARIABLE)
    if given:
        return given, TOKEN_VARIABLE
    return (read_secret_file(Path(spec.token_file), "token"), spec.token_file) if spec.token_file else (None, "")


class Gate:
    """Knows the token, the sessions that it opened, and who tried wrong ones; not for several threads.

    Sessions are random, live in memory only and are few: a stolen cookie ends with the process, and is not the token.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Guard with ``token``; None lets everybody in."""
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def open(self) -> bool:
        """Whether no token is needed."""
        return self._token is None

    def locked_s(self, address: str) -> float:
        """Return for how long ``address`` has to wait after too many wrong tokens; 0 when it may try."""
        count, since = self._failures.get(_network(address), (0, 0.0))
        return max(0.0, since + _FORGIVE_S - self._clock()) if count >= _FAILURES else 0.0

    def knows(self, token: str, address: str) -> bool:
        """Tell whether this is the token; a wrong one is held against ``address``."""
        # Compared as bytes and in constant time: how long it takes says nothing of how much is right.
        if self._token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            self._failures.pop(_network(address), None)
            return True
        network, now = _network(address), self._clock()
        count, since = self._failures.pop(network, (0, now))
        self._failures[network] = (1, now) if now - since > _FORGIVE_S else (count + 1, now)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def holds_token(self, text: str) -> bool:
        """Tell whether the token is part of ``text``."""
        return self._token is not None and self._token in text.encode("utf-8", "replace")

    def open_session(self) -> str:
        """Return the secret of a new session; the oldest one ends when there are too many."""
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = self._clock() + _SESSION_S
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return secret

    def in_session(self, secret: str) -> bool:
        """Tell whether ``secret`` is that of a session."""
        return self._sessions.get(_digest(secret), 0.0) > self._clock()

    def end_session(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(secret), None)


class Names:
    """By which names a browser may call the board: all others may be a stranger's, made to point here (rebinding).

    Addresses are no names: only that one is right to which the browser is connected.
    """

    def __init__(self, spec: PageSpec) -> None:
        """Allow this machine's own names and those of ``spec``."""
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        names = {"localhost", own, short, f"{short}.local", *(name.lower().rstrip(".") for name in spec.names)}
        if not _is_address(spec.host):
            names.add(spec.host.lower())
        self._names = names

    def allow(self, host: str | None, local_address: str | None) -> bool:
        """Tell whether a request for ``host`` (a ``Host`` header) may be answered on a connection to an address."""
        name = host_name(host or "")
        if name in self._names:
            return True
        return bool(local_address) and _is_address(name) and _same_address(name, local_address or "")


def host_name(host: str) -> str:
    """Return the name or address in a ``Host`` header, without port and brackets, in lower case."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or not port.isdigit():
        name = host.strip().lower()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name.rstrip(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _same_address(one: str, other: str) -> bool:
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(other.partition("%")[0])
    return first == second or getattr(second, "ipv4_mapped", None) == first


def _network(address: str) -> str:
    """Return what one attacker has: an IPv4 address, or 64 bits of IPv6 (RFC 4291, section 2.5.4)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
