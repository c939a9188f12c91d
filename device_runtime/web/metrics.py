"""The application's figures in Prometheus' format, read when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from device_runtime import __version__
from device_runtime.contract.live import LiveStatus
from device_runtime.telemetry import BUCKETS_MS, Histogram, Telemetry


class TelemetryCollector(Collector):
    """Turns a ``Telemetry`` into metrics; nothing is counted twice, and nothing while nobody asks."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Read ``telemetry``."""
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """Give all metrics (docs/reference/metrics.md)."""
        status = self._telemetry.status()
        yield _stages(self._telemetry.histograms())
        yield _counter("edgekit_frames", "Frames by what became of them.", ("outcome",), by(status.frames))
        yield _release(status)
        yield from _gauges(status)
        yield _counter(
            "edgekit_camera_reopened", "Times that the camera was opened again.", (), [((), status.reopened)]
        )
        sinks = [
            ((name, outcome), getattr(sink, outcome))
            for name, sink in status.sinks.items()
            for outcome in ("taken", "dropped", "failed")
        ]
        yield _counter("edgekit_sink_items", "Predictions by sink and what became of them.", ("sink", "outcome"), sinks)
        yield _counter("edgekit_events", "Events that a rule began.", ("rule",), by(self._telemetry.event_counts()))


class Exposition:
    """The text of all metrics, in the format that a scraper prefers."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Make a registry of its own: what other libraries register globally is not shown."""
        self._registry = CollectorRegistry()
        self._registry.register(TelemetryCollector(telemetry))

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type, for a scraper's ``Accept`` header."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type


def by(counts: dict[str, int]) -> list[tuple[tuple[str, ...], int]]:
    """Return counts with their names as labels."""
    return [((name,), count) for name, count in counts.items()]


def _stages(histograms: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(
        "edgekit_inference_stage_seconds",
        "Latency of each stage; total is from a frame's capture to its decoded prediction.",
        labels=("stage",),
    )
    bounds = [*(repr(bound / 1000) for bound in BUCKETS_MS), "+Inf"]
    for stage, histogram in histograms.items():
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric([stage], buckets, histogram.sum_ms / 1000)
    return family


def _release(status: LiveStatus) -> Metric:
    return InfoMetricFamily(
        "edgekit_release",
        "What runs.",
        {
            "release": status.release or "",
            "model": status.model,
            "engine": status.engine,
            "source": status.source,
            "version": __version__,
        },
    )


def _gauges(status: LiveStatus) -> Iterator[Metric]:
    figures: list[tuple[str, str, float | None]] = [
        ("edgekit_fps", "Predictions per second, of the last seconds.", status.fps),
        ("edgekit_healthy", "1 while the application's health is ok.", status.health == "ok"),
        ("edgekit_camera_up", "1 while the camera gives frames.", status.camera == "ok"),
        ("edgekit_workers", "Frames that are run at the same time.", status.workers),
        ("edgekit_viewers", "Viewers of the live video.", status.viewers),
        ("edgekit_uptime_seconds", "Time since the application started.", status.uptime_s),
        ("edgekit_temperature_celsius", "Temperature of the processor.", status.temperature_c),
        ("edgekit_throttled_bits", "The bits of vcgencmd get_throttled.", status.throttled),
        ("edgekit_resident_memory_bytes", "Resident memory of the application.", status.rss_bytes),
        ("edgekit_cpu_percent", "Share of one core that the application uses.", status.cpu_percent),
    ]
    for name, what, value in figures:
        if value is not None:
            yield GaugeMetricFamily(name, what, value=float(value))


def _counter(
    name: str, what: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family
