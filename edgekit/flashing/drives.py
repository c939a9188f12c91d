"""Which drives are cards and sticks that can be taken out, and why one of them cannot be written.

The facts are the kernel's own, from sysfs and ``/proc``: they are the same everywhere, and need neither a program nor
udev. What can be taken out is what lsblk calls removable or hot-pluggable (on USB or an SD slot, or with the flag RM),
but for eMMC, which is soldered.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.errors import UnfitError, UsageError

LOOP_VARIABLE = "EDGEKIT_FLASH_LOOP"
"""Set to 1, loop devices count as cards: for tests, which have no others."""

_LIST = "edgekit flash --list"
_SECTOR_BYTES = 512  # of sysfs, whatever the device's own are
_HOT_BUSES = ("usb", "firewire", "ieee1394", "pcmcia", "memstick")
_BUSES = (*_HOT_BUSES, "mmc", "nvme", "virtio", "scsi")
_MMC_AREA = re.compile(r"mmcblk\d+(boot\d+|gp\d+|rpmb)")
_NO_DISK = re.compile(r"(sr|fd)\d+")

_SYSTEM_NAMES = ("", "boot", "cdrom", "efi", "etc", "home", "nix", "opt", "root", "srv", "sysroot", "tmp", "usr", "var")
_SYSTEM_MOUNTS = frozenset(f"/{name}" for name in _SYSTEM_NAMES)
_SYSTEM_FOLDERS = ("/boot/", "/etc/", "/lib/live/", "/nix/", "/run/archiso/", "/run/initramfs/", "/run/live/", "/usr/")

# linux/fs.h; size_t is part of the first one's number
_BLKGETSIZE64 = 0x80001272 | struct.calcsize("N") << 16
_BLKGETDISKSEQ = 0x80081280


@dataclass(frozen=True)
class Drive:
    """A card or a stick.

    ``name`` is vendor and model; ``bus`` is "usb", "mmc", …; ``mounted`` are folders. ``identity`` changes when
    another card or device is in its place. ``obstacle`` says why it cannot be written as it is, or is empty.
    """

    path: Path
    name: str
    size: int
    bus: str
    serial: str
    mounted: tuple[str, ...]
    identity: str
    obstacle: str = ""


@dataclass(frozen=True)
class Places:
    """Where the kernel tells its facts."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


HERE = Places()


def list_drives(places: Places = HERE) -> tuple[Drive, ...]:
    """Return the drives that can be taken out, sorted by path, also those that cannot be written as they are.

    Disks of the system are never among them.

    Raises:
        UnfitError: this system has no sysfs.
    """
    facts = _Facts(places)
    found = [facts.drive(disk) for disk in facts.disks() if facts.removable(disk) and not facts.of_the_system(disk)]
    return tuple(sorted(found, key=lambda drive: drive.path))


def find_drive(path: Path, places: Places = HERE) -> Drive:
    """Return the drive at ``path``, which may be a link, ready to be written.

    Raises:
        UsageError: it is no whole disk, a disk of the system, or one that cannot be taken out.
        UnfitError: it is read-only, mounted or in use, or there is no card in it.
    """
    facts = _Facts(places)
    block = facts.at(path)
    if block.disk != block.name:
        whole = places.dev / block.disk
        raise UsageError(
            f"{path} is a partition; a card is written as a whole, and all of it is erased", hint=f"--device {whole}"
        )
    if _MMC_AREA.fullmatch(block.name):
        raise UsageError(f"{path} is a special area of an eMMC, not a card", hint=_LIST)
    if why := facts.of_the_system(block):
        raise UsageError(f"{path} is a disk of this system: {why}; it is never written", hint=_LIST)
    if not facts.removable(block):
        raise UsageError(
            f"{path} cannot be taken out ({facts.kind(block)}); only cards and sticks are written", hint=_LIST
        )
    drive = facts.drive(block)
    if drive.obstacle:
        raise UnfitError(f"{path}: {drive.obstacle}", hint=facts.remedy(block))
    return drive


