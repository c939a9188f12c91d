"""Runs one installer command again and again, failing at its 1st, 2nd, 3rd … mutating call, and tells what was left.

A program of its own, because it forks: ``python -m tests.support.fault_points '<JSON of Plan>'``. Each run starts
from a fresh copy of a root; ``status``, which recovers, and the same command without faults follow each.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from device_runtime.install.__main__ import main
from device_runtime.install.application import CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.release import damage
from device_runtime.install.root import Root, linked_release
from device_runtime.install.site import Site
from device_runtime.install.state import read_state
from tests.support.faulty_files import FAULTS, FaultyFiles

_KILLED = -signal.SIGKILL


def run(arguments, fs) -> tuple:
    """Run a command in a forked child; return its exit code (negative: the signal), its last line, and its calls."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(arguments, fs)
        last = (printed.getvalue().splitlines() or ["null"])[-1]
        os.write(writer, json.dumps([last, len(getattr(fs, "calls", []))]).encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    last, calls = json.loads(told) if told else ("null", 0)
    return code, json.loads(last), calls


def fresh(base: Path, root: Path) -> None:
    """Make ``root`` a copy of ``base``; no ``base`` is an empty board."""
    shutil.rmtree(root, ignore_errors=True)
    if base.exists():
        shutil.copytree(base, root, symlinks=True)


def look(root: Path) -> dict:
    """Return what a root has, without settling anything."""
    site = Site(Root(root), CheckedApplication(), FileSystem())
    release = linked_release(site.root.current)
    broken = damage(site.root, site.store, release) if release else []
    left = [path.name for path in root.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".part")]
    state = read_state(site.root)
    return {
        "current": release,
        "link": os.path.lexists(site.root.current),
        "damage": broken,
        "left": left,
        "trial": bool(state and state.trial),
        "way_back": os.path.lexists(site.root.way_back),
    }


def points(plan: dict) -> list:
    """Return one record for each point at which the command was failed."""
    base, root = Path(plan["base"]), Path(plan["root"])
    command = [plan["command"], "--root", str(root), *plan["arguments"]]
    records = []
    while True:
        fresh(base, root)
        fault = FAULTS[plan["fault"]](len(records) * plan.get("step", 1))
        code, said, calls = run(command, FaultyFiles(fault))
        if code != _KILLED and calls <= len(records) * plan.get("step", 1):
            return records
        record = {"code": code, "said": said, "at_once": look(root)}
        if plan.get("in_recovery") and len(records) % plan["in_recovery"] == 0:
            record["in_recovery"] = recovered_through_kills(root)
        run(["status", "--root", str(root)], FileSystem())
        record["settled"] = look(root) if root.exists() else None
        again, said, _ = run(command, FileSystem())
        record["again"] = {"code": again, "said": said, **look(root)}
        records.append(record)


def recovered_through_kills(root: Path) -> int:
    """Kill the recovery of ``root`` at each of its own calls in turn, going on from what each left; count the kills."""
    for point in range(1000):
        code, _, _ = run(["status", "--root", str(root)], FaultyFiles(FAULTS["kill"](point)))
        if code != _KILLED:
            return point
        found = look(root)
        assert not found["damage"], found
    raise AssertionError("the recovery did not come to an end")


if __name__ == "__main__":
    json.dump(points(json.loads(sys.argv[1])), sys.stdout)
