"""``journal.jsonl``: every transition with a reason code, for those who ask later what happened."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Optional

from device_runtime.contract.decode import decode, encode
from device_runtime.contract.status import JournalEntry
from device_runtime.errors import BadFileError
from device_runtime.install.fsops import FileSystem, write_all
from device_runtime.install.root import Root

MAX_BYTES = 1_000_000
"""A longer journal becomes ``journal.1.jsonl``, and a new one begins: a board's disk is not filled by its history."""
_MAX_ENTRY_BYTES = 2048
"""Reasons are one line of a check's words, of at most 500 letters, and few letters take six bytes."""


@dataclass(frozen=True)
class Journal:
    """Appends to the journal. What cannot be written is left out: a full disk must not stop a return to safety."""

    root: Root
    fs: FileSystem

    def write(self, code: str, release: Optional[str] = None, message: str = "") -> None:
        """Add one entry."""
        entry = JournalEntry(now(), code, release, message)
        text = json.dumps(encode(entry), sort_keys=True, ensure_ascii=True)
        try:
            self._append(text.encode() + b"\n")
        except OSError:
            return

    def _append(self, line: bytes) -> None:
        path = self.root.journal
        size = path.stat().st_size if path.exists() else 0
        if size > MAX_BYTES:
            self.fs.rename(path, path.with_name("journal.1.jsonl"))
        descriptor = self.fs.open_append(path)
        try:
            # A line that a power cut left unfinished must not swallow this one.
            write_all(self.fs, descriptor, line if _ends_well(self.root) else b"\n" + line)
            self.fs.sync(descriptor)
        finally:
            os.close(descriptor)


def last_entries(root: Root, count: int) -> list[JournalEntry]:
    """Return the last ``count`` entries of the journal, oldest first, without reading all of it. Raises OSError."""
    try:
        with root.journal.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - count * _MAX_ENTRY_BYTES))
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return []
    # The first line may be the end of one; then it is no JSON, and left out like one that a power cut spoilt.
    return [entry for entry in map(_entry, lines) if entry is not None][-count:]


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _entry(line: bytes) -> Optional[JournalEntry]:
    try:
        return decode(JournalEntry, json.loads(line), "journal")
    except (ValueError, BadFileError):
        return None


def _ends_well(root: Root) -> bool:
    with root.journal.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
