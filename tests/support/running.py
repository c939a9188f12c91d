"""Applications that run in processes of their own, and their pages."""

import subprocess
import sys
import urllib.request
from pathlib import Path


def start(*arguments, **options):
    command = [sys.executable, "-m", "device_runtime", "run", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def page_of(process):
    """Return the page's address, once the process tells it."""
    for line in process.stderr:
        if "the page is at" in line:
            return line.split()[-1]
    raise AssertionError("no page")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own page
        return answer.read().decode()


def children_of(pid):
    """Return the processes that a process has started and not waited for."""
    tasks = Path(f"/proc/{pid}/task")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]
