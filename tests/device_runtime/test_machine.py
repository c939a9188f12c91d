"""What this machine tells of itself while an application runs."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

import device_runtime
from converters.cache import cache_folder
from device_runtime.contract.bench import MachineState, Moment
from device_runtime.machine import (
    available_bytes,
    decode_throttled,
    disturbances,
    emulator,
    find_gauges,
    read_machine,
    read_vitals,
    usable_cores,
)


def test_the_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert 1 <= usable_cores() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_memory_is_this_process_own():
    before = read_vitals().rss_bytes
    kept = bytearray(b"x" * 30_000_000)
    after = read_vitals().rss_bytes
    assert len(kept) == 30_000_000
    assert 25_000_000 <= after - before <= 60_000_000


def test_the_bits_of_throttling_have_names():
    assert decode_throttled(0x50005) == (["under-voltage", "throttled"], ["under-voltage", "throttled"])
    assert decode_throttled(0) == ([], [])


GB = 1 << 30


def machine_with(tmp_path, groups, machine_bytes=8 * GB):
    """Files as /proc and /sys/fs/cgroup have them; ``groups`` are (path, max, high, current, inactive file bytes)."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    if machine_bytes is not None:
        (proc / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {machine_bytes // 1024} kB\n")
    (proc / "self" / "cgroup").write_text("0::/system.slice/app.service\n")
    for path, most, high, current, inactive in groups:
        folder = root / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.high").write_text(f"{high}\n")
        (folder / "memory.current").write_text(f"{current}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\nactive_file 7\n")
    return proc, root


APP, SLICE = "system.slice/app.service", "system.slice"


@pytest.mark.parametrize(
    ("groups", "machine_bytes", "wanted"),
    [
        ([], 8 * GB, 8 * GB),
        ([], None, None),
        ([(APP, "max", "max", GB, 0)], 8 * GB, 8 * GB),
        ([(APP, 2 * GB, "max", GB, 0)], 8 * GB, GB),
        ([(APP, 2 * GB, "max", GB, GB // 2)], 8 * GB, GB + GB // 2),
        ([(APP, 2 * GB, GB + 5, GB, 0)], 8 * GB, 5),
        ([(APP, GB, "max", 2 * GB, 0)], 8 * GB, 0),
        ([(APP, 4 * GB, "max", GB, 0), (SLICE, 3 * GB, "max", 2 * GB, 0)], 8 * GB, GB),
        ([(APP, 4 * GB, "max", 0, 0)], 3 * GB, 3 * GB),
        ([(APP, 4 * GB, "max", 0, 0)], None, 4 * GB),
        ([(APP, "much", "max", 0, 0)], 8 * GB, 8 * GB),
    ],
)
def test_memory_is_what_the_machine_and_the_limits_of_a_service_leave(tmp_path, groups, machine_bytes, wanted):
    assert available_bytes(*machine_with(tmp_path, groups, machine_bytes)) == wanted


def test_without_control_groups_memory_is_the_machines(tmp_path):
    proc, root = machine_with(tmp_path, [])
    (proc / "self" / "cgroup").unlink()
    assert available_bytes(proc, root) == 8 * GB


IDLE = MachineState("Cortex-A72", "aarch64", 4, "6.1", "3.11", throttled=0, load_1min=0.1)


def run_of(count=30, **values):
    """Moments of a run, one per second; a value that is a list is shorter than the run, and the rest has its last."""
    rows = [
        {name: value[min(at, len(value) - 1)] if isinstance(value, list) else value for name, value in values.items()}
        for at in range(count)
    ]
    return tuple(Moment(float(at), **row) for at, row in enumerate(rows))


def test_a_quiet_run_is_not_disturbed():
    during = run_of(frequency_mhz=1500.0, temperature_c=60.0, throttled=0, others=0.03, waiting=0.0)
    assert disturbances(IDLE, IDLE, during) == ()
    assert disturbances(IDLE, IDLE) == ()


@pytest.mark.parametrize(
    ("before", "after", "during", "expected"),
    [
        (None, 0x5, (), []),
        (0x0, None, (0x50005, None), ["under-voltage", "throttled"]),
        (0x50000, 0x50000, (None, 0x50000), []),  # it happened before the run: sticky bits
        (0x50000, 0x50000, (0x50004,), ["throttled"]),
        (0x50000, 0xF0000, (), ["frequency capped", "soft temperature limit"]),
        (0x10001, 0x10000, (), ["under-voltage"]),
    ],
)
def test_throttling_during_the_run_is_a_reason_for_each_bit(before, after, during, expected):
    readings = [dataclasses.replace(IDLE, throttled=bits) for bits in (before, after)]
    moments = tuple(Moment(float(at), throttled=bits) for at, bits in enumerate(during))
    assert disturbances(*readings, moments) == tuple(f"the machine was slowed down: {name}" for name in expected)


@pytest.mark.parametrize(
    ("clocks", "reasons"),
    [
        ([600.0, 1500.0], 0),  # the governor sees the work
        ([1500.0, 1400.0], 0),
        ([1500.0] * 10 + [1000.0], 1),
        ([1500.0] * 5 + [1000.0] * 4 + [1500.0], 1),
    ],
)
def test_a_clock_that_falls_for_a_while_is_a_reason(clocks, reasons):
    found = disturbances(IDLE, IDLE, run_of(frequency_mhz=clocks))
    assert found == ("the clock fell: 1000 MHz at the lowest, 1500 MHz at the highest",) * reasons


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([None, 0.08], None),
        ([None, 0.25], "others took 25% of the cores"),
        ([None, 0.6, 0.0], None),  # 1 s of 29
        ([None, 0.6, 0.6, 0.0], "others took up to 60% of the cores for a while"),
        ([None], None),
    ],
)
def test_work_of_others_is_a_reason_when_it_is_much_or_lasts(others, words):
    found = disturbances(IDLE, IDLE, run_of(others=others))
    assert [each.partition(":")[0] for each in found] == ([] if words is None else [words])


def test_the_load_before_tells_of_others_where_the_run_does_not():
    loaded = dataclasses.replace(IDLE, load_1min=3.0)
    assert disturbances(loaded, IDLE) == (
        "the machine was busy before the run (load 3.0 on 4 cores): others' work is in these figures",
    )
    assert disturbances(loaded, IDLE, run_of(others=[None, 0.0])) == ()


def test_short_memory_is_a_reason():
    assert disturbances(IDLE, IDLE, run_of(waiting=[0.0, 0.02, 0.31, 0.0])) == (
        "memory was short: processes waited for it in up to 31% of the time",
    )


def test_a_governor_is_no_disturbance():
    assert disturbances(dataclasses.replace(IDLE, governor="ondemand"), IDLE) == ()


def test_emulation_is_the_only_reason_that_counts():
    played = dataclasses.replace(IDLE, emulated="qemu-user", load_1min=9.0)
    assert disturbances(played, played, run_of(others=[None, 0.9])) == (
        "emulated by qemu-user: wall times mean nothing here",
    )


def test_the_slowest_cores_clock_and_all_governors_are_told(tmp_path):
    for policy, clock, governor in ((0, 1_400_000, "schedutil"), (4, 2_000_000, "performance")):
        folder = tmp_path / "devices/system/cpu/cpufreq" / f"policy{policy}"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{clock}\n")
        (folder / "scaling_governor").write_text(f"{governor}\n")
    machine = read_machine(sys=tmp_path)
    assert (machine.frequency_mhz, machine.governor) == (1400.0, "performance, schedutil")


def test_the_first_thermal_zone_is_asked_where_none_is_named_after_the_processor(tmp_path):
    for zone, kind in ((0, "acpitz"), (1, "battery"), (10, "gpu-thermal")):
        folder = tmp_path / "class/thermal" / f"thermal_zone{zone}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
        (folder / "temp").write_text(f"{40_000 + zone}\n")
    assert find_gauges(tmp_path).temperature_c() == 40.0


ARM64, X86 = 0xB7, 0x3E
"""EM_AARCH64 and EM_X86_64."""


def program(path, machine):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + bytes(44))
    return path


@pytest.mark.parametrize(
    ("played", "real", "expected"),
    [
        (("python3.11", ARM64), ("python3.11", ARM64), None),
        (("python3.11", ARM64), ("qemu-aarch64-static", X86), "qemu-user"),
        (("python3.11", X86), ("qemu-x86_64", X86), "qemu-user"),
        (("python3.11", X86), ("box64", ARM64), "box64"),
    ],
)
def test_a_process_is_emulated_when_another_program_runs_in_its_place(tmp_path, played, real, expected):
    for place, (name, machine) in (("self", played), ("thread-self", real)):
        (tmp_path / "proc" / place).mkdir(parents=True)
        (tmp_path / "proc" / place / "exe").symlink_to(program(tmp_path / place / name, machine))
    assert emulator(tmp_path / "proc", tmp_path / "sys") == expected


ARM = "processor : 0\nBogoMIPS\t: {bogomips}\nCPU implementer\t: {maker}\nCPU part\t: {part}\n"
COMPATIBLE = "firmware/devicetree/base/compatible"
VENDOR = "class/dmi/id/sys_vendor"
CLOCKS = "devices/system/clocksource/clocksource0/available_clocksource"


@pytest.mark.parametrize(
    ("cpuinfo", "files", "expected"),
    [
        (ARM.format(bogomips="108.00", maker="0x41", part="0xd08"), {COMPATIBLE: "raspberrypi,4-model-b\0"}, None),
        (ARM.format(bogomips="125.00", maker="0x41", part="0xd03"), {COMPATIBLE: "raspberrypi,3-model-b\0"}, "qemu"),
        (ARM.format(bogomips="125.00", maker="0x41", part="0xd08"), {COMPATIBLE: "linux,dummy-virt\0"}, "qemu"),
        (ARM.format(bogomips="125.00", maker="0x41", part="0xd08"), {VENDOR: "QEMU\n"}, "qemu"),
        (ARM.format(bogomips="2000.00", maker="0x00", part="0x051"), {}, "qemu"),
        # KVM: the processor and its timer are the host's.
        (ARM.format(bogomips="50.00", maker="0x41", part="0xd0c"), {COMPATIBLE: "linux,dummy-virt\0"}, None),
        (ARM.format(bogomips="125.00", maker="0x41", part="0xd08"), {COMPATIBLE: "vendor,board\0"}, None),
        ("model name : QEMU Virtual CPU\n", {VENDOR: "QEMU\n", CLOCKS: "tsc hpet acpi_pm\n"}, "qemu"),
        ("model name : AMD EPYC\n", {VENDOR: "QEMU\n", CLOCKS: "kvm-clock tsc hpet acpi_pm\n"}, None),
        ("model name : Intel Core\n", {VENDOR: "Dell Inc.\n", CLOCKS: "tsc hpet acpi_pm\n"}, None),
        ("", {}, None),
    ],
)
def test_a_machine_is_emulated_when_qemu_plays_it_without_the_real_processor(tmp_path, cpuinfo, files, expected):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo)
    for path, text in files.items():
        (tmp_path / "sys" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / path).write_text(text)
    assert emulator(tmp_path / "proc", tmp_path / "sys") == expected


@pytest.mark.board
def test_a_python_under_qemu_user_knows_that_it_is_emulated():
    emulators = sorted(cache_folder().glob("board-*/qemu-aarch64"))
    pythons = sorted(cache_folder().glob("board-*/usr/bin/python3.*[0-9]"))
    if not emulators or not pythons:
        pytest.skip("no emulator, or no board's root, in the cache: make test-board gets them")
    root = pythons[0].parents[2]
    command = [emulators[0], "-L", root, "-E", f"LD_LIBRARY_PATH={root}/lib/aarch64-linux-gnu", pythons[0], "-c"]
    done = subprocess.run(
        [*command, "from device_runtime.machine import read_machine as read; print(read().machine, read().emulated)"],
        env={"PYTHONPATH": str(Path(device_runtime.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["aarch64", "qemu-user"]
