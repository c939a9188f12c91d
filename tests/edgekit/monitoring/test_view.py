"""A status in a terminal."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.live import SinkStatus
from device_runtime.contract.prediction import Item, RuleEvent
from device_runtime.telemetry import Telemetry
from edgekit.monitoring.view import make_view, one_line, sparkline
from tests.support.live_pages import IDENTITY, make_prediction


def status(items=None, **changes):
    telemetry = Telemetry(IDENTITY)
    telemetry.predicted(make_prediction(0, items))
    return dataclasses.replace(telemetry.status(), **changes)


def test_a_view_has_what_the_page_has():
    event = RuleEvent("1", "exit", "begin", "2026-01-02T03:04:05+00:00", 0, Item(0, "bolt"))
    view = make_view(
        status(sinks={"mqtt": SinkStatus(5, 2, 1, "no broker")}, events=(event,), throttled=0x50004, temperature_c=61.2)
    )
    assert (view.headline, view.tone) == ("belt 0.1.0  ok", "good")
    assert [block.title for block in view.blocks] == ["latency, ms", "last prediction", "sinks", "events (UTC)"]
    assert ("invoke", "6.00", "6.00", "6.00") in view.blocks[0].rows
    assert view.blocks[1].rows == (("bolt", "0.93", "100 x 80 at 20, 30"),)
    assert view.blocks[2].rows == (("mqtt", "5", "2", "1", "no broker"),)
    assert view.blocks[3].rows == (("03:04:05", "exit", "begin", "bolt"),)
    assert any("61 °C, throttled" in line for line in view.lines)


def test_what_is_wrong_comes_first():
    view = make_view(status(health="failing", reasons=("camera: gone",)))
    assert (view.tone, view.lines[0]) == ("bad", "camera: gone")
    assert make_view(status(), "no answer for 3 s").headline == "belt 0.1.0  no answer for 3 s"


def test_one_line_is_for_logs():
    line = one_line(status(health="failing", reasons=("camera: gone",), camera="lost"))
    assert "failing" in line
    assert "age 9.0 ms" in line
    assert "bolt 0.93" in line
    assert line.endswith("camera lost  bolt 0.93  camera: gone")


def test_what_a_board_calls_things_cannot_steer_the_terminal():
    evil = "\x1b[2Jbolt\r\n\x07"
    shown = status((Item(0, evil, 0.9),), reasons=(evil,), release=evil, source=evil)
    view = make_view(shown)
    texts = [
        view.headline,
        *view.lines,
        one_line(shown),
        *(cell for b in view.blocks for row in b.rows for cell in row),
    ]
    assert all(text.isprintable() for text in texts)


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_a_sparkline_has_a_letter_for_each_value(values):
    assert len(sparkline(values)) == len(values)


def test_a_sparkline_rises_with_its_values():
    assert sparkline([0, 1, 2, 4, 8]) == "▁▂▃▅█"
    assert sparkline([0, 0]) == "▁▁"
