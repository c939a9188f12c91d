"""Which way of a first boot an image has, told from what lies on its boot partition, and the files that use it."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from device_runtime.errors import BadFileError, UnfitError
from edgekit.flashing.cloud_init import cloud_init_files
from edgekit.flashing.firstrun import SCRIPT, firstrun_script, firstrun_words
from edgekit.flashing.settings import Dialect, Settings

CMDLINE = "cmdline.txt"
ARM = "edgekit/arm.sh"
_ISSUE = "issue.txt"
_TEMPLATES = ("user-data", "meta-data", "network-config")
_MAX_CMDLINE_BYTES = 4096

_ISSUE_DATE = re.compile(rb"\b(20\d\d-\d\d-\d\d)\b")
_BOOKWORM = dt.date(2023, 10, 10)
"""Release of the first Raspberry Pi OS that mounts its boot partition at /boot/firmware."""
_TRIXIE = dt.date(2025, 10, 1)
"""Release of the first one whose images may have cloud-init."""
# In config.txt of the releases before Bookworm, whose "legacy" images were still made a year after it; later ones name
# rptl.io.
_BEFORE_BOOKWORM = b"rpf.io/configtxt"

_OURS = re.compile(
    rb"(?<!\S)(?:systemd\.run=\S*/firstrun\.sh|systemd\.run_(?:success|failure)_action=\S*"
    rb"|systemd\.unit=kernel-command-line\.target)(?!\S)"
)
_CLOUD_INIT = re.compile(rb"(?<!\S)ds=nocloud(?:-net)?(?:;\S*)?(?!\S)")
_COUNTRY = re.compile(rb"(?<!\S)cfg80211\.ieee80211_regdom=\S*")
_FOREIGN = re.compile(rb"(?<!\S)systemd\.run=\S*")


class Boot(Protocol):
    """A boot partition."""

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names in a folder."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None when there is none of that name."""


@dataclass(frozen=True)
class Told:
    """The dialect of an image, why it is taken for that, and where the board mounts its boot partition."""

    dialect: Dialect
    why: str
    mount: str


def tell_dialect(boot: Boot, wanted: Dialect | None) -> Told:
    """Tell the dialect from what is on the boot partition. ``wanted`` wins over it, and ``why`` says so.

    Raises:
        UnfitError: what is there speaks for both, or for none, and nothing is wanted.
        BadFileError: there is no ``cmdline.txt``, or not one line in it.
    """
    names = {name.lower() for name in boot.names()}
    _cmdline(boot)
    issued = _issued(boot)
    templates = [name for name in _TEMPLATES if name in names]
    seen = []
    for_cloud_init = bool(templates)
    # cloud-init's templates on an image that is older than them were put there by somebody, and may do nothing.
    for_firstrun = issued is not None and (not templates or issued < _TRIXIE)
    if templates:
        seen.append(f"cloud-init's {', '.join(templates)}")
    if issued is not None:
        seen.append(f"{_ISSUE} of {issued}")
    if SCRIPT in names and templates:
        seen.append(SCRIPT)
        for_firstrun = True
    found = " and ".join(seen) or f"neither cloud-init's {_TEMPLATES[0]} nor a date in {_ISSUE}"
    if wanted is not None:
        fits = (for_cloud_init, for_firstrun) == (wanted is Dialect.CLOUD_INIT, wanted is Dialect.FIRSTRUN)
        against = "" if fits else f", although the boot partition has {found}"
        why = f"--first-boot {wanted.value}{against}"
        return Told(wanted, why, _mount(boot, issued))
    if for_cloud_init == for_firstrun:
        reason = (
            "speaks for both ways of a first boot" if for_cloud_init else "is neither Raspberry Pi OS nor cloud-init's"
        )
        raise UnfitError(
            f"the image's boot partition {reason}: it has {found}",
            hint="say which the image has: --first-boot cloud-init, or --first-boot firstrun",
        )
    dialect = Dialect.CLOUD_INIT if for_cloud_init else Dialect.FIRSTRUN
    without = "" if for_cloud_init else ", and no user-data of cloud-init"
    return Told(dialect, f"the boot partition has {found}{without}", _mount(boot, issued))


