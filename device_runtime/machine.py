"""What this machine is and how it is doing, as far as it tells."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_runtime.contract.bench import MachineState, Moment

_THROTTLED_NOW = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""Bits of ``vcgencmd get_throttled`` for the present; 16–19 say the same since boot (Raspberry Pi documentation)."""

_SINCE_BOOT_SHIFT = 16
_NOW_MASK = 0xFFFF

_PROC = Path("/proc")
_SYS = Path("/sys")
_GROUPS = Path("/sys/fs/cgroup")

_BUSY_SHARE = 0.5
"""A load average above this share of the cores means that others work here."""

OTHERS_SHARE = 0.1
"""Others may take this share of all cores on average: background services of an idle board take 1–3%."""

BURST_SHARE = 0.3
"""Others who take more than this share of all cores for a while are a burst …"""

BURST_TIME = 0.05
"""… and may last for this share of the run: what is longer moves p95."""

WAITING_SHARE = 0.05
"""Somebody may wait for memory in this share of the time: pages come back from the disk then."""

CLOCK_FALL = 0.1
"""A clock that is this share below the highest one of the run has fallen …"""

CLOCK_TIME = 0.1
"""… and may be so in this share of the moments: a governor's step or two."""

_QEMU_TIMER_BOGOMIPS = "125.00"
"""What Linux on arm64 makes (2 × MHz, ``arch_timer_detect_rate``) of QEMU's 62.5 MHz generic timer
(``GTIMER_BACKCOMPAT_HZ``; newer processors of QEMU have 1 GHz, as hardware from Armv8.6 on has). A Raspberry Pi says
38.40 or 108.00, and a guest of KVM what its host says."""

_QEMU_MAX = ("0x00", "0x051")
"""``CPU implementer`` and ``CPU part`` of QEMU's processor ``max``, which only its emulation has."""

_HYPERVISOR_CLOCKS = ("kvm-clock", "hyperv", "xen")
"""Clock sources that Linux on x86 has as a guest of KVM, Hyper-V or Xen: the processor is a real one then."""


@dataclass(frozen=True)
class Vitals:
    """What changes while an application runs; see ``MachineState``. ``rss_bytes`` is this process's."""

    temperature_c: float | None
    throttled: int | None
    rss_bytes: int | None


def read_vitals() -> Vitals:
    """Read what changes: cheap enough to be asked every second."""
    return Vitals(find_gauges().temperature_c(), throttled_bits(), rss_bytes())


def read_machine(proc: Path = _PROC, sys: Path = _SYS) -> MachineState:
    """Read what the machine tells; what it does not tell is None. ``proc`` and ``sys`` are where it tells it."""
    import platform  # noqa: PLC0415 - only for those who ask for all of it

    from device_runtime.contract.bench import MachineState  # noqa: PLC0415

    gauges = find_gauges(sys)
    return MachineState(
        cpu=_cpu_model(proc),
        machine=platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        memory_bytes=_memory_bytes(),
        board=_board(sys),
        governor=_governor(sys),
        frequency_mhz=gauges.slowest_core_mhz(),
        temperature_c=gauges.temperature_c(),
        throttled=throttled_bits(),
        load_1min=os.getloadavg()[0],
        emulated=emulator(proc, sys),
    )


def disturbances(before: MachineState, after: MachineState, during: Sequence[Moment] = ()) -> tuple[str, ...]:
    """Return why the figures of a run are no result, in plain words; empty when nothing is known against them.

    Args:
        before: read before anything of the run's own.
        after: read when it was over.
        during: what ``watch.Watch`` saw.
    """
    if before.emulated is not None:
        return (f"emulated by {before.emulated}: wall times mean nothing here",)
    found = [f"the machine was slowed down: {name}" for name in throttling(before, after, during)]
    found += _fallen_clock(during)
    found += _others(before, during)
    waiting = max((each.waiting for each in during if each.waiting is not None), default=0.0)
    if waiting > WAITING_SHARE:
        found.append(f"memory was short: processes waited for it in up to {waiting:.0%} of the time")
    return tuple(found)


