"""Small images of cards: an MBR, a FAT to boot from and an ext4 root, made as a board's are, without root or mounts."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SECTOR_BYTES = 512
MIB = 1 << 20
_TOOLS = {"mcopy": "mtools", "mkfs.fat": "dosfstools", "sfdisk": "fdisk", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_EPOCH = "315532800"  # 1980, as early as a FAT can tell
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "MTOOLSRC": "/dev/null", "HOME": "/nonexistent", "TZ": "UTC"}
_ELF_MACHINES = {"aarch64": (2, 183), "armv7l": (1, 40), "x86_64": (2, 62)}


@dataclass(frozen=True)
class Link:
    """A symbolic link in a root file system."""

    to: str


@dataclass(frozen=True)
class DiskImage:
    """A file with a card's contents; offsets and sizes are in bytes, and ``root_offset`` is None without a root."""

    path: Path
    boot_offset: int
    boot_size: int
    root_offset: int | None


def require_disk_tools() -> None:
    """Skip a test where a program is missing that makes or reads images; on CI it fails."""
    missing = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool, path=_PATH) is None})
    if not missing:
        return
    reason = f"images of cards need {' '.join(missing)}: sudo apt install {' '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def make_disk_image(
    path: Path,
    boot: Mapping[str, bytes],
    root: Mapping[str, "bytes | Link"] | None = None,
    *,
    fat: int = 32,
    boot_offset: int = 4 * MIB,
    boot_size: int | None = None,
) -> DiskImage:
    """Make an image with these files (names with ``/`` are in folders); both partitions are sparse where empty.

    Args:
        path: the file; it is replaced.
        boot: name on the FAT → content.
        root: name in the ext4 → content, or a link; None: no second partition.
        fat: 16 (8 MiB) or 32 (36 MiB, about the smallest that is one), for ``mkfs.fat -F``.
        boot_offset: where the FAT begins, in bytes.
        boot_size: its size in bytes, if not that.
    """
    require_disk_tools()
    boot_size = boot_size or (36 if fat == 32 else 8) * MIB
    root_offset = boot_offset + boot_size if root is not None else None
    end = boot_offset + boot_size
    root_size = 0
    if root is not None:
        root_size = 16 * MIB + sum(len(content) for content in root.values() if isinstance(content, bytes)) // MIB * MIB
    path.unlink(missing_ok=True)
    with path.open("wb") as stream:
        stream.truncate(end + root_size)
    lines = ["label: dos", "label-id: 0x5a5a0001", _entry(boot_offset, boot_size, "c" if fat == 32 else "e")]
    if root_offset is not None:
        lines.append(_entry(root_offset, root_size, "83"))
    _run(["sfdisk", "--quiet", path], "\n".join([*lines, ""]).encode())
    make_fat(path, fat=fat, offset=boot_offset, size=boot_size)
    with tempfile.TemporaryDirectory() as folder:
        if boot:
            tree = _write(Path(folder, "boot"), boot)
            _run(["mcopy", "-s", "-i", f"{path}@@{boot_offset}", *sorted(tree.iterdir()), "::/"])
        if root is not None:
            tree = _write(Path(folder, "root"), root)
            options = f"offset={root_offset},root_owner=0:0"
            _run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", options, path, f"{root_size // 1024}k"])
    return DiskImage(path, boot_offset, boot_size, root_offset)


def make_fat(path: Path, *, fat: int = 32, offset: int = 0, size: int = 36 * MIB, cluster_bytes: int = 512) -> None:
    """Make an empty FAT in a file, which is made where it is missing; ``offset`` and ``size`` are bytes."""
    with path.open("ab") as stream:
        stream.truncate(max(offset + size, path.stat().st_size))
    options = ["-F", str(fat), "-s", str(cluster_bytes // SECTOR_BYTES), "-n", "bootfs", "-i", "5a5a0002"]
    place = [f"--offset={offset // SECTOR_BYTES}", path, str(size // 1024)]
    _run(["mkfs.fat", *options, *place], SOURCE_DATE_EPOCH=_EPOCH)


def check_fat(image: DiskImage) -> str:
    """Return what ``fsck.fat`` finds wrong with an image's FAT, empty when it is sound."""
    require_disk_tools()
    with tempfile.TemporaryDirectory() as folder:
        fat = Path(folder, "fat")
        with image.path.open("rb") as stream:
            stream.seek(image.boot_offset)
            fat.write_bytes(stream.read(image.boot_size))
        done = subprocess.run(
            [_found("fsck.fat"), "-n", "-v", fat], env=_ENVIRONMENT, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


def bookworm_boot() -> dict[str, bytes]:
    """Return the boot partition of a Raspberry Pi OS that is told what to do by ``firstrun.sh``."""
    return {
        "cmdline.txt": b"console=serial0,115200 console=tty1 root=PARTUUID=5a5a0001-02 rootfstype=ext4 fsck.repair=yes "
        b"rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n",
        "config.txt": b"# For more options and information see\n# http://rptl.io/configtxt\n[all]\n",
        "issue.txt": b"Raspberry Pi reference 2024-11-19\nGenerated using pi-gen, stage2\n",
        "kernel8.img": bytes(range(256)) * 64,
        "overlays/README": b"Introduction\n",
        "overlays/vc4-kms-v3d.dtbo": b"\xd0\x0d\xfe\xed",
    }


def trixie_boot() -> dict[str, bytes]:
    """Return the boot partition of a Raspberry Pi OS with cloud-init: its templates are comments alone."""
    return bookworm_boot() | {
        "issue.txt": b"Raspberry Pi reference 2025-11-24\nGenerated using pi-gen, stage2\n",
        "meta-data": b"# This is the meta-data configuration file for cloud-init.\ninstance-id: rpios-image\n",
        "network-config": b"# This file contains a netplan-compatible configuration.\n",
        "user-data": b"#cloud-config\n\n# This is the user-data configuration file for cloud-init.\n",
    }


def system_root(
    *,
    machine: str = "aarch64",
    python: str = "3.11",
    glibc: str = "2.36-9+rpt2+deb12u4",
    name: str = "Debian GNU/Linux 12",
) -> dict[str, "bytes | Link"]:
    """Return a root file system that says of itself what it is, in the places where Debian's do."""
    bits, number = _ELF_MACHINES[machine]
    header = struct.pack("<4sBBBB8xHHI", b"\x7fELF", bits, 1, 1, 0, 2, number, 1).ljust(64, b"\0")
    architecture = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64"}[machine]
    packages = [("base-files", "12.4"), ("libc-bin", glibc), ("libc6", glibc), ("python3", f"{python}.2-1")]
    status = "\n".join(
        f"Package: {package}\nStatus: install ok installed\nPriority: optional\nArchitecture: {architecture}\n"
        f"Multi-Arch: same\nVersion: {version}\nDescription: {package}\n Version: 9.9\n .\n Words.\n"
        for package, version in packages
    )
    return {
        "etc/os-release": Link("../usr/lib/os-release"),
        "usr/lib/os-release": f'PRETTY_NAME="{name}"\nNAME="Debian GNU/Linux"\n'.encode(),
        "usr/bin/python3": Link(f"python{python}"),
        f"usr/bin/python{python}": header + bytes(4096),
        "var/lib/dpkg/status": status.encode(),
    }


def _entry(offset: int, size: int, kind: str) -> str:
    return f"start={offset // SECTOR_BYTES}, size={size // SECTOR_BYTES}, type={kind}"


def _write(folder: Path, files: Mapping[str, "bytes | Link"]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.to)
        else:
            path.write_bytes(content)
    folder.mkdir(exist_ok=True)
    return folder


def _found(tool: str) -> str:
    return shutil.which(tool, path=_PATH) or tool


def _run(words: list, stdin: bytes = b"", **more: str) -> None:
    done = subprocess.run(
        [_found(words[0]), *words[1:]], input=stdin, env={**_ENVIRONMENT, **more}, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{words}: {(done.stderr + done.stdout).decode(errors='replace')}"
