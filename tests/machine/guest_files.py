"""The files with which a Debian root becomes a downloaded image of Raspberry Pi OS, as far as a first boot sees it.

Names, labels and orders are those of Raspberry Pi OS; Debian's packages stand for its own. Nothing here knows edgekit.
"""

from __future__ import annotations

from pathlib import Path

DISK_ID = "5a5a0001"
"""The MBR's: its partitions are PARTUUID=5a5a0001-01 and -02."""

CMDLINE = (
    f"console=serial0,115200 console=tty1 root=PARTUUID={DISK_ID}-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"
)
CONFIG = "# For more options and information see\n# http://rptl.io/configtxt\nauto_initramfs=1\narm_64bit=1\n\n[all]\n"

# An image that cloud-init sets up has these, of comments alone.
TEMPLATES = {
    "meta-data": "# This is the meta-data of cloud-init's NoCloud.\ndsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n\n# This is cloud-init's user-data.\n#hostname: raspberrypi\n#users:\n#- name: me\n",
    "network-config": "# This is the network-config of cloud-init, as netplan has it.\n#network:\n#  version: 2\n",
}

_AGENT = "/usr/lib/edgekit-tests/agent.py"
_AGENT_UNIT = f"""[Unit]
Description=Do what a test says
DefaultDependencies=no
After=systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/usr/bin/python3 -I -S {_AGENT}
StandardOutput=journal
OOMScoreAdjust=-1000

[Install]
WantedBy=sysinit.target
"""
_HOST_KEYS_UNIT = """[Unit]
Description=Make SSH host keys
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key </dev/null"
ExecStartPost=/bin/systemctl disable regenerate_ssh_host_keys

[Install]
WantedBy=multi-user.target
"""
_SSH_SWITCH_UNIT = """[Unit]
Description=Turn on SSH when there is a file ssh on the boot partition
ConditionPathExists=|/boot/firmware/ssh
ConditionPathExists=|/boot/firmware/ssh.txt
After=regenerate_ssh_host_keys.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c "systemctl enable --now ssh && rm -f /boot/firmware/ssh /boot/firmware/ssh.txt"

[Install]
WantedBy=multi-user.target
"""

FILES = {
    _AGENT: (Path(__file__).parent / "guest_agent.py").read_text(encoding="utf-8"),
    "/etc/systemd/system/edgekit-tests-agent.service": _AGENT_UNIT,
    "/etc/systemd/system/regenerate_ssh_host_keys.service": _HOST_KEYS_UNIT,
    "/etc/systemd/system/sshswitch.service": _SSH_SWITCH_UNIT,
    "/etc/ssh/sshd_config.d/keys.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\n",
    # As Raspberry Pi OS has it: the journal is in memory, and a card lives longer.
    "/etc/systemd/journald.conf.d/40-volatile.conf": "[Journal]\nStorage=volatile\n",
    "/etc/fstab": (
        "proc            /proc           proc    defaults          0       0\n"
        f"PARTUUID={DISK_ID}-01  /boot/firmware  vfat    defaults          0       2\n"
        f"PARTUUID={DISK_ID}-02  /               ext4    defaults,noatime  0       1\n"
    ),
    "/etc/hostname": "raspberrypi\n",
    "/etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\n127.0.1.1\traspberrypi\n",
    "/etc/default/locale": "LANG=C.UTF-8\n",
    "/etc/machine-id": "",
}
CLOUD_INIT_FILES = {
    "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg": (
        "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n"
        "ssh_deletekeys: false\nssh_genkeytypes: []\n"
    ),
    # 25.1 has one process for all stages, 22.4 one for each.
    **{
        f"/etc/systemd/system/cloud-init-{stage}.service.d/boot.conf": "[Unit]\nRequiresMountsFor=/boot/firmware\n"
        for stage in ("main", "local")
    },
}

ENABLED = {
    "edgekit-tests-agent.service": "sysinit.target",
    "regenerate_ssh_host_keys.service": "multi-user.target",
    "sshswitch.service": "multi-user.target",
}
DISABLED = (
    "multi-user.target.wants/ssh.service",
    "sshd.service",
    "ssh.service.requires",
    "sockets.target.wants/ssh.socket",
)
"""SSH is off until it is wanted."""

MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "cloud-init-hotplugd.socket",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyAMA0.service",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
    "systemd-tmpfiles-clean.timer",
)
"""What only costs time under emulation: no first boot needs it."""

USERS = {"pi": 1000}
"""The user of an image that was not set up: nobody can log in as it."""