def identity_of(descriptor: int, serial: str) -> str:
    """Return the identity of the drive that is open as ``descriptor``; it is compared with ``Drive.identity``.

    Raises:
        OSError: it is gone.
    """
    number = os.fstat(descriptor).st_rdev
    sequence = ""
    try:
        sequence = str(_number_by_ioctl(descriptor, _BLKGETDISKSEQ))
    except OSError as error:  # before Linux 5.15
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            raise
    return _identity(f"{os.major(number)}:{os.minor(number)}", sequence, size_of(descriptor), serial)


def size_of(descriptor: int) -> int:
    """Return the size of an open block device in bytes. Raises OSError when it is gone."""
    return _number_by_ioctl(descriptor, _BLKGETSIZE64)


@dataclass(frozen=True)
class _Block:
    """A disk, a partition, or what is made of them, as sysfs has it."""

    name: str
    number: str
    """major:minor"""
    disk: str
    """The name of the whole disk; for that, its own."""
    folder: Path
    holders: tuple[str, ...]

    def text(self, name: str) -> str:
        return _text(self.folder / name)


@dataclass
class _Use:
    """What is made of a disk at the moment."""

    mounts: list[tuple[str, str]] = field(default_factory=list)
    """Names of blocks, and the folders where they are mounted."""
    swaps: list[str] = field(default_factory=list)
    holders: list[str] = field(default_factory=list)


