"""Clips of events: before and after, at the right speed, whole or not there."""

import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from device_runtime.contract.service import ClipSpec
from device_runtime.errors import EdgeError
from device_runtime.sinks.clips import FPS, Clips
from device_runtime.sinks.disk_budget import stem_of
from tests.support.events import event, frame, jpeg_frame, predicted
from tests.support.waiting import wait_for

SPEC = ClipSpec("clips", before_s=1.0, after_s=1.5)


def play(sink, seconds, events=(), *, fps=30.0, make=frame, start=0.0):
    """Show frames that become brighter by 10 a second; ``events`` has (second, event)."""
    waiting = sorted(events, key=lambda one: one[0])
    for step in range(round(seconds * fps)):
        now = start + step / fps
        begun = []
        while waiting and waiting[0][0] <= now:
            begun.append(waiting.pop(0)[1])
        sink.take(make(value=round(min(250, now * 10))), predicted(*begun, index=step, seconds=now))


def frames_of(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found = []
    while (read := capture.read())[0]:
        found.append(read[1])
    assert capture.get(cv2.CAP_PROP_FPS) == FPS
    capture.release()
    return found


def brightness(picture):
    """Return the grey of a corner that nothing is drawn into."""
    return float(picture[:6, -6:].mean())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make", [frame, jpeg_frame])
@pytest.mark.parametrize("fps", [30.0, 7.0, 100.0])
def test_a_clip_shows_what_was_before_and_after_at_the_right_speed(tmp_path, make, fps):
    sink = Clips(SPEC, tmp_path)
    play(sink, 10, [(5.0, event(1))], fps=fps, make=make)
    sink.close(failed=False)
    stem = stem_of(event(1))
    assert names(tmp_path / "clips") == [f"{stem}.json", f"{stem}.mp4"]
    shown = frames_of(tmp_path / "clips" / f"{stem}.mp4")
    assert len(shown) == pytest.approx(2.5 * FPS, abs=2)
    assert brightness(shown[0]) == pytest.approx(40, abs=5)
    assert brightness(shown[10]) == pytest.approx(50, abs=5)
    assert brightness(shown[-1]) == pytest.approx(65, abs=5)
    assert shown[12][10:13, 12:48].max() > 100  # the box's edge
    beside = json.loads((tmp_path / "clips" / f"{stem}.json").read_text())
    assert [told["id"] for told in beside["events"]] == [event(1).id]
    assert beside["from_s"][0] == pytest.approx(1.0, abs=0.2)
    assert beside["frames"] == len(shown)


def test_a_clip_is_written_while_frames_go_on_and_not_at_the_end_only(tmp_path):
    sink = Clips(SPEC, tmp_path)
    play(sink, 10, [(5.0, event(1))])
    assert len(names(tmp_path / "clips")) == 2


def test_events_during_a_clip_prolong_it_and_later_ones_have_their_own(tmp_path):
    sink = Clips(SPEC, tmp_path)
    play(sink, 20, [(3.0, event(1)), (4.0, event(2)), (10.0, event(3))])
    sink.close(failed=False)
    stems = [stem_of(event(1)), stem_of(event(3))]
    assert names(tmp_path / "clips") == sorted(stem + suffix for stem in stems for suffix in (".json", ".mp4"))
    assert len(frames_of(tmp_path / "clips" / f"{stems[0]}.mp4")) == pytest.approx(3.5 * FPS, abs=2)
    beside = json.loads((tmp_path / "clips" / f"{stems[0]}.json").read_text())
    assert beside["from_s"] == pytest.approx([1.0, 2.0], abs=0.2)


def test_events_without_end_do_not_make_a_clip_without_end(tmp_path):
    sink = Clips(SPEC, tmp_path)
    play(sink, 40, [(second, event(second)) for second in range(1, 40)], fps=10)
    sink.close(failed=False)
    clips = sorted((tmp_path / "clips").glob("*.mp4"))
    assert len(clips) > 2
    assert all(len(frames_of(clip)) <= (1 + 4 * 2.5) * FPS + 3 for clip in clips)


@pytest.mark.parametrize("failed", [False, True])
def test_the_end_of_a_run_completes_what_is_being_recorded(tmp_path, failed):
    sink = Clips(SPEC, tmp_path)
    play(sink, 5.5, [(5.0, event(1))])
    sink.close(failed=failed)
    assert len(frames_of(tmp_path / "clips" / f"{stem_of(event(1))}.mp4")) == pytest.approx(1.5 * FPS, abs=2)
    sink.take(frame(), predicted(event(2)))  # a thread that was busy meanwhile
    assert len(names(tmp_path / "clips")) == 2


def test_a_camera_that_was_away_does_not_make_a_long_still_picture(tmp_path):
    sink = Clips(ClipSpec("clips", before_s=1.0, after_s=60), tmp_path)
    play(sink, 3, [(2.0, event(1))])
    play(sink, 2, start=43.0)
    sink.close(failed=False)
    assert len(frames_of(tmp_path / "clips" / f"{stem_of(event(1))}.mp4")) < 5 * FPS


def test_a_large_picture_is_made_small_and_what_is_drawn_with_it(tmp_path):
    for number, make in ((1, frame), (2, jpeg_frame)):
        sink = Clips(SPEC, tmp_path)
        play(sink, 1, [(0.5, event(number))], fps=10, make=lambda value, make=make: make((1280, 960), value))
        sink.close(failed=False)
        shown = frames_of(tmp_path / "clips" / f"{stem_of(event(number))}.mp4")[0]
        assert shown.shape == (480, 640, 3)
        assert shown[4:8, 6:24].max() > 100  # the box's upper edge, at half of 10 px


def test_a_damaged_packet_is_left_out(tmp_path):
    sink = Clips(SPEC, tmp_path)
    broken = jpeg_frame()
    broken.data = broken.data[:60]
    for index in range(30):
        begun = [event(1)] if index == 10 else []
        sink.take(broken if index % 6 == 3 else jpeg_frame(), predicted(*begun, index=index))
    sink.close(failed=False)
    assert len(frames_of(tmp_path / "clips" / f"{stem_of(event(1))}.mp4")) > 5


def test_pictures_before_an_event_take_up_bounded_memory(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    packet = jpeg_frame((1280, 720))
    packet.data = cv2.imencode(".jpg", noise)[1].reshape(-1)
    assert packet.data.nbytes * 300 > 100_000_000
    sink = Clips(ClipSpec("clips", before_s=30), tmp_path)
    for index in range(300):
        sink.take(packet, predicted(index=index, seconds=index / 10))
    assert 20_000_000 < sum(shot.jpeg.nbytes for shot in sink._ring) <= 32_000_000


def noisy(seed):
    given = frame((640, 480))
    given.pixels[:] = np.random.default_rng(seed).integers(0, 256, given.pixels.shape)
    return given


def record_noise(sink, number, check=lambda: None):
    """Record a second of noise, about 2.5 MB."""
    for step in range(20):
        begun = [event(number)] if step == 0 else []
        sink.take(noisy(step % 5), predicted(*begun, index=step, seconds=number * 10 + step / 10))
        check()


def test_the_oldest_clips_make_room(tmp_path):
    sink = Clips(ClipSpec("clips", before_s=0, after_s=1, budget_mb=8), tmp_path)

    def check():
        assert sum(path.stat().st_size for path in (tmp_path / "clips").iterdir()) <= 8_000_000

    for number in range(1, 6):
        record_noise(sink, number, check)
    sink.close(failed=False)
    kept = sorted(path.stem for path in (tmp_path / "clips").glob("*.mp4"))
    check()
    assert kept == [stem_of(event(number)) for number in range(6 - len(kept), 6)]
    assert 1 < len(kept) < 5


def test_a_clip_that_is_larger_than_the_budget_is_an_error_and_leaves_nothing(tmp_path):
    sink = Clips(ClipSpec("clips", before_s=0, after_s=1, budget_mb=1), tmp_path)
    with pytest.raises(EdgeError, match="expected at most 1 MB for one event"):
        record_noise(sink, 1)
    sink.close(failed=False)
    assert names(tmp_path / "clips") == []


def test_a_full_disk_is_an_error_leaves_nothing_half_written_and_space_mends_it(small_disk):
    sink = Clips(ClipSpec("clips", before_s=0, after_s=1), small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    with pytest.raises(EdgeError, match="cannot write"):
        record_noise(sink, 1)
    assert names(small_disk / "clips") == []
    filler.unlink()
    for step in range(30):
        given = predicted(*([event(2)] if step == 0 else []), seconds=50 + step / 10)
        sink.take(frame(), given)
    sink.close(failed=False)
    assert len(names(small_disk / "clips")) == 2


_RECORD = """
import sys, time
from pathlib import Path
from device_runtime.contract.service import ClipSpec
from device_runtime.sinks.clips import Clips
from tests.support.events import event, frame, predicted
sink = Clips(ClipSpec("clips", before_s=0, after_s=300), Path(sys.argv[1]))
for index in range(20):
    sink.take(frame(), predicted(*([event(1)] if index == 5 else []), index=index, seconds=index / 10))
print("recording", flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_was_recording_is_removed_at_the_next_start(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _RECORD, tmp_path], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "recording\n"
        assert len(names(tmp_path / "clips")) == 1
        os.kill(process.pid, signal.SIGKILL)
    Clips(SPEC, tmp_path).close(failed=False)
    assert names(tmp_path / "clips") == []


_RUN = """
import signal, sys
from pathlib import Path
from device_runtime.cameras.synthetic import SyntheticCamera
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import ClipSpec
from device_runtime.loop.run import run_loop
from device_runtime.signals import interrupt_on
from device_runtime.sinks.clips import Clips
from tests.support.events import GEAR, event

def predict(frame):
    if frame.index == 200:
        print("recording", flush=True)
    events = (event(1),) if frame.index == 100 else ()
    return Prediction(frame.index, frame.captured_ns, (GEAR,), {"invoke": 1.0}, events)

interrupt_on(signal.SIGTERM, signal.SIGINT)
run_loop(SyntheticCamera("pattern"), predict, [Clips(ClipSpec("clips", after_s=300), Path(sys.argv[1]))])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_clip_completes_it(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "recording\n"
        wait_for(lambda: list((tmp_path / "clips").glob(".*.mp4")))  # the writer's thread may be behind
        process.send_signal(number)
        assert process.wait(30) == 0
    stem = stem_of(event(1))
    assert names(tmp_path / "clips") == [f"{stem}.json", f"{stem}.mp4"]
    assert frames_of(tmp_path / "clips" / f"{stem}.mp4")
