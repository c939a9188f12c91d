"""Cards for tests: loop devices that stand on a file, or on a card that lies or breaks (tests/support/fake_card.py)."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.flashing.drives import LOOP_VARIABLE

_REPOSITORY = Path(__file__).parents[2]
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

PARTITION_TABLE = bytes([0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]) + bytes(48) + b"\x55\xaa"
"""What is at byte 446: one partition, of 2048 sectors from sector 2048."""


def require_loop_devices(monkeypatch) -> None:
    """Skip a test where there are no loop devices; else let them count as cards in it."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if not Path("/dev/loop-control").exists() or shutil.which("losetup", path=_PATH) is None:
        pytest.skip("there are no loop devices here")
    monkeypatch.setenv(LOOP_VARIABLE, "1")


def require_partition_scan(folder: Path) -> None:
    """Skip a test where the kernel does not know partition tables."""
    file = plain_card(folder / "partitioned", 8 << 20)
    with file.open("r+b") as stream:
        stream.write(bytes(446) + PARTITION_TABLE)
    with loop_device(file, "--partscan") as device:
        if not Path(f"{device}p1").exists():
            pytest.skip("this kernel does not know partition tables of PCs")


def plain_card(path: Path, size: int, filling: bytes = b"") -> Path:
    """Make the file that a loop device stands on; ``filling`` is repeated all over it."""
    with path.open("wb") as stream:
        if filling:
            stream.write(filling * (size // len(filling)))
        stream.truncate(size)
    return path


@contextlib.contextmanager
def loop_device(file: Path, *options: str, device: Path | None = None) -> Iterator[Path]:
    """Yield a loop device that stands on a file: the next free one, or ``device``."""
    which = [str(device)] if device else ["--find", "--show"]
    told = run("losetup", *options, *which, str(file))
    device = device or Path(told.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", str(device)], env={**os.environ, "PATH": _PATH}, check=False)


class FakeCard:
    """A loop device on a card of ``tests/support/fake_card.py``, and a way to tell that what to do."""

    def __init__(self, device: Path, process: subprocess.Popen[str]) -> None:
        self.device = device
        self._process = process

    def tell(self, *words) -> None:
        """Tell it what to do from now on: see ``fake_card.Card.do``."""
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def flip(self, at: int) -> None:
        """Flip a bit of the byte at ``at``, on the medium."""
        self.tell("flip", at)

    def pull_out(self) -> None:
        """Let nothing of it be read or written any more."""
        self.tell("fail", 0, 1 << 62)


@contextlib.contextmanager
def fake_card(folder: Path, size: int, kind: str = "honest", real: int = 0) -> Iterator[FakeCard]:
    """Yield a card that says ``size`` bytes; ``kind`` and ``real`` are as ``fake_card.Card`` has them."""
    if not Path("/dev/fuse").exists():
        pytest.skip("a fake card needs /dev/fuse")
    mount = folder / "fake-card"
    mount.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "tests.support.fake_card", str(mount), str(size), kind, str(real)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY) as process:
        try:
            answer = process.stdout.readline()
            if answer != "ready\n":
                pytest.skip(f"a fake card: {answer.strip()}")
            with loop_device(mount / "card") as device:
                yield FakeCard(device, process)
        finally:
            process.kill()
            subprocess.run(["umount", "--lazy", str(mount)], capture_output=True, check=False)


@contextlib.contextmanager
def mounted_elsewhere(device: Path, folder: Path) -> Iterator[None]:
    """Mount a device where this process does not see it: in a mount namespace of another one."""
    script = 'mount "$1" "$2" && echo mounted && read -r _'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(device), str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "mounted\n"
        yield
        process.stdin.close()


def run(*words: str) -> str:
    """Run a program of the system's administrator, and return what it says."""
    done = subprocess.run(words, env={**os.environ, "PATH": _PATH}, check=True, capture_output=True, text=True)
    return done.stdout
