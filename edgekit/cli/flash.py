"""``edgekit flash``: an SD card that boots straight into the application."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress, size, table, warn

if TYPE_CHECKING:
    from edgekit.flashing.drives import Drive
    from edgekit.flashing.flash import Flashed, FlashPlan, FlashRequest
    from edgekit.flashing.system import SystemFacts

_PASSWORD = "EDGEKIT_WIFI_PASSWORD"  # noqa: S105 - the name of a variable
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--image", type=_PATH, metavar="FILE", help="Operating system: .img, or that as .xz, .gz, .zip or .zst.")
@click.option("--sha256", metavar="HEX", help="What the image's file has to be.")
@click.option("--bundle", type=_PATH, metavar="FILE", help="The application.  [default: the project's]")
@click.option("--out", type=_PATH, metavar="FILE", help="Write a card's image; no root is needed.")
@click.option("--device", type=_PATH, metavar="DEVICE", help="Write a card: /dev/sdX, all of which is erased.")
@click.option("--list", "listing", is_flag=True, help="List the cards and sticks that can be written, and do nothing.")
@click.option("--hostname", metavar="NAME", help="The board's name; NAME.local in its network.")
@click.option("--user", metavar="NAME", help="Who may log in, and use sudo.")
@click.option("--ssh-key", "ssh_keys", type=_PATH, multiple=True, metavar="FILE", help="Public key; repeatable.")
@click.option("--wifi", metavar="SSID", help=f"Wi-Fi to join. Its password is asked for, or is in {_PASSWORD}.")
@click.option("--wifi-password-file", type=_PATH, metavar="FILE", help="A file with the password in it.")
@click.option("--wifi-country", metavar="CC", help="Where the board is, in two letters: which channels are allowed.")
@click.option("--timezone", metavar="ZONE", help="For example Europe/Berlin.  [default: the image's]")
@click.option("--locale", metavar="LOCALE", help="For example de_DE.UTF-8.  [default: the image's]")
@click.option(
    "--first-boot",
    type=click.Choice(["cloud-init", "firstrun"]),
    help="How the image takes settings.  [default: by what is on its boot partition]",
)
@click.option("--trust", "signers", type=_PATH, metavar="FILE", help="Let the board take only what these signers sign.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for the card's name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    image: Path | None,
    sha256: str | None,
    bundle: Path | None,
    out: Path | None,
    device: Path | None,
    hostname: str | None,
    user: str | None,
    ssh_keys: tuple[Path, ...],
    wifi: str | None,
    wifi_password_file: Path | None,
    wifi_country: str | None,
    timezone: str | None,
    locale: str | None,
    first_boot: str | None,
    signers: Path | None,
    *,
    listing: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Write an SD card, or its image, that boots straight into the application.

    The image is a stock Raspberry Pi OS, as it was downloaded. Nothing is mounted: the bundle, its installer and the
    settings go onto its boot partition, everything is read back, and the first block is written last. The board needs
    no network and no keyboard: it installs the application at its first boot, also when the power fails meanwhile, and
    leaves a report on the boot partition, which any laptop can read. What is not given comes from [flash] in
    edgekit.toml.

    \b
    edgekit flash --list
    edgekit flash --image raspios-trixie-arm64-lite.img.xz --device /dev/sdb --hostname line-3 \\
                  --user pi --ssh-key ~/.ssh/id_ed25519.pub
    edgekit flash --image raspios-trixie-arm64-lite.img.xz --bundle app-1.0.edgekit --out card.img --dry-run
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.flashing.request import Wanted, flash_request  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.project.config import find_project  # noqa: PLC0415

    if listing:
        _list(as_json=as_json)
        return
    if (out is None) == (device is None):
        raise click.UsageError("expected one of --out FILE and --device DEVICE; edgekit flash --list shows the devices")
    names = (hostname, user, ssh_keys, wifi, wifi_country, timezone, locale, first_boot)
    request = flash_request(
        Wanted(image, bundle, sha256, *names, signers), find_project(Path.cwd()), _password(wifi_password_file)
    )
    if request.settings.login is None:
        warn("nobody will be able to log in: neither --user nor an SSH key was given")
    flashed = _to_file(request, out, dry_run=dry_run) if out else _to_device(request, device, dry_run=dry_run, yes=yes)
    if as_json:
        answer_json(flashed)
    else:
        answer("\n".join(_in_words(flashed, request)))


def _to_file(request: FlashRequest, out: Path, *, dry_run: bool) -> Flashed | FlashPlan:
    from edgekit.flashing.card import file_card  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.flashing.flash import prepared_card  # noqa: PLC0415

    with progress() as events, prepared_card(request, events) as prepared:
        if dry_run:
            return prepared.plan
        with _private(request), file_card(out, (request.image, request.bundle)) as card:
            return prepared.write(card, str(out))


@contextlib.contextmanager
def _private(request: FlashRequest) -> Iterator[None]:
    """Let nobody else read a file with the key of a Wi-Fi in it."""
    before = os.umask(0o077) if request.settings.wifi else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)


def _to_device(request: FlashRequest, device: Path | None, *, dry_run: bool, yes: bool) -> Flashed | FlashPlan:
    from edgekit.flashing.card import device_card  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.flashing.drives import find_drive  # noqa: PLC0415
    from edgekit.flashing.flash import prepared_card  # noqa: PLC0415

    drive = find_drive(device or Path())
    if not (dry_run or yes):
        _ask(drive)
    with progress() as events, prepared_card(request, events) as prepared:
        if dry_run:
            return prepared.plan
        with device_card(drive, prepared.plan.image_bytes, events) as card:
            return prepared.write(card, str(drive.path))


def _ask(drive: Drive) -> None:
    """Let the user type the card's name: it is all that stands between a typing mistake and a disk."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"this erases {_described(drive)}; in a script, say --yes")
    click.echo(f"This erases {_described(drive)}, all of it.", err=True)
    typed = click.prompt(f"Type its name ({drive.path.name}) to go on", default="", show_default=False, err=True)
    if typed.strip() != drive.path.name:
        raise click.UsageError(f"expected {drive.path.name}, got {typed.strip()!r}; nothing was written")