def throttling(before: MachineState, after: MachineState, during: Sequence[Moment] = ()) -> list[str]:
    """Name what slowed the machine down between two readings, or did so at one of them or in between.

    The bits since boot are sticky: only those that appeared count.
    """
    if before.throttled is None:
        return []
    bits = [after.throttled, *(each.throttled for each in during)]
    seen = before.throttled & _NOW_MASK
    for each in bits:
        if each is not None:
            seen |= (each & _NOW_MASK) | appeared_since(before.throttled, each)
    return _named(seen)


def appeared_since(before: int, bits: int) -> int:
    """Return, as bits 0–3, what came up at some time between two readings: the bits since boot are sticky."""
    return (bits & ~before) >> _SINCE_BOOT_SHIFT


def decode_throttled(bits: int) -> tuple[list[str], list[str]]:
    """Return what the bits of ``vcgencmd get_throttled`` say of the present, and of the time since boot."""
    return _named(bits), _named(bits >> _SINCE_BOOT_SHIFT)


def busy(state: MachineState) -> bool:
    """Tell whether others were working on the machine: ask before anything of one's own runs."""
    return state.load_1min is not None and state.load_1min > _BUSY_SHARE * state.cores


def emulator(proc: Path = _PROC, sys: Path = _SYS) -> str | None:
    """Return the emulator that plays this processor: ``qemu-user`` or ``qemu``; None where there is no sign of one.

    A virtual machine is no emulation: a guest of KVM runs on the real processor.
    """
    return _user_emulator(proc) or _machine_emulator(proc, sys)


@dataclass(frozen=True)
class Gauges:
    """Where this machine tells its clocks and its temperature: found once, to be read often."""

    clocks: tuple[Path, ...]
    thermometer: Path | None

    def slowest_core_mhz(self) -> float | None:
        """Read the clock of the slowest core."""
        clocks = [_scaled(path, 1e3) for path in self.clocks]
        return min((each for each in clocks if each is not None), default=None)

    def temperature_c(self) -> float | None:
        """Read the temperature of the processor."""
        return None if self.thermometer is None else _scaled(self.thermometer, 1e3)


def find_gauges(sys: Path = _SYS) -> Gauges:
    """Find the clock of each group of cores, and the thermal zone that is named after the processor, or the first."""
    zones = sorted((sys / "class" / "thermal").glob("thermal_zone*"), key=lambda path: (len(path.name), path.name))
    named = [zone for zone in zones if _is_processor(_text(zone / "type") or "")]
    told = [zone / "temp" for zone in (*named, *zones[:1]) if _scaled(zone / "temp", 1e3) is not None]
    return Gauges(tuple(_policies(sys, "scaling_cur_freq")), told[0] if told else None)


def throttled_bits() -> int | None:
    """Return the bits of ``vcgencmd get_throttled``; None where there is no such tool.

    It starts a process, so ask rarely. The firmware driver's file ``soc:firmware/get_throttled`` is no way round: Linux
    for the Raspberry Pi calls it deprecated, with a stack trace in the kernel's log, and it shows an older answer.
    """
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


def _cpu_model(proc: Path) -> str:
    import platform  # noqa: PLC0415 - see above

    fields = _cpu_fields(proc)
    # x86 says "model name"; arm64 kernels give numbers, and the board's name under "Model".
    return fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()


def _cpu_fields(proc: Path) -> dict[str, str]:
    """Return the first value of each field of ``cpuinfo``."""
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "cpuinfo").read_text().splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
    return fields


def _board(sys: Path) -> str | None:
    return _text(sys / "firmware" / "devicetree" / "base" / "model")


def _governor(sys: Path) -> str | None:
    """Return the cores' governor; several when they differ."""
    governors = {_text(path) for path in _policies(sys, "scaling_governor")} - {None}
    return ", ".join(sorted(str(each) for each in governors)) or None


def _policies(sys: Path, name: str) -> list[Path]:
    return sorted((sys / "devices" / "system" / "cpu" / "cpufreq").glob(f"policy*/{name}"))


def _is_processor(zone: str) -> bool:
    return any(word in zone.lower() for word in ("cpu", "soc", "pkg"))


