"""The lines of the table, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from camera_loop.race import peers_python

OURS = ("numpy", "opencv-python-headless", "pillow", "ai-edge-litert", "tflite-runtime")
PEERS = ("ultralytics", "torch", "mediapipe", "onnxruntime", "supervision", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Line:
    """One line: what was measured, the figure, and where there is a goal whether it was reached."""

    what: str
    figure: str
    ratio: str = ""
    goal: str = ""
    reached: bool | None = None


def at_least(what: str, figure: str, value: float, goal: float, unit: str = "×") -> Line:
    """Return a line whose ratio is to be as large as the goal."""
    return Line(what, figure, f"{value:.2f}{unit}", f"≥ {goal:g}{unit}", value >= goal)


def at_most(what: str, figure: str, value: float, goal: float, unit: str = "×") -> Line:
    """Return a line whose ratio is to be as small as the goal."""
    return Line(what, figure, f"{value:.2f}{unit}", f"≤ {goal:g}{unit}", value <= goal)


def shown(title: str, lines: Iterable[Line]) -> str:
    """Return one row of the table, as text."""
    cells = [
        (line.what, line.figure, line.ratio, line.goal, {None: "", True: "reached", False: "missed"}[line.reached])
        for line in lines
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    text = "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return f"\n{title}\n{text}"


def machine() -> str:
    """Return what was measured on, and with which versions."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "").split()
    wide = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if flag in flags]
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    clock = governor.read_text(encoding="ascii").strip() if governor.exists() else "not told"
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    name = names[0] if names else platform.machine()
    lines = [
        f"{name}, {cores}, {' '.join(wide)}, governor {clock}, load {load}",
        f"Python {platform.python_version()}, " + ", ".join(f"{each} {_version(each)}" for each in OURS),
    ]
    python = peers_python()
    lines.append(f"peers: {_versions(python)}" if python else "peers: none installed (make bench-peers)")
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "–"


def _versions(python: Path) -> str:
    script = (
        "import sys, importlib.metadata as m\n"
        "had = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(', '.join(f'{n} {had[n]}' for n in sys.argv[1:] if n in had))"
    )
    done = subprocess.run([python, "-c", script, *PEERS], capture_output=True, text=True, check=True)
    return done.stdout.strip()
