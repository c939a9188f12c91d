"""Makes the installer that is sent to boards: one zip that Python runs, of which equal sources have equal bytes."""

from __future__ import annotations

from pathlib import Path

import device_runtime
from device_runtime.install.pack import pack_comment
from edgekit.bundling.stored_zip import stored_zip

_MODULES = ("__init__.py", "errors.py", "files.py", "signals.py")
_PACKAGES = ("contract", "install")
_MAIN = """\
from device_runtime.install.__main__ import run

run()
"""


def installer_pack() -> bytes:
    """Return a zip that runs as ``python3 -I FILE COMMAND --root DIR``: the installer, and all that it imports of ours.

    Raises:
        OSError: a source cannot be read.
    """
    files = {"__main__.py": _MAIN.encode()}
    base = Path(device_runtime.__file__).parent
    sources = [base / name for name in _MODULES]
    for package in _PACKAGES:
        sources += (base / package).rglob("*")
    for path in sources:
        inner = path.relative_to(base)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
        if path.is_file() and not hidden:
            files[f"device_runtime/{inner.as_posix()}"] = path.read_bytes()
    return stored_zip(dict(sorted(files.items())), pack_comment())