def _user_emulator(proc: Path) -> str | None:
    """Tell by the program that really runs here: it is for another processor than this process believes to be.

    Under user-mode emulation ``/proc/self/exe`` is answered by the emulator with the program that it plays;
    ``/proc/thread-self/exe`` is not, and names the emulator (tried with qemu-user 10.0).
    """
    played, real = (_elf_machine(proc / which / "exe") for which in ("self", "thread-self"))
    if played is None or real is None:
        return None
    with contextlib.suppress(OSError):
        name = (proc / "thread-self" / "exe").readlink().name
        if name.startswith("qemu-"):
            return "qemu-user"
        if played != real:
            return name
    return None


def _elf_machine(program: Path) -> bytes | None:
    """Return ``e_machine`` of a program (ELF specification, "ELF Header"): what processor it is for."""
    with contextlib.suppress(OSError), program.open("rb") as stream:
        head = stream.read(20)
        if len(head) == 20 and head.startswith(b"\x7fELF"):
            return head[18:20]
    return None


def _machine_emulator(proc: Path, sys: Path) -> str | None:
    """Tell a whole machine that QEMU plays without the help of the real processor."""
    fields = _cpu_fields(proc)
    if "CPU implementer" in fields:
        # QEMU's own processor, or a machine of QEMU's, or a Raspberry Pi of its: with the timer of its emulation.
        known = (_text(sys / "firmware" / "devicetree" / "base" / "compatible") or "").replace("\0", " ")
        makes = f"{known} {_text(sys / 'class' / 'dmi' / 'id' / 'sys_vendor') or ''}"
        played = any(word in makes for word in ("linux,dummy-virt", "QEMU", "raspberrypi"))
        own = (fields["CPU implementer"], fields.get("CPU part")) == _QEMU_MAX
        return "qemu" if own or (played and fields.get("BogoMIPS") == _QEMU_TIMER_BOGOMIPS) else None
    clocks = _text(sys / "devices" / "system" / "clocksource" / "clocksource0" / "available_clocksource")
    if _text(sys / "class" / "dmi" / "id" / "sys_vendor") != "QEMU" or clocks is None:
        return None
    return None if any(word in clocks for word in _HYPERVISOR_CLOCKS) else "qemu"


def _fallen_clock(during: Sequence[Moment]) -> list[str]:
    clocks = [each.frequency_mhz for each in during if each.frequency_mhz is not None]
    if not clocks:
        return []
    highest = max(clocks)
    low = [each for each in clocks if each < (1 - CLOCK_FALL) * highest]
    # One moment may be the first one, when a governor has only begun to see the work.
    if len(low) < 2 or len(low) <= CLOCK_TIME * len(clocks):
        return []
    return [f"the clock fell: {min(low):.0f} MHz at the lowest, {highest:.0f} MHz at the highest"]


def _others(before: MachineState, during: Sequence[Moment]) -> list[str]:
    told = [(now.others, now.at_s - last.at_s) for last, now in itertools.pairwise(during) if now.others is not None]
    whole = sum(span for _, span in told)
    if not whole:
        if not busy(before):
            return []
        load = f"load {before.load_1min:.1f} on {before.cores} cores"
        return [f"the machine was busy before the run ({load}): others' work is in these figures"]
    mean = sum(share * span for share, span in told) / whole
    if mean > OTHERS_SHARE:
        return [f"others took {mean:.0%} of the cores: their work is in these figures"]
    if sum(span for share, span in told if share > BURST_SHARE) > BURST_TIME * whole:
        most = max(share for share, _ in told)
        return [f"others took up to {most:.0%} of the cores for a while: their work is in these figures"]
    return []


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _named(bits: int) -> list[str]:
    return [name for bit, name in _THROTTLED_NOW.items() if bits & (1 << bit)]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip("\0\n ") or None
    except (OSError, UnicodeDecodeError):
        return None


def _scaled(path: Path, factor: float) -> float | None:
    text = _text(path)
    try:
        return float(text) / factor if text is not None else None
    except ValueError:
        return None
