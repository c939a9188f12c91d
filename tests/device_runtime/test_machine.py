"""What this machine tells of itself while an application runs."""

import os

from device_runtime.machine import decode_throttled, read_vitals, usable_cores


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
