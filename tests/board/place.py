"""Where a board runs on this machine: a number, a folder on the disk, a network namespace and a wire into it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device_runtime.errors import UnfitError
from tests.board.running import done
from tests.support.waiting import wait_for

_PLACES = Path("/var/tmp/edgekit-boards")  # noqa: S108 - made for root alone, and checked
_MOST = 200


@dataclass(frozen=True)
class Place:
    """One of the numbered places; whatever an earlier board left in it is gone."""

    number: int
    folder: Path

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return f"edgekit-board-{self.number}"

    @property
    def wire(self) -> str:
        """This machine's network device to it."""
        return f"ekb{self.number}"

    @property
    def group(self) -> Path | None:
        """The control group of its own that it runs in: two systemds in one would stop each other's services.

        None where this machine has only the hierarchies of version 1.
        """
        mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        return next((Path(words[1], self.namespace) for words in mounts if words[2] == "cgroup2"), None)

    @property
    def host_address(self) -> str:
        """This machine's end of the wire."""
        return f"10.77.{self.number}.1"

    @property
    def address(self) -> str:
        """The board's end of the wire."""
        return f"10.77.{self.number}.2"

    @property
    def root(self) -> Path:
        """The board's root folder, as this machine sees it."""
        return self.folder / "root"

    @property
    def data(self) -> Path:
        """Where a disk of its own is mounted on the board, as this machine sees it."""
        return self.root / "var/lib/edgekit"

    @property
    def disk(self) -> Path:
        """The file that is that disk."""
        return self.folder / "data.img"


def check_root() -> None:
    """Raise UnfitError when this is not root."""
    if os.geteuid() != 0:
        raise UnfitError("the virtual board needs root, for mounts and a network of its own", hint="run it with sudo")


@contextlib.contextmanager
def taken_place() -> Iterator[Place]:
    """Take a free place and lay a wire into it; at the end nothing is left of it.

    Raises:
        UnfitError: all are taken, or this is not root.
    """
    check_root()
    _PLACES.mkdir(mode=0o700, exist_ok=True)
    if _PLACES.stat().st_uid != 0 or _PLACES.is_symlink():
        raise UnfitError(f"{_PLACES}: expected a folder of root", hint=f"rm -r {_PLACES}")
    for number in range(_MOST):
        with (_PLACES / f"{number}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            place = Place(number, _PLACES / str(number))
            _clear(place)
            place.folder.mkdir()
            try:
                _lay_wire(place)
                if place.group:
                    place.group.mkdir()
                yield place
            finally:
                _clear(place)
            return
    raise UnfitError(f"{_PLACES}: expected a free place, got {_MOST} running boards")


def mount_root(place: Place, lower: Path) -> None:
    """Mount the board's root: what is written goes to the place, not to ``lower``."""
    layers = place.folder / "layers"
    for part in (layers, place.root):
        part.mkdir(exist_ok=True)
    if _mount_overlay(place, lower, layers):
        # The folder is itself of an overlay, as in a container: the layers go to memory.
        done(["mount", "-t", "tmpfs", "tmpfs", layers])
        problem = _mount_overlay(place, lower, layers)
        if problem:
            raise UnfitError(f"{place.root}: cannot mount an overlay: {problem}")


def _mount_overlay(place: Place, lower: Path, layers: Path) -> str:
    for part in ("upper", "work"):
        (layers / part).mkdir(exist_ok=True)
    options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
    words = ["mount", "-t", "overlay", "overlay", "-o", options, place.root]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    return mounted.stderr.strip() if mounted.returncode else ""


def mount_disk(place: Place) -> None:
    """Mount the board's own disk, if it has one; what a power cut left in its journal is replayed."""
    if place.disk.exists() and not place.data.is_mount():
        place.data.mkdir(parents=True, exist_ok=True)
        done(["mount", "-o", "loop", place.disk, place.data])


def unmount_disk(place: Place) -> None:
    """Unmount the board's own disk, if it has one."""
    if place.data.is_mount():
        done(["umount", place.data])


def _lay_wire(place: Place) -> None:
    inside, outside = "host0", place.wire
    done(["ip", "netns", "add", place.namespace])
    done(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", place.namespace])
    done(["ip", "address", "add", f"{place.host_address}/30", "dev", outside])
    done(["ip", "link", "set", outside, "up"])
    within = ["ip", "-n", place.namespace]
    done([*within, "address", "add", f"{place.address}/30", "dev", inside])
    done([*within, "link", "set", "lo", "up"])
    done([*within, "link", "set", inside, "up"])


def _clear(place: Place) -> None:
    """Remove what a board left: also one whose process was killed."""
    if place.group and place.group.exists():
        _end_group(place.group)
    for path in (place.data, place.root, place.folder / "layers"):
        while path.is_mount():
            if subprocess.run(["umount", path], capture_output=True, check=False).returncode:
                done(["umount", "--lazy", path])
    if Path("/sys/class/net", place.wire).exists():
        # It would go with the namespace that its other end is in, but some time later.
        done(["ip", "link", "delete", place.wire])
    if Path("/run/netns", place.namespace).exists():
        done(["ip", "netns", "delete", place.namespace])
    if place.folder.exists():
        shutil.rmtree(place.folder)


def _end_group(group: Path) -> None:
    """Kill what still runs in a control group, and remove it (Documentation/admin-guide/cgroup-v2.rst, 2.2 and 5.1)."""
    (group / "cgroup.kill").write_text("1")
    wait_for(lambda: "populated 0" in (group / "cgroup.events").read_text())
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()
