"""A file of signers that boards are to trust, checked before a board gets it."""

from __future__ import annotations

from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.files import refused
from device_runtime.install.trust import check_signers


def read_signers(path: Path) -> str:
    """Return the text of an ``allowed_signers`` file.

    Raises:
        BadFileError: it is none.
        EdgeError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refused(error, path, "read") from error
    if b"PRIVATE KEY-----" in content:
        raise BadFileError(f"{path}: this is a private key, which nobody else should get", hint="take the .pub file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a text, got byte 0x{content[error.start]:02x}") from error
    check_signers(text, str(path))
    return text
