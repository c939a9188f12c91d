"""What this machine is and how it is doing, as far as it tells."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_runtime.contract.bench import MachineState

_THROTTLED_NOW = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""Bits of ``vcgencmd get_throttled`` for the present; 16–19 say the same since boot (Raspberry Pi documentation)."""

_SINCE_BOOT_SHIFT = 16

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")

_BUSY_SHARE = 0.5
"""A load average above this share of the cores means that others work here."""


@dataclass(frozen=True)
class Vitals:
    """What changes while an application runs; see ``MachineState``. ``rss_bytes`` is this process's."""

    temperature_c: float | None
    throttled: int | None
    rss_bytes: int | None


def read_vitals() -> Vitals:
    """Read what changes: cheap enough to be asked every second."""
    return Vitals(_temperature(), _throttled_bits(), rss_bytes())


def read_machine() -> MachineState:
    """Read what the machine tells; what it does not tell is None."""
    import platform  # noqa: PLC0415 - only for those who ask for all of it

    from device_runtime.contract.bench import MachineState  # noqa: PLC0415

    return MachineState(
        cpu=_cpu_model(),
        machine=platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        memory_bytes=_memory_bytes(),
        board=_text("/sys/firmware/devicetree/base/model"),
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        frequency_mhz=_scaled("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e3),
        temperature_c=_temperature(),
        throttled=_throttled_bits(),
        load_1min=os.getloadavg()[0],
    )


def throttling(before: MachineState, after: MachineState) -> list[str]:
    """Name what slowed the machine down between two readings, or does so now.

    The bits since boot are sticky: only those that appeared count.
    """
    if before.throttled is None or after.throttled is None:
        return []
    appeared = (after.throttled & ~before.throttled) >> _SINCE_BOOT_SHIFT
    now = before.throttled | after.throttled
    return _named(now | appeared)


def decode_throttled(bits: int) -> tuple[list[str], list[str]]:
    """Return what the bits of ``vcgencmd get_throttled`` say of the present, and of the time since boot."""
    return _named(bits), _named(bits >> _SINCE_BOOT_SHIFT)


def busy(state: MachineState) -> bool:
    """Tell whether others were working on the machine: ask before anything of one's own runs."""
    return state.load_1min is not None and state.load_1min > _BUSY_SHARE * state.cores


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by its control group's quota; 1 or more."""
    cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        # cgroup v2: "QUOTA PERIOD" in µs, or "max PERIOD" (Linux, admin-guide/cgroup-v2).
        quota, period = (_GROUPS / _own_group(_PROC) / "cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def peak_rss_bytes() -> int:
    """Return the largest resident memory of this process so far.

    Not ``ru_maxrss`` where it can be helped: that begins with the peak of the process that started this one, because
    Linux carries it over ``exec`` (measured: 412 MB after ``exec`` from such a parent, of which 9 MB were its own).
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB


def available_bytes(proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """Return how much memory this process may still take; None when the machine does not tell.

    That is what the kernel estimates to be there without swapping, or what the limits of its control groups leave: a
    service with ``MemoryMax=`` is killed at that, however much the machine has.
    """
    rooms = _group_rooms(proc, groups)
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                rooms.append(int(line.split()[1]) * 1024)
    return min(rooms, default=None)


def rss_bytes() -> int | None:
    """Return the resident memory of this process now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _own_group(proc: Path) -> str:
    """Return this process's control group, relative to the root of cgroup v2 (its line begins with ``0::``)."""
    return (proc / "self" / "cgroup").read_text().strip().rpartition("::")[2].lstrip("/")


def _group_rooms(proc: Path, groups: Path) -> list[int]:
    """Return what the limit of each control group that this process is in leaves, 0 or more.

    Files that nobody has read lately are counted in ``memory.current``, and given back before anything is killed
    (Linux, admin-guide/cgroup-v2: ``memory.max``, ``inactive_file`` of ``memory.stat``).
    """
    rooms: list[int] = []
    try:
        own = Path(_own_group(proc))
    except (OSError, ValueError):
        return rooms
    for group in (own, *own.parents):
        with contextlib.suppress(OSError, ValueError):
            folder = groups / group
            limits = [(folder / name).read_text().strip() for name in ("memory.max", "memory.high")]
            least = min((int(limit) for limit in limits if limit != "max"), default=None)
            if least is not None:
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
                rooms.append(max(0, least - used))
    return rooms


def _temperature() -> float | None:
    return _scaled("/sys/class/thermal/thermal_zone0/temp", 1e3)


def _cpu_model() -> str:
    import platform  # noqa: PLC0415 - see above

    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
    # x86 says "model name"; arm64 kernels give numbers, and the board's name under "Model".
    return fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _named(bits: int) -> list[str]:
    return [name for bit, name in _THROTTLED_NOW.items() if bits & (1 << bit)]


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip("\0\n ") or None
    except (OSError, UnicodeDecodeError):
        return None


def _scaled(path: str, factor: float) -> float | None:
    text = _text(path)
    try:
        return float(text) / factor if text is not None else None
    except ValueError:
        return None


def _throttled_bits() -> int | None:
    import shutil  # noqa: PLC0415 - with the next one 5 ms, which only boards that have it need
    import subprocess  # noqa: PLC0415

    tool = shutil.which("vcgencmd")
    if tool is None:
        return None
    try:
        answer = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
        return int(answer.stdout.strip().partition("=")[2], 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
