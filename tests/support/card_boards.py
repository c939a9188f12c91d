"""First boots on boards that a fake keeper plays, cut off at each of their mutating calls, and booted again.

A program of its own, because it forks: ``python -m tests.support.card_boards '<JSON>'`` with ``folder`` and the
``fault``: one of ``faulty_files``, or ``power``, which needs root; ``step`` leaves out calls. It tells how each ended.
"""

import dataclasses
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from device_runtime.install.first_boot import Card, Story, first_boot
from device_runtime.install.fsops import FileSystem
from device_runtime.install.service.units import FIRST_BOOT
from tests.support.bundles import journal_codes, release_of
from tests.support.fake_keeper import FakeKeeper
from tests.support.fault_points import KILLED
from tests.support.faulty_files import FAULTS, FaultyFiles
from tests.support.power_cuts import cut_at
from tests.support.service_boards import ServiceBoard, ended, forked, in_child, service_bundle
from tests.support.small_disks import make_disk, mounted


class CardBoard:
    """A board with a card in it: its ``root``, the card's ``fat`` and systemd's ``units`` lie in one folder.

    ``said`` is what came to its console.
    """

    def __init__(self, folder: Path, behaviours=None, keeper=FakeKeeper) -> None:
        self.folder = folder
        self.board = ServiceBoard(folder / "root", behaviours, keeper)
        self.card = Card(folder / "fat" / "edgekit", self.board.root, folder / "units")
        self.said = []

    @classmethod
    def made(cls, folder: Path, bundle: Path) -> "CardBoard":
        """Return one whose card was just made."""
        made = cls(folder)
        made.card.folder.mkdir(parents=True)
        shutil.copy(bundle, made.card.bundle)
        made.card.link.parent.mkdir(parents=True)
        made.card.link.symlink_to(f"../{FIRST_BOOT}")
        return made

    def boot_first(self, fs=None, wait_s=30.0) -> int:
        """Do what the unit does, and return its exit code."""
        fs = fs or FileSystem()
        story = Story(self.said.append, self.board.root)
        return first_boot(self.card, fs, lambda events: self.board.site(fs, events), story, wait_s=wait_s)

    def turn_on(self, boot: str) -> None:
        """Start the machine, with what an installation lets it do by itself before the first boot's unit."""
        in_child(lambda: self.board.turn_on(boot))
        self.board.boot = boot
        in_child(self.board.settle)

    @property
    def report(self) -> str:
        """What stands on the card."""
        return self.card.report.read_bytes().decode()

    @property
    def headline(self) -> str:
        """The first line of it."""
        return self.report.split("\r\n")[0]

    @property
    def is_done(self) -> bool:
        """Whether the mark is there; then what it names is committed, whatever was cut off."""
        if not self.card.done.exists():
            return False
        assert self.card.done.read_text() == f"{self.board.state.committed}\n"
        return True

    def codes(self) -> list:
        """Return the reason codes of the journal."""
        return journal_codes(self.board.root.path)

    def assert_ready(self, release: str) -> None:
        """Check that it came to its end."""
        assert self.is_done
        assert self.board.state.committed == release
        assert self.board.state.bad == ()
        self.board.assert_in_order()
        assert " is READY (release " in self.headline, self.headline
        assert not os.path.lexists(self.card.link)
        assert [path for path in self.folder.rglob("*") if path.name.startswith(".tmp-")] == []


class DiesInTrial(FakeKeeper):
    """The power is cut when it was told to start a release."""

    def restart(self) -> None:
        """Start it, and die."""
        super().restart()
        os.kill(os.getpid(), signal.SIGKILL)


def cut_off_in_trial(it: CardBoard) -> None:
    """Begin a first boot, and cut the power while the release is on trial."""
    dying = CardBoard(it.folder, it.board.keeper.behaviours, DiesInTrial)
    dying.board.boot = it.board.boot
    assert ended(forked(dying.boot_first)) == KILLED


def to_the_end(it: CardBoard, release: str) -> None:
    """Boot it as often as the unit is there, and check how it ends."""
    assert it.is_done in (True, False)  # a mark without what it promises fails
    for number in range(8, 10):
        it.turn_on(f"boot-{number}")
        if os.path.lexists(it.card.link):
            assert it.boot_first() == 0, it.said
    it.assert_ready(release)


def fail_everywhere(folder: Path, fault: str, step: int = 1) -> list:
    """Return the exit code of each first boot that was failed at a call, once the board's next boots ended well."""
    bundle = service_bundle(folder, "1.0")
    release = release_of(bundle)
    codes = []
    while True:
        for name in ("live", "again"):
            shutil.rmtree(folder / name, ignore_errors=True)
        it = CardBoard.made(folder / "live", bundle)
        point = len(codes) * step
        code, calls = _told(it, FaultyFiles(FAULTS[fault](point)), folder / "told")
        if code != KILLED and calls <= point:
            return codes
        assert code or it.is_done
        # Somebody may start the unit again in the same boot, or the machine.
        again = CardBoard(Path(shutil.copytree(it.folder, folder / "again", symlinks=True)))
        if os.path.lexists(again.card.link):
            assert again.boot_first() == 0, again.said
        again.assert_ready(release)
        to_the_end(it, release)
        codes.append(code)


def cut_power_everywhere(folder: Path, step: int = 1) -> list:
    """Return the exit code of each first boot that a power cut ended, once both disks that it left ended well."""
    bundle = service_bundle(folder, "1.0")
    release = release_of(bundle)
    disk = folder / "disk"
    make_disk(folder / "base")
    with mounted(folder / "base", disk):
        (disk / "unrelated").touch()
        CardBoard.made(disk / "live", bundle)
    codes = []
    while True:
        code, _ = cut_at(len(codes) * step, folder, lambda fs: _told(CardBoard(disk / "live"), fs, folder / "told"))
        for left in ("at_once", "after_a_flush"):
            with mounted(folder / left, disk):
                to_the_end(CardBoard(disk / "live"), release)
        codes.append(code)
        if code != KILLED:
            return codes


def _told(it: CardBoard, fs: FaultyFiles, file: Path) -> tuple:
    """Run a first boot in another process; return its exit code, and how many calls it made."""
    file.unlink(missing_ok=True)

    def run():
        code = it.boot_first(fs)
        file.write_text(json.dumps([code, len(fs.calls)]))
        return 0

    code = ended(forked(run))
    return tuple(json.loads(file.read_text())) if code == 0 else (code, 0)


@dataclasses.dataclass
class Refusing(FileSystem):
    """A real file system on which one folder takes nothing: each call that names something in it gets ``error``."""

    folder: Path
    error: int

    def _look(self, path):
        if path == self.folder or self.folder in path.parents:
            raise OSError(self.error, os.strerror(self.error), str(path))

    def make_folder(self, path):
        """Refuse it there."""
        self._look(path)
        super().make_folder(path)

    def create(self, path, *options):
        """Refuse it there."""
        self._look(path)
        return super().create(path, *options)

    def open_append(self, path):
        """Refuse it there."""
        self._look(path)
        return super().open_append(path)

    def rename(self, source, target):
        """Refuse it there."""
        self._look(target)
        super().rename(source, target)

    def symlink(self, target, path):
        """Refuse it there."""
        self._look(path)
        super().symlink(target, path)

    def remove(self, path):
        """Refuse it there."""
        self._look(path)
        super().remove(path)


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    plan["folder"] = Path(plan["folder"])
    fault = plan.pop("fault")
    told = cut_power_everywhere(**plan) if fault == "power" else fail_everywhere(**plan, fault=fault)
    json.dump(told, sys.stdout)
