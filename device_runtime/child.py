"""Child processes of this runtime and of its host's: what they inherit, how they are ended, and how they ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from device_runtime.signals import signal_name

_LAST_LINES = 8
_GRACE_S = 5.0


def own_environment() -> dict[str, str]:
    """Return an environment in which a Python imports what this one would: from the folder it was started in, say."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def end_child(child: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever happened; one that was asked to stop has 5 s to put things in order."""
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when the user presses Ctrl-C again
        child.kill()
        child.wait()


def how_it_ended(code: int) -> str:
    """Return a return code of ``subprocess`` for people: ``by SIGKILL``, or ``with exit code 3``."""
    return f"by {signal_name(-code)}" if code < 0 else f"with exit code {code}"


def last_lines(log: str) -> str:
    """Return the last few lines of what a process complained of, each on a line of its own; empty without any."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()][-_LAST_LINES:]
    return "".join(f"\n  {line}" for line in lines)
