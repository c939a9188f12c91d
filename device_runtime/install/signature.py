"""Who signed a bundle: ``ssh-keygen`` checks it against a file of allowed signers (``ssh-keygen(1)``)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from device_runtime.contract.oci import SIGNATURE_ANNOTATION, SIGNATURE_NAMESPACE, read_index, signed_bytes
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import refused

_MAX_SIGNATURE_BYTES = 64 << 10
"""A signature by an RSA key of 16384 bits with its certificate is a tenth of it."""
_TIMEOUT_S = 60.0
"""Checking takes some milliseconds; only a machine in trouble needs longer."""
_SAID = 200
"""Letters of what ``ssh-keygen`` says that go into a message."""


class SignatureError(BadFileError):
    """A bundle is not signed as it should be; each kind has a code of its own."""

    code = "signature"


class UnsignedError(SignatureError):
    """A bundle has no signature where one is needed."""

    code = "unsigned"


class BadSignatureError(SignatureError):
    """A bundle's signature is damaged, or is not one of this bundle."""

    code = "bad-signature"


class UnknownSignerError(SignatureError):
    """A bundle is signed, by a key that is not allowed to."""

    code = "unknown-signer"


def verify_signature(index: bytes, allowed_signers: Path, where: str) -> str:
    """Return who signed a bundle, as ``allowed_signers`` names them.

    Args:
        index: the bundle's index, as it is written.
        allowed_signers: the file of those who may sign.
        where: what the bundle is called in messages.

    Raises:
        UnsignedError: nobody signed it.
        BadSignatureError: what was signed is not this.
        UnknownSignerError: ``allowed_signers`` has no such key, or does not allow it for bundles, or not any more.
        BadFileError: ``index`` is none, or ``allowed_signers`` cannot be read.
        EdgeError: there is no ``ssh-keygen``, or it cannot work.
    """
    signature = read_index(index, where).annotations.get(SIGNATURE_ANNOTATION, "")
    if not signature:
        raise UnsignedError(
            f"{where}: not signed, and signers are expected: {allowed_signers}",
            hint="sign it: edgekit bundle --sign ~/.ssh/id_ed25519",
        )
    if len(signature) > _MAX_SIGNATURE_BYTES:
        raise _bad(where, f"expected at most {_MAX_SIGNATURE_BYTES} bytes, got {len(signature)}")
    _require_readable(allowed_signers)
    message = signed_bytes(index, where)
    signers = str(allowed_signers.absolute())
    with _private_file(signature) as path:
        found = _keygen(["find-principals", "-s", path, "-f", signers], b"")
        for principal in _lines(found.stdout):
            checked = _keygen(
                ["verify", "-f", signers, "-I", principal, "-n", SIGNATURE_NAMESPACE, "-s", path], message
            )
            if checked.returncode == 0:
                return principal
        # Nobody who may: what remains is to say why.
        sound = _keygen(["check-novalidate", "-n", SIGNATURE_NAMESPACE, "-s", path], message)
    if sound.returncode:
        raise _bad(where, _said(sound) or f"ssh-keygen ends with code {sound.returncode}")
    raise UnknownSignerError(
        f"{where}: signed with the {_key(sound)}, which {allowed_signers} does not allow to sign bundles (now)",
        hint="let one of its signers sign the bundle; or, if you know the key, add a line with it to that file",
    )


def _bad(where: str, reason: str) -> BadSignatureError:
    return BadSignatureError(
        f"{where}: altered, or not signed as a bundle: {reason}",
        hint="build and sign it again, or get it again from where it came from",
    )


def _require_readable(allowed_signers: Path) -> None:
    try:
        with allowed_signers.open("rb"):
            pass
    except OSError as error:
        raise refused(error, allowed_signers, "read") from error


@contextlib.contextmanager
def _private_file(text: str) -> Iterator[str]:
    """Yield the path of a temporary file that only this user can read; ``ssh-keygen`` takes signatures from files."""
    path: Optional[str] = None
    try:
        descriptor, path = tempfile.mkstemp(prefix="edgekit-signature-")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
        yield path
    except OSError as error:
        raise refused(error, Path(path or tempfile.gettempdir()), "write") from error
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - a path of mkstemp's


def _keygen(words: list[str], message: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run ``ssh-keygen -Y``, with what was signed on its standard input."""
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *words],  # noqa: S607 - the system's own, wherever it is
            input=message,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise EdgeError(
            "cannot check the signature: there is no ssh-keygen", hint="sudo apt install openssh-client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"cannot check the signature: ssh-keygen does not answer within {_TIMEOUT_S:g} s") from error


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = _lines(done.stderr)
    return lines[0].strip().lower()[:_SAID] if lines else ""


def _key(sound: subprocess.CompletedProcess[bytes]) -> str:
    """Return the key of ``Good "…" signature with ED25519 key SHA256:…``."""
    _, _, key = sound.stdout.decode("utf-8", "replace").strip().rpartition(" signature with ")
    return key[:_SAID] or "key of somebody"
