"""Random doings of a machine and its owner with random faults, and after each sequence a board that serves again.

A program of its own, because it forks: ``python -m tests.support.random_services '<JSON>'`` with a ``folder``. Run
``n`` is made of the number ``seed + n`` alone. It tells how its doings ended, and what went wrong.
"""

import collections
import json
import random
import sys
import traceback
from pathlib import Path

from device_runtime.install.commands import roll_back
from tests.support.bundles import release_of
from tests.support.fake_keeper import CRASHES
from tests.support.faulty_files import RandomlyFaulty
from tests.support.service_boards import ServiceBoard, in_child, service_bundle
from tests.support.service_faults import boots_until_it_is_settled

_RATES = (0.01, 0.04, 0.1)
_GOOD, _BAD, _LAST = ("1.0", "2.0", "3.0"), ("6.6",), "9.0"


class Sequence:
    """One run: a board with a release that works, and what is then done on it."""

    def __init__(self, bases: tuple, bundles: dict, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - faults, not secrets
        self.board = self.chance.choice(bases).copy_to(folder / "board")
        self.bundles = bundles
        self.ids = {version: release_of(path) for version, path in bundles.items()}
        self.board.keeper.behaviours = {self.ids[version]: CRASHES for version in _BAD}
        self.boots = 1
        self.outcomes = collections.Counter()
        self.told = []

    def play(self) -> None:
        """Do some things with faults, let the machine boot, and install one more. Raises AssertionError."""
        for _ in range(self.chance.randrange(2, 8)):
            self._anything()
        boots_until_it_is_settled(self.board)
        runs = self.board.runs
        assert runs not in {self.ids[version] for version in _BAD}
        assert runs is not None or self.board.state.safe_mode is not None
        # Quarantined it cannot be: it was never there.
        self.board.apply(self.bundles[_LAST])
        assert self.board.runs == self.ids[_LAST]
        self.board.assert_in_order()

    def _anything(self) -> None:
        kind = self.chance.choices(("apply", "boot", "settle", "lurk", "crashed", "rollback"), (4, 3, 3, 1, 3, 3))[0]
        files = RandomlyFaulty(self.chance, self.chance.choice(_RATES))
        if kind == "lurk":  # what was good so far begins to crash
            if self.board.runs is not None:
                self.board.keeper.behaviours[self.board.runs] = CRASHES
            return
        if kind == "crashed" and self.board.keeper.look().state != "failed":
            return
        version = self.chance.choice(_GOOD + _BAD)
        if kind == "boot":
            self.boots += 1
            boot = f"boot-{self.boots}"
            # The machine is on again, whatever became of what it asked for.
            code = in_child(lambda: self.board.turn_on(boot, files))
            self.board.boot = boot
            self.board.keeper.restart()
        else:
            doings = {
                "apply": lambda: self.board.apply(self.bundles[version], files),
                "settle": lambda: self.board.settle(files),
                "crashed": lambda: self.board.crashed(files),
                "rollback": lambda: roll_back(self.board.site(files)),
            }
            code = in_child(doings[kind])
        self.told.append(f"{kind} {version if kind == 'apply' else ''}: {code}; {self.board.state}")
        self.outcomes[f"{kind} {code}"] += 1


def play(plan: dict) -> dict:
    """Return the outcomes of all runs, and the troubles."""
    folder = Path(plan["folder"])
    bundles = {version: service_bundle(folder, version) for version in (*_GOOD, *_BAD, _LAST)}
    one = ServiceBoard(folder / "one")
    one.apply(bundles[_GOOD[0]])
    two = one.copy_to(folder / "two")
    two.apply(bundles[_GOOD[1]])
    outcomes, troubles = collections.Counter(), []
    for seed in range(plan["seed"], plan["seed"] + plan["runs"]):
        sequence = Sequence((one, two), bundles, folder, seed)
        try:
            sequence.play()
        except Exception:  # noqa: BLE001 - how it failed is told with the sequence
            troubles.append({"seed": seed, "told": [*sequence.told, traceback.format_exc()]})
        outcomes += sequence.outcomes
    return {"outcomes": outcomes, "troubles": troubles}


if __name__ == "__main__":
    json.dump(play(json.loads(sys.argv[1])), sys.stdout)
