"""Passwords and tokens of sinks, from files."""

from __future__ import annotations

from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.web.access import read_token_file

_LONGEST = 4096


def read_secret(path: Path, what: str) -> str:
    """Return the password or token in a file, without white space around it; it is in no message.

    Args:
        path: the file.
        what: what it is, for messages.

    Raises:
        BadFileError: there is no such file, or nothing in it that can be sent.
        EdgeError: it cannot be read, or everybody can read it.
    """
    secret = read_token_file(path)
    # A line break would end a header, and let what follows be another one.
    if not 1 <= len(secret) <= _LONGEST or not secret.isprintable() or not secret.isascii():
        raise BadFileError(f"{path}: expected a {what} of 1–{_LONGEST} ASCII characters on one line")
    return secret
