"""From an operating system's image and a bundle to a card that boots straight into the application."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.events import Events, Notice, Progress, Step
from device_runtime.contract.manifest import ANY
from device_runtime.contract.status import MachineFacts
from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused, sha256_of
from device_runtime.install.compat import choose
from device_runtime.install.first_boot import BUNDLE, SIGNERS
from device_runtime.install.service.units import FIRST_BOOT, first_boot_unit
from edgekit.boards.signers import read_signers
from edgekit.bundling.describe import BundleFacts
from edgekit.bundling.installer_pack import installer_pack
from edgekit.bundling.verify import verify_bundle
from edgekit.flashing.boot_files import BootFiles
from edgekit.flashing.card import Card
from edgekit.flashing.dialects import CMDLINE, first_boot_files, tell_dialect
from edgekit.flashing.image import ImageStream, open_image
from edgekit.flashing.partitions import (
    HELD_BACK,
    SECTOR_BYTES,
    Partition,
    boot_partition,
    read_partitions,
    root_partition,
)
from edgekit.flashing.settings import Dialect, Settings
from edgekit.flashing.sparse import write_sparse
from edgekit.flashing.system import SystemFacts, system_facts

FOLDER = "edgekit"
"""The folder on the boot partition that the first boot installs from."""
_PIECE = 4 << 20
_MAX_HEAD = 64 << 20
"""What lies before the boot partition is kept in memory."""


@dataclass(frozen=True)
class FlashRequest:
    """What is to be on the card.

    Attributes:
        image: the operating system, as it was downloaded.
        bundle: the application.
        settings: what the first boot sets up besides.
        dialect: how the image is told what to do at its first boot; None: by what lies on its boot partition.
        sha256: what the image's file has to be, 64 hex digits; None: it is not known.
        signers: whose bundles the board takes from its first boot on; the bundle has to be signed by one of them.
    """

    image: Path
    bundle: Path
    settings: Settings
    dialect: Dialect | None = None
    sha256: str | None = None
    signers: Path | None = None


@dataclass(frozen=True)
class CardFile:
    """A file that is put on the boot partition: its name there, its size in bytes and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class FlashPlan:
    """What a card gets. Nothing of it is secret.

    ``image_bytes`` is None where the image does not tell how large it is before it is decompressed to its end, and
    ``system`` where the image has to be written first, or does not tell.
    """

    image: str
    form: str
    image_bytes: int | None
    name: str
    version: str
    platforms: tuple[str, ...]
    dialect: str
    why: str
    boot: Partition
    files: tuple[CardFile, ...]
    cmdline: str
    settings: Mapping[str, str]
    system: SystemFacts | None


@dataclass(frozen=True)
class Flashed:
    """A card that was written, and read back."""

    target: str
    written_bytes: int
    image_sha256: str
    system: SystemFacts | None
    seconds: float
    plan: FlashPlan


