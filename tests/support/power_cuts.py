"""Cuts the power before the 1st, 2nd, 3rd … mutating call of an installer command, and after its last.

``python -m tests.support.power_cuts '<JSON of Plan>'``, as ``fault_points``, and as root. The board is a small ext4
disk in a file. At the point of the cut that file is copied as it is: the file system's dirty pages are not in it. Then
one file that has nothing to do with the installer is flushed, and the disk is copied once more: this commits the
journal, so that names are on the disk of which some have no content yet. Both copies are mounted, which replays the
journal, looked at, settled, and given the same command again.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.support.fault_points import KILLED, look, run, settle_and_repeat, words
from tests.support.faulty_files import FAULTS, FaultyFiles
from tests.support.small_disks import QUIET, copy_as_it_is, make_disk, mounted


def cuts(plan: dict) -> list:
    """Return one record for each cut: the two disks that it left, ``at_once`` or ``after_a_flush``.

    ``step`` leaves out calls, ``before`` are commands that fail first, ``options`` mounts the disk with others.
    """
    with tempfile.TemporaryDirectory(dir=plan["folder"]) as folder:
        work = Path(folder)
        command = [plan["command"], *plan["arguments"]]
        _make_board(work, plan)
        records = []
        while True:
            point = len(records) * plan.get("step", 1)
            code, said = _cut(work, plan, command, point)
            disks = {name: _look(work, name, plan, command) for name in ("at_once", "after_a_flush")}
            records.append({"point": point, "code": code, "said": said, **disks})
            if code != KILLED:
                return records


def _make_board(work: Path, plan: dict) -> None:
    image, disk = work / "base", work / "disk"
    make_disk(image)
    with mounted(image, disk, plan.get("options", QUIET)):
        (disk / "unrelated").touch()
        root = disk / "root"
        if Path(plan["base"]).exists():
            shutil.copytree(plan["base"], root, symlinks=True)
        for earlier, fault, point, stdin in plan.get("before", ()):
            run(words(earlier, root), FaultyFiles(FAULTS[fault](point)), stdin)


def _cut(work: Path, plan: dict, command, point: int) -> tuple:
    """Cut the power before call ``point``, or when the command has ended; return its exit code, and its last line."""

    arguments = words(command, work / "disk" / "root")
    return cut_at(point, work, lambda fs: run(arguments, fs, plan.get("stdin"))[:2], plan.get("options", QUIET))


def cut_at(point: int, work: Path, do, options: str = QUIET):
    """Do something on a copy of the disk ``work / "base"``, mounted at ``work / "disk"``; return what it returns.

    ``do`` is given a file system, works in another process, and returns its exit code, with whatever follows. Before
    call ``point``, or when it has ended, the power is cut: ``work / "at_once"`` and ``work / "after_a_flush"`` are the
    disks that this leaves.
    """
    image, disk = work / "live", work / "disk"
    copy_as_it_is(work / "base", image)

    def copy_disk():
        copy_as_it_is(image, work / "at_once")
        with (disk / "unrelated").open("wb", buffering=0) as stream:
            stream.write(b"something else")
            os.fsync(stream.fileno())
        copy_as_it_is(image, work / "after_a_flush")

    def fault(number, _name):
        if number == point:
            copy_disk()
            os.kill(os.getpid(), signal.SIGKILL)

    with mounted(image, disk, options):
        ended = do(FaultyFiles(fault))
        if ended[0] != KILLED:
            copy_disk()
        return ended


def _look(work: Path, name: str, plan: dict, command) -> dict:
    root = work / "disk" / "root"
    with mounted(work / name, work / "disk", plan.get("options", QUIET)):
        found = look(root) if root.exists() else None
        return {"found": found, **settle_and_repeat(root, command, plan.get("stdin"))}


if __name__ == "__main__":
    json.dump(cuts(json.loads(sys.argv[1])), sys.stdout)
