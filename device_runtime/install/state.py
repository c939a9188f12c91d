"""``state.json``, read forgivingly and written whole; and the links that follow it."""

from __future__ import annotations

import json
from typing import Optional

from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.status import STATE_SCHEMA, InstallState
from device_runtime.errors import BadFileError
from device_runtime.install.fsops import FileSystem, replace_file
from device_runtime.install.root import Root


def read_state(root: Root) -> Optional[InstallState]:
    """Return the state; None when there is none, or nothing that can be read any more.

    Raises:
        BadFileError: a newer installer wrote it; this one does not touch what it cannot understand.
    """
    try:
        text = root.state.read_text(encoding="utf-8")
        schema = json.loads(text).get("schema", STATE_SCHEMA)
    except (FileNotFoundError, ValueError, AttributeError, RecursionError):
        return None
    if isinstance(schema, int) and schema > STATE_SCHEMA:
        raise BadFileError(
            f"{root.state}: written by a newer installer: this one knows schema {STATE_SCHEMA}, got {schema}",
            hint="use the edgekit that installed last on this board, or a newer one",
        )
    try:
        return loads(InstallState, text, str(root.state))
    except BadFileError:
        return None


def write_state(fs: FileSystem, root: Root, state: InstallState) -> None:
    """Replace the state: a decision is made in the instant of this rename. Raises OSError."""
    replace_file(fs, root.state, dumps(state).encode())
