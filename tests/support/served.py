"""Roots whose releases run as services: real installations of tiny wheels whose ``run`` is a few lines."""

import contextlib
import hashlib
import os
import pwd
import tempfile
from pathlib import Path

from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.process import ProcessKeeper
from device_runtime.install.service.supervisor import Timings
from edgekit.bundling.layout import content_of
from edgekit.bundling.wheel import package_wheel
from tests.support.bundles import OK, pack, tiny_contents
from tests.support.installing import install
from tests.support.waiting import wait_for

SYSTEM_PYTHON = "/usr/bin/python3"
"""One that every account may run."""
QUICK = Timings(pause_s=0.05, longest_pause_s=0.1, burst=5, interval_s=60.0, stop_s=1.0, poll_s=0.02)

QUIET = '{"source": "synthetic:belt"}'
WATCHED = '{"source": "synthetic:belt", "health": {"start_s": 1, "watchdog_s": 5}}'

_BEAT = """
import json, os, signal, subprocess, sys, time
def beat(predictions=1, age_s=0.0):
    pulse = os.environ["EDGEKIT_PULSE_FILE"]
    with open(pulse + ".new", "w") as stream:
        json.dump({"pid": os.getpid(), "beat_s": time.monotonic() - age_s, "uptime_s": 1.0,
                   "health": "ok" if predictions else "starting", "predictions": predictions}, stream)
    os.replace(pulse + ".new", pulse)
def tell(name, text):
    with open(name + ".new", "w") as stream:
        stream.write(str(text))
    os.replace(name + ".new", name)
def stay():
    while True:
        beat()
        time.sleep(0.05)
"""


def served_bundle(folder: Path, run: str, version: str = "1.0", service: str = QUIET) -> Path:
    """Write a bundle whose ``run`` is these lines: they have ``beat``, ``tell(file, text)`` in the data, ``stay``."""
    package = folder / f"served-{hashlib.sha256((run + version).encode()).hexdigest()[:8]}" / "device_runtime"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"{_BEAT}if sys.argv[1] == 'check':\n    {OK}    sys.exit()\n{run}\n")
    wheel = package_wheel(package, version)
    contents = tiny_contents(folder, version=version)
    contents[2] = content_of("service", "service.json", service.encode())
    contents[-1] = content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files)
    return pack(folder / f"app-{version}.edgekit", contents, version=version)


def served_root(folder: Path, run: str, **options) -> Root:
    """Install such a bundle in a new root."""
    bundle = served_bundle(folder, run, **options)
    done = install("apply", folder / "root", bundle)
    assert done.code == 0, done.lines
    return Root(folder / "root")


@contextlib.contextmanager
def kept(root: Root, account, timings: Timings = QUICK, **options):
    """Yield a keeper, and leave nothing running."""
    given = None if account is None else lambda: account
    keeper = ProcessKeeper(root, FileSystem(), given, SYSTEM_PYTHON, timings, **options)
    try:
        yield keeper
    finally:
        keeper.stop()


def told(root: Root, name: str):
    """Wait for what the application tells in its data."""
    path = root.data / name
    return wait_for(lambda: path.exists() and path.read_text())


def wait_until(keeper, state: str):
    """Wait for a state, and return what the keeper then tells."""
    try:
        return wait_for(lambda: (look := keeper.look()).state == state and look)
    except AssertionError as error:
        raise AssertionError("\n".join([f"never {state}: {keeper.look()}", *keeper.logs(30, follow=False)])) from error


@contextlib.contextmanager
def accessible():
    """Yield a folder that every account may enter."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def nobody():
    """Return whom releases run as: root has to name one, others are it themselves (None)."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
