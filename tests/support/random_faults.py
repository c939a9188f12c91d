"""Random commands with random faults, and after each sequence a board that is whole and takes another bundle.

A program of its own, because it forks: ``python -m tests.support.random_faults '<JSON of Plan>'``. Run ``n`` is made of
the number ``seed + n`` alone. It tells how many faults and outcomes there were, and what went wrong.
"""

import collections
import json
import os
import random
import resource
import sys
from pathlib import Path

from device_runtime.install.fsops import FileSystem
from tests.support.bundles import release_of
from tests.support.fault_points import KILLED, fresh, look, run, words
from tests.support.faulty_files import RandomlyFaulty

_RATES = (0.003, 0.02, 0.1)
_FEW_FILES = 0.1
_CODES = (0, 1, 6, 7, KILLED)


class Sequence:
    """One run: a board, and what may be current on it by all that was said so far."""

    def __init__(self, plan: dict, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - faults, not secrets
        self.root = Path(plan["folder"], "board")
        self.good = {path: release_of(Path(path)) for path in plan["good"]}
        self.bad = {path: release_of(Path(path)) for path in plan["bad"]}
        self.outcomes = collections.Counter()
        base = self.chance.choice(plan["bases"])
        fresh(Path(base), self.root)
        self.told = [f"on {Path(base).name}"]
        self.may_run = {look(self.root)["current"]}

    def play(self) -> None:
        """Run some commands with faults, and then without. Raises AssertionError."""
        for _ in range(self.chance.randrange(1, 5)):
            self._faulty(*self._any_command())
        self._faultless(["status"])
        self._settled()
        last = self.chance.choice(sorted(self.good))
        # Quarantined it cannot be: nothing but its own check may do that.
        assert self._faultless(["apply", last]) == 0
        assert self._faultless(["verify"]) == 0
        self.may_run = {self.good[last]}
        self._settled()

    def _any_command(self):
        target = self.chance.choice(sorted(self.good) + sorted(self.bad))
        target_id = self.good.get(target)
        return self.chance.choices(
            [(["apply", target], target_id), (["rollback"], None), (["recover"], None), (["status"], None)],
            weights=[6, 2, 1, 1],
        )[0]

    def _faulty(self, command, target) -> None:
        fallback = look(self.root)["fallback"]
        files = RandomlyFaulty(self.chance, self.chance.choice(_RATES))
        with _few_files(self.chance):
            code, said, _ = run(words(command, self.root), files)
        self.told.append(f"{' '.join(command)}: {code} {json.dumps(said)[:300]}")
        self.outcomes[f"{command[0]} {code}"] += 1
        assert code in _CODES
        found = look(self.root)
        assert found["damage"] == []
        if command[0] == "apply" and target is None:
            assert code != 0
        elif command[0] == "apply":
            self.may_run = {target} if code == 0 else self.may_run | {target}
        elif command[0] == "rollback" and fallback:
            self.may_run = {fallback} if code == 0 else self.may_run | {fallback}
        # Killed, or with a disk that lets nobody return, one on trial may still be current: not once it is settled.
        allowed = self.may_run | (set(self.bad.values()) if code else set())
        assert found["current"] in allowed

    def _faultless(self, command) -> int:
        code, said, _ = run(words(command, self.root), FileSystem())
        self.told.append(f"without faults: {' '.join(command)}: {code} {json.dumps(said)[:300]}")
        return code

    def _settled(self) -> None:
        found = look(self.root) if self.root.exists() else look(Path("/nonexistent"))
        self.told.append(f"settled: {found}")
        assert found["current"] in self.may_run
        assert (found["damage"], found["fallback_damage"], found["left"]) == ([], [], [])
        assert (found["trial"], found["way_back"]) == (False, False)


class _few_files:  # noqa: N801 - used as a function
    """Sometimes let a process that is forked here open few files only."""

    def __init__(self, chance) -> None:
        open_now = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - their number is all there is to it
        self.limit = open_now + chance.randrange(2, 14) if chance.random() < _FEW_FILES else None

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self.limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.before)


def play(plan: dict) -> dict:
    """Return the outcomes of all runs, and the troubles."""
    outcomes = collections.Counter()
    troubles = []
    for seed in range(plan["seed"], plan["seed"] + plan["runs"]):
        sequence = Sequence(plan, seed)
        try:
            sequence.play()
        except AssertionError as error:
            line = error.__traceback__
            while line.tb_next:
                line = line.tb_next
            told = [f"line {line.tb_lineno}", f"expected one of {sorted(map(str, sequence.may_run))}", *sequence.told]
            troubles.append({"seed": seed, "told": told})
        outcomes += sequence.outcomes
    return {"outcomes": outcomes, "troubles": troubles}


if __name__ == "__main__":
    json.dump(play(json.loads(sys.argv[1])), sys.stdout)
