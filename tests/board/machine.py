"""A board that boots in seconds: systemd and sshd of an arm64 Debian in a container of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from device_runtime.errors import UnfitError
from tests.board import guest_files, rootfs
from tests.board.emulator import CPU, arm64_programs
from tests.board.place import Place, mount_disk, mount_root, taken_place, unmount_disk
from tests.board.running import check_programs, done
from tests.support.waiting import wait_for

_REBOOT = 133
"""systemd-nspawn's exit code when the guest asked for a reboot."""
_BOOT_LIMIT_S = 120
_SSH_LIMIT_S = 300


class Board:
    """A board. It is off until ``power_on``, and its files stay as they are between boots.

    Attributes:
        place: where it runs; ``place.address`` is its address.
        suite: its Debian.
        boots: how often it was started.
    """

    def __init__(self, place: Place, suite: str) -> None:
        self.place = place
        self.suite = suite
        self.boots = 0
        self._container: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._unplugged = threading.Event()
        self._console = place.folder / "console.txt"
        self._keys = place.folder / "keys"
        mount_root(place, rootfs.root(suite))
        rootfs.settle(self.root, suite)
        self._make_keys()

    @property
    def root(self) -> Path:
        """Its root folder as this machine sees it: to look at while it runs, and to change while it is off."""
        return self.place.root

    @property
    def target(self) -> str:
        """What a deployment is told, with ``EDGEKIT_SSH_CONFIG`` set to ``ssh_config``."""
        return "ssh://pi@board"

    @property
    def ssh_config(self) -> Path:
        """A configuration of OpenSSH's client with the host ``board``, user ``pi``."""
        return self._keys / "ssh_config"

    @property
    def is_running(self) -> bool:
        """Whether it is on, or about to start again."""
        return self._keeper is not None and self._keeper.is_alive()

    @property
    def log(self) -> str:
        """What it said on its console and wrote to its journal, over all boots."""
        words = ["journalctl", "--no-pager", "--output=short-iso-precise", "--directory", self.root / "var/log/journal"]
        journal = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", check=False)
        console = self._console.read_text(errors="replace") if self._console.exists() else ""
        return f"{console}{journal.stdout}{journal.stderr}"

    def data_disk(self, size_bytes: int) -> None:
        """Give it an empty ext4 of its own as /var/lib/edgekit, while it is off."""
        assert not self.is_running, "a disk is built in while the board is off"
        unmount_disk(self.place)
        with self.place.disk.open("wb") as disk:
            disk.truncate(size_bytes)
        done(["mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", self.place.disk])
        mount_disk(self.place)

    def power_on(self, *, wait: bool = True) -> None:
        """Start it, and wait until its sshd lets in, unless that is left to the caller: ``wait_up``."""
        assert not self.is_running, "it is on already"
        mount_disk(self.place)
        self._unplugged.clear()
        self._keeper = threading.Thread(target=self._keep, name="board", daemon=True)
        self._keeper.start()
        if wait:
            self.wait_up()

    boot_again = power_on

    def power_off(self) -> None:
        """Let it shut down, and wait until it is off."""
        self._command("root", ["systemctl", "poweroff"])
        wait_for(lambda: not self.is_running, _BOOT_LIMIT_S)

    def power_cut(self) -> None:
        """Kill all of its processes at once.

        What its own disk (``data_disk``) had not written yet is lost, as it would be; other files keep what was
        written to them.
        """
        self.unplug()
        if self.place.data.is_mount():
            # The bytes as they are in the backing file now: unmounting writes what the kernel still holds.
            cut = self.place.disk.with_suffix(".cut")
            done(["cp", "--sparse=always", self.place.disk, cut])
            unmount_disk(self.place)
            cut.replace(self.place.disk)
            mount_disk(self.place)

    def unplug(self) -> None:
        """Kill all of its processes, when it runs. Nothing that was written is lost."""
        self._unplugged.set()
        while self._keeper and self._keeper.is_alive():
            if self._container:
                self._container.terminate()
            self._keeper.join(0.1)

    def reboot(self) -> None:
        """Reboot it, and wait until it is up again."""
        boots = self.boots
        self._command("root", ["systemctl", "reboot"])
        wait_for(lambda: self.boots > boots or not self.is_running, _BOOT_LIMIT_S)
        self.wait_up()

    def wait_up(self) -> None:
        """Wait until its sshd lets in. Raises UnfitError, with the end of its log, when it stops or does not come."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.is_running or self._lets_in(), _BOOT_LIMIT_S)
            if self.is_running:
                return
        raise UnfitError(f"the board did not come up: {self.log[-3000:]}")

    def run(
        self, *words: str | Path, user: str = "pi", check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it over SSH, and return how it ended and what it said.

        Args:
            words: the program and its arguments; no shell changes them.
            user: ``pi``, who may sudo, ``maker``, who may not, or ``root``.
            check: fail the test when it fails.
            stdin: what it reads.
        """
        ended = self._command(user, words, stdin)
        if check:
            said = f"{shlex.join(map(str, words))} as {user}: exit {ended.returncode}"
            assert ended.returncode == 0, f"{said}\n{ended.stdout}{ended.stderr}"
        return ended

    def make_host_key(self) -> None:
        """Give it a new host key, as a board that was set up anew has; the client's known_hosts stays as it is."""
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        for path in (key, key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        _make_key(key)

    def config_for(self, address: str, path: Path) -> Path:
        """Write a configuration of OpenSSH's client that reaches the board at another address, and return ``path``."""
        path.write_text(
            f"Host board\n  HostName {address}\n  HostKeyAlias board\n\nHost *\n  User pi\n"
            f"  IdentityFile {self._keys}/user\n  IdentitiesOnly yes\n  PreferredAuthentications publickey\n"
            f"  UserKnownHostsFile {self._keys}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        )
        return path

    def _command(
        self, user: str, words: tuple[str | Path, ...] | list[str], stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        ssh = ["ssh", "-F", self.ssh_config, "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-l", user]
        return subprocess.run(
            [*ssh, "board", shlex.join(map(str, words))],
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SSH_LIMIT_S,
            check=False,
        )

    def _make_keys(self) -> None:
        self._keys.mkdir(mode=0o700)
        self.make_host_key()
        _make_key(self._keys / "user")
        public = (self._keys / "user.pub").read_text()
        for home, number in (("root", 0), *((f"home/{name}", uid) for name, uid in guest_files.USERS.items())):
            folder = self.root / home / ".ssh"
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / "authorized_keys").write_text(public)
            for path in (folder, folder / "authorized_keys"):
                os.chown(path, number, number)
        host_key = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().rsplit(" ", 1)[0]
        (self._keys / "known_hosts").write_text(f"board {host_key}\n")
        self.config_for(self.place.address, self.ssh_config)

    def _keep(self) -> None:
        """Run the container, again and again while it wants to reboot."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        while not self._unplugged.is_set():
            with self._console.open("ab") as console:
                self._container = subprocess.Popen(
                    self._container_words(),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
            self.boots += 1
            if self._container.wait() != _REBOOT:
                break

    def _container_words(self) -> list[str]:
        words: list[str] = []
        if self.place.group:
            words = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.place.group)]
        # This process's end is the board's end, however it comes. (Told SIGKILL, nspawn leaves the container running.)
        words += ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", f"--directory={self.root}"]
        words += [f"--machine={self.place.namespace}", "--hostname=board", "--register=no", "--keep-unit"]
        words += [f"--network-namespace-path=/run/netns/{self.place.namespace}", "--resolv-conf=off", "--timezone=off"]
        words += ["--console=pipe", "--link-journal=no", "--kill-signal=SIGKILL"]
        return [*words, f"--setenv=QEMU_CPU={CPU}", "--boot"]

    def answers(self) -> bool:
        """Tell whether something listens on its port for SSH."""
        try:
            socket.create_connection((self.place.address, 22), 1).close()
        except OSError:
            return False
        return True

    def _lets_in(self) -> bool:
        if not self.answers():
            return False
        # As pi: others than root are let in only when systemd is far enough (pam_nologin).
        return self._command("pi", ["true"]).returncode == 0


def _make_key(path: Path) -> None:
    done(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "board", "-f", path])


@contextlib.contextmanager
def board_off(suite: str = "bookworm") -> Iterator[Board]:
    """Yield a new board that is off; at the end nothing is left of it.

    Raises:
        UnfitError: this is not root, or a program, a mirror, the network or the kernel's binfmt_misc is missing.
    """
    check_programs()
    with arm64_programs(), taken_place() as place:
        board = Board(place, suite)
        try:
            yield board
        finally:
            board.unplug()


@contextlib.contextmanager
def boot(suite: str = "bookworm", *, data_bytes: int = 0) -> Iterator[Board]:
    """Yield a new board that is up; at the end nothing is left of it.

    Args:
        suite: its Debian.
        data_bytes: the size of a disk of its own for /var/lib/edgekit; 0 = none.

    Raises:
        UnfitError: as ``board_off`` does, or it did not come up.
    """
    with board_off(suite) as board:
        if data_bytes:
            board.data_disk(data_bytes)
        board.power_on()
        yield board
