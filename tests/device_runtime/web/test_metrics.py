"""Metrics, as Prometheus reads them."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families

from device_runtime.contract.live import SinkStatus
from device_runtime.contract.prediction import Item, RuleEvent
from device_runtime.telemetry import Telemetry
from device_runtime.web.metrics import Exposition
from tests.support.live_pages import IDENTITY, make_prediction, running


@pytest.fixture
def telemetry():
    made = Telemetry(IDENTITY)
    made.workers = 2
    event = RuleEvent("1", 'odd "rule"\n', "begin", "2026-01-02T03:04:05+00:00", 0, Item(0, "bolt"))
    made.predicted(make_prediction(0, events=(event,)))
    made.predicted(make_prediction(1))
    made.dropped(3)
    made.damaged()
    made.camera_lost("gone")
    made.watch_sinks(lambda: {"mqtt": SinkStatus(5, 2, 1, "no broker")})
    made.watch_viewers(lambda: 4)
    return made


def samples(families):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_what_was_counted_is_what_prometheus_reads(telemetry):
    text, kind = Exposition(telemetry).text("")
    assert kind.startswith("text/plain")
    found = samples(text_string_to_metric_families(text.decode()))
    assert found["edgekit_frames_total", ("outcome", "predicted")] == 2
    assert found["edgekit_frames_total", ("outcome", "dropped")] == 3
    assert found["edgekit_frames_total", ("outcome", "damaged")] == 1
    assert found["edgekit_sink_items_total", ("outcome", "dropped"), ("sink", "mqtt")] == 2
    assert found["edgekit_events_total", ("rule", 'odd "rule"\n')] == 1
    assert (found["edgekit_camera_up",], found["edgekit_viewers",], found["edgekit_workers",]) == (0, 4, 2)
    assert found["edgekit_resident_memory_bytes",] > 1e6
    info = next(key for key in found if key[0] == "edgekit_release_info")
    assert ("release", "belt 0.1.0") in info
    assert found["edgekit_inference_stage_seconds_count", ("stage", "invoke")] == 2
    assert found["edgekit_inference_stage_seconds_sum", ("stage", "invoke")] == pytest.approx(0.013)
    assert found["edgekit_inference_stage_seconds_bucket", ("le", "0.005"), ("stage", "invoke")] == 0
    assert found["edgekit_inference_stage_seconds_bucket", ("le", "0.01"), ("stage", "invoke")] == 2
    assert found["edgekit_inference_stage_seconds_bucket", ("le", "+Inf"), ("stage", "invoke")] == 2


def test_a_scraper_that_prefers_open_metrics_gets_it(telemetry):
    text, kind = Exposition(telemetry).text("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert samples(parse_open_metrics(text.decode()))["edgekit_fps",] >= 0


def test_the_page_serves_them(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running() as application:
        application.step()
        answer = application.ask("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert samples(text_string_to_metric_families(answer.text))["edgekit_fps",] >= 0