class PreparedCard:
    """An image whose boot partition has been changed, up to its end; the rest of it is still to be read."""

    def __init__(self, request: FlashRequest, image: ImageStream, staged: Path, events: Events) -> None:
        """Read the image up to the end of its boot partition, and change that. Raises as ``prepared_card`` does."""
        self._request, self._image, self._staged, self._events = request, image, staged, events
        self._facts = _bundle_facts(request, events)
        where = str(request.image)
        first = image.read(HELD_BACK)
        partitions = read_partitions(first[:SECTOR_BYTES], where)
        self._boot, self._root = boot_partition(partitions, where), root_partition(partitions)
        if self._boot.start > _MAX_HEAD:
            raise BadFileError(f"{where}: expected the boot partition within {_MAX_HEAD} bytes, got {self._boot.start}")
        self._head = first + image.read(self._boot.start - len(first))
        events(Step(f"read the boot partition of {where}"))
        self._stage()
        boot = BootFiles(staged)
        self._told = tell_dialect(boot, request.dialect)
        settings = first_boot_files(self._told, request.settings, boot, self._instance())
        self._cmdline = settings[CMDLINE].decode("ascii", "replace").strip()
        self._files = {**self._application(), **settings}
        events(Step(f"put the application on the boot partition, for a first boot by {self._told.dialect.value}"))
        boot.put(self._files)
        boot.check(self._files)
        early = system_facts(request.image, self._root.start) if image.form == "raw" and self._root else None
        if early:
            _require_fit(self._facts, early)
        self.plan = self._plan(early)

    def write(self, card: Card, target: str) -> Flashed:
        """Write the card, read all of it back, and make it bootable as the last thing.

        Raises:
            BadFileError: the image ends too early, or is not the one that was wanted.
            UnfitError: the bundle does not fit the image's system.
            EdgeError: the card refuses, or does not hold what was written.
        """
        begun = time.monotonic()
        written = self._write(card)
        digest = self._image.digest()
        self._require_whole(written, digest)
        card.verify(self._events)
        self._events(Step("look for each file on the card"))
        BootFiles(card.path, self._boot.start).check(self._files)
        system = self.plan.system or (system_facts(card.path, self._root.start) if self._root else None)
        if system is None:
            self._events(Notice("the image does not tell its Python: the first boot checks whether the bundle fits"))
        else:
            _require_fit(self._facts, system)
        card.finish()
        return Flashed(target, written, digest, system, round(time.monotonic() - begun, 1), self.plan)

    def _stage(self) -> None:
        left = self._boot.size
        with self._staged.open("wb") as stream:
            while left:
                piece = self._image.read(min(left, _PIECE))
                if not piece:
                    raise self._cut(self._boot.start + self._boot.size - left)
                write_sparse(stream.fileno(), self._boot.size - left, piece)
                left -= len(piece)
                self._tell(self._boot.size - left, self._boot.size)
            stream.truncate(self._boot.size)

    def _instance(self) -> str:
        """Return what tells this card's first boot from that of another application."""
        releases = ",".join(package.release for package in self._facts.packages)
        return f"edgekit-{hashlib.sha256(releases.encode()).hexdigest()[:16]}"

    def _application(self) -> dict[str, bytes | Path]:
        """Return what the first boot installs, and with what."""
        request = self._request
        files: dict[str, bytes | Path] = {
            f"{FOLDER}/{BUNDLE}": request.bundle,
            f"{FOLDER}/installer.pyz": installer_pack(),
            f"{FOLDER}/{FIRST_BOOT}": first_boot_unit(self._told.mount).encode(),
        }
        if request.signers is not None:
            files[f"{FOLDER}/{SIGNERS}"] = read_signers(request.signers).encode()
        return files

    def _plan(self, system: SystemFacts | None) -> FlashPlan:
        facts = self._facts
        return FlashPlan(
            str(self._request.image),
            self._image.form,
            self._image.size,
            facts.name,
            facts.version,
            tuple(package.platform for package in facts.packages),
            self._told.dialect.value,
            self._told.why,
            self._boot,
            tuple(_card_file(name, content) for name, content in self._files.items()),
            self._cmdline,
            _shown(self._request.settings),
            system,
        )

    def _write(self, card: Card) -> int:
        self._events(Step("write the card"))
        written = 0
        for piece in self._pieces():
            card.write(piece)
            written += len(piece)
            if self._image.size is not None:
                self._tell(written, self._image.size)
            else:
                self._tell(self._image.position, self._image.file_size)
        return written

    def _pieces(self) -> Iterator[bytes]:
        yield self._head
        with self._staged.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
        while piece := self._image.read(_PIECE):
            yield piece

    def _require_whole(self, written: int, digest: str) -> None:
        if self._root and written < self._root.start + self._root.size:
            raise self._cut(written)
        if self._request.sha256 is not None and digest != self._request.sha256.lower():
            raise BadFileError(
                f"{self._request.image}: expected SHA-256 {self._request.sha256.lower()}, got {digest}; "
                "the card was left unbootable",
                hint="download the image once more",
            )

    def _cut(self, got: int) -> BadFileError:
        end = max(part.start + part.size for part in (self._boot, self._root) if part)
        return BadFileError(
            f"{self._request.image}: the image ends too early: expected {end} bytes, got {got}",
            hint="download it once more",
        )

    def _tell(self, done: int, total: int) -> None:
        self._events(Progress(done, total, "bytes"))


@contextlib.contextmanager
def prepared_card(request: FlashRequest, events: Events) -> Iterator[PreparedCard]:
    """Check the bundle, read the image up to the end of its boot partition, and put the application there.

    Raises:
        BadFileError: the image, the bundle or a file of keys is not what it should be.
        UnfitError: the bundle is for no board, does not fit the image or its boot partition, or a program is missing.
        EdgeError: something cannot be read, or there is no space for temporary files.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-flash-"))
            image = stack.enter_context(open_image(request.image))
            prepared = PreparedCard(request, image, Path(folder) / "boot.img", events)
        except OSError as error:
            raise refused(error, Path(error.filename or tempfile.gettempdir()) / "boot.img", "write") from error
        yield prepared


def _bundle_facts(request: FlashRequest, events: Events) -> BundleFacts:
    facts = verify_bundle(request.bundle, events, request.signers)
    if all(package.compat.machine == ANY for package in facts.packages):
        raise UnfitError(
            f"{request.bundle} is for a machine that has everything already, and brings no packages",
            hint="make one for the board: edgekit bundle --board pi5-trixie (edgekit boards lists them)",
        )
    return facts


def _require_fit(facts: BundleFacts, system: SystemFacts) -> None:
    """Refuse a bundle that the image's system cannot run. Raises UnfitError."""
    there = MachineFacts(system.machine, system.python, system.glibc)
    try:
        choose(f"{facts.name} {facts.version}", [package.compat for package in facts.packages], there)
    except UnfitError as error:
        raise UnfitError(f"the image is {system.name}: {error}", hint=error.hint) from error


def _shown(settings: Settings) -> dict[str, str]:
    """Return what is set up besides, without what is secret."""
    login, wifi = settings.login, settings.wifi
    values = {
        "hostname": settings.hostname,
        "user": f"{login.user}, with {len(login.keys)} SSH key{'s' if len(login.keys) > 1 else ''}" if login else None,
        "wifi": f"{wifi.ssid} ({wifi.country})" if wifi else None,
        "timezone": settings.timezone,
        "locale": settings.locale,
    }
    return {name: value for name, value in values.items() if value is not None}


def _card_file(name: str, content: bytes | Path) -> CardFile:
    if isinstance(content, Path):
        return CardFile(name, content.stat().st_size, sha256_of(content))
    return CardFile(name, len(content), hashlib.sha256(content).hexdigest())
