"""Fetches wheels as they were published: into a cache, whole or not at all, and only those with the right hash."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from converters.cache import cache_folder
from device_runtime.contract.events import Events, Progress, Step
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import refused, replacing, sha256_of
from edgekit.bundling.resolve import WheelFile

_TIMEOUT_S = 60.0
"""Without a byte for so long, the other side is gone."""
_CHUNK_BYTES = 1 << 18
_MAX_BYTES = 2 << 30
"""Of a wheel whose size the index does not say; a zip without zip64 is at most twice as large."""
_SCHEMES = ("https", "http", "file")
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")


def cached(wheel: WheelFile) -> Path:
    """Return where a wheel is, or will be."""
    return cache_folder() / "wheels" / wheel.sha256 / wheel.file


def missing(wheels: Sequence[WheelFile]) -> tuple[WheelFile, ...]:
    """Return the wheels that are not in the cache, each once."""
    return tuple(wheel for wheel in dict.fromkeys(wheels) if not cached(wheel).is_file())


def fetch(wheel: WheelFile, events: Events) -> Path:
    """Return the path of a wheel with the right hash, after downloading it if it is not there or damaged.

    Raises:
        BadFileError: what was downloaded is another file.
        EdgeError: it cannot be downloaded, or the disk refuses.
    """
    place = cached(wheel)
    try:
        if place.is_file() and sha256_of(place) == wheel.sha256:
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, place, "write") from error
    events(Step(f"download {wheel.file}"))
    with replacing(place) as temporary:
        try:
            with _opened(wheel) as source, temporary.open("wb") as target:
                digest = _copy(source, target, wheel, events)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise EdgeError(
                f"cannot download {wheel.file} from {urlsplit(wheel.url).hostname or wheel.url}: {_reason(error)}",
                hint="connect to the network and try again: what was downloaded is kept",
            ) from error
        if digest != wheel.sha256:
            raise BadFileError(
                f"{wheel.file}: expected sha256 {wheel.sha256}, got {digest} from {wheel.url}",
                hint="a proxy or a mirror may have changed it; try again from another network",
            )
    return place


def _copy(source: BinaryIO, target: BinaryIO, wheel: WheelFile, events: Events) -> str:
    digest, done = hashlib.sha256(), 0
    most = _MAX_BYTES if wheel.size is None else wheel.size
    while piece := source.read(_CHUNK_BYTES):
        done += len(piece)
        if done > most:
            raise BadFileError(f"{wheel.file}: expected at most {most} bytes from {wheel.url}, got more")
        digest.update(piece)
        target.write(piece)
        events(Progress(done, wheel.size, "bytes"))
    return digest.hexdigest()


def _opened(wheel: WheelFile) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a wheel's URL; proxies are those of the environment, certificates those of the system."""
    parts = urlsplit(wheel.url)
    if parts.scheme not in _SCHEMES:
        raise EdgeError(f"{wheel.file}: expected a URL of {', '.join(_SCHEMES)}, got {wheel.url!r}")
    request = urllib.request.Request(wheel.url, headers={"User-Agent": "edgekit"})  # noqa: S310 - checked above
    user = _user_of(parts.hostname or "")
    if user is not None:
        token = base64.b64encode(":".join(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")  # not where this host sends us
    opened: contextlib.AbstractContextManager[BinaryIO] = urllib.request.urlopen(  # noqa: S310 - checked above
        request, timeout=_TIMEOUT_S
    )
    return opened


def _user_of(host: str) -> tuple[str, str] | None:
    """Return name and password for a host, from where uv takes them, too: the index's URL, or ``~/.netrc``."""
    for variable in _INDEX_VARIABLES:
        for word in os.environ.get(variable, "").split():
            name, _, url = word.partition("=")  # an index may have a name
            parts = urlsplit(url if name.replace("-", "_").isidentifier() else word)
            if parts.hostname == host and parts.username:
                return unquote(parts.username), unquote(parts.password or "")
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
        if found:
            return found[0], found[2] or ""
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    return str(getattr(error, "reason", error)).lower() or type(error).__name__
