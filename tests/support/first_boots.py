"""A board's first boot in a folder: its scripts run for real, without the programs that would change this machine."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

MOUNT = "/boot/firmware"
UNIT = b"[Unit]\nDescription=for tests\n"

# Accounts are lines of the root's own files.
_PROGRAMS = {
    "getent": """
case $1 in
passwd | group) grep "^$2:" "$EDGEKIT_ARM_ROOT/etc/$1" ;;
*) exit 2 ;;
esac""",
    "useradd": """
for name; do :; done
echo "$name:x:1001:1001::/home/$name:/bin/bash" >>"$EDGEKIT_ARM_ROOT/etc/passwd"
echo "$name:x:1001:" >>"$EDGEKIT_ARM_ROOT/etc/group"
mkdir -p "$EDGEKIT_ARM_ROOT/home/$name" """,
    "usermod": "",
    "chown": "",
    "systemctl": "",
    "rfkill": "",
    "mount": "",
    "sleep": "",
    "timeout": 'shift; exec "$@"',
    "locale-gen": "",
    "sync": """
[ -z "${EDGEKIT_SNAPSHOTS:-}" ] || cat "$EDGEKIT_ARM_ROOT/boot/firmware/cmdline.txt" \\
    >"$EDGEKIT_SNAPSHOTS/$(ls "$EDGEKIT_SNAPSHOTS" | wc -l)" """,
}
# What changes something, or what a change waits for: at each call the power may go.
_CUTTABLE = ("cat", "chmod", "cmp", "cp", "dd", "grep", "ln", "mkdir", "mv", "readlink", "rm", "sed", "wc")


def shells():
    """Return the POSIX shells of this machine. Not busybox's: it runs its own programs before those of a folder."""
    return [shell for shell in ("dash", "bash") if shutil.which(shell)]


class FirstBoot:
    """A root folder with what an image has, and ``boot``, its boot partition."""

    def __init__(self, folder: Path, *, network_manager: bool = True) -> None:
        self.root = folder / "root"
        self.boot = self.root / MOUNT.strip("/")
        self.log = folder / "calls"
        self._programs = folder / "programs"
        self._count = folder / "count"
        for made in (self.boot / "edgekit", self.root / "etc/ssh/sshd_config.d", self.root / "var/lib/systemd/rfkill"):
            made.mkdir(parents=True)
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n")
        self.write("etc/group", "root:x:0:\nsudo:x:27:\nvideo:x:44:\ngpio:x:997:\n")
        self.write("etc/hostname", "raspberrypi\n")
        self.write("etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
        self.write("etc/locale.gen", "# en_GB.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n")
        self.write("usr/share/zoneinfo/Europe/Berlin", "TZif2")
        self.write("var/lib/systemd/rfkill/platform-1:wlan", "1\n")
        if network_manager:
            self.write("etc/NetworkManager/NetworkManager.conf", "")
            self.write("var/lib/NetworkManager/NetworkManager.state", "[main]\nWirelessEnabled=false\n")
            self.write("etc/systemd/system/multi-user.target.wants/NetworkManager.service", "")
        (self.boot / "edgekit/edgekit-first-boot.service").write_bytes(UNIT)
        self._make_programs()

    def write(self, name: str, text: str) -> None:
        """Write a file of the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        """Read a file of the root."""
        return (self.root / name).read_text()

    def put(self, files: dict[str, bytes]) -> None:
        """Write files to the boot partition, as a flash does."""
        for name, content in files.items():
            path = self.boot / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def program(self, name: str, body: str) -> None:
        """Put a program in the way of the system's; its calls are logged, and what it calls itself is not cut."""
        path = self._programs / name
        # What timeout starts is a program of this board's.
        search = "" if name == "timeout" else f"PATH={os.environ['PATH']}\n"
        path.write_text(f'#!/bin/sh\n{self._cut()}echo "{name} $*" >>"$EDGEKIT_CALLS"\n{search}{body}\n')
        path.chmod(0o755)

    def run(self, words, *, cut_at: int = 0, snapshots: Path | None = None, timeout: float = 60):
        """Run words on this board; ``cut_at`` is the call of a program at which the power goes."""
        self._count.write_text("")
        environment = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "EDGEKIT_ARM_ROOT": str(self.root),
            "EDGEKIT_CALLS": str(self.log),
            "EDGEKIT_COUNT": str(self._count),
            "EDGEKIT_CUT_AT": str(cut_at),
            "EDGEKIT_SNAPSHOTS": str(snapshots or ""),
        }
        return subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def points(self) -> int:
        """Return how many calls of programs the last run made."""
        return len(self._count.read_text().splitlines())

    def calls(self) -> list[str]:
        """Return the calls of programs that would have changed the system."""
        return [line.strip() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def mode(self, name: str) -> int:
        """Return the permissions of a file of the root."""
        return stat.S_IMODE((self.root / name).lstat().st_mode)

    def _make_programs(self) -> None:
        self._programs.mkdir()
        for name, body in _PROGRAMS.items():
            self.program(name, body)
        for name in _CUTTABLE:
            path = self._programs / name
            path.write_text(f'#!/bin/sh\n{self._cut()}exec {shutil.which(name)} "$@"\n')
            path.chmod(0o755)

    def _cut(self) -> str:
        # The commands of a pipeline count at the same time: by lines that are appended, and none is missed.
        return (
            'echo >>"$EDGEKIT_COUNT"\n'
            'if [ "$EDGEKIT_CUT_AT" != 0 ]; then\n'
            '    count=0; while read -r line; do count=$((count + 1)); done <"$EDGEKIT_COUNT"\n'
            '    [ $count -lt "$EDGEKIT_CUT_AT" ] || kill -KILL 0\n'
            "fi\n"
        )
