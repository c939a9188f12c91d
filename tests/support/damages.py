"""Damages one file of a board or a bundle in one way after another, and tells what the installer makes of each.

A program of its own, because it forks: ``python -m tests.support.damages '<JSON of Plan>'``. A damage is ``[file,
kind, at]``; its file is a path below the board's root, or absolute. Each begins with a fresh copy of the board.
"""

import json
import shutil
import sys
from pathlib import Path

from device_runtime.install.fsops import FileSystem
from tests.support.fault_points import fresh, look, run, words

_EXTENSION = b"\0more"


def damaged(content: bytes, kind: str, at: int) -> bytes:
    """Return content with one bit flipped (``at`` counts bits), cut at a byte, or longer."""
    if kind == "flip":
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        return bytes(flipped)
    return content[:at] if kind == "cut" else content + _EXTENSION


def damages_of(file, content: bytes, step: int = 1) -> list:
    """Return a flip in every ``step``-th byte, each in another bit, cuts there, and an extension."""
    flips = [[str(file), "flip", 8 * byte + byte // step % 8] for byte in range(0, len(content), step)]
    cuts = [[str(file), "cut", byte] for byte in range(0, len(content), step)]
    return [*flips, *cuts, [str(file), "extend", 0]]


def told(plan: dict) -> list:
    """Return one record for each damage: what each of the plan's commands said, and what the board then has."""
    root = Path(plan["root"])
    records = []
    for file, kind, at in plan["damages"]:
        fresh(Path(plan["base"]), root)
        path = root / file
        _put(path, damaged(path.read_bytes(), kind, at), kept=plan.get("kept"))
        said = []
        for command in plan["commands"]:
            code, answer, _ = run(words(command, root), FileSystem())
            said.append({"code": code, "said": answer, **look(root)})
        records.append({"damage": [file, kind, at], "said": said})
        if plan.get("kept"):
            shutil.copyfile(plan["kept"], path)
    return records


def _put(path: Path, content: bytes, kept) -> None:
    """Write a file; one of a board may be read-only, and is another one afterwards, as a disk's fault would have it."""
    if not kept:
        mode = path.stat().st_mode
        path.chmod(0o644)
        path.write_bytes(content)
        path.chmod(mode)
    else:
        path.write_bytes(content)


if __name__ == "__main__":
    json.dump(told(json.loads(sys.argv[1])), sys.stdout)
