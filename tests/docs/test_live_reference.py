"""Tables of the live page's documentation that describe types and metrics in the code."""

import dataclasses
import re
from pathlib import Path

import pytest

from device_runtime.contract.live import LIVE_SCHEMA, LiveStatus, SinkStatus, StageWindow
from device_runtime.contract.service import PageSpec
from device_runtime.telemetry import HISTORY_S, WINDOW_S, Telemetry
from device_runtime.web.access import MIN_TOKEN, TOKEN_VARIABLE
from device_runtime.web.metrics import TelemetryCollector
from edgekit.monitoring.follow import PATIENCE_S
from tests.support.live_pages import IDENTITY

_DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("kind", [LiveStatus, StageWindow, SinkStatus])
def test_every_key_of_the_live_status_is_documented(kind):
    page = (_DOCS / "reference/live-json.md").read_text()
    part = next(piece for piece in page.split("\n## ") if piece.startswith(f"{kind.__name__}\n"))
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", part, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"\w+", cell)]
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(kind))


def test_every_metric_is_documented():
    page = (_DOCS / "reference/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    ends = {"counter": "_total", "info": "_info"}
    found = {family.name + ends.get(family.type, "") for family in TelemetryCollector(Telemetry(IDENTITY)).collect()}
    told_by_boards_only = {"edgekit_temperature_celsius", "edgekit_throttled_bits", "edgekit_cpu_percent"}
    assert documented - told_by_boards_only == found - told_by_boards_only
    assert told_by_boards_only <= documented


def test_the_figures_in_the_guide_are_those_of_the_code():
    guide, spec = (_DOCS / "guides/live-page.md").read_text(), PageSpec()
    assert f"port = {spec.port}\n" in guide
    assert f"viewers = {spec.viewers} " in guide
    assert f"fps = {spec.fps} " in guide
    assert f"width = {spec.width} " in guide
    assert f"a token of {MIN_TOKEN} characters" in guide
    assert TOKEN_VARIABLE in guide
    assert f"may be away for\n{PATIENCE_S:g} s" in guide
    reference = (_DOCS / "reference/live-json.md").read_text()
    assert f"`schema` is {LIVE_SCHEMA};" in reference
    assert f"over the last {WINDOW_S:g} s" in reference
    assert f"the last {HISTORY_S} whole seconds" in reference
