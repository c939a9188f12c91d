"""Counting what the loop does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.decode import loads
from device_runtime.contract.live import LiveStatus
from device_runtime.contract.prediction import STAGES, Item, Prediction, RuleEvent, json_line
from device_runtime.telemetry import HISTORY_S, Histogram, Identity, Rates, Telemetry, summarise_window


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def telemetry(clock):
    return Telemetry(Identity("belt", "litert", "v4l2:0"), clock)


def prediction(index=0, invoke=6.0, events=()):
    return Prediction(index, 1, (Item(0, "bolt", 0.9),), {"invoke": invoke, "total": invoke + 2}, events)


def test_the_rate_is_that_of_the_last_seconds_and_falls_when_predictions_stop(telemetry, clock):
    for index in range(100):
        telemetry.predicted(prediction(index))
        clock.now += 0.1
    assert telemetry.status().fps == pytest.approx(10, rel=0.05)
    clock.now += 2
    assert telemetry.status().fps < 7
    clock.now += 10
    assert telemetry.status().fps == 0


def test_latencies_are_those_of_the_last_seconds(telemetry, clock):
    telemetry.predicted(prediction(invoke=500.0))
    clock.now += 6
    for index in range(100):
        telemetry.predicted(prediction(index, invoke=float(index)))
    stages = telemetry.status().stages_ms
    assert (stages["invoke"].mean, stages["invoke"].p50, stages["invoke"].p95) == (49.5, 50.0, 94.0)
    assert telemetry.status().age_ms == stages["total"]
    assert "prepare" not in stages


def test_the_history_has_a_number_for_each_whole_second_and_gaps_stay_gaps(telemetry, clock):
    for second in (0, 1, 3):
        clock.now = 100.0 + second
        for index in range(second + 1):
            telemetry.predicted(prediction(index, invoke=10.0 * (index + 1)))
        telemetry.dropped(second)
    clock.now = 104.5
    history = telemetry.status().history
    assert history["fps"] == (1.0, 2.0, 0.0, 4.0)
    assert history["dropped"] == (0.0, 1.0, 0.0, 3.0)
    assert history["invoke"] == (10.0, 15.0, 0.0, 25.0)
    assert set(history) == {"fps", "dropped", *STAGES}
    clock.now = 1000.0
    assert telemetry.status().history["fps"] == (0.0,) * HISTORY_S


def test_health_is_lost_with_the_camera_and_without_predictions(telemetry, clock):
    assert telemetry.health() == ("starting", ())
    telemetry.predicted(prediction())
    assert telemetry.health() == ("ok", ())
    telemetry.camera_lost("unplugged")
    assert telemetry.health() == ("failing", ("camera: unplugged",))
    telemetry.camera_back()
    assert telemetry.health() == ("ok", ())
    clock.now += 11
    assert telemetry.health() == ("failing", ("no prediction for 11 s",))
    telemetry.camera_ended()
    assert telemetry.health() == ("ok", ())
    assert telemetry.status().reopened == 1


def test_events_are_counted_by_the_rule_that_began(telemetry):
    item = Item(0, "bolt")
    for number, phase in enumerate(("begin", "end", "begin")):
        event = RuleEvent(str(number), "exit", phase, "2026-01-02T03:04:05+00:00", number, item)
        telemetry.predicted(prediction(number, events=(event,)))
    assert telemetry.event_counts() == {"exit": 2}
    assert [event.id for event in telemetry.status().events] == ["0", "1", "2"]


def test_memory_does_not_grow_with_time(telemetry, clock):
    item = Item(0, "bolt")
    for number in range(20000):
        event = RuleEvent(str(number), "exit", "begin", "2026-01-02T03:04:05+00:00", number, item)
        telemetry.predicted(prediction(number, events=(event,)))
        clock.now += 0.5
    status = telemetry.status()
    assert (len(status.events), len(status.history["fps"])) == (20, HISTORY_S)


def test_a_status_survives_its_journey_as_json(telemetry, clock):
    telemetry.predicted(prediction())
    clock.now += 3
    status = telemetry.status()
    assert loads(LiveStatus, json_line(status), "status") == status


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_every_latency_is_in_one_bucket_and_the_summary_is_among_them(values):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.sum_ms == pytest.approx(sum(values))
    window = summarise_window(values)
    assert min(values) - 0.001 <= window.p50 <= window.p95 <= max(values) + 0.001


def test_the_rates_are_those_that_the_status_has(telemetry, clock):
    assert telemetry.rates() == Rates(0, 0.0, None)
    for number in range(400):
        telemetry.predicted(prediction(number, invoke=float(number)))
        clock.now += 0.04
    status, rates = telemetry.status(), telemetry.rates()
    assert rates.fps == status.fps == pytest.approx(25, rel=0.02)
    assert rates.p95_ms == (status.age_ms and status.age_ms.p95)
    assert rates.predictions == 400
    clock.now += 60
    assert telemetry.rates() == Rates(400, 0.0, None)
