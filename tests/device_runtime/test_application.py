"""A whole application in its own process: camera, model, tracking, rules, sinks and page, and every way to end."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from PIL import Image

from device_runtime.application import Application, default_workers, run_application
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
from device_runtime.errors import BadFileError, EdgeError, ModelError
from device_runtime.loop.run import Limits
from device_runtime.machine import usable_cores
from tests.device_runtime.test_check import install
from tests.support.running import get, page_of, start
from tests.support.tflite import brightness_model, detector_model
from tests.support.video import ListSink

LEFT = Region(((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
OBJECTS = [(0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)]


def detector(tmp_path):
    return detector_model(tmp_path / "m.tflite", OBJECTS, [(0.9, 0.0), (0.0, 0.8)], ("cat", "dog"))


def application(tmp_path, spec, frames=20, **service):
    service = {"source": "synthetic:pattern"} | service
    limits = Limits(frames)
    return Application(
        tmp_path / "m.tflite", spec, ServiceSpec(**service), "app", data=tmp_path / "data", limits=limits
    )


def run(app, events=None):
    sink = ListSink()
    summary = run_application(app, lambda _: [sink], (events if events is not None else []).append)
    return summary, [prediction for _, prediction in sink.taken]


def test_objects_are_tracked_and_rules_make_events_of_them(tmp_path):
    rules = (Rule("left", labels=("cat",), region="left"), Rule("dogs-left", labels=("dog",), region="left"))
    app = application(tmp_path, detector(tmp_path), tracking=True, rules=rules, regions={"left": LEFT})
    _, predictions = run(app)
    assert {item.track for prediction in predictions[:-1] for item in prediction.items} == {1, 2}
    events = [event for prediction in predictions for event in prediction.events]
    assert [(event.rule, event.phase, event.item.label) for event in events] == [
        ("left", "begin", "cat"),
        ("left", "end", "cat"),
    ]


def test_events_reach_files_under_the_data_folder(tmp_path):
    app = application(
        tmp_path,
        detector(tmp_path),
        rules=(Rule("cat", labels=("cat",)),),
        jsonl=JsonLinesSpec("events.jsonl", "events"),
        snapshots=SnapshotSpec("snapshots"),
        clips=ClipSpec("clips", before_s=0.1, after_s=0.1),
    )
    run(app)
    lines = [json.loads(line) for line in (tmp_path / "data" / "events.jsonl").read_text().splitlines()]
    assert [(line["rule"], line["phase"]) for line in lines] == [("cat", "begin"), ("cat", "end")]
    assert len(list((tmp_path / "data" / "snapshots").glob("*.jpg"))) == 1
    assert len([path for path in (tmp_path / "data" / "clips").iterdir() if path.suffix in (".mp4", ".avi")]) == 1
    assert not list((tmp_path / "data").rglob(".*"))  # nothing half-written


def test_what_a_rule_asks_for_is_checked_before_the_camera_is_opened(tmp_path):
    app = application(tmp_path, detector(tmp_path), source="v4l2:97", rules=(Rule("cow", labels=("cow",)),))
    with pytest.raises(BadFileError, match="cow"):
        run(app)


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EdgeError, match=str(port)):
            run(application(tmp_path, detector(tmp_path), page=PageSpec(port=port)))
    assert threading.active_count() == before


def test_sinks_that_were_opened_are_closed_when_another_one_cannot_be(tmp_path):
    app = application(
        tmp_path, detector(tmp_path), jsonl=JsonLinesSpec("a.jsonl"), snapshots=SnapshotSpec("m.tflite/in-a-file")
    )
    app = Application(app.model, app.spec, app.service, "app", data=tmp_path)
    before = threading.active_count()
    sink = ListSink()
    with pytest.raises(EdgeError):
        run_application(app, lambda _: [sink])
    assert sink.closed is True
    assert threading.active_count() == before


def test_a_model_and_a_spec_that_disagree_are_refused_before_the_first_frame(tmp_path):
    detector(tmp_path)
    other = brightness_model(tmp_path / "other.tflite")
    with pytest.raises(ModelError, match="disagree about"):
        run(application(tmp_path, other))


def test_nan_from_a_model_ends_the_run_with_its_name(tmp_path):
    spec = detector_model(tmp_path / "m.tflite", OBJECTS, [(float("nan"), 0.0), (0.0, 0.8)], ("cat", "dog"))
    with pytest.raises(ModelError, match="output scores: expected finite numbers, got NaN"):
        run(application(tmp_path, spec))


def test_frames_of_every_size_are_answered_in_their_own_pixels(tmp_path):
    spec = detector(tmp_path)
    sizes = [(64, 48), (640, 360), (17, 31), (1, 1)]
    (tmp_path / "pictures").mkdir()
    for number, size in enumerate(sizes):
        Image.new("RGB", size).save(tmp_path / "pictures" / f"{number}.png")
    _, predictions = run(application(tmp_path, spec, source=f"dir:{tmp_path / 'pictures'}"))
    for (width, height), prediction in zip(sizes, predictions, strict=True):
        box = prediction.items[1].box
        assert box == pytest.approx((0.6 * width, 0.6 * height, 0.9 * width, 0.9 * height), abs=1e-3)


def test_a_webhook_that_nobody_answers_does_not_hold_the_run_up(tmp_path):
    with socket.socket() as silent:  # accepts, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        app = application(tmp_path, detector(tmp_path), webhook=WebhookSpec(url, "predictions"), frames=200)
        summary, predictions = run(app)
    assert summary.frames == len(predictions) == 200


def test_a_model_that_does_not_fit_into_memory_again_runs_alone(tmp_path):
    spec = detector(tmp_path)
    with (tmp_path / "m.tflite").open("r+b") as stream:
        stream.truncate(2**40)  # four times a sparse terabyte is more than any machine has
    notices = []
    summary, _ = run(application(tmp_path, spec, frames=400, workers=2), notices)
    assert summary.frames == 400
    assert any("no further worker: expected" in notice.message for notice in notices)


def test_workers_are_as_many_as_the_cores_are_good_for():
    assert default_workers(1) == usable_cores()
    assert default_workers(1000) == 1


def test_the_page_of_a_running_release_tells_how_it_is_doing(tmp_path):
    with start("--release", install(tmp_path), "--page", "0", "--quiet") as process:
        try:
            url = page_of(process)
            while json.loads(get(url + "status.json"))["frames"]["predicted"] < 3:
                pass
            status = json.loads(get(url + "status.json"))
            assert status["release"] == "app 1.0"
            assert status["health"] == "ok"
            assert "edgekit_inference_stage_seconds_bucket" in get(url + "metrics")
            assert "<title>" in get(url)
            health = get(url + "healthz")
            assert "ok" in health
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_clip_leaves_whole_files_and_no_process(tmp_path, number):
    service = ServiceSpec(
        source="synthetic:pattern?fps=50",
        rules=(Rule("cat", labels=("cat",)),),
        clips=ClipSpec("clips", before_s=0.5, after_s=60),
        snapshots=SnapshotSpec("snapshots"),
        page=PageSpec(port=0),
    )
    release = tmp_path / "release"
    release.mkdir()
    install(release)
    detector_model(release / "model.tflite", OBJECTS, [(0.9, 0.0), (0.0, 0.8)], ("cat", "dog"))
    (release / "service.json").write_text(dumps(service))
    data = tmp_path / "data"
    with start("--release", release, "--data", data, start_new_session=True) as process:
        lines = iter(process.stdout)
        for _ in range(40):
            next(lines)
        os.killpg(process.pid, number)
        process.communicate(timeout=30)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    files = [path for path in data.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".jpg"]
    assert not [path for path in files if path.name.startswith(".")]


def test_a_reader_that_hangs_does_not_keep_a_stopped_run_alive(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    with start("--model", tmp_path / "m.tflite", "--source", "synthetic:pattern") as process:
        assert process.stdout.readline()
        time.sleep(0.5)  # the pipe fills up, and nobody empties it
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 130
