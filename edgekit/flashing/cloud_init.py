"""What cloud-init reads on the boot partition: user-data, meta-data and network-config (NoCloud).

Each is JSON, which is YAML too, as long as no letter is written as a pair of halves. Only keys that cloud-init's schema
has had since 22.4 (Bookworm): from 23.4 on, an unknown one makes its status "degraded".
"""

from __future__ import annotations

import json
from typing import Any

from edgekit.flashing.settings import Login, Settings, Wifi

HEADER = b"#cloud-config\n"
DONE = "/var/lib/edgekit-first-boot/done"
"""There once the application is installed; what runs at every boot until then looks for it."""

# What Raspberry Pi Imager gives its user; cloud-init makes those that an image lacks.
GROUPS = "users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo"

# Raspberry Pi OS keeps the radio off until a country is set, in rfkill's state and in NetworkManager's.
_RADIO_ON = f"""[ ! -e {DONE} ] || exit 0
rfkill unblock wifi
for state in /var/lib/systemd/rfkill/*:wlan; do [ ! -e "$state" ] || echo 0 >"$state"; done
state=/var/lib/NetworkManager/NetworkManager.state
[ ! -e $state ] || sed -i 's/^WirelessEnabled=false$/WirelessEnabled=true/' $state
exit 0"""

# The image's own way is the file "ssh" beside this one. Where ssh.socket listens already, the service must not, too.
_SSH_ON = f"[ -e {DONE} ] || systemctl --quiet is-enabled ssh.socket || systemctl enable ssh"


def cloud_init_files(settings: Settings, mount: str, instance: str) -> dict[str, bytes]:
    """Return the files of the datasource NoCloud, by name.

    Args:
        settings: what is to be set.
        mount: where the board mounts its boot partition.
        instance: of this card; cloud-init does what is done once again when it is a new one.
    """
    return {
        "user-data": HEADER + _yaml(_user_data(settings, mount)),
        # As in the image's own: what is said here is done before a network is there, which may be never.
        "meta-data": _yaml({"dsmode": "local", "instance-id": instance}),
        "network-config": _yaml({"network": _network(settings.wifi)}),
    }


def _user_data(settings: Settings, mount: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        # Nothing is fetched, and apt's sources stay the image's: looking for a mirror takes a network.
        "package_update": False,
        "package_upgrade": False,
        "apt": {"preserve_sources_list": True},
        # At every boot, and before what is done once: a power cut in the middle of that arms again.
        "bootcmd": [["sh", "-c", _arm(mount)]],
    }
    if settings.hostname is not None:
        data |= {"hostname": settings.hostname, "manage_etc_hosts": True}
    if settings.login is not None:
        data |= {"users": [_user(settings.login)], "ssh_pwauth": False}
        data["bootcmd"].append(["sh", "-c", _SSH_ON])
        # Where it was off, "enable" is for the next boot only.
        data["runcmd"] = [["sh", "-c", "systemctl --quiet is-active ssh.socket || systemctl start --no-block ssh"]]
    if settings.wifi is not None:
        data["bootcmd"].append(["sh", "-c", _RADIO_ON])
    if settings.timezone is not None:
        data["timezone"] = settings.timezone
    if settings.locale is not None:
        data["locale"] = settings.locale
    return data


def _arm(mount: str) -> str:
    # Ubuntu's cloud-init finds its files by the partition's label, and may run before that is mounted.
    return f"[ -e {mount}/edgekit/arm.sh ] || mount {mount}; exec sh {mount}/edgekit/arm.sh start"


def _user(login: Login) -> dict[str, Any]:
    return {
        "name": login.user,
        "gecos": login.user,
        "groups": GROUPS,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": list(login.keys),
    }


def _network(wifi: Wifi | None) -> dict[str, Any]:
    # Optional: a boot does not wait for what is not plugged in or out of reach (netplan, "optional").
    network: dict[str, Any] = {"version": 2, "ethernets": {"eth0": {"dhcp4": True, "optional": True}}}
    if wifi is not None:
        network["wifis"] = {
            "wlan0": {
                "dhcp4": True,
                "optional": True,
                "regulatory-domain": wifi.country,
                "access-points": {wifi.ssid: {"password": wifi.psk}},
            }
        }
    return network


def _yaml(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    # A letter of JSON's, and no printable one of YAML's (1.1, 5.1); the others of that kind are refused in settings.py.
    return (text.replace("\ufeff", "\\ufeff") + "\n").encode()
