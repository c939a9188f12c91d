"""Passwords and tokens from files: never from a command line, and in no message."""

from __future__ import annotations

import stat
from pathlib import Path

from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import refused

_LONGEST = 4096


def read_secret_file(path: Path, what: str) -> str:
    """Return the password or token in a file, without white space around it; ``what`` it is, for messages.

    Raises:
        BadFileError: there is no such file, or it holds no text.
        EdgeError: it cannot be read, or everybody can read it.
    """
    try:
        if path.stat().st_mode & stat.S_IROTH:
            raise EdgeError(f"{path}: everybody on this machine can read the {what}", hint=f"chmod o-rwx {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise refused(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a {what}, got no text") from error


def read_secret(path: Path, what: str) -> str:
    """Return the password or token in a file; ``what`` it is, for messages.

    Raises:
        BadFileError: there is no such file, or nothing in it that can be sent in a header.
        EdgeError: it cannot be read, or everybody can read it.
    """
    secret = read_secret_file(path, what)
    # A line break would end a header, and let what follows be another one.
    if not 1 <= len(secret) <= _LONGEST or not secret.isprintable() or not secret.isascii():
        raise BadFileError(f"{path}: expected a {what} of 1–{_LONGEST} ASCII characters on one line")
    return secret
