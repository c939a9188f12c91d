"""``state.json``, read forgivingly and written whole, with a checksum; the links follow it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Optional

from device_runtime.contract.decode import decode, dumps, encode
from device_runtime.contract.status import STATE_SCHEMA, InstallState
from device_runtime.errors import BadFileError
from device_runtime.install.fsops import FileSystem, replace_file
from device_runtime.install.root import Root

_CHECKSUM = "checksum"
"""SHA-256 of the canonical JSON of all the rest. One flipped bit, of ``committed`` say, would let nothing run."""


def read_state(root: Root) -> Optional[InstallState]:
    """Return the state; None when there is none, or nothing that can be read any more.

    Raises:
        BadFileError: a newer installer wrote it; this one does not touch what it cannot understand.
    """
    try:
        data = json.loads(root.state.read_text(encoding="utf-8"))
        checksum = data.pop(_CHECKSUM, None)
        schema = data.get("schema", STATE_SCHEMA)
        # A state without one is an older installer's.
        if checksum is not None and checksum != _checksum(data):
            return None
    except (FileNotFoundError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    if isinstance(schema, int) and schema > STATE_SCHEMA:
        raise BadFileError(
            f"{root.state}: written by a newer installer: this one knows schema {STATE_SCHEMA}, got {schema}",
            hint="use the edgekit that installed last on this board, or a newer one",
        )
    try:
        return decode(InstallState, data, str(root.state))
    except BadFileError:
        return None


def write_state(fs: FileSystem, root: Root, state: InstallState) -> None:
    """Replace the state: a decision is made in the instant of this rename. Raises OSError."""
    data = encode(state)
    replace_file(fs, root.state, dumps({**data, _CHECKSUM: _checksum(data)}).encode())


def _checksum(data: dict[str, Any]) -> str:
    return hashlib.sha256(dumps(data).encode()).hexdigest()
