"""An environment that is made in a second without a network: a lock of one wheel, which is made here."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from converters.environments.catalog import Environment

ROOT = Path(__file__).parent.parent.parent

PAUSING = """
import os, pathlib, time
if "TINY_STARTED" in os.environ:
    pathlib.Path(os.environ["TINY_STARTED"]).touch()
    while not pathlib.Path(os.environ["TINY_GO"]).exists():
        time.sleep(0.01)
"""
"""A package whose import tells that it began, and waits to be let go."""

MAKE = """
import os, sys
from pathlib import Path
from converters.environments.make import prepare
from tests.support.environments import tiny
print(prepare(tiny(Path(sys.argv[1])), lambda event: print(event, flush=True)))
"""


def make_wheel(folder: Path, code: str = "") -> str:
    """Write ``tiny-1.0-py3-none-any.whl`` with one module; return its SHA-256."""
    files = {
        "tiny.py": code,
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    files["tiny-1.0.dist-info/RECORD"] = "\n".join([*rows, "tiny-1.0.dist-info/RECORD,,"]) + "\n"
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def write_lock(path: Path, digest: str) -> Path:
    """Write a lock with the one wheel of that digest."""
    path.write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    return path


def tiny(lock: Path, **changed) -> Environment:
    """Describe the environment of a lock."""
    told = {"oldest": 11, "newest": 20, "imports": ("tiny",), "disk_mb": 1, **changed}
    return Environment("tiny", "is tiny", lock, **told)


def start_maker(lock: Path, environment: dict) -> subprocess.Popen:
    """Start a process that makes the environment of a lock and prints what it hears."""
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, lock],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
