"""Small ext4 disks in files: to be filled up, starved of inodes, or copied as they are when the power is cut."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SIZE_BYTES = 16 << 20
BLOCK_BYTES = 4096
"""As on every disk of a board; of small ones mkfs would make them smaller."""
QUIET = "noatime,commit=600"
"""As a Raspberry Pi mounts its card, but for the journal's timer: what is written by itself would come too early."""


def why_not():
    """Return why no small disk can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    if shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        return "a small disk needs mkfs.ext4"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image")
        try:
            make_disk(image)
            with mounted(image, Path(folder, "disk")):
                return None
        except subprocess.CalledProcessError as error:
            return f"cannot mount a small disk: {error.stderr.strip()}"


def make_disk(image: Path, size_bytes: int = SIZE_BYTES, *options) -> None:
    """Make a file with an empty ext4 in it; nothing of it is reserved for root."""
    with image.open("wb") as stream:
        stream.truncate(size_bytes)
    _run(shutil.which("mkfs.ext4") or "/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-b", BLOCK_BYTES, *options, image)


@contextlib.contextmanager
def mounted(image: Path, folder: Path, options: str = QUIET):
    """Mount a disk, and unmount it whatever happens."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", f"loop,{options}", image, folder)
    try:
        yield folder
    except BaseException:
        _run("umount", "-l", folder)  # something may still be open in it
        raise
    try:
        # Not a lazy one: what it flushes later would come into a file that holds another disk by then.
        _run("umount", folder)
    except subprocess.CalledProcessError:
        _run("umount", "-l", folder)
        raise


def copy_as_it_is(image: Path, copy: Path) -> None:
    """Copy what a mounted disk has by now: what the file system still holds in memory is not in it."""
    with image.open("rb") as source, copy.open("wb") as target:
        size = os.fstat(source.fileno()).st_size
        target.truncate(size)
        at = 0
        with contextlib.suppress(OSError):  # ENXIO: nothing but a hole is left
            while at < size:
                at = os.lseek(source.fileno(), at, os.SEEK_DATA)
                end = os.lseek(source.fileno(), at, os.SEEK_HOLE)
                os.lseek(target.fileno(), at, os.SEEK_SET)
                while at < end:
                    at += os.sendfile(target.fileno(), source.fileno(), at, end - at)


def _run(*words) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
