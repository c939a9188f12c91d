"""A stock image like Raspberry Pi OS's, compressed as one is downloaded; made once, and kept outside the checkout."""

from __future__ import annotations

import lzma
import shutil
import struct
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import zstandard

from converters.cache import cache_folder
from device_runtime.errors import UnfitError
from device_runtime.files import making_folder, replacing
from tests.board import rootfs
from tests.board.emulator import arm64_programs
from tests.board.running import check_programs, done, locked, recipe_of, say
from tests.machine import guest_files
from tests.machine.machine import check_machine_programs
from tests.machine.packages import add_packages, in_root

_MIB = 1 << 20
_ZEROS = bytes(_MIB)
_SECTOR = 512
# As Raspberry Pi OS's: from sector 16384 on; 256 MiB, as it was until 2023, have room enough.
_BOOT_OFFSET, _BOOT_SIZE = 16384 * _SECTOR, 256 * _MIB
# What remains when the system is there is for one release and a half: no first boot has to grow it.
_ROOT_OFFSET, _ROOT_SIZE = _BOOT_OFFSET + _BOOT_SIZE, 1536 * _MIB
_INODES = 65536

_PACKAGES = ("dosfstools", "e2fsprogs", "initramfs-tools", "linux-image-arm64")
# The kernel's modules for QEMU's virt, and its file systems; the others are hundreds of megabytes.
_DRIVERS = ("block/virtio_blk.ko*", "char/hw_random/*", "char/virtio_console.ko*", "virtio/*")
_EXCLUDED = (
    *(f"--path-exclude=*/kernel/{part}/*" for part in ("drivers", "net", "sound")),
    *(f"--path-include=*/kernel/drivers/{pattern}" for pattern in _DRIVERS),
    *(f"--path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")),
)
_INITRAMFS = {
    "etc/initramfs-tools/conf.d/machine": "MODULES=list\nCOMPRESS=gzip\nFSTYPE=ext4\nRESUME=none\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
}
_RECIPE = 1
"""To be counted up when an image is to be made otherwise."""


@dataclass(frozen=True)
class Kind:
    """A generation of Raspberry Pi OS: its Debian, what sets it up at its first boot, and how it is compressed."""

    suite: str
    dialect: str
    date: str
    suffix: str
    packages: tuple[str, ...] = ()


KINDS = {
    "cloud-init": Kind("trixie", "cloud-init", "2025-11-24", "zst", ("cloud-init", "netplan.io")),
    "firstrun": Kind("bookworm", "firstrun", "2024-11-19", "xz"),
}
"""By what sets them up."""


