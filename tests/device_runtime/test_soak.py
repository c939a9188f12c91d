"""Twelve hours, shrunk to their essence: more frames than can be answered, everything switched on, nothing grows.

EDGEKIT_SOAK_S=600 makes it longer than the default of 20 s (make test-soak).
"""

import contextlib
import json
import os
import statistics
import threading
import time
import urllib.request

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.service import (
    ClipSpec,
    JsonLinesSpec,
    PageSpec,
    Region,
    Rule,
    ServiceSpec,
    SnapshotSpec,
    WebhookSpec,
)
from tests.device_runtime.test_check import install
from tests.support.running import get, page_of, start
from tests.support.tflite import detector_model

DURATION_S = float(os.environ.get("EDGEKIT_SOAK_S", "20"))
_GROWTH_BYTES = 4_000_000
"""What may be allocated late and once: a burst of clips, a fragmented heap."""


def everything(port):
    """All that an application can do, with budgets that are reached within seconds."""
    return ServiceSpec(
        source="synthetic:pattern?size=1280x720&fps=200",
        tracking=True,
        regions={"middle": Region(((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)))},
        rules=(Rule("seen", score=0.5), Rule("middle", region="middle", dwell_s=0.2, pause_s=0.1)),
        page=PageSpec(port=0),
        jsonl=JsonLinesSpec("predictions.jsonl", budget_mb=1),
        snapshots=SnapshotSpec("snapshots", budget_mb=1),
        clips=ClipSpec("clips", before_s=0.5, after_s=0.5, budget_mb=2),
        webhook=WebhookSpec(f"http://127.0.0.1:{port}/nobody-listens"),
    )


def look(url, stop):
    """Watch the video, as a browser does."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url + "stream.mjpg", timeout=30) as stream:  # noqa: S310
        while not stop.is_set() and stream.read(65536):
            pass


@pytest.mark.timeout(DURATION_S + 120)
def test_memory_and_age_stay_what_they_are_while_more_comes_than_can_be_answered(tmp_path):
    release = tmp_path / "release"
    release.mkdir()
    install(release)
    boxes = [(0.05 * n, 0.05 * n, 0.05 * n + 0.2, 0.05 * n + 0.2) for n in range(12)]
    detector_model(release / "model.tflite", boxes, [(0.9, 0.1)] * 12, ("a", "b"), size=(320, 320))
    (release / "service.json").write_text(dumps(everything(port=9)))
    samples, stop = [], threading.Event()
    with start("--release", release, "--data", tmp_path / "data", "--quiet") as process:
        try:
            url = page_of(process)
            viewer = threading.Thread(target=look, args=(url, stop))
            drain = threading.Thread(target=process.stderr.read)
            viewer.start()
            drain.start()
            end = time.monotonic() + DURATION_S
            while time.monotonic() < end:
                status = json.loads(get(url + "status.json"))
                if status.get("age_ms"):
                    samples.append((status["rss_bytes"], status["age_ms"]["p50"], status["frames"]["predicted"]))
                time.sleep(0.2)
            stop.set()
            process.terminate()
            process.wait(timeout=60)
        finally:
            process.kill()
            viewer.join(30)
            drain.join(30)
    assert process.returncode == 130
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    rss_middle, rss_last = (statistics.median(sample[0] for sample in part) for part in (middle, last))
    age_middle, age_last = (statistics.median(sample[1] for sample in part) for part in (middle, last))
    assert last[-1][2] > 20 * DURATION_S  # it was not idle
    assert rss_last - rss_middle < _GROWTH_BYTES
    assert age_last < 2 * age_middle + 5
    assert sum(path.stat().st_size for path in (tmp_path / "data").rglob("*") if path.is_file()) < 4_500_000
