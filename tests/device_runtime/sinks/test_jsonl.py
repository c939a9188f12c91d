"""JSON lines: each whole, under a budget, with the keys of a prediction."""

import contextlib
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.prediction import Item, Prediction
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.sinks.jsonl import JsonLines, JsonLinesFile
from tests.support.events import event, frame, predicted


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path, predictions, what="predictions", budget_mb=1):
    sink = JsonLinesFile(path, what, budget_mb)
    for prediction in predictions:
        sink.take(frame(), prediction)
    sink.close(failed=False)
    return lines(path)


def test_a_line_has_the_keys_of_a_prediction_and_none_that_says_nothing():
    stream = io.StringIO()
    JsonLines(stream).take(frame(), Prediction(3, 4, (Item(1, "zwölf", 0.5),), {"invoke": 1.5}))
    assert stream.getvalue().endswith("}\n")
    assert json.loads(stream.getvalue()) == {
        "frame_index": 3,
        "captured_ns": 4,
        "items": [{"index": 1, "label": "zwölf", "score": 0.5}],
        "timings_ms": {"invoke": 1.5},
        "events": [],
    }


def test_a_reader_that_went_away_is_an_error_of_ours():
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w", buffering=1)
    with pytest.raises(EdgeError, match=r"cannot write predictions to .*: broken pipe"):
        JsonLines(stream).take(frame(), predicted())
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_file_holds_predictions_or_events(tmp_path):
    shown = [predicted(index=0), predicted(event(1), event(2), index=1), predicted(index=2)]
    assert [line["frame_index"] for line in written(tmp_path / "a" / "p.jsonl", shown)] == [0, 1, 2]
    events = written(tmp_path / "e.jsonl", shown, "events")
    assert [line["id"] for line in events] == [event(1).id, event(2).id]
    assert events[0]["rule"] == "stays"


def test_a_file_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "p.jsonl"
    written(path, [predicted(index=0)])
    assert [line["frame_index"] for line in written(path, [predicted(index=1)])] == [0, 1]


def test_the_file_and_the_one_before_it_stay_within_the_budget(tmp_path):
    path = tmp_path / "p.jsonl"
    sink = JsonLinesFile(path, "predictions", 1)
    count = 8000
    for index in range(count):
        sink.take(frame(), predicted(index=index))
    sink.close(failed=False)
    old = tmp_path / "p.jsonl.1"
    assert path.stat().st_size + old.stat().st_size <= 1_000_000
    assert sorted(tmp_path.iterdir()) == [path, old]
    kept = [line["frame_index"] for line in lines(old) + lines(path)]
    assert kept == list(range(kept[0], count))


def test_a_file_that_somebody_else_put_away_begins_anew(tmp_path):
    path = tmp_path / "p.jsonl"
    sink = JsonLinesFile(path, "predictions", 1)
    sink.take(frame(), predicted())
    path.rename(tmp_path / "mine")
    for index in range(6000):
        sink.take(frame(), predicted(index=index))
    sink.close(failed=False)
    assert lines(path)[-1]["frame_index"] == 5999


@given(st.integers(0, 400))
def test_a_line_that_was_cut_by_a_power_cut_is_removed(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "p.jsonl"
    written(path, [predicted(index=index) for index in range(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    assert [line["frame_index"] for line in written(path, [Prediction(9, 0, ())])] == [*range(kept), 9]


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    path.write_text("milk, bread")
    with pytest.raises(BadFileError, match="expected JSON lines, got something else"):
        JsonLinesFile(path, "events", 1)
    assert path.read_text() == "milk, bread"


def test_a_full_disk_is_an_error_and_leaves_whole_lines_and_space_mends_it(small_disk):
    path = small_disk / "p.jsonl"
    sink = JsonLinesFile(path, "predictions", 50)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    given = []

    def fill():
        for index in range(10_000):
            sink.take(frame(), predicted(index=index))
            given.append(index)

    with pytest.raises(EdgeError, match="no space left on the disk"):
        fill()
    assert [line["frame_index"] for line in lines(path)] == given
    filler.unlink()
    sink.take(frame(), predicted(index=77_777))
    sink.close(failed=False)
    assert lines(path)[-1]["frame_index"] == 77_777


def test_a_folder_that_cannot_be_made_is_an_error_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match="cannot write"):
        JsonLinesFile(tmp_path / "file" / "p.jsonl", "events", 1)
