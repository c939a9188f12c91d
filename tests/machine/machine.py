"""A machine with a card in it: QEMU emulates all of it, and a thread plays its firmware and its power."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from device_runtime.errors import UnfitError
from tests.board.emulator import CPU
from tests.board.running import check_programs
from tests.machine.disk import Disk
from tests.machine.firmware import load
from tests.machine.shell import GoneError, Shell
from tests.support.waiting import wait_for

BOOT_LIMIT_S = 600
"""Emulated, on a busy machine: one that is idle boots in a tenth of it."""
_CORES, _MEMORY_MB = 2, 1024
# A Raspberry Pi has no clock that runs without power: each boot begins at the time that its image was made.
_CLOCK = "2026-01-01T00:00:00"
_PORT = "org.edgekit.tests"
_PACKAGES = {
    "qemu-system-aarch64": "qemu-system-arm",
    "mcopy": "mtools",
    "mkfs.fat": "dosfstools",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
}


def check_machine_programs() -> None:
    """Raise UnfitError, with Debian's names of the packages, when a program is missing."""
    check_programs(_PACKAGES, "the virtual machine")


class Machine:
    """It is off until ``power_on``. It has no network at all.

    Attributes:
        card: the image of its card, which changes when the power goes.
        boots: how often its firmware started it.
    """

    def __init__(self, card: Path, folder: Path) -> None:
        self.card = card
        self.boots = 0
        self._folder = folder
        self._disk = Disk(card)
        self._shell = Shell(folder / "shell")
        self._console = folder / "console.txt"
        self._process: subprocess.Popen[str] | None = None
        self._keeper: threading.Thread | None = None
        self._cut = threading.Event()
        self._problem = ""

    @property
    def console(self) -> str:
        """What it said on its serial port, over all boots."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    @property
    def is_on(self) -> bool:
        """Whether it has power: also between a reboot's end and its beginning."""
        return self._keeper is not None and self._keeper.is_alive()

    def power_on(self) -> None:
        """Let it boot; nothing is waited for."""
        assert not self.is_on, "it is on already"
        self._cut.clear()
        self._keeper = threading.Thread(target=self._keep, name="machine", daemon=True)
        self._keeper.start()

    def power_off(self) -> None:
        """Let it shut down, and wait until it has."""
        with contextlib.suppress(GoneError):
            self._shell.run(["systemctl", "poweroff"], "", BOOT_LIMIT_S)
        self.wait_off()

    def wait_off(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Wait until it has shut down by itself."""
        wait_for(lambda: not self.is_on, limit_s)
        assert not self._problem, self._problem

    def power_cut(self, seed: int | None = None) -> int:
        """Take the power away, and return how many writes to the card were lost: see ``Disk.power_cut``."""
        assert self.is_on, "it is off already"
        self._unplug()
        return self._disk.power_cut(seed)

    def reboot(self) -> None:
        """Reboot it, and wait until it answers again."""
        boots = self.boots
        with contextlib.suppress(GoneError):
            self._shell.run(["systemctl", "reboot"], "", BOOT_LIMIT_S)
        wait_for(lambda: self.boots > boots or not self.is_on, BOOT_LIMIT_S)
        self.wait_up()

    def wait_up(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Wait until it answers, which it does from early in its boot on."""
        self.wait_for_file("/etc", limit_s=limit_s)

    def run(
        self, *words: str | Path, check: bool = True, stdin: str = "", limit_s: float = BOOT_LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it as root, and return how it ended and what it said.

        Args:
            words: the program and its arguments; no shell changes them.
            check: fail the test when it fails.
            stdin: what it reads.
            limit_s: seconds that it may take.

        Raises:
            GoneError: the machine went away meanwhile.
        """
        ended = self._shell.run([str(word) for word in words], stdin, limit_s)
        if check:
            said = f"{shlex.join(ended.args)}: exit {ended.returncode}"
            assert ended.returncode == 0, f"{said}\n{ended.stdout}{ended.stderr}"
        return ended

    def wait_for_file(self, *patterns: str, text: str = "", limit_s: float = BOOT_LIMIT_S) -> str:
        """Return the first path of some patterns that is there, over reboots; with a text, one that holds it.

        Raises:
            UnfitError: it did not come, or the machine went off; with the end of its console.
        """
        until = time.monotonic() + limit_s
        while self.is_on and (left := until - time.monotonic()) > 0:
            try:
                found = self._shell.wait_for(patterns, text, left)
            except GoneError:
                time.sleep(0.1)  # it boots
                continue
            if found is not None:
                return found
        state = "in time" if self.is_on else "before it went off"
        raise UnfitError(f"{' '.join(patterns)} did not come {state}: {self._problem}\n{self.console[-5000:]}")

    def _unplug(self) -> None:
        self._cut.set()
        while self._keeper and self._keeper.is_alive():
            if self._process:
                self._process.kill()
            self._keeper.join(0.1)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.is_on:
            self.power_cut()

    def _keep(self) -> None:
        """Be its firmware: start it, and start it again when it asked for a reboot."""
        try:
            while self._boot() == "guest-reset":
                pass
        except UnfitError as error:
            self._problem = str(error)

    def _boot(self) -> str:
        """Run it until it ends, and return QEMU's reason for that."""
        loaded = load(self.card, self._folder)
        # This process's end is the machine's end, however it comes.
        words: list[str | Path] = ["setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-nodefaults", "-no-reboot"]
        words += ["-machine", "virt", "-cpu", CPU, "-smp", str(_CORES), "-m", str(_MEMORY_MB), "-nic", "none"]
        words += ["-accel", "tcg,thread=multi", "-rtc", f"base={_CLOCK}", "-display", "none", "-qmp", "stdio"]
        words += ["-kernel", loaded.kernel, "-initrd", loaded.initramfs, "-append", loaded.line]
        words += ["-chardev", f"file,id=console,path={self._console},append=on", "-serial", "chardev:console"]
        words += ["-chardev", f"socket,id=shell,path={self._folder / 'shell'},server=on,wait=off"]
        words += ["-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=shell,name={_PORT}"]
        words += [*self._disk.power_on(), "-device", "virtio-blk-pci,drive=card"]
        reason, errors = "", self._folder / "errors.txt"
        with errors.open("a+") as stderr:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8"
            )
            self.boots += 1
            with self._process as process:
                # The QEMU Machine Protocol: nothing is told before this.
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write('{"execute": "qmp_capabilities"}\n')
                    process.stdin.flush()
                for line in process.stdout:
                    told = json.loads(line)
                    if told.get("event") == "SHUTDOWN":
                        reason = told["data"]["reason"]
            if self._cut.is_set():
                return "cut"
            if process.returncode or not reason:
                raise UnfitError(f"qemu-system-aarch64: exit {process.returncode}: {errors.read_text()[-1500:]}")
        self._disk.power_off()
        return reason


@contextlib.contextmanager
def machine_with(card: Path) -> Iterator[Machine]:
    """Yield a machine, off, with a card that it writes to; at the end it is off, and nothing else is left of it.

    Raises:
        UnfitError: a program is missing.
    """
    check_machine_programs()
    folder = Path(tempfile.mkdtemp(prefix="edgekit-machine-"))  # a socket's path must be short
    machine = Machine(card, folder)
    try:
        yield machine
    finally:
        machine.close()
        shutil.rmtree(folder)
