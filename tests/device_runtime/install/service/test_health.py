import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.pulse import Pulse
from device_runtime.contract.service import HealthSpec
from device_runtime.install.service.health import Sample, Start, judge
from device_runtime.install.service.keeper import Kept

_RELEASE = "a" * 64
_OLD = Kept("running", 10)
_START = Start(_RELEASE, 100.0, _OLD)
_HEALTH = HealthSpec(start_s=20, watch_s=10, watchdog_s=5)


def pulse(at_s, predictions=0, **changes):
    """A pulse of process 11, which began 1 s after the start."""
    found = Pulse(11, 100.0 + at_s, at_s - 1.0, "ok" if predictions else "starting", (), predictions, release=_RELEASE)
    return dataclasses.replace(found, **changes)


def starting(at_s, **changes):
    return Sample(100.0 + at_s, Kept("starting", 11), pulse(at_s, **changes))


def running(at_s, *, kept=None, **changes):
    """A look at a service that makes 10 predictions a second since second 2."""
    return Sample(
        100.0 + at_s, kept or Kept("running", 11), pulse(at_s, **{"predictions": int(10 * (at_s - 2)), **changes})
    )


def lives(until_s, **changes):
    """What is seen of a healthy service, once in half a second."""
    old = [Sample(100.0, _OLD), Sample(100.5, Kept("starting", 10))]
    new = [starting(each / 2) if each < 6 else running(each / 2, **changes) for each in range(3, int(until_s * 2) + 1)]
    return old + new


def seen(kept, at_s=5.5, own=None):
    return [*lives(5), Sample(100.0 + at_s, kept, own)]


def code(samples, start=_START, health=_HEALTH):
    verdict = judge(samples, start, health)
    return None if verdict is None else verdict.code or "ok"


def test_a_release_that_goes_on_predicting_is_healthy_at_the_end_of_the_watch_and_not_before():
    assert code(lives(12.5)) is None
    assert code(lives(13.5)) == "ok"


def test_a_watch_of_no_time_ends_with_the_first_prediction():
    assert code(lives(3), health=dataclasses.replace(_HEALTH, watch_s=0)) == "ok"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (seen(Kept("failed", 0, 0, "exit 1")), "crashed"),
        (seen(Kept("failed", 0, 4, "exit 1")), "crash-loop"),
        (seen(Kept("starting", 0, 0, "SIGSEGV")), "crashed"),
        (seen(Kept("starting", 0, 0, "out-of-memory")), "out-of-memory"),
        (seen(Kept("starting", 0, 0, "watchdog")), "hung"),
        (seen(Kept("running", 12, 1)), "crashed"),
        (seen(Kept("running", 12, 3)), "crash-loop"),
        (seen(Kept("running", 12)), "crashed"),
        (seen(Kept("stopped")), "stopped"),
        (seen(Kept("stopped", 0, 0, "exit 78")), "crashed"),
        ([Sample(101, _OLD), starting(2), Sample(103, Kept("failed", 0, 0, "start-timeout"))], "not-ready"),
        ([Sample(101, _OLD), Sample(102, Kept("starting", 11)), Sample(103, Kept("failed", 0, 5))], "crash-loop"),
        ([Sample(101, _OLD), *(starting(each) for each in range(2, 24))], "not-ready"),
        ([Sample(101, _OLD), *(starting(each, reasons=("camera: absent",)) for each in range(2, 24))], "no-frames"),
        (lives(5) + [Sample(105 + each, Kept("running", 11), pulse(5, 30)) for each in range(7)], "hung"),
        (lives(5) + [Sample(105 + each, Kept("running", 11)) for each in range(7)], "hung"),
        (lives(10) + [Sample(110 + each, Kept("running", 11), pulse(10, 80)) for each in range(7)], "hung"),
        (lives(13.5, predictions=7), "no-frames"),
        ([*lives(12.5), running(13.5, health="failing", reasons=("camera: gone",))], "no-frames"),
        ([Sample(100 + each, Kept("stopped")) for each in range(8)], "not-ready"),
        ([Sample(100 + each, _OLD, pulse(each, 50, release="b" * 64)) for each in range(125)], "not-ready"),
    ],
)
def test_what_is_seen_has_a_code(samples, expected):
    assert code(samples) == expected


def test_the_reason_says_what_the_release_said():
    samples = [
        Sample(101, _OLD),
        *(starting(each, reasons=("camera: /dev/video0 is absent",)) for each in range(2, 24)),
    ]
    assert judge(samples, _START, _HEALTH).reason == (
        "it made no prediction within 20 s: camera: /dev/video0 is absent"
    )


