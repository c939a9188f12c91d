"""What a board looks like from outside once its application runs, and from its card once it is off."""

from __future__ import annotations

import json
from pathlib import Path

from tests.machine import firmware
from tests.machine.machine import Machine
from tests.support.bundles import release_of
from tests.support.waiting import wait_for

ROOT = "/var/lib/edgekit"
DONE = f"{ROOT}-first-boot/done"
REPORT = "edgekit-report.txt"
FIRST_BOOT_LIMIT_S = 2400
"""Emulated, beside another machine; on one of its own it takes a tenth."""

_ON_RELEASE = (
    f'cd {ROOT}/current && export PYTHONPATH="$(while read -r path; do realpath "$path"; done < paths.txt '
    '| paste -s -d :)" && exec python3 -m device_runtime "$@"'
)


def status_of(machine: Machine) -> dict:
    """Return what the installer on the board tells."""
    told = machine.run("python3", "-I", f"{ROOT}/installer.pyz", "status", "--root", ROOT).stdout
    return json.loads(told.splitlines()[-1])["status"]


def assert_works(machine: Machine, bundle: Path) -> None:
    """The application of a bundle is committed, runs as a service, and answers what it answered where it was made."""
    release = release_of(bundle)
    wait_for(lambda: is_active(machine), 300)
    status = status_of(machine)
    assert (status["current"]["release"], status["trial"], status["bad"]) == (release, None, [])
    assert status["service"]["pulse"]["release"] == release
    assert status["service"]["pulse"]["predictions"] > 0
    told = machine.run("sh", "-c", _ON_RELEASE, "sh", "check", "--release", f"{ROOT}/current", "--json").stdout
    report = json.loads(told)
    assert report["ok"] is True
    assert report["min_cosine"] > 0.999


def is_active(machine: Machine) -> bool:
    """Tell whether systemd has the service running, which it has once the first prediction was made."""
    return machine.run("systemctl", "is-active", "edgekit", check=False).stdout == "active\n"


def assert_set_up(machine: Machine) -> None:
    """The board has the name and the user that its card was written with."""
    assert machine.run("hostname").stdout == "belt-7\n"
    assert machine.run("cat", "/etc/hostname").stdout == "belt-7\n"
    assert "maker" in machine.run("getent", "passwd", "maker").stdout
    keys = machine.run("cat", "/home/maker/.ssh/authorized_keys").stdout.splitlines()
    assert [line.split()[-1] for line in keys] == ["maker@laptop"]


def report_on(card: Path) -> str:
    """Return the report on a card that is out of its board, with one kind of line ends."""
    return firmware.read(card, REPORT).decode().replace("\r\n", "\n")
