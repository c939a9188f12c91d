"""Plays ``random_faults`` and ``random_services`` on all cores, and says how a run that failed is repeated."""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.fault_points import in_own_process

_PROCESSES = 2


def play_at_random(folder, runs: int, boards=None) -> Counter:
    """Play as many runs as the environment says, or ``runs``; return how often commands ended with which code.

    With ``boards`` they are commands of a host and their faults; without, also what a machine with a service asks for,
    and a fifth as many.
    On CI they are the same each time, so that a change is judged by what it changes; elsewhere they are new ones.
    """
    runs = int(os.environ.get("EDGEKIT_FAULT_RUNS", runs))
    runs = runs if boards else max(1, runs // 5)
    anywhere = 0 if os.environ.get("CI") == "true" else random.randrange(1 << 40)  # noqa: S311 - faults, not secrets
    seed = int(os.environ.get("EDGEKIT_FAULT_SEED", anywhere))
    program, what = ("random_faults", _what(boards)) if boards else ("random_services", {})
    plans = []
    for number in range(min(runs, _PROCESSES)):
        share = (runs + number) // _PROCESSES if runs > 1 else 1
        (folder / str(number)).mkdir()
        plans.append({"seed": seed, "runs": share, "folder": str(folder / str(number)), **what})
        seed += share
    with ThreadPoolExecutor(_PROCESSES) as pool:
        played = list(pool.map(lambda plan: in_own_process(program, plan), plans))
    troubles = [trouble for each in played for trouble in each["troubles"]]
    assert not troubles, f"{len(troubles)} of {runs} runs; repeat one with {_repeat(troubles[0])}: {troubles[0]}"
    return sum((Counter(each["outcomes"]) for each in played), Counter())


def _repeat(trouble) -> str:
    return f"EDGEKIT_FAULT_SEED={trouble['seed']} EDGEKIT_FAULT_RUNS=1"


def _what(boards) -> dict:
    return {
        "bases": [str(boards.path(name)) for name in ("none", "one", "two", "two wheels")],
        "good": [str(boards.bundles[name]) for name in ("first", "second", "update", "third")],
        "bad": [str(boards.bundles[name]) for name in ("bad", "worse")],
    }
