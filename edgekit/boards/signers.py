"""A file of signers that boards are to trust, checked before a board gets it."""

from __future__ import annotations

import re
from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.files import refused

_MAX_BYTES = 64 << 10
_KEY_TYPE = r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+"
# ssh-keygen(1), "ALLOWED SIGNERS": principals, options if any, key type, key in base64, a comment if any.
_SIGNER = re.compile(rf'\S+(?:[ \t]+(?:"[^"]*"|[^\s"]+)+)?[ \t]+{_KEY_TYPE}[ \t]+[A-Za-z0-9+/]+=*(?:[ \t].*)?')
_PUBLIC_KEY = re.compile(rf"{_KEY_TYPE}[ \t]+[A-Za-z0-9+/]+=*")


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
    if len(content) > _MAX_BYTES:
        raise BadFileError(f"{path}: expected at most {_MAX_BYTES} bytes of signers, got {len(content)}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a text, got byte 0x{content[error.start]:02x}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#") and not _SIGNER.fullmatch(line.strip()):
            raise _odd(path, number, line.strip())
    return text


def _odd(path: Path, number: int, line: str) -> BadFileError:
    if "PRIVATE KEY" in line:
        return BadFileError(f"{path}: this is a private key, which nobody else should get", hint="take the .pub file")
    example = 'echo "you@example.org namespaces=\\"edgekit-bundle\\" $(cat ~/.ssh/id_ed25519.pub)" > allowed_signers'
    if _PUBLIC_KEY.match(line):
        return BadFileError(f"{path}: line {number}: expected a name before the key", hint=example)
    return BadFileError(f"{path}: line {number}: expected a name and a public key, got {line[:60]!r}", hint=example)
