"""The page's socket: bound, or refused with who holds the port."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from device_runtime.errors import EdgeError

_SEND_BYTES = 131072
"""What the system may hold back for a viewer: a few pictures. Its own choice grows to megabytes, seconds of delay."""


def open_listener(host: str, port: int, stalled_s: float) -> socket.socket:
    """Return a socket that listens; port 0 picks a free one.

    Args:
        host: a name or an address of this machine.
        port: where to listen.
        stalled_s: a connection that takes nothing for so long is ended.

    Raises:
        EdgeError: the port is in use, is reserved for root, or the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise EdgeError(f'page: host "{host}" is not known: {_reason(error)}', hint=_HOST_HINT) from error
    try:
        # A port whose last user has just ended can be had at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stalled_s * 1000))  # RFC 5482
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _refused(error, host, port) from error
    return listener


_HOST_HINT = 'set host = "127.0.0.1" in [service.page], and see the page by: edgekit tunnel TARGET'


def _refused(error: OSError, host: str, port: int) -> EdgeError:
    where = f"page: cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        holder = find_holder(port)
        return EdgeError(
            f"{where}: {holder or 'another process'} has the port",
            hint=f'set another port in [service.page], or see: ss -ltnp "sport = :{port}"',
        )
    if error.errno == errno.EACCES:
        return EdgeError(f"{where}: ports below 1024 are for root", hint="set port = 8080 in [service.page]")
    if error.errno == errno.EADDRNOTAVAIL:
        return EdgeError(f"{where}: no address of this machine", hint=_HOST_HINT)
    return EdgeError(f"{where}: {_reason(error)}")


def find_holder(port: int) -> str:
    """Return which process listens on a port, as ``python3 (process 1234)``; empty when it cannot be known."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    if not wanted:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for handle in (process / "fd").iterdir():
                if _target(handle) in wanted:
                    name = (process / "comm").read_text(errors="replace").strip()
                    return f"{name} (process {process.name})"
    return ""


def _listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port (proc(5), /proc/net/tcp; state 0A is LISTEN)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
