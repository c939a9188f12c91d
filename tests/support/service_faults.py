"""Kills what the machine asks for by itself at each of its mutating calls, and lets the machine boot again.

A program of its own, because it forks: ``python -m tests.support.service_faults '<JSON>'`` with ``folder`` and the
``name`` of a scenario. It tells how often it killed, and which version ran in the end, each time.
"""

import json
import signal
import sys
from pathlib import Path

from tests.support.bundles import release_of
from tests.support.fake_keeper import CRASHES
from tests.support.faulty_files import FAULTS, FaultyFiles
from tests.support.service_boards import ServiceBoard, cut_off_in_trial, in_child, service_bundle

_KILLED = -signal.SIGKILL


def scenario(name: str, folder: Path):
    """Return a board to be copied, what is killed on it, and the names of releases, by id."""
    bundles = {version: service_bundle(folder, version) for version in ("1.0", "2.0")}
    ids = {version: release_of(path) for version, path in bundles.items()}
    board = ServiceBoard(folder / "base")
    board.apply(bundles["1.0"])
    actions = {
        "boot": lambda it, fs: it.turn_on("boot-2", fs),
        "settle": lambda it, fs: it.settle(fs),
        "crashed": lambda it, fs: it.crashed(fs),
        "apply": lambda it, fs: it.apply(bundles["2.0"], fs),
    }
    action, _, case = name.partition(" ")
    if action in ("boot", "settle"):
        cut_off_in_trial(board, bundles["2.0"])
    if action == "settle":
        board.turn_on("boot-2")
    if action == "crashed" and case != "alone":
        board.apply(bundles["2.0"])
    bad = {"bad": ["2.0"], "both": ["1.0", "2.0"], "alone": ["1.0"]}.get(case, [])
    board.keeper.behaviours.update({ids[version]: CRASHES for version in bad})
    return board, actions[action], {release: version for version, release in ids.items()}


def boots_until_it_is_settled(board: ServiceBoard) -> None:
    """Turn the machine on as often as it takes, with all that it asks for by itself."""
    for boot in ("boot-8", "boot-9"):
        in_child(lambda boot=boot: board.turn_on(boot))
        board.boot = boot
        in_child(board.settle)
        if board.keeper.look().state == "failed":
            in_child(board.crashed)
    if board.state.safe_mode is None and board.keeper.behaviours.get(board.runs) != CRASHES:
        assert board.runs is not None
    board.assert_in_order()


def kill_everywhere(name: str, folder: Path, fault: str) -> list:
    """Return what ran after each fault, once it was settled: with a boot, and by the same call once more."""
    base, action, versions = scenario(name, folder)
    ended = []
    while True:
        board = base.copy_to(folder / "board")
        point = len(ended)
        fs = FaultyFiles(FAULTS[fault](point))
        counted = folder / "calls"
        counted.unlink(missing_ok=True)

        def run(board=board, fs=fs, counted=counted):
            try:
                action(board, fs)
            finally:
                counted.write_text(str(len(fs.calls)))

        code = in_child(run)
        if code != _KILLED and int(counted.read_text()) <= point:
            return ended
        again = board.copy_to(folder / "again")
        in_child(lambda again=again: action(again, None))
        in_child(lambda again=again: again.settle())
        if again.keeper.look().state == "failed":
            in_child(again.crashed)
        again.assert_in_order()
        boots_until_it_is_settled(board)
        ended.append([versions.get(board.runs), versions.get(again.runs)])


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    json.dump(kill_everywhere(plan["name"], Path(plan["folder"]), plan["fault"]), sys.stdout)
