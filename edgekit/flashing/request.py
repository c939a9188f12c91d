"""What is to be on a card: from the command line, and from ``[flash]`` of edgekit.toml where that leaves it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_runtime.errors import BadFileError, EdgeError, UsageError
from device_runtime.files import refused
from edgekit.flashing.flash import FlashRequest
from edgekit.flashing.settings import Dialect, Login, Settings, Wifi, read_keys
from edgekit.flashing.wifi import hashed
from edgekit.project.config import FlashTable, Project, made_bundle

Password = Callable[[str], str]
"""Gets the password of a Wi-Fi network, whose SSID it is told."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says; None and empty: nothing."""

    image: Path | None = None
    bundle: Path | None = None
    sha256: str | None = None
    hostname: str | None = None
    user: str | None = None
    ssh_keys: tuple[Path, ...] = ()
    wifi: str | None = None
    wifi_country: str | None = None
    timezone: str | None = None
    locale: str | None = None
    first_boot: str | None = None
    signers: Path | None = None


def flash_request(wanted: Wanted, project: Project | None, password: Password) -> FlashRequest:
    """Return what is to be on the card.

    Args:
        wanted: what the command line says.
        project: whose ``[flash]`` says the rest, and whose bundle it is.
        password: asked only where there is a Wi-Fi network to join.

    Raises:
        UsageError: something is missing, or does not fit together.
        BadFileError: there is no bundle, or a file of keys is none.
    """
    table = project.file.flash if project else FlashTable()
    folder = project.folder if project else Path()
    image = wanted.image or (folder / Path(table.image).expanduser() if table.image else None)
    if image is None:
        raise UsageError(
            "no image: expected the operating system's, as it was downloaded",
            hint="--image 2025-10-01-raspios-trixie-arm64-lite.img.xz; see https://www.raspberrypi.com/software/operating-systems/",
        )
    named = wanted.first_boot or table.first_boot
    signers = wanted.signers or (folder / table.signers if table.signers else None)
    return FlashRequest(
        image,
        wanted.bundle or made_bundle(project, Path.cwd()),
        _settings(wanted, table, folder, password),
        _dialect(named) if named else None,
        wanted.sha256 or (table.sha256 if wanted.image is None else None),
        signers,
    )


def _settings(wanted: Wanted, table: FlashTable, folder: Path, password: Password) -> Settings:
    user = wanted.user or table.user
    keys = wanted.ssh_keys or tuple(folder / Path(key).expanduser() for key in table.ssh_keys)
    if bool(user) != bool(keys):
        missing, there = ("--ssh-key FILE", "a user") if user else ("--user NAME", "an SSH key")
        raise UsageError(f"{there} without the other: expected both", hint=f"add {missing}; nobody logs in by password")
    login = Login(user, tuple(key for path in keys for key in read_keys(path))) if user else None
    return Settings(
        wanted.hostname or table.hostname,
        login,
        _wifi(wanted, table, password),
        wanted.timezone or table.timezone,
        wanted.locale or table.locale,
    )


def _wifi(wanted: Wanted, table: FlashTable, password: Password) -> Wifi | None:
    ssid, country = wanted.wifi or table.wifi, wanted.wifi_country or table.wifi_country
    if ssid is None:
        if wanted.wifi_country is not None:
            raise UsageError("--wifi-country without --wifi", hint="add --wifi SSID")
        return None
    if country is None:
        raise UsageError(
            "Wi-Fi: expected the country too, without which a Raspberry Pi keeps its radio off",
            hint="--wifi-country DE (two letters, ISO 3166)",
        )
    return Wifi(ssid, hashed(ssid, password(ssid)), country)


def _dialect(name: str) -> Dialect:
    try:
        return Dialect(name)
    except ValueError as error:
        raise BadFileError(
            f"flash.first_boot: expected {' or '.join(each.value for each in Dialect)}, got {name!r}"
        ) from error


def read_password(path: Path) -> str:
    """Return the password in a file's first line. Raises EdgeError, which does not repeat it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise refused(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a text") from error
    lines = text.splitlines()
    if len(lines) != 1:
        raise EdgeError(f"{path}: expected one line, the password, got {len(lines)}")
    return lines[0]
