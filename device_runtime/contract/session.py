"""The conversation of a host and a board's installer over one connection: requests as lines, bytes behind some of them.

The board begins with ``GREETING``, then tells its status. What comes before is a login shell's own noise. The host
writes requests, one line of JSON each; behind ``Installer``, ``Index`` and ``Blob`` follow as many bytes as they say.
The board answers with the installer's lines (``contract.status``): events, and one result or error at the end, after
which it hangs up. Bytes are not acknowledged: whatever is wrong with them is answered with an error at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Union

from device_runtime.contract.decode import decode, encode
from device_runtime.errors import BadFileError

GREETING = "edgekit-session 1"
NEED_INSTALLER = "edgekit-session needs-installer"
"""Said by a board that has no installer yet, in place of ``GREETING``: the next request has to be ``Installer``."""


@dataclass(frozen=True)
class Installer:
    """Go on with another installer: a zip of ``size`` bytes that Python runs. The new one greets again.

    ``deflated`` bytes of it follow (RFC 1950, as zlib writes them): the zip itself is stored, so that it is the same
    wherever it is made.
    """

    digest: str
    size: int
    deflated: int


@dataclass(frozen=True)
class Index:
    """The index of the bundle that follows: ``size`` bytes of ``index.json``.

    ``throw_away``: it comes to be measured (``Bench``); what came is removed with the end of the conversation.
    """

    digest: str
    size: int
    throw_away: bool = False


@dataclass(frozen=True)
class Blob:
    """A blob of the bundle: its bytes from ``offset`` on, to its ``size``."""

    digest: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class Apply:
    """Install what came."""

    retry: bool = False
    wait_s: float = 0.0


@dataclass(frozen=True)
class Command:
    """Run another command of the installer: ``rollback``, ``verify``, ``recover``, ``remove``, ``trust`` or ``logs``.

    ``lines`` and ``follow`` are for ``logs``, ``text`` for ``trust``.
    """

    name: str
    wait_s: float = 0.0
    lines: int = 100
    follow: bool = False
    text: str = ""


@dataclass(frozen=True)
class Bench:
    """Measure the current release with the harness that it brings, or a ``throw_away`` one that came before.

    ``options`` are words for ``python -m device_runtime bench``: an installer need not know them. ``exclusive``: the
    service is stopped meanwhile, and started again whatever happens. ``expected_s`` is how long it will take, for those
    who watch; after ``limit_s`` it is ended.
    """

    options: tuple[str, ...] = ()
    throw_away: bool = False
    exclusive: bool = False
    wait_s: float = 0.0
    expected_s: float = 0.0
    limit_s: float = 3600.0


Request = Union[Installer, Index, Blob, Apply, Command, Bench]
_KINDS: dict[str, type[Any]] = {
    "installer": Installer,
    "index": Index,
    "blob": Blob,
    "apply": Apply,
    "command": Command,
    "bench": Bench,
}


def encode_request(request: Request) -> str:
    """Return a request as one line of JSON, without its end."""
    name = next(name for name, kind in _KINDS.items() if isinstance(request, kind))
    return json.dumps({name: encode(request)}, sort_keys=True, ensure_ascii=True, allow_nan=False)


def decode_request(line: str) -> Request:
    """Return what a line asks for. Raises BadFileError when it is no request, or one that is not known here."""
    where = "the host's request"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{where}: expected a line of JSON, got {line[:200]!r}") from error
    if not isinstance(data, dict) or len(data) != 1:
        raise BadFileError(f"{where}: expected one request, got {line[:200]!r}")
    ((name, fields),) = data.items()
    if name not in _KINDS:
        raise BadFileError(f"{where}: expected one of {', '.join(_KINDS)}, got {name!r}", hint="update edgekit")
    request: Request = decode(_KINDS[name], fields, where)
    return request
