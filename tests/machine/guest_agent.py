"""Runs on the machine as root, and does what a test says on a virtio port: the machine has no network.

A request is a line of JSON with an ``id``; the answer has the same. Standard library only, Python 3.11.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

PORT = Path("/dev/virtio-ports/org.edgekit.tests")


def answer(port, writing, request):
    """Do one request, and write the answer in one piece."""
    try:
        done = waited(request) if "until" in request else ran(request)
    except Exception as error:  # noqa: BLE001 - the test is told
        done = {"code": -1, "out": "", "err": f"{type(error).__name__}: {error}"}
    line = json.dumps({"id": request["id"], **done}).encode() + b"\n"
    with writing:
        while line:
            line = line[os.write(port, line) :]


def ran(request):
    """Run a program."""
    ended = subprocess.run(
        request["words"],
        input=request["stdin"].encode(),
        capture_output=True,
        timeout=request["limit_s"],
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        check=False,
    )
    return {
        "code": ended.returncode,
        "out": ended.stdout.decode(errors="replace"),
        "err": ended.stderr.decode(errors="replace"),
    }


def waited(request):
    """Wait until one of some paths exists, patterns as in a shell; with a text, until it is in such a file."""
    until = time.monotonic() + request["limit_s"]
    while time.monotonic() < until:
        for pattern in request["until"]:
            for path in Path("/").glob(pattern.lstrip("/")):
                if not request["text"] or request["text"] in read(path):
                    return {"code": 0, "out": str(path), "err": ""}
        time.sleep(0.02)
    return {"code": 1, "out": "", "err": "it did not come"}


def read(path):
    """Return a text, empty where it cannot be read just now."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def main():
    """Answer for ever."""
    while not PORT.exists():
        time.sleep(0.05)
    port, writing, pending = os.open(PORT, os.O_RDWR), threading.Lock(), b""
    while True:
        piece = os.read(port, 1 << 16)
        if not piece:  # nobody is there
            pending = b""
            time.sleep(0.02)
            continue
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            threading.Thread(target=answer, args=(port, writing, json.loads(line)), daemon=True).start()


if __name__ == "__main__":
    main()
