"""Whose bundles a board takes: a file of signers, and the highest sequence that was ever committed."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from pathlib import Path
from typing import Optional

from device_runtime.contract.manifest import BundleManifest
from device_runtime.contract.oci import SIGNATURE_NAMESPACE
from device_runtime.contract.status import InstallState
from device_runtime.errors import BadFileError, EdgeError, InstallError
from device_runtime.files import refused
from device_runtime.install.fsops import replace_file
from device_runtime.install.layout import Admit
from device_runtime.install.root import Root
from device_runtime.install.signature import SignatureError, verify_signature
from device_runtime.install.site import Site

MAX_SIGNERS_BYTES = 64 << 10
_PUBLIC_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+")
# ssh-keygen(1), "ALLOWED SIGNERS": an option is a word, or a word with a value in quotes, which may hold spaces.
_OPTIONS = re.compile(r'(?:[a-z-]+(?:="[^"]*")?)(?:,[a-z-]+(?:="[^"]*")?)*', re.IGNORECASE)
_NAMESPACES = re.compile(r'namespaces="([^"]*)"', re.IGNORECASE)
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


class TrustedAlreadyError(EdgeError):
    """The board trusts others, and a host cannot change that."""

    code = "trusted-already"


class OlderSequenceError(InstallError):
    """A bundle is older than what was committed on this board, which takes nothing but what is newer."""

    code = "older-sequence"


def is_signed_only(root: Root) -> bool:
    """Return whether the board takes nothing but what its signers signed. In doubt it does: see ``admission``."""
    try:
        return root.allowed_signers.lstat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True


def admission(site: Site, where: str) -> Optional[Admit]:
    """Return what judges a bundle's index before the rest of the bundle is believed; None where anyone's is taken."""
    if not is_signed_only(site.root):
        return None

    def admit(index: bytes) -> None:
        try:
            verify_signature(index, site.root.allowed_signers, where)
        except SignatureError as error:
            site.journal.write("refused-signature", None, str(error))
            raise

    return admit


def require_newer(site: Site, state: InstallState, manifest: BundleManifest) -> None:
    """Refuse what is older than what was committed here, where signers are trusted: what they signed once stays signed.

    Raises:
        OlderSequenceError: its sequence is lower. An equal one is fine.
    """
    highest = state.sequences.get(manifest.name, 0)
    if is_signed_only(site.root) and manifest.compat.sequence < highest:
        reason = f"expected sequence {highest} or higher, got {manifest.compat.sequence}"
        site.journal.write("refused-sequence", None, f"{manifest.name} {manifest.version}: {reason}")
        raise OlderSequenceError(
            f"{manifest.name} {manifest.version} is older than what this board had: {reason}; "
            "what ran before still runs",
            hint="make a new bundle of it, which gets a higher sequence; or on the board: edgekit rollback",
        )


def with_sequence(state: InstallState, manifest: BundleManifest) -> InstallState:
    """Return the state once a release of ``manifest`` is committed: its sequence is remembered, and never falls."""
    highest = max(state.sequences.get(manifest.name, 0), manifest.compat.sequence)
    return dataclasses.replace(state, sequences={**state.sequences, manifest.name: highest})


def set_signers(site: Site, text: str, *, replace: bool = False) -> bool:
    """Let the board take nothing but what these signers sign; the installer's lock is held.

    Args:
        site: where.
        text: an ``allowed_signers`` file.
        replace: whoever asks stands at the board, and may replace one that is there.

    Returns:
        Whether that is new.

    Raises:
        BadFileError: ``text`` names no signers, or not as ``ssh-keygen`` reads them.
        TrustedAlreadyError: others are trusted already.
        OSError: the disk refuses; what was trusted before still is.
    """
    check_signers(text, "the signers")
    content = text.encode()
    path = site.root.allowed_signers
    if is_signed_only(site.root):
        if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
            return False
        if not replace:
            raise TrustedAlreadyError(
                f"{path} is there already, and has other signers",
                hint="log in to the board, and there: sudo python3 -I "
                f"{site.root.installer} trust FILE --replace --root {site.root.path}",
            )
    # Its mode is FILE_MODE: whoever may log in may read whom the board trusts.
    replace_file(site.fs, path, content)
    site.journal.write("trust", None, f"bundles have to be signed by one of {len(_signers(text))}")
    return True


def signers_in(path: Path) -> str:
    """Return the text of what is to be an ``allowed_signers`` file.

    Raises:
        BadFileError: it is no text.
        EdgeError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_SIGNERS_BYTES + 1)
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a text, got byte 0x{error.object[error.start]:02x}") from error
    except OSError as error:
        raise refused(error, path, "read") from error


def check_signers(text: str, where: str) -> None:
    """Look at each line of an ``allowed_signers`` file. Raises BadFileError when no bundle could be checked by it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadFileError(f"{where}: expected a text, got half a character") from error
    if size > MAX_SIGNERS_BYTES:
        raise BadFileError(f"{where}: expected at most {MAX_SIGNERS_BYTES} bytes, got {size}")
    lines = _signers(text)
    if not lines:
        raise BadFileError(
            f"{where}: expected a line for each signer, got none",
            hint="to take any bundle again, on the board: sudo rm ROOT/allowed_signers",
        )
    for number, line in lines:
        _check_line(line, f"{where}: line {number}")


def _signers(text: str) -> list[tuple[int, str]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _check_line(line: str, where: str) -> None:
    words = _WORD.findall(line)
    options = words[1] if len(words) > 1 and not _PUBLIC_KEY.fullmatch(words[1]) else None
    key = words[1:3] if options is None else words[2:4]
    if len(key) != 2 or not _PUBLIC_KEY.fullmatch(key[0]) or (options and not _OPTIONS.fullmatch(options)):
        raise BadFileError(
            f"{where}: expected NAME [OPTIONS] KEYTYPE KEY, got {line[:80]!r}",
            hint='for example: me@example.org namespaces="edgekit-bundle" ssh-ed25519 AAAA…',
        )
    if _key_type(key[1]) != key[0]:
        raise BadFileError(f"{where}: expected a key of type {key[0]} in base64, got {key[1][:40]!r}")
    namespaces = _NAMESPACES.search(options or "")
    if namespaces and not _allows_bundles(namespaces.group(1)):
        raise BadFileError(
            f"{where}: expected {SIGNATURE_NAMESPACE} among its namespaces, got {namespaces.group(1)!r}",
            hint=f'write namespaces="{SIGNATURE_NAMESPACE}", or leave the option out',
        )


def _key_type(word: str) -> str:
    """Return the type that a public key names in itself: its length in four bytes comes first (RFC 4253, 6.6)."""
    try:
        raw = base64.b64decode(word.encode(), validate=True)
    except (binascii.Error, ValueError):
        return ""
    length = int.from_bytes(raw[:4], "big")
    return raw[4 : 4 + length].decode("ascii", "replace") if 0 < length < len(raw) - 4 else ""


def _allows_bundles(patterns: str) -> bool:
    """Return whether a pattern list (ssh_config(5), PATTERNS) matches our namespace; one that is negated forbids it."""
    allowed = False
    for pattern in patterns.split(","):
        plain = re.escape(pattern.lstrip("!")).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(plain, SIGNATURE_NAMESPACE):
            if pattern.startswith("!"):
                return False
            allowed = True
    return allowed
