"""What this machine tells of itself while an application runs."""

import os

import pytest

from device_runtime.machine import available_bytes, decode_throttled, read_vitals, usable_cores


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
