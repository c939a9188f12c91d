"""The files with which a Debian root becomes a board that works under emulation and looks like a Raspberry Pi 4."""

from __future__ import annotations

from tests.board.emulator import CPU

LIKENESS = "/usr/lib/pi"
"""Where the guest has what it shows in place of the host's hardware."""

# Shown by mounts over the host's /sys, before anything else starts. /proc/cpuinfo is the emulator's own answer.
_SHOW = f"""#!/bin/sh
set -eu
for name in possible present online; do
    mount --bind {LIKENESS}/cpus "/sys/devices/system/cpu/$name"
done
mount -t tmpfs -o mode=755,size=1m tmpfs /sys/firmware
cp -r {LIKENESS}/devicetree /sys/firmware/devicetree
mount -o remount,ro,bind /sys/firmware
if [ -d /sys/class/thermal ]; then
    mount -t tmpfs -o mode=755,size=1m tmpfs /sys/class/thermal
    cp -r {LIKENESS}/thermal_zone0 /sys/class/thermal/
    mount -o remount,ro,bind /sys/class/thermal
fi
"""
_SHOW_UNIT = f"""[Unit]
Description=Look like a Raspberry Pi
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {LIKENESS}/show

[Install]
WantedBy=sysinit.target
"""

# PAM's session and systemd give the CPU's name to everything that they start, so that the emulator finds it.
_EMULATED = f"QEMU_CPU={CPU}"
# The emulator cannot do what systemd 252 does to hand over credentials (243/CREDENTIALS), and these have none.
_NO_CREDENTIALS = "[Service]\nLoadCredential=\nImportCredential=\n"
_WITHOUT_CREDENTIALS = (
    "systemd-sysctl",
    "systemd-sysusers",
    "systemd-tmpfiles-setup",
    "systemd-tmpfiles-setup-dev",
    "systemd-tmpfiles-setup-dev-early",
    "systemd-journald",
    "systemd-udevd",
    "console-getty",
)

# systemd 257 makes a unit's mounts in a way that the emulator cannot do (226/NAMESPACE): logind goes without.
_NO_MOUNTS = """[Service]
PrivateTmp=no
ProtectControlGroups=no
ProtectHome=no
ProtectKernelLogs=no
ProtectKernelModules=no
ProtectSystem=no
ReadWritePaths=
"""

FILES: dict[str, str] = {
    f"{LIKENESS}/cpus": "0-3\n",
    # Strings of a device tree end with a zero byte (Devicetree Specification 0.4, 2.2.4).
    f"{LIKENESS}/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    f"{LIKENESS}/devicetree/base/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
    f"{LIKENESS}/devicetree/base/serial-number": "10000000c0ffee00\0",
    f"{LIKENESS}/thermal_zone0/type": "cpu-thermal\n",
    f"{LIKENESS}/thermal_zone0/temp": "48312\n",
    f"{LIKENESS}/show": _SHOW,
    "/etc/systemd/system/look-like-a-pi.service": _SHOW_UNIT,
    "/etc/systemd/system.conf.d/emulated.conf": f"[Manager]\nDefaultEnvironment={_EMULATED}\n",
    "/etc/systemd/user.conf.d/emulated.conf": f"[Manager]\nDefaultEnvironment={_EMULATED}\n",
    "/etc/ssh/sshd_config.d/board.conf": (
        f"SetEnv {_EMULATED}\nHostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nUseDNS no\n"
    ),
    "/etc/sudoers.d/pi": 'Defaults env_keep += "QEMU_CPU"\npi ALL=(ALL) NOPASSWD: ALL\n',
    # Without sudo, a user's services run while nobody is logged in.
    "/var/lib/systemd/linger/maker": "",
    "/etc/systemd/journald.conf.d/board.conf": "[Journal]\nStorage=persistent\nRuntimeMaxUse=16M\nSystemMaxUse=32M\n",
    "/etc/default/locale": "LANG=C.UTF-8\n",
    "/etc/hostname": "board\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 board\n",
    "/etc/fstab": "",
    "/etc/machine-id": "",
    "/etc/motd": "",
    **{f"/etc/systemd/system/{name}.service.d/emulated.conf": _NO_CREDENTIALS for name in _WITHOUT_CREDENTIALS},
}
SUITE_FILES = {"trixie": {"/etc/systemd/system/systemd-logind.service.d/mounts.conf": _NO_MOUNTS}}
"""What only one of Debian's suites needs."""
MODES = {"/etc/sudoers.d/pi": 0o440}

MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
    "console-getty.service",
    "getty.target",
    "systemd-udevd.service",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
)
"""What a board that lives for a minute does not need."""
ENABLED = ("look-like-a-pi.service",)

USERS = {"pi": 1000, "maker": 1001}
"""Each is in its own group only: with more, the emulator makes ``systemctl --user`` hang (SO_PEERGROUPS)."""
