"""Releases whose harness is a few lines, boards that have them, and what such a board looks like, to the last byte."""

import contextlib
import hashlib
import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.decode import dumps
from edgekit.bundling.layout import content_of
from edgekit.bundling.wheel import package_wheel
from tests.support.bench_reports import bench_report
from tests.support.bundles import OK, pack, tiny_contents
from tests.support.ssh_server import ssh_server
from tests.support.waiting import wait_for

REPORTS = "report()"
TELLS = (
    """print('{"event": "step", "title": "warm up"}\\n{"event": "progress", "done": 3, "total": 9, "unit": "s"}',"""
    " file=sys.stderr)\nreport()"
)
WAITS = "begin()\ntime.sleep(600)"
FORKS = (
    "begin()\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "time.sleep(600)"
)
CRASHES = "os.kill(os.getpid(), signal.SIGSEGV)"
FAILS = (
    'print(\'{"error": {"code": "camera", "message": "v4l2:0: busy", "hint": "unplug it", "exit_code": 1}}\')\n'
    "sys.exit(1)"
)
BABBLES = "print('no report')"
FLOODS = "while True: sys.stdout.write('x' * 65536)"
COMPLAINS = 'for _ in range(200000): print(\'{"event": "step", "title": "on"} or not\', file=sys.stderr)\nreport()'
OLD = (
    "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--release')\n"
    "parser.add_argument('--json', action='store_true')\nparser.add_argument('--duration')\n"
    "parser.parse_args(sys.argv[2:])\nreport()"
)
HAS_NO_HARNESS = (
    "import argparse\nargparse.ArgumentParser().add_subparsers(metavar='COMMAND').add_parser('run')\n"
    "parser = argparse.ArgumentParser()\ncommands = parser.add_subparsers()\ncommands.add_parser('run')\n"
    "parser.parse_args(sys.argv[1:])"
)
STAYS = "while True:\n    beat()\n    time.sleep(0.05)"

_SERVICE = b'{"source": "synthetic:belt", "health": {"start_s": 20, "watch_s": 0, "watchdog_s": 20}}'
_MAIN = """
import json, os, signal, subprocess, sys, time
def beat():
    pulse = os.environ["EDGEKIT_PULSE_FILE"]
    with open(pulse + ".new", "w") as stream:
        json.dump({{"pid": os.getpid(), "beat_s": time.monotonic(), "uptime_s": 0.1, "health": "ok", "predictions": 1,
                   "fps": 10.0, "release": os.path.basename(sys.argv[3])}}, stream)
    os.replace(pulse + ".new", pulse)
def begin():
    with open({place!r} + "/begun.new", "w") as stream:
        stream.write(str(os.getpid()))
    os.replace({place!r} + "/begun.new", {place!r} + "/begun")
def report():
    document = json.loads({report!r})
    document["source"] = " ".join(sys.argv[2:-3])
    folder = sys.argv[sys.argv.index("--release") + 1]
    document["model"]["input"] = open(folder + "/model.tflite").read()
    print(json.dumps(document))
if sys.argv[1] == "check":
    {ok}    sys.exit()
if sys.argv[1] == "run":
{run}
"""


def benched_bundle(place: Path, harness: str = REPORTS, version: str = "1.0", run: str = STAYS, **options) -> Path:
    """Write a bundle whose harness is these lines; they may ``begin()``, which ``begun`` waits for, and ``report()``.

    A report's ``source`` are the options that the harness got, its model's ``input`` is the model's content.
    """
    lines = "".join(f"    {line}\n" for line in run.splitlines())
    main = _MAIN.format(place=str(place), report=dumps(bench_report(20)), ok=OK, run=lines) + harness + "\n"
    package = place / f"benched-{hashlib.sha256(main.encode()).hexdigest()[:8]}" / "device_runtime"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(main)
    wheel = package_wheel(package, "1.0")
    contents = tiny_contents(place, version=version)
    contents[2] = content_of("service", "service.json", _SERVICE)
    contents[-1] = content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files)
    return pack(place / f"app-{version}-{package.parent.name}.edgekit", contents, version=version, **options)


def begun(place: Path) -> int:
    """Wait until the harness has begun, and return its pid."""
    path = place / "begun"
    pid = int(wait_for(lambda: path.exists() and path.read_text()))
    path.unlink()
    return pid


def everything(root: Path, but=()) -> dict:
    """Return all that is below a folder, and itself: kind, mode and owner, and the content; folders too.

    ``but`` are names in it that are left out, with what is below them: something that runs writes there.
    """
    found = {}
    tops = [top for top in root.iterdir() if top.name not in but] if root.exists() else []
    below = [each for top in tops if not top.is_symlink() for each in top.rglob("*")]
    for path in [root, *tops, *below] if root.exists() else []:
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = path.readlink() if kind == stat.S_IFLNK else path.read_bytes() if kind == stat.S_IFREG else None
        found[str(path.relative_to(root))] = (kind, status.st_mode, status.st_uid, content)
    return found


def sessions(root: Path) -> list:
    """Return the pids of the installers that talk with a host about a root, the session's own first, then its guard."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"session" in words and str(root).encode() in words and b"sudo" not in words[0]:
                found.append(int(entry.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Return whether a process is there and does something."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(*pids: int) -> None:
    """Kill processes, at once."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@dataclass
class UserMachine:
    """A machine of a user without rights, on which releases run as that user's service, kept by a supervisor."""

    server: object
    place: Path

    @property
    def root(self) -> Path:
        return self.place / "data" / "edgekit"


@contextlib.contextmanager
def user_machine(folder: Path, place: Path):
    """A real sshd whose logins have no rights, also where the tests have them: a release never runs as root."""
    drop = folder / "login"
    drop.write_text(
        f"#!{sys.executable}\nimport os\n"
        "if os.geteuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"os.environ.update(HOME={str(place)!r}, XDG_DATA_HOME={str(place / 'data')!r})\n"
        "os.environ.pop('XDG_RUNTIME_DIR', None)\nos.chdir('/')\n"
        "os.execv('/bin/sh', ['sh', '-c', os.environ['SSH_ORIGINAL_COMMAND']])\n"
    )
    drop.chmod(0o755)
    place.chmod(0o777)
    with ssh_server(folder, f"ForceCommand {drop}") as server:
        yield UserMachine(server, place)
