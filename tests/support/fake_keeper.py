"""A keeper without processes: it shows what a table says of the release that it was last told to start."""

import dataclasses
import json
import time
from pathlib import Path

from device_runtime.contract.decode import dumps
from device_runtime.contract.pulse import Pulse
from device_runtime.install.application import Verdict
from device_runtime.install.root import linked_release
from device_runtime.install.service.application import ServiceApplication, Timing
from device_runtime.install.service.keeper import Kept

PID = 4321
WORKS = "works"
CRASHES = "crashes"
"""Given up by its keeper."""


class FakeKeeper:
    """Runs nothing. What "runs" is kept in a file beside the root, so that a killed process leaves it as it was.

    ``behaviours`` has those of releases that do not just work.
    """

    kind = "process"
    account = None

    def __init__(self, root, behaviours=None) -> None:
        self._root = root
        self._file = root.path.with_name(f"{root.path.name}.runs")
        self._pulse = root.path.with_name(f"{root.path.name}.pulse")
        self.behaviours = behaviours or {}
        self.said = ["a line", "the last line"]
        self.going_down = False

    @property
    def runs(self):
        """What runs: a release's id, and since when."""
        return json.loads(self._file.read_text()) if self._file.exists() else (None, 0.0, 0)

    @property
    def pulse(self) -> Path:
        """Write it as the release would, and say where."""
        release, since_s, pid = self.runs
        self._pulse.unlink(missing_ok=True)
        if release is not None and self.behaviours.get(release, WORKS) == WORKS:
            now_s = time.monotonic()
            age_s = now_s - since_s
            pulse = Pulse(pid, now_s, age_s, "ok", (), 1 + int(age_s * 1000), 1000.0, 1.0, release)
            self._pulse.write_text(dumps(pulse))
        return self._pulse

    def copy_from(self, other) -> None:
        """Let run what another one runs."""
        self.stop()
        if other.runs[0] is not None:
            self._file.write_text(json.dumps(other.runs))

    def prepare(self, service) -> None:
        """Remember how it is to run."""
        self.prepared = service

    def notices(self, service):
        """Tell nothing."""
        del service
        return ()

    def restart(self) -> None:
        """Let run what is current."""
        release = linked_release(self._root.current)
        if release is None:
            self.stop()
            return
        self._file.write_text(json.dumps([release, time.monotonic(), self.runs[2] + 1 or PID]))

    def stop(self) -> None:
        """Let nothing run."""
        self._file.unlink(missing_ok=True)

    def look(self) -> Kept:
        """Show it."""
        release, _, pid = self.runs
        if release is None:
            return Kept("stopped")
        behaviour = self.behaviours.get(release, WORKS)
        if behaviour == WORKS:
            return Kept("running", pid)
        # With its process: what was there before has no part in it.
        return Kept("failed", pid, 5, "exit 1") if behaviour == CRASHES else behaviour

    def machine_stops(self) -> bool:
        """Tell what the test says."""
        return self.going_down

    def logs(self, lines, follow):
        """Yield what it said."""
        del follow
        yield from self.said[-lines:]

    def last_words(self, lines):
        """Return the end of what it said."""
        return self.said[-lines:]

    def remove(self) -> None:
        """Stop it."""
        self.stop()


class QuickService(ServiceApplication):
    """A service whose check always passes, and that is looked at without waiting."""

    def preflight(self, release) -> Verdict:
        """Let it pass."""
        return Verdict(ok=release.is_dir())


def quick_service(root, fs, behaviours=None, **timing):
    """Return a service with a fake keeper, and the keeper."""
    keeper = FakeKeeper(root, behaviours)
    return QuickService(root, keeper, fs, timing=dataclasses.replace(Timing(poll_s=0.005), **timing)), keeper
