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
import subprocess
import sys
from pathlib import Path

from device_runtime.errors import BadFileError
from device_runtime.install.__main__ import main
from device_runtime.install.application import CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.release import damage
from device_runtime.install.root import Root, linked_release
from device_runtime.install.site import Site
from device_runtime.install.state import read_state
from tests.support.faulty_files import FAULTS, FaultyFiles
from tests.support.installing import REPOSITORY, environment

KILLED = -signal.SIGKILL


def run(arguments, fs, stdin=None) -> tuple:
    """Run a command in a forked child; return its exit code (negative: the signal), its last line, and its calls.

    ``stdin`` is a file that it reads; without one it has nothing to read.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(os.open(stdin or os.devnull, os.O_RDONLY), 0)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(arguments, fs)
        last = (printed.getvalue().splitlines() or ["null"])[-1]
        _tell(writer, json.dumps([last, len(getattr(fs, "calls", []))]).encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    last, calls = json.loads(told) if told else ("null", 0)
    return code, json.loads(last), calls


def words(command, root: Path) -> list:
    """Return what ``main`` is called with; ``command`` is its name and its arguments."""
    return [command[0], "--root", str(root), *command[1:]]


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
    found = [path for path in root.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".part")]
    # What a host sent in part is kept, so that it goes on from there.
    left = [str(path.relative_to(root)) for path in found if site.root.incoming not in path.parents]
    state, lost = None, False
    with contextlib.suppress(BadFileError):  # a newer installer's
        state = read_state(site.root)
        lost = state is None and site.root.state.exists()
    fallback = state.fallback if state else None
    return {
        "current": release,
        "state_lost": lost,
        "link": os.path.lexists(site.root.current),
        "damage": broken,
        "fallback": fallback,
        "fallback_damage": damage(site.root, site.store, fallback) if fallback else [],
        "left": left,
        "trial": bool(state and state.trial),
        "way_back": os.path.lexists(site.root.way_back),
    }


def settle_and_repeat(root: Path, command, stdin=None) -> dict:
    """Return what ``status``, which recovers, makes of a root, and what the same command then does."""
    run(words(["status"], root), FileSystem())
    settled = look(root) if root.exists() else None
    again, said, _ = run(words(command, root), FileSystem(), stdin)
    return {"settled": settled, "again": {"code": again, "said": said, **look(root)}}


def points(plan: dict) -> list:
    """Return one record for each point at which the command was failed."""
    base, root, stdin = Path(plan["base"]), Path(plan["root"]), plan.get("stdin")
    command = [plan["command"], *plan["arguments"]]
    records = []
    while True:
        fresh(base, root)
        for earlier, kind, at, said in plan.get("before", ()):
            run(words(earlier, root), FaultyFiles(FAULTS[kind](at)), said)
        point = len(records) * plan.get("step", 1)
        code, said, calls = run(words(command, root), FaultyFiles(FAULTS[plan["fault"]](point)), stdin)
        if code != KILLED and calls <= point:
            return records
        record = {"code": code, "said": said, "at_once": look(root)}
        if plan.get("in_recovery") and len(records) % plan["in_recovery"] == 0:
            record["in_recovery"] = recovered_through_kills(root)
        records.append({**record, **settle_and_repeat(root, command, stdin)})


def recovered_through_kills(root: Path) -> int:
    """Kill the recovery of ``root`` at each of its own calls in turn, going on from what each left; count the kills."""
    for point in range(1000):
        code, _, _ = run(words(["status"], root), FaultyFiles(FAULTS["kill"](point)))
        if code != KILLED:
            return point
        found = look(root)
        assert not found["damage"], found
    raise AssertionError("the recovery did not come to an end")


def in_own_process(module: str, plan: dict):
    """Run one of these programs, and return what it told."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", json.dumps(plan)],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def _tell(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


if __name__ == "__main__":
    json.dump(points(json.loads(sys.argv[1])), sys.stdout)
