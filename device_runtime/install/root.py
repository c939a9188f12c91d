"""Where things lie below the installer's root folder; docs/reference/installer.md has the picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_HEX = re.compile(r"[0-9a-f]{64}")

TEMPORARY = ".tmp-"
"""Names that begin so are unfinished work, and are removed when the next command starts."""
ASIDE = f"{TEMPORARY}old-"
"""Names of damaged folders that are being replaced begin so."""
PART = ".part"


@dataclass(frozen=True)
class Root:
    """The folder of one product on one board. A release's id is the SHA-256 of its manifest, 64 hex digits."""

    path: Path

    @property
    def blobs(self) -> Path:
        """``blobs/sha256/<digest>``: what came in bundles, verified, read-only."""
        return self.path / "blobs" / "sha256"

    @property
    def wheels(self) -> Path:
        """``wheels/<digest>/``: unpacked wheels."""
        return self.path / "wheels"

    @property
    def releases(self) -> Path:
        """``releases/<id>/``: small folders that put blobs and wheels together."""
        return self.path / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that runs."""
        return self.path / "current"

    @property
    def previous(self) -> Path:
        """The link to the release to return to."""
        return self.path / "previous"

    @property
    def way_back(self) -> Path:
        """During a trial, a link to what was committed, made beforehand: to return needs one rename and no space."""
        return self.path / "way-back"

    @property
    def state(self) -> Path:
        """What was decided: committed, fallback, trial, bad."""
        return self.path / "state.json"

    @property
    def journal(self) -> Path:
        """What happened, line by line."""
        return self.path / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """The file whose lock an installer holds while it works."""
        return self.path / "lock"

    @property
    def incoming(self) -> Path:
        """What a host sends, as an OCI image layout; a blob that is on its way ends with ``PART``."""
        return self.path / "incoming"

    @property
    def incoming_blobs(self) -> Path:
        """``incoming/blobs/sha256/<digest>``: what came, verified or not."""
        return self.incoming / "blobs" / "sha256"

    @property
    def incoming_lock(self) -> Path:
        """The file whose lock a receiver holds. It lies outside of what it guards, which is removed as a whole."""
        return self.path / "incoming.lock"

    @property
    def installer(self) -> Path:
        """The installer itself, a zip that Python runs."""
        return self.path / "installer.pyz"

    @property
    def allowed_signers(self) -> Path:
        """Who may sign bundles; where it is, nothing else is installed."""
        return self.path / "allowed_signers"

    @property
    def bench(self) -> Path:
        """What a measurement needs of its own: a throw-away release, and that it stopped the service.

        It is a root by itself, which refers to this one; with the installer's lock free, it is a leftover.
        """
        return self.path / f"{TEMPORARY}bench"

    @property
    def logs(self) -> Path:
        """The last lines of releases that failed, one file for each."""
        return self.path / "logs"

    @property
    def health_hook(self) -> Path:
        """A program of the owner's, who has the last word on whether a release is healthy."""
        return self.path / "health-hook"

    @property
    def data(self) -> Path:
        """What the application makes: it outlives releases."""
        return self.path / "data"

    @property
    def scope(self) -> Path:
        """How releases run here, in one word: for commands that are not told."""
        return self.path / "scope"

    def release(self, release: str) -> Path:
        """Return the folder of a release."""
        return self.releases / release

    def is_incoming(self, folder: Path) -> bool:
        """Return whether a folder is the one in which bundles arrive."""
        return folder.absolute() == self.incoming.absolute()

    def installed(self) -> list[str]:
        """Return the ids of all release folders, sorted."""
        return _digests_in(self.releases)

    def stored(self) -> list[str]:
        """Return the digests (64 hex digits) of all blobs, sorted."""
        return _digests_in(self.blobs)

    def unpacked(self) -> list[str]:
        """Return the digests of all unpacked wheels, sorted."""
        return _digests_in(self.wheels)


def is_digest(name: str) -> bool:
    """Return whether a name is 64 hex digits, as those of blobs, wheels and releases are."""
    return _HEX.fullmatch(name) is not None


def linked_release(link: Path) -> Optional[str]:
    """Return the release id that a link names, or None where it is missing or points anywhere else."""
    try:
        target = str(link.readlink())
    except OSError:
        return None
    folder, _, name = target.partition("/")
    return name if folder == "releases" and _HEX.fullmatch(name) else None


def link_to(release: str) -> str:
    """Return the target of a link to a release: relative, so that the root can be moved."""
    return f"releases/{release}"


def _digests_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if _HEX.fullmatch(path.name))
    except FileNotFoundError:
        return []
