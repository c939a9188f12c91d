"""Boards on which releases run as a service, played by a fake keeper: installed, cut off, and booted again."""

import os
import shutil
import signal
from pathlib import Path

from device_runtime.contract.events import silent
from device_runtime.install.apply import apply_bundle
from device_runtime.install.commands import recover_root
from device_runtime.install.fsops import FileSystem
from device_runtime.install.release import damage
from device_runtime.install.root import Root, linked_release
from device_runtime.install.settle import crashed, settle
from device_runtime.install.site import Site
from device_runtime.install.state import read_state
from edgekit.bundling.layout import content_of
from tests.support.bundles import pack, tiny_contents
from tests.support.fake_keeper import FakeKeeper, QuickService, Timing

_SERVICE = content_of("service", "service.json", b'{"health": {"watch_s": 0}}')


def service_bundle(folder: Path, version: str) -> Path:
    """Write a bundle whose service has proven itself with its first prediction."""
    contents = [each for each in tiny_contents(folder, version=version) if each.ref.role != "service"]
    return pack(folder / f"app-{version}.edgekit", [*contents, _SERVICE], version=version)


class ServiceBoard:
    """A root with its keeper. ``boot`` is the boot that it is in."""

    def __init__(self, path: Path, behaviours=None, keeper=FakeKeeper) -> None:
        self.root = Root(path)
        self.keeper = keeper(self.root, {} if behaviours is None else behaviours)
        self.boot = "boot-1"
        self.told = []

    def site(self, fs=None, events=silent) -> Site:
        """Return what a command works with."""
        fs = fs or FileSystem()
        service = QuickService(self.root, self.keeper, fs, events, Timing(poll_s=0.005))
        return Site(self.root, service, fs, events, "system", self.boot)

    @property
    def state(self):
        """What was decided."""
        return read_state(self.root)

    @property
    def current(self):
        """The release that the link names."""
        return linked_release(self.root.current)

    @property
    def runs(self):
        """The release that runs."""
        return self.keeper.runs[0]

    def apply(self, bundle: Path, fs=None, **options):
        """Install a bundle."""
        return apply_bundle(self.site(fs), bundle, **options)

    def turn_on(self, boot: str, fs=None) -> None:
        """Start the machine: what runs is gone, ``recover --boot`` comes first, then the service."""
        self.boot = boot
        self.keeper.stop()
        recover_root(self.site(fs), boot=True)
        self.keeper.restart()

    def settle(self, fs=None):
        """Do what follows the service's start."""
        return settle(self.site(fs))

    def crashed(self, fs=None, sleep=lambda _: None):
        """Do what follows when the keeper gave up."""
        return crashed(self.site(fs, self.told.append), sleep=sleep)

    def copy_to(self, path: Path) -> "ServiceBoard":
        """Return a copy of this board."""
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.root.path, path, symlinks=True)
        copy = ServiceBoard(path, self.keeper.behaviours, type(self.keeper))
        copy.keeper.copy_from(self.keeper)
        copy.boot = self.boot
        return copy

    def assert_in_order(self) -> None:
        """Check that nothing is left undecided, and that what was decided is there, whole, and runs."""
        state = self.state
        assert state.trial is None, state
        assert self.current == state.wanted == self.runs, (state, self.current, self.runs)
        assert not state.restart, state
        for release in filter(None, (state.committed, state.fallback)):
            assert damage(self.root, self.site().store, release) == []
        left = [path for path in self.root.path.rglob("*") if path.name.startswith(".tmp-") or path.name == "way-back"]
        assert left == []


def forked(action) -> int:
    """Do something in another process, whose exit code is what it returns; return its process id at once."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = action()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Wait for a process's end, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(action) -> int:
    """Run something in a forked process; return its exit code, or less than 0: the signal that ended it."""

    def run() -> int:
        try:
            action()
        except Exception:  # noqa: BLE001 - how it failed is told by its code, and by what it left
            return 7
        return 0

    return ended(forked(run))


class DyingKeeper(FakeKeeper):
    """The power is cut when it was told to start a release."""

    def restart(self) -> None:
        """Start it, and die."""
        super().restart()
        os.kill(os.getpid(), signal.SIGKILL)


def cut_off_in_trial(board: ServiceBoard, bundle: Path) -> None:
    """Install a bundle, and cut the power while the release is on trial."""
    dying = ServiceBoard(board.root.path, board.keeper.behaviours, DyingKeeper)
    dying.boot = board.boot
    assert in_child(lambda: dying.apply(bundle)) == -signal.SIGKILL