def test_a_rate_is_that_of_the_watch():
    assert code(lives(13.5), health=dataclasses.replace(_HEALTH, min_fps=9)) == "ok"
    slow = judge(lives(13.5), _START, dataclasses.replace(_HEALTH, min_fps=11))
    assert (slow.code, slow.reason) == ("too-slow", "expected 11 fps or more, got 10.0")


def test_an_age_is_that_of_the_last_predictions():
    health = dataclasses.replace(_HEALTH, max_p95_ms=50)
    assert code(lives(13.5, p95_ms=50.0), health=health) == "ok"
    assert code([*lives(12.5, p95_ms=90.0), running(13.5, p95_ms=40.0)], health=health) == "ok"
    assert code(lives(13.5, p95_ms=51.0), health=health) == "too-late"


def test_what_ran_before_is_not_taken_for_what_was_started():
    before = [Sample(100 + each / 2, _OLD, pulse(each / 2, 50, release="b" * 64, pid=10)) for each in range(30)]
    assert code(before) is None
    same = [Sample(100 + each / 2, _OLD, pulse(each / 2, 50, pid=10, uptime_s=900.0)) for each in range(30)]
    assert code(same) is None
    failed = Start(_RELEASE, 100.0, Kept("failed", 0, 5, "exit 1"))
    assert code([Sample(100.1, Kept("failed", 0, 5, "exit 1")), *lives(13.5)[2:]], failed) == "ok"
    assert code([Sample(100.1 + each, Kept("failed", 0, 5, "exit 1")) for each in range(7)], failed) == "crash-loop"


def test_without_a_start_what_runs_already_is_judged():
    going_on = Start(_RELEASE, 100.0)
    assert code([running(each, uptime_s=900.0) for each in range(3, 15)], going_on) == "ok"
    assert code([Sample(100.0, Kept("failed", 0, 5, "exit 1"))], going_on) == "crash-loop"


def test_a_source_that_was_over_is_fine_and_a_camera_that_was_stopped_is_not():
    file = dataclasses.replace(_START, ends=True)
    for ended in ("", "exit 0"):
        over = [Sample(101, _OLD), starting(2), Sample(103, Kept("stopped", ended=ended))]
        assert code(over, file) == "ok"
        assert code(over) == "stopped"
    # A launcher that found nothing to run had no pulse.
    nothing = [Sample(100.5, Kept("starting", 11)), *(Sample(101.0 + each, Kept("stopped")) for each in range(8))]
    assert code(nothing, file) == "not-ready"


_KEPT = st.builds(
    Kept,
    st.sampled_from(["running", "starting", "stopped", "failed"]),
    st.sampled_from([0, 10, 11, 12]),
    st.sampled_from([0, 0, 0, 1, 5]),
    st.sampled_from(["", "", "exit 1", "watchdog", "out-of-memory", "start-timeout", "anything"]),
)
_PULSES = st.none() | st.builds(
    pulse,
    st.floats(0, 40),
    st.integers(0, 500),
    release=st.sampled_from([_RELEASE, "b" * 64, None]),
    health=st.sampled_from(["starting", "ok", "failing"]),
    uptime_s=st.floats(0, 50),
)


@given(st.lists(st.tuples(st.floats(0, 3), _KEPT, _PULSES), max_size=40), st.booleans())
def test_whatever_is_seen_a_verdict_is_good_or_has_a_code_and_does_not_change(looks, ends):
    clock_s, samples = 100.0, []
    for step_s, kept, own in looks:
        clock_s += step_s
        samples.append(Sample(clock_s, kept, own))
    start = dataclasses.replace(_START, ends=ends)
    verdict = judge(samples, start, _HEALTH)
    if verdict is None:
        return
    assert verdict.ok != bool(verdict.code)
    assert verdict.ok != bool(verdict.reason)
    assert judge([*samples, *seen(Kept("failed"))], start, _HEALTH) == verdict


@given(
    st.integers(4, 12),
    st.sampled_from(
        [Kept("failed"), Kept("running", 12), Kept("running", 11, 1), Kept("starting", 0, 0, "exit 1"), Kept("stopped")]
    ),
    st.integers(1, 60),
)
def test_a_release_that_died_before_its_end_is_never_healthy(died_s, death, more):
    alive = [running(died_s + each / 2) for each in range(1, more)]
    verdict = judge([*lives(died_s), Sample(100.0 + died_s, death), *alive], _START, _HEALTH)
    assert not verdict.ok
