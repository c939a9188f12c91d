"""Signs a bundle with an SSH key, through ``ssh-keygen``: agents, passphrases and security keys work as ever."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from device_runtime.contract.events import Events, Notice, Step
from device_runtime.contract.oci import SIGNATURE_NAMESPACE
from device_runtime.errors import BadFileError, EdgeError, UsageError

_BEGIN = "-----BEGIN SSH SIGNATURE-----"


def sign(content: bytes, key: Path, events: Events) -> str:
    """Return the armoured signature of some bytes.

    Args:
        content: what to sign, of some KB.
        key: a private key, or a public one whose private half is in the agent.
        events: hears what ``ssh-keygen`` says, as that a security key wants to be touched.

    Raises:
        UsageError: there is no such key.
        EdgeError: the key cannot be used, or there is no ``ssh-keygen``.
    """
    require_key(key)
    events(Step(f"sign with {key}"))
    try:
        process = subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", str(key.absolute())],  # noqa: S607 - the user's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise EdgeError("cannot sign: there is no ssh-keygen", hint="sudo apt install openssh-client") from error
    said: list[str] = []
    with process:
        try:
            # What is said has to be shown at once; the signature is smaller than a pipe, and comes after it.
            _give(process, content)
            for line in process.stderr or ():
                said.append(line.decode("utf-8", "replace").strip())
                if "presence" in said[-1]:
                    events(Notice(said[-1]))
            signature = process.stdout.read().decode("ascii", "replace") if process.stdout else ""
        except BaseException:
            process.kill()
            raise
    if process.returncode or not signature.startswith(_BEGIN):
        raise _failed(key, said)
    return signature


def require_key(key: Path) -> None:
    """Check that there is a key before much is done. Raises UsageError: there is none."""
    if not key.is_file():
        raise UsageError(f"cannot sign: there is no key {key}", hint="make one: ssh-keygen -t ed25519")


def _give(process: subprocess.Popen[bytes], content: bytes) -> None:
    try:
        if process.stdin:
            process.stdin.write(content)
            process.stdin.close()
    except BrokenPipeError:  # it ended already, and says why
        pass


def _failed(key: Path, said: list[str]) -> EdgeError:
    reason = next((line for line in reversed(said) if line), "ssh-keygen says nothing").lower()
    if "invalid format" in reason or "not a public key" in reason or "error in libcrypto" in reason:
        return BadFileError(f"cannot sign: {key} is no SSH key: {reason}", hint="name one as ~/.ssh/id_ed25519")
    return EdgeError(
        f"cannot sign with {key}: {reason}",
        hint=f"if it has a passphrase or lies in an agent, load it and name its public half: ssh-add {key}",
    )