def stock_image(kind: Kind) -> Path:
    """Return an image as one is downloaded, ``.img.zst`` or ``.img.xz``; made when it is not there yet.

    Raises:
        UnfitError: this is not root, or a program, a mirror, the network or binfmt_misc is missing.
    """
    check_programs()
    check_machine_programs()
    names = (guest_files.FILES, guest_files.CLOUD_INIT_FILES, guest_files.TEMPLATES, guest_files.CMDLINE)
    settled = (guest_files.CONFIG, guest_files.ENABLED, guest_files.DISABLED, guest_files.MASKED, guest_files.USERS)
    recipe = recipe_of(_system_recipe(kind), kind, names, settled, _BOOT_OFFSET, _BOOT_SIZE, _ROOT_SIZE)
    path = cache_folder() / f"machine-{kind.dialect}-{recipe}.img.{kind.suffix}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")), arm64_programs():
        if not path.exists():
            system = _system(kind)
            start_s = time.monotonic()
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".machine-") as work, replacing(path) as packed:
                raw = Path(work, "card.img")
                _make_image(raw, system, kind, Path(work))
                _compress(raw, packed, kind.suffix)
            say(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB in {time.monotonic() - start_s:.0f} s")
    return path


def unpack(image: Path, card: Path) -> None:
    """Write an image to a file as a card, sparse where it is zero, and leave it as it is: not set up."""
    opened = lzma.open if image.suffix == ".xz" else zstandard.open
    with opened(image) as stream, card.open("wb") as out:
        while piece := stream.read(_MIB):
            if piece == _ZEROS[: len(piece)]:
                out.seek(len(piece), 1)
            else:
                out.write(piece)
        out.truncate()


def _system_recipe(kind: Kind) -> str:
    return recipe_of(_RECIPE, kind.suite, kind.packages, _PACKAGES, _EXCLUDED, sorted(_INITRAMFS.items()))


def _system(kind: Kind) -> Path:
    """Return a folder with the root file system ``root``, ``kernel8.img`` and ``initramfs8``: what takes minutes."""
    folder = cache_folder() / f"machine-{kind.suite}-{_system_recipe(kind)}"
    packed = rootfs.tarball(kind.suite)
    with locked(folder.with_suffix(".lock")):
        if folder.exists():
            return folder
        start_s = time.monotonic()
        say(f"adding a kernel to Debian {kind.suite}, for a machine that boots")
        log = folder.with_suffix(".log")
        with making_folder(folder) as made:
            root = made / "root"
            root.mkdir()
            done(["tar", "--extract", "--numeric-owner", "--xattrs", "--file", packed, "--directory", root])
            _write(root, _INITRAMFS)
            add_packages(root, kind.suite, (*_PACKAGES, *kind.packages), _EXCLUDED, log)
            version = next((root / "lib/modules").iterdir()).name
            in_root(root, "mkinitramfs", "-o", "/initramfs", version, log=log)
            (root / "initramfs").rename(made / "initramfs8")
            (made / "kernel8.img").write_bytes(_unpacked_kernel((root / f"boot/vmlinuz-{version}").read_bytes()))
            shutil.rmtree(root / "boot")
            (root / "boot/firmware").mkdir(parents=True)
        say(f"made in {time.monotonic() - start_s:.0f} s ({folder})")
    return folder


def _unpacked_kernel(packed: bytes) -> bytes:
    """Return the kernel proper of an EFI zboot image (drivers/firmware/efi/libstub/zboot-header.S), which QEMU 7 lacks.

    Others stay as they are.
    """
    if packed[4:8] != b"zimg":
        return packed
    offset, size = struct.unpack_from("<II", packed, 8)
    form, content = packed[24:56].split(b"\0")[0], packed[offset : offset + size]
    if form == b"gzip":
        return zlib.decompress(content, wbits=31)
    if form.startswith(b"zstd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    raise UnfitError(f"linux-image-arm64: expected a kernel packed with gzip or zstd, got {form.decode()}")


def _make_image(image: Path, system: Path, kind: Kind, work: Path) -> None:
    root = work / "root"
    done(["cp", "--archive", "--reflink=auto", system / "root", root], limit_s=600)
    _settle(root, kind)
    with image.open("wb") as stream:
        stream.truncate(_ROOT_OFFSET + _ROOT_SIZE)
    table = work / "table"
    table.write_text(
        f"label: dos\nlabel-id: 0x{guest_files.DISK_ID}\n"
        f"start={_BOOT_OFFSET // _SECTOR}, size={_BOOT_SIZE // _SECTOR}, type=c\n"
        f"start={_ROOT_OFFSET // _SECTOR}, size={_ROOT_SIZE // _SECTOR}, type=83\n"
    )
    done(["sh", "-c", 'sfdisk --quiet "$0" < "$1"', image, table])
    words = ["mkfs.fat", "-F", "32", "-s", "4", "-n", "bootfs", f"--offset={_BOOT_OFFSET // _SECTOR}"]
    done([*words, image, str(_BOOT_SIZE // 1024)])
    boot = work / "boot"
    boot.mkdir()
    _write(boot, {"cmdline.txt": guest_files.CMDLINE, "config.txt": guest_files.CONFIG})
    _write(
        boot, {"issue.txt": f"Raspberry Pi reference {kind.date}\nGenerated for edgekit's tests of Debian's packages\n"}
    )
    if kind.dialect == "cloud-init":
        _write(boot, guest_files.TEMPLATES)
    files = [*sorted(boot.iterdir()), system / "kernel8.img", system / "initramfs8"]
    done(["mcopy", "-i", f"{image}@@{_BOOT_OFFSET}", *files, "::/"])
    options = f"offset={_ROOT_OFFSET},lazy_itable_init=0,lazy_journal_init=0"
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-N", str(_INODES), "-d", root, "-E", options]
    done([*words, image, f"{_ROOT_SIZE // 1024}k"], limit_s=600)


def _settle(root: Path, kind: Kind) -> None:
    files = {**guest_files.FILES, **(guest_files.CLOUD_INIT_FILES if kind.dialect == "cloud-init" else {})}
    _write(root, {name.removeprefix("/"): content for name, content in files.items()})
    units = root / "etc/systemd/system"
    for name in guest_files.DISABLED:
        path = units / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in guest_files.MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    for name, target in guest_files.ENABLED.items():
        (units / f"{target}.wants").mkdir(exist_ok=True)
        (units / f"{target}.wants" / name).symlink_to(f"../{name}")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name, number in guest_files.USERS.items():
        words = ["useradd", "--create-home", "--shell", "/bin/bash", "--uid", str(number), "--password", "*", name]
        rootfs.in_root(root, *words)
    # Newer than /usr: nothing has to be updated at the first boot (systemd.unit(5), ConditionNeedsUpdate=).
    for part in ("etc", "var"):
        (root / part / ".updated").touch()


def _compress(raw: Path, packed: Path, suffix: str) -> None:
    with raw.open("rb") as stream, packed.open("wb") as out:
        if suffix == "zst":
            zstandard.ZstdCompressor(level=3, threads=2).copy_stream(stream, out, size=raw.stat().st_size)
        else:
            with lzma.open(out, "wb", preset=0) as coder:
                shutil.copyfileobj(stream, coder, _MIB)


def _write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o644)