def _password(file: Path | None) -> Callable[[str], str]:
    from edgekit.flashing.request import read_password  # noqa: PLC0415 - only this verb's own work needs the rest

    def ask(ssid: str) -> str:
        if file is not None:
            return read_password(file)
        if _PASSWORD in os.environ:
            return os.environ[_PASSWORD]
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"the password of Wi-Fi {ssid!r}: expected --wifi-password-file FILE, or {_PASSWORD}"
            )
        return str(click.prompt(f"Password of Wi-Fi {ssid!r}", hide_input=True, err=True))

    return ask


def _list(*, as_json: bool) -> None:
    from edgekit.flashing.drives import list_drives  # noqa: PLC0415 - only this verb's own work needs the rest

    drives = list_drives()
    if as_json:
        answer_json({"drives": drives})
        return
    if not drives:
        answer("no card or stick is here that can be taken out")
        return
    rows = [(each.path, size(each.size), each.bus, each.name, each.obstacle or "–") for each in drives]
    table(("device", "size", "by", "name", "cannot be written"), rows, right=(1,))


def _described(drive: Drive) -> str:
    return f"{drive.path}: {drive.name or 'a drive'}, {size(drive.size)} ({drive.bus or 'unknown bus'})"


def _in_words(done: Flashed | FlashPlan, request: FlashRequest) -> Iterator[str]:
    from edgekit.flashing.flash import FlashPlan  # noqa: PLC0415 - only this verb's own work needs the rest

    if isinstance(done, FlashPlan):
        yield f"would write {done.name} {done.version} into {done.image} ({done.form})"
        if done.system is None:
            yield "  system: read once the image is written; a bundle that does not fit it is refused then"
        yield from _on_the_card(done, done.system)
        return
    yield f"{done.target}: boots into {done.plan.name} {done.plan.version}; every byte was read back"
    yield f"  written: {size(done.written_bytes)} in {done.seconds:.0f} s"
    yield f"  image: {done.plan.image}, SHA-256 {done.image_sha256}"
    yield from _on_the_card(done.plan, done.system)
    yield "next: give the board the card, and power; how it went is in edgekit-report.txt on the boot partition"
    login, host = request.settings.login, request.settings.hostname or "raspberrypi"
    if login:
        yield f"      edgekit status ssh://{login.user}@{host}.local"


def _on_the_card(plan: FlashPlan, system: SystemFacts | None) -> Iterator[str]:
    if system:
        yield f"  system: {system.name}, {system.machine} {system.python}, glibc {system.glibc}"
    yield f"  first boot: {plan.dialect}, because {plan.why}"
    for name, value in plan.settings.items():
        yield f"  {name}: {value}"
    yield f"  on the boot partition ({size(plan.boot.size)}):"
    for file in plan.files:
        yield f"    {size(file.size):>8}  {file.name}"
    yield f"  cmdline.txt: {plan.cmdline}"