def first_boot_files(told: Told, settings: Settings, boot: Boot, instance: str) -> dict[str, bytes]:
    """Return the files to put onto the boot partition, by their names there: content, ``cmdline.txt`` included.

    Args:
        told: of ``tell_dialect``.
        settings: what the first boot sets.
        boot: the partition as the image has it.
        instance: an id of this card, of letters, digits and ``-``.

    Raises:
        BadFileError: ``cmdline.txt`` is missing, not one line, or starts a program of somebody else's.
    """
    words: tuple[str, ...]
    line = _OURS.sub(b"", _cmdline(boot))
    foreign = _FOREIGN.search(line)
    if foreign:
        raise BadFileError(
            f"{CMDLINE}: it starts a program of its own at boot ({foreign[0].decode('ascii', 'replace')}), "
            "which may change what is set here",
            hint="take the image as its makers publish it",
        )
    files: dict[str, bytes] = {}
    if told.dialect is Dialect.CLOUD_INIT:
        files |= cloud_init_files(settings, told.mount, instance)
        # What is here wins over meta-data, and an old one would be taken for a board that was set up already.
        line = _CLOUD_INIT.sub(b"", line)
        words = (f"ds=nocloud;i={instance}",)
    else:
        files[SCRIPT] = firstrun_script(settings, told.mount)
        words = firstrun_words(told.mount)
    if settings.wifi is not None:
        line = _COUNTRY.sub(b"", line)
        words = (f"cfg80211.ieee80211_regdom={settings.wifi.country}", *words)
    if settings.login is not None:
        # Raspberry Pi OS enables its SSH server when it finds this file, and removes it.
        files["ssh"] = b""
    content = b" ".join([line.strip(), *(word.encode() for word in words)]) + b"\n"
    if len(content) > _MAX_CMDLINE_BYTES:
        raise BadFileError(f"{CMDLINE}: expected at most {_MAX_CMDLINE_BYTES} bytes with our words, got {len(content)}")
    files[CMDLINE] = content
    files[ARM] = resources.files("edgekit.flashing").joinpath("arm.sh").read_bytes()
    return files


def _cmdline(boot: Boot) -> bytes:
    content = boot.read(CMDLINE)
    if content is None:
        raise BadFileError(
            f"the image's boot partition has no {CMDLINE}: expected an image for Raspberry Pi",
            hint="take Raspberry Pi OS, or another image that the Raspberry Pi's own firmware starts",
        )
    if len(content) > _MAX_CMDLINE_BYTES:
        raise BadFileError(f"{CMDLINE}: expected at most {_MAX_CMDLINE_BYTES} bytes, got {len(content)}")
    lines = content.rstrip().split(b"\n")
    # The firmware takes the first line alone, and what stands behind it was meant for something.
    if len(lines) != 1 or not lines[0].strip() or b"\r" in lines[0] or b"\0" in lines[0]:
        raise BadFileError(f"{CMDLINE}: expected exactly one line of text, got {len(lines) if content.strip() else 0}")
    return lines[0].strip()


def _issued(boot: Boot) -> dt.date | None:
    """Return the date in ``issue.txt``, which pi-gen writes: when the image's release was made."""
    found = _ISSUE_DATE.search(boot.read(_ISSUE) or b"")
    try:
        return dt.date.fromisoformat(found[1].decode()) if found else None
    except ValueError:
        return None


def _mount(boot: Boot, issued: dt.date | None) -> str:
    if issued is not None and (issued < _BOOKWORM or _BEFORE_BOOKWORM in (boot.read("config.txt") or b"")):
        return "/boot"
    return "/boot/firmware"
