"""What a board is told at its first boot: name, login, Wi-Fi, time zone, locale; checked before anything is written."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
import zoneinfo
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from device_runtime.contract.decode import suggestion
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import refused
from device_runtime.install.service.account import NAME as RELEASES_USER

_HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""One label of RFC 1123, section 2.1. A name with dots is the network's: cloud-init would cut it at the first one."""
_USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""NAME_REGEX of adduser.conf(5), and the 32 characters of useradd(8)."""
_TIMEZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_LOCALE = re.compile(r"C\.UTF-8|[a-z]{2,3}_[A-Z]{2}\.UTF-8(?:@[a-z]+)?")
_LOOSE_LOCALE = re.compile(r"([a-z]{2,3})[_-]([a-z]{2})(?:\.utf-?8)?", re.IGNORECASE)
_PSK = re.compile(r"[0-9a-f]{64}")

# Accounts and groups of base-passwd and of Raspberry Pi OS: to log in as one of them, or to make a user whose group
# is there already, goes wrong on the board.
_TAKEN = """
root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody sshd messagebus avahi
adm tty disk dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff
users nogroup input kvm render netdev gpio i2c spi lpadmin
"""

# sshd(8), AUTHORIZED_KEYS FILE FORMAT; ssh-dss is no longer taken by any sshd since 9.8.
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_MAX_KEYS_BYTES = 64 << 10

# ISO 3166-1 alpha-2.
_COUNTRIES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA
CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA
GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS
MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS
RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW
TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""


class Dialect(Enum):
    """How an image takes what it is told at its first boot."""

    CLOUD_INIT = "cloud-init"
    FIRSTRUN = "firstrun"


@dataclass(frozen=True)
class Login:
    """A user who logs in with one of these public keys (lines of OpenSSH's form), has no password and may use sudo.

    Raises:
        UsageError: the name is none that a system takes, or is taken; no key, or one that is none.
    """

    user: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user):
            raise UsageError(
                f"the user: expected a small letter, then up to 31 small letters, digits, - and _, got {self.user!r}",
                hint="for example: --user vision",
            )
        if self.user == RELEASES_USER:
            raise UsageError(
                f"the user: {self.user} is the account that releases run as, and nobody logs in as it",
                hint="for example: --user vision",
            )
        if self.user in _TAKEN.split():
            raise UsageError(
                f"the user: {self.user} is an account or a group of the system", hint="for example: --user vision"
            )
        if not self.keys:
            raise UsageError(
                f"the user {self.user}: expected an SSH key to log in with, got none",
                hint="--ssh-key ~/.ssh/id_ed25519.pub",
            )
        for number, line in enumerate(self.keys, 1):
            fault = _key_fault(line)
            if fault:
                raise UsageError(
                    f"SSH key {number} of {self.user}: {fault}", hint="--ssh-key takes a .pub file of ssh-keygen's"
                )


@dataclass(frozen=True)
class Wifi:
    """A network that is protected by a key: its name, the key (64 hex digits, see ``wifi.hashed``), and the country.

    Raises:
        UsageError: one of them is none.
    """

    ssid: str
    psk: str = field(repr=False)
    country: str

    def __post_init__(self) -> None:
        check_ssid(self.ssid)
        if not _PSK.fullmatch(self.psk):
            raise UsageError("the Wi-Fi's key: expected 64 hex digits in small letters, got something else")
        if self.country not in _COUNTRIES.split():
            meant = {"UK": "GB", "EN": "GB"}.get(self.country.upper(), self.country.upper())
            known = meant if meant in _COUNTRIES.split() else "DE"
            raise UsageError(
                f"the Wi-Fi's country: expected two capital letters of ISO 3166, got {self.country!r}",
                hint=f"for example: --wifi-country {known}",
            )


@dataclass(frozen=True)
class Settings:
    """What the first boot sets; None leaves it as the image has it.

    Raises:
        UsageError: a value is none, with what it is and what was expected.
    """

    hostname: str | None = None
    login: Login | None = None
    wifi: Wifi | None = None
    timezone: str | None = None
    locale: str | None = None

    def __post_init__(self) -> None:
        if self.hostname is not None:
            _check_hostname(self.hostname)
        if self.timezone is not None:
            _check_timezone(self.timezone)
        if self.locale is not None:
            _check_locale(self.locale)


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the public keys of a ``.pub`` or ``authorized_keys`` file, one a line.

    Raises:
        BadFileError: it has none, or a line that is none. What is in it is never repeated: it may be a private key.
        EdgeError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refused(error, path, "read") from error
    if b"PRIVATE KEY-----" in content or content.startswith(b"PuTTY-User-Key-File"):
        public = path.with_name(path.name + ".pub")
        raise BadFileError(
            f"{path}: this is a private key, which nobody else should get",
            hint=f"--ssh-key {public}" if public.is_file() else "take the .pub file beside it",
        )
    if b"BEGIN SSH2 PUBLIC KEY" in content:
        raise BadFileError(
            f"{path}: expected a public key of OpenSSH's form, got one of RFC 4716's",
            hint=f"ssh-keygen -i -f {path} > {path}.pub",
        )
    if len(content) > _MAX_KEYS_BYTES:
        raise BadFileError(f"{path}: expected at most {_MAX_KEYS_BYTES} bytes of public keys, got {len(content)}")
    try:
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected a text, got byte 0x{content[error.start]:02x}") from error
    keys = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        fault = _key_fault(line)
        if fault:
            raise BadFileError(f"{path}: line {number}: {fault}", hint="take a .pub file of ssh-keygen's")
        keys.append(line)
    if not keys:
        raise BadFileError(
            f"{path}: expected a public key, got none",
            hint="to make one: ssh-keygen -t ed25519, and take its .pub file",
        )
    return tuple(dict.fromkeys(keys))


def check_ssid(ssid: str) -> None:
    """Raise UsageError when this is no network's name that every part of a system carries."""
    if uncarried(ssid):
        raise UsageError("the Wi-Fi's name: expected text, got a control character or a line break")
    size = len(ssid.encode())
    if not 1 <= size <= 32:
        raise UsageError(f"the Wi-Fi's name: expected 1–32 bytes of UTF-8 (IEEE 802.11), got {size}")


def uncarried(text: str) -> bool:
    """Return whether YAML, a key file or a shell would not hand this text on: controls, line breaks, half letters."""
    return any(
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or ord(letter) & 0xFFFE == 0xFFFE for letter in text
    )


def _key_fault(line: str) -> str:
    """Return what is wrong with a public key's line, without repeating it; an empty string when nothing is."""
    words = line.split(None, 2)
    if uncarried(line) or len(words) < 2 or words[0] not in _KEY_TYPES:
        known = words[0] if len(words) > 1 and re.fullmatch(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,40}", words[0]) else ""
        return f"expected a public key (ssh-ed25519 AAAA…), got {known or 'something else'}"
    try:
        raw = base64.b64decode(words[1].encode(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    # A public key names its type in itself, behind the length of the name in four bytes (RFC 4253, 6.6).
    length = int.from_bytes(raw[:4], "big")
    if raw[4 : 4 + length] != words[0].encode() or len(raw) < length + 4 + 32:
        return f"expected a key of type {words[0]} in base64, got something else: is it cut?"
    return ""


def _check_hostname(hostname: str) -> None:
    if _HOSTNAME.fullmatch(hostname) and not hostname.isdigit() and hostname != "localhost":
        return
    near = re.sub(r"[^a-z0-9-]+", "-", hostname.partition(".")[0].lower()).strip("-")[:63].strip("-")
    fits = bool(near) and not near.isdigit() and near != "localhost"
    raise UsageError(
        "the hostname: expected 1–63 small letters, digits and -, not at an end, no digits alone, no domain, "
        f"got {hostname!r}",
        hint=f"for example: --hostname {near if fits else 'camera-1'}",
    )


def _check_timezone(timezone: str) -> None:
    known = zoneinfo.available_timezones()  # empty where neither the system nor a package brings tzdata
    if _TIMEZONE.fullmatch(timezone) and (not known or timezone in known):
        return
    raise UsageError(
        f"the time zone: expected a name of the IANA's, got {timezone!r}",
        hint=suggestion(timezone, known) if known else "for example: --timezone Europe/Berlin",
    )


def _check_locale(locale: str) -> None:
    if _LOCALE.fullmatch(locale):
        return
    loose = _LOOSE_LOCALE.fullmatch(locale)
    near = f"{loose[1].lower()}_{loose[2].upper()}.UTF-8" if loose else "de_DE.UTF-8"
    raise UsageError(
        f"the locale: expected LANGUAGE_TERRITORY.UTF-8, got {locale!r}", hint=f"for example: --locale {near}"
    )
