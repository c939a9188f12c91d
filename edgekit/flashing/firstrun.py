"""The script that images before cloud-init run at their first boot, and the words that make them run it."""

from __future__ import annotations

import shlex
import uuid
from importlib import resources

from edgekit.flashing.cloud_init import GROUPS
from edgekit.flashing.settings import Settings

SCRIPT = "firstrun.sh"

# Without a failure action, a script that cannot be started (its partition is not mounted yet, say) powers the board
# off (systemd-run-generator(8)).
_RUN_WORDS = ("systemd.run={}/" + SCRIPT, "systemd.run_success_action=reboot", "systemd.run_failure_action=reboot")
_UNIT_WORDS = ("systemd.unit=kernel-command-line.target",)


def firstrun_words(mount: str) -> tuple[str, ...]:
    """Return the words of the kernel's command line that start the script; ``mount`` is the boot partition's place."""
    return (*(word.format(mount) for word in _RUN_WORDS), *_UNIT_WORDS)


def firstrun_script(settings: Settings, mount: str) -> bytes:
    """Return ``firstrun.sh``: the values, each quoted for a shell, and what is done with them."""
    login, wifi = settings.login, settings.wifi
    ssid = wifi.ssid.encode() if wifi else b""
    values = {
        "mount": mount,
        "words_of_run": " ".join(word.format(mount) for word in _RUN_WORDS),
        "words_of_unit": " ".join(_UNIT_WORDS),
        "hostname": settings.hostname or "",
        "user": login.user if login else "",
        "groups": GROUPS.replace(",", " ") if login else "",
        "keys": "\n".join(login.keys) if login else "",
        "ssid_bytes": "".join(f"{byte};" for byte in ssid),
        "ssid_hex": ssid.hex(),
        "wifi_uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"edgekit:wifi:{ssid.hex()}")) if wifi else "",
        "psk": wifi.psk if wifi else "",
        "country": wifi.country if wifi else "",
        "timezone": settings.timezone or "",
        "locale": settings.locale or "",
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    body = resources.files("edgekit.flashing").joinpath(SCRIPT).read_text(encoding="utf-8")
    return f"#!/bin/sh\n{head}\n{body}".encode()
