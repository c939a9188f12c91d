"""Boards that say what a test tells them to: a process in place of ssh, with a few lines of Python."""

import os
import sys
from pathlib import Path

from device_runtime.contract.session import GREETING
from device_runtime.contract.status import BoardStatus, MachineFacts, encode_line
from edgekit.boards.ssh import parse_ssh
from edgekit.boards.target import LocalTarget
from edgekit.boards.way import InstallerPack, Way, way_to

STATUS = BoardStatus("/srv/board", 1, MachineFacts("aarch64", "cp311", "2.36"), 10**9, installer_digest="sha256:old")


def greets(status):
    """Return the lines with which a board of this status begins."""
    return f"say({GREETING!r}); say({encode_line(status)!r})\n"


GREETS = greets(STATUS)

_VERBS = """
import json, os, sys, time
stdin = sys.stdin.buffer
def say(line): print(line, flush=True)
def complain(text): print(text, file=sys.stderr, flush=True)
def hear(): return json.loads(stdin.readline())
def take(size): return stdin.read(size)
"""

_RECORDS = """
def hear():
    line = stdin.readline()
    with open({heard!r}, "ab") as heard:
        heard.write(line)
    return json.loads(line or "null")
"""


def board(script, *, remote=True, pack=b"", target=None):
    """Return the way to a board that runs these lines; they ``say``, ``complain``, ``hear`` a line, ``take`` bytes.

    A remote one is taken for ssh: its exit code 255 is a lost connection.
    """
    place = parse_ssh("ssh://pi@line-3", "line-3") if remote else LocalTarget(Path("/srv/board"), "local:board")
    packed = (lambda: InstallerPack(pack, "sha256:new", 2 * len(pack))) if pack else None
    return Way(target or place, (sys.executable, "-c", _VERBS + script), pack=packed, settle_s=5.0)


def put_ssh(folder, script, monkeypatch):
    """Let ``ssh`` be a board that runs these lines, whatever host is asked for; ``folder/heard`` has its requests."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    # What the board's shell would read comes first; the conversation begins behind it.
    size = len(way_to(parse_ssh("ssh://pi@line-3", "line-3")).opening)
    opening = f"take({size})\n" + _RECORDS.format(heard=str(folder / "heard"))
    program.write_text(f"#!{sys.executable}\n{_VERBS}{opening}{script}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
