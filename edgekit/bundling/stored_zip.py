"""Zips of which equal contents have equal bytes, wherever they are made: the device wheel, and the installer."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

# The earliest time that a zip can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644


def stored_zip(files: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    """Return a zip of these files, in their order.

    Files are stored, not deflated: deflate's output differs between versions of zlib.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _FILE_MODE << 16
            entry.create_system = 3  # Unix, whatever wrote it
            archive.writestr(entry, content)
    return buffer.getvalue()
