"""Fails what the machine asks for by itself at each of its mutating calls, and lets the machine boot again.

A program of its own, because it forks: ``python -m tests.support.service_faults '<JSON>'`` with ``folder``, the
``name`` of a scenario, and the ``fault``: one of ``faulty_files``, or ``power``, which needs root. It tells which
version ran in the end, each time; ``step`` leaves out calls.
"""

import json
import sys
from pathlib import Path

from tests.support.bundles import release_of
from tests.support.fake_keeper import CRASHES
from tests.support.fault_points import KILLED
from tests.support.faulty_files import FAULTS, FaultyFiles
from tests.support.power_cuts import cut_at
from tests.support.service_boards import ServiceBoard, cut_off_in_trial, in_child, service_bundle
from tests.support.small_disks import make_disk, mounted


def scenario(name: str, folder: Path):
    """Return a board to be copied, what is killed on it, and the names of releases, by id."""
    bundles = {version: service_bundle(folder, version) for version in ("1.0", "2.0")}
    ids = {version: release_of(path) for version, path in bundles.items()}
    board = ServiceBoard(folder / "made")
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


def fail_everywhere(name: str, folder: Path, fault: str, step: int = 1) -> list:
    """Return what ran after each fault, once it was settled: with a boot, and by the same call once more."""
    base, action, versions = scenario(name, folder)
    ended = []
    while True:
        board = base.copy_to(folder / "board")
        point = len(ended) * step
        fs = FaultyFiles(FAULTS[fault](point))
        counted = folder / "calls"
        counted.unlink(missing_ok=True)

        def run(board=board, fs=fs, counted=counted):
            try:
                action(board, fs)
            finally:
                counted.write_text(str(len(fs.calls)))

        code = in_child(run)
        if code != KILLED and int(counted.read_text()) <= point:
            return ended
        again = board.copy_to(folder / "again")
        in_child(lambda again=again: action(again, None))
        in_child(lambda again=again: again.settle())
        if again.keeper.look().state == "failed":
            in_child(again.crashed)
        again.assert_in_order()
        boots_until_it_is_settled(board)
        ended.append([versions.get(board.runs), versions.get(again.runs)])


def cut_power_everywhere(name: str, folder: Path, step: int = 1) -> list:
    """Return what ran after each power cut, on both disks that it left, once a boot had settled it."""
    base, action, versions = scenario(name, folder)
    disk = folder / "disk"
    make_disk(folder / "base")
    with mounted(folder / "base", disk):
        (disk / "unrelated").touch()
        base.copy_to(disk / "board")
    ended = []
    while True:
        (code,) = cut_at(len(ended) * step, folder, lambda fs: (in_child(lambda: action(on(disk, base), fs)),))
        ran = []
        for left in ("at_once", "after_a_flush"):
            with mounted(folder / left, disk):
                board = on(disk, base)
                boots_until_it_is_settled(board)
                ran.append(versions.get(board.runs))
        ended.append(ran)
        if code != KILLED:
            return ended


def on(disk: Path, base: ServiceBoard) -> ServiceBoard:
    """Return the board of a disk, which is as far as ``base``."""
    board = ServiceBoard(disk / "board", base.keeper.behaviours)
    board.boot = base.boot
    return board


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    plan["folder"] = Path(plan["folder"])
    fault = plan.pop("fault")
    told = cut_power_everywhere(**plan) if fault == "power" else fail_everywhere(**plan, fault=fault)
    json.dump(told, sys.stdout)