class _Facts:
    """All block devices, and what they are used for, read once."""

    def __init__(self, places: Places) -> None:
        self._places = places
        try:
            found = [_block(link) for link in sorted((places.sys / "class" / "block").iterdir())]
        except OSError as error:
            raise UnfitError(
                f"cannot look for cards: {places.sys}/class/block: {(error.strerror or str(error)).lower()}",
                hint="write a file, and the card elsewhere: --out card.img",
            ) from error
        self._blocks = {block.name: block for block in found if block}
        self._mounts = tuple(self._read_mounts())
        self._swaps = frozenset(self._read_swaps())

    def disks(self) -> Iterator[_Block]:
        """Yield the whole disks."""
        for block in self._blocks.values():
            if block.disk == block.name and not _MMC_AREA.fullmatch(block.name):
                yield block

    def at(self, path: Path) -> _Block:
        """Return the block device at ``path``. Raises UsageError."""
        try:
            state = path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise UsageError(f"no such device: {path}", hint=_LIST) from error
            raise UsageError(f"cannot look at {path}: {(error.strerror or str(error)).lower()}", hint=_LIST) from error
        if not stat.S_ISBLK(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a file"
            hint = (
                _LIST
                if stat.S_ISDIR(state.st_mode)
                else f"to write a card's image: --out {path}\nto see the cards: {_LIST}"
            )
            raise UsageError(f"{path} is {kind}, not a block device", hint=hint)
        number = f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"
        for block in self._blocks.values():
            if block.number == number:
                return block
        raise UsageError(f"{path} is a device that the kernel does not know any more ({number})", hint=_LIST)

    def drive(self, disk: _Block) -> Drive:
        size = self._size(disk)
        serial = _serial(disk)
        mounted = tuple(sorted({folder for _, folder in self._use(disk).mounts}))
        return Drive(
            self._places.dev / _node(disk.name),
            _name(disk),
            size,
            _bus(disk),
            serial,
            mounted,
            _identity(disk.number, disk.text("diskseq"), size, serial),
            self._obstacle(disk),
        )

    def removable(self, disk: _Block) -> bool:
        """Return whether people take this out and put it into something else."""
        if disk.name.startswith("loop"):
            return os.environ.get(LOOP_VARIABLE) == "1" and self._size(disk) > 0
        if _virtual(disk) or _NO_DISK.fullmatch(disk.name) or disk.text("hidden") == "1":
            return False
        bus = _bus(disk)
        if bus == "mmc":
            return disk.text("device/type") != "MMC"
        return bus in _HOT_BUSES or disk.text("removable") == "1"

    def kind(self, disk: _Block) -> str:
        """Say what a disk is that cannot be taken out."""
        if disk.name.startswith("loop"):
            return f"a loop device; in tests, {LOOP_VARIABLE}=1 lets it stand for a card"
        if _virtual(disk) or _NO_DISK.fullmatch(disk.name):
            return "not a card at all"
        bus = _bus(disk)
        return "eMMC, which is soldered" if bus == "mmc" else f"built in, {bus or 'unknown bus'}"

    def of_the_system(self, disk: _Block) -> str:
        """Return what of this system is on a disk, or nothing."""
        use = self._use(disk)
        system = sorted(folder for _, folder in use.mounts if _is_system(folder))
        if system:
            return f"{', '.join(system)} is on it"
        return f"it holds swap ({', '.join(use.swaps)})" if use.swaps else ""

    def remedy(self, disk: _Block) -> str:
        """Return what would let a disk be written."""
        use = self._use(disk)
        if use.mounts:
            nodes = dict.fromkeys(str(self._places.dev / _node(name)) for name, _ in use.mounts)
            return f"sudo umount {' '.join(nodes)}"
        if use.holders:
            return f"close it; see: lsblk {self._places.dev / _node(disk.name)}"
        if self._size(disk) and disk.text("ro") == "1":
            return "slide the card's lock, or its adapter's, and put it in again"
        return f"put the card in, and: {_LIST}"

    def _obstacle(self, disk: _Block) -> str:
        if not self._size(disk):
            return "no card in the reader"
        use = self._use(disk)
        if use.mounts:
            return f"mounted at {', '.join(sorted({folder for _, folder in use.mounts}))}"
        if use.holders:
            return f"in use by {', '.join(self._holder(name) for name in use.holders)}"
        return "read-only" if disk.text("ro") == "1" else ""

    def _holder(self, name: str) -> str:
        block = self._blocks.get(name)
        title = block.text("dm/name") if block else ""
        return f"{name} ({title})" if title else name

    def _size(self, disk: _Block) -> int:
        told = disk.text("size")
        return int(told) * _SECTOR_BYTES if told.isdecimal() else 0

    def _use(self, disk: _Block) -> _Use:
        use = _Use()
        for block in self._above(disk):
            use.mounts += [(block.name, folder) for number, folder in self._mounts if number == block.number]
            use.swaps += [block.name] if block.number in self._swaps else []
            use.holders += block.holders
        use.holders = list(dict.fromkeys(use.holders))
        return use

    def _above(self, disk: _Block) -> list[_Block]:
        """Return a disk, its partitions, and all that LVM, RAID and dm-crypt make of them, and so on."""
        found: dict[str, _Block] = {}
        waiting = [disk.name]
        while waiting:
            block = self._blocks.get(waiting.pop())
            if block is None or block.name in found:
                continue
            found[block.name] = block
            waiting += block.holders
            waiting += [each.name for each in self._blocks.values() if each.disk == block.name]
        return list(found.values())

    def _read_mounts(self) -> Iterator[tuple[str, str]]:
        """Yield the numbers of block devices with the folders where they are mounted: proc(5), mountinfo."""
        for line in _text(self._places.proc / "self" / "mountinfo").splitlines():
            words = line.split(" ")
            if len(words) < 10 or "-" not in words[6:]:
                continue
            folder = _unescaped(words[4])
            yield words[2], folder
            # btrfs has a number of its own; what it lies on is told by the source.
            source = words[words.index("-", 6) + 2 :][:1]
            if words[2].startswith("0:") and source:
                for number in self._below(_unescaped(source[0])):
                    yield number, folder

    def _read_swaps(self) -> Iterator[str]:
        """Yield the numbers of the block devices in /proc/swaps."""
        for line in _text(self._places.proc / "swaps").splitlines()[1:]:
            words = line.split()
            if len(words) > 1 and words[1] == "partition":
                yield from self._below(_unescaped(words[0]))

    def _below(self, source: str) -> Iterator[str]:
        """Yield the number of the block device with this path, and those that share a btrfs with it."""
        block = self._blocks.get(Path(source).name) if source.startswith("/dev/") else None
        number = block.number if block else _number_at(source)
        if not number:
            return
        yield number
        names = {each.name for each in self._blocks.values() if each.number == number}
        for folder in (self._places.sys / "fs" / "btrfs").glob("*/devices"):
            members = {each.name for each in folder.iterdir()}
            if names & members:
                yield from (self._blocks[name].number for name in members - names if name in self._blocks)


def _block(link: Path) -> _Block | None:
    """Return a block device of sysfs, or None when it has gone meanwhile."""
    folder = link.resolve()
    number = _text(folder / "dev")
    if not number:
        return None
    disk = folder.parent.name if (folder / "partition").exists() else link.name
    holders: tuple[str, ...] = ()
    with contextlib.suppress(OSError):
        holders = tuple(sorted(each.name for each in (folder / "holders").iterdir()))
    return _Block(link.name, number, disk, folder, holders)


def _ancestors(disk: _Block) -> Iterator[Path]:
    """Yield the folders of the devices that a disk hangs on, the nearest first."""
    for folder in disk.folder.parents:
        if folder.name in ("devices", ""):
            return
        yield folder


def _subsystem(folder: Path) -> str:
    try:
        return (folder / "subsystem").readlink().name
    except OSError:
        return ""


def _bus(disk: _Block) -> str:
    """Return "usb", "mmc", "nvme", …: the nearest that is not SCSI, which others speak too."""
    if disk.name.startswith("loop"):
        return "loop"
    found = [name for name in map(_subsystem, _ancestors(disk)) if name in _BUSES]
    return next((name for name in found if name != "scsi"), found[0] if found else "")


def _virtual(disk: _Block) -> bool:
    return disk.folder.parent.parent.name == "virtual"


def _name(disk: _Block) -> str:
    if disk.name.startswith("loop"):
        return f"loop device of {disk.text('loop/backing_file') or 'nothing'}"
    if _bus(disk) == "mmc":
        return f"SD card {disk.text('device/name')}".rstrip()
    return " ".join(filter(None, (disk.text("device/vendor"), disk.text("device/model"))))


def _serial(disk: _Block) -> str:
    if told := disk.text("device/serial"):
        return told
    for folder in _ancestors(disk):
        if _subsystem(folder) == "usb" and (told := _text(folder / "serial")):
            return told
    return ""


def _identity(number: str, sequence: str, size: int, serial: str) -> str:
    """Put together what tells a drive from the one that is in its place later.

    The sequence number (sysfs ``diskseq``, Linux 5.15) is never used twice, and grows when a card is changed.
    """
    return f"{number}, {size} bytes, sequence {sequence or 'unknown'}, serial {serial or 'unknown'}"


def _is_system(folder: str) -> bool:
    return folder in _SYSTEM_MOUNTS or folder.startswith(_SYSTEM_FOLDERS)


def _node(name: str) -> str:
    return name.replace("!", "/")


def _number_at(path: str) -> str:
    if not path.startswith("/"):
        return ""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}" if stat.S_ISBLK(state.st_mode) else ""


def _number_by_ioctl(descriptor: int, request: int) -> int:
    answer = array.array("Q", [0])
    fcntl.ioctl(descriptor, request, answer)
    return answer[0]


def _text(path: Path) -> str:
    """Return a file's text, one line and printable where it is a drive's own word, or nothing."""
    try:
        content = path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
    return "".join(letter for letter in content if letter.isprintable() or letter == "\n")


def _unescaped(word: str) -> str:
    """Undo the octal escapes of proc(5)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
