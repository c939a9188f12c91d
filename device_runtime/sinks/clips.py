"""Videos of events, from some seconds before they begin to some seconds after."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.annotate import Annotator, to_jpeg
from device_runtime.contract.prediction import Prediction, RuleEvent, json_line
from device_runtime.contract.service import ClipSpec, Region
from device_runtime.errors import EdgeError
from device_runtime.files import write_text
from device_runtime.sinks.disk_budget import MB, DiskBudget, stem_of
from device_runtime.sinks.video_file import VideoFile
from device_runtime.vision.frame import Pixels
from device_runtime.vision.raw import AnyFrame, Capture, DamagedFrameError, Encoding, RawFrame

FPS = 10.0
"""Enough to see what happened, at a third of a camera's usual frames to encode and to keep."""

_STEP_NS = round(1e9 / FPS)
_WIDTH = 640
_QUALITY = 85
_RING_BYTES = 32 * MB
"""The most that pictures before an event may take up in memory: 30 s of 640 px, 10 s of a 1080p MJPEG camera."""

_AT_ONCE = 3
"""Pictures that are written per prediction: what waits is caught up with, and no prediction waits long."""

_MARGIN_BYTES = MB // 2
"""A clip makes room while it grows: for what it has so far, and for the frames that are next."""

_HOLD_NS = 2_000_000_000
"""For how long a picture stands still where frames are missing; after that the clip leaves the gap out."""

_LONGEST = 4
"""Events that begin while a clip is being recorded prolong it, to this many times its plain length."""


@dataclass(frozen=True)
class _Shot:
    """A picture as JPEG, and what was predicted of it. ``size`` (width, height) is that of the JPEG."""

    captured_ns: int
    jpeg: Pixels
    size: tuple[int, int]
    frame_size: tuple[int, int]
    prediction: Prediction


@dataclass(frozen=True)
class _Beside:
    """What stands beside a clip as JSON. Its events begin in it; ``from_s`` is when, from the clip's beginning."""

    events: tuple[RuleEvent, ...]
    from_s: tuple[float, ...]
    fps: float
    frames: int


@dataclass
class _Recording:
    """A clip from its first event until it is in its place."""

    stem: str
    until_ns: int
    latest_ns: int
    waiting: deque[_Shot]
    events: list[tuple[int, RuleEvent]] = field(default_factory=list)
    complete: bool = False
    file: VideoFile | None = None
    first_ns: int = 0
    picture: Pixels | None = None


class Clips:
    """Records events. Before one begins only JPEGs are kept, an MJPEG camera's own where it is one."""

    name = "clips"
    vital = False
    depth = 4
    events_only = False

    def __init__(self, spec: ClipSpec, data: Path, regions: Mapping[str, Region] | None = None) -> None:
        """Prepare the folder, ``spec.folder`` below ``data``. Raises EdgeError when it cannot be written."""
        self._annotator = Annotator(regions)
        self._before_ns = round(spec.before_s * 1e9)
        self._after_ns = round(spec.after_s * 1e9)
        self._budget = DiskBudget(data / spec.folder, spec.budget_mb * MB, (".mp4", ".json"))
        self._ring: deque[_Shot] = deque()
        self._ring_bytes = 0
        self._recordings: deque[_Recording] = deque()
        self._lock = threading.Lock()  # a run that ends closes the sink while it may still be busy
        self._closed = False

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Keep the frame for what may come, and go on with what is being recorded.

        Raises:
            EdgeError: a clip could not be written; nothing of it is left.
        """
        with self._lock:
            if self._closed or prediction.closing:
                return
            begun = [event for event in prediction.events if event.phase == "begin"]
            now_ns = prediction.captured_ns
            for recording in self._recordings:
                recording.complete |= now_ns > recording.until_ns
            shot = None
            # Three quarters of a step: frames at 30 a second come at every 33 ms, and never at exactly 100.
            if begun or not self._ring or not 0 <= now_ns - self._ring[-1].captured_ns < _STEP_NS * 3 // 4:
                shot = self._shoot(frame, prediction)
                self._keep(shot)
            if begun:
                self._begin(begun, now_ns)
            open_one = self._recordings[-1] if self._recordings else None
            if shot is not None and open_one is not None and not open_one.complete:
                open_one.waiting.append(shot)
            self._go_on(_AT_ONCE)

    def close(self, *, failed: bool) -> None:
        """Complete what is being recorded: also of a run that failed, because it may show why.

        Raises:
            EdgeError: a clip could not be written; nothing of it is left.
        """
        del failed
        with self._lock:
            if self._closed:
                return
            self._closed = True
            failure: EdgeError | None = None
            while self._recordings:
                self._recordings[0].complete = True
                try:
                    self._go_on(len(self._recordings[0].waiting) + 1)
                except EdgeError as error:  # the others can be whole all the same
                    failure = failure or error
            self._ring.clear()
            self._budget.close()
            if failure is not None:
                raise failure

    def _keep(self, shot: _Shot) -> None:
        self._ring.append(shot)
        self._ring_bytes += shot.jpeg.nbytes
        while len(self._ring) > 1 and (
            self._ring_bytes > _RING_BYTES or shot.captured_ns - self._ring[0].captured_ns > self._before_ns + _STEP_NS
        ):
            self._ring_bytes -= self._ring.popleft().jpeg.nbytes

    def _begin(self, begun: list[RuleEvent], now_ns: int) -> None:
        """Begin a recording, or prolong the one that goes on."""
        until_ns = now_ns + self._after_ns
        if self._recordings and not self._recordings[-1].complete:
            recording = self._recordings[-1]
            recording.until_ns = min(max(recording.until_ns, until_ns), recording.latest_ns)
        else:
            before = [shot for shot in self._ring if now_ns - self._before_ns <= shot.captured_ns < now_ns]
            latest_ns = now_ns + _LONGEST * (self._before_ns + self._after_ns)
            recording = _Recording(stem_of(begun[0]), until_ns, latest_ns, deque(before))
            self._recordings.append(recording)
        recording.events += [(now_ns, event) for event in begun]

    def _go_on(self, shots: int) -> None:
        """Write some of what waits, the oldest recording first; a recording that fails is given up."""
        while shots and self._recordings:
            recording = self._recordings[0]
            try:
                while shots and recording.waiting:
                    shots -= 1
                    self._write(recording, recording.waiting.popleft())
                if recording.waiting or not recording.complete:
                    return
                self._finish(recording)
            except BaseException:  # whatever it was, nothing half-written stays
                if recording.file is not None:
                    recording.file.discard()
                self._recordings.popleft()
                raise
            self._recordings.popleft()
            shots = max(0, shots - 1)

    def _write(self, recording: _Recording, shot: _Shot) -> None:
        """Write a shot at its time: where frames are missing the picture before stands still, but not for long."""
        try:
            picture = self._develop(shot)
        except DamagedFrameError:
            return
        if recording.file is None or recording.picture is None:
            recording.file = VideoFile(self._budget.folder / f"{recording.stem}.mp4", FPS)
            recording.first_ns = shot.captured_ns
        else:
            behind_ns = shot.captured_ns - recording.first_ns - recording.file.frames * _STEP_NS
            if not -_HOLD_NS < behind_ns < _HOLD_NS:
                recording.first_ns += behind_ns
            # Half a step: frames come a little before and after their time.
            while shot.captured_ns - recording.first_ns > (recording.file.frames + 0.5) * _STEP_NS:
                recording.file.write(recording.picture)
        recording.picture = picture
        if shot.captured_ns - recording.first_ns >= (recording.file.frames - 0.5) * _STEP_NS:
            recording.file.write(picture)
        self._budget.make_room(recording.file.size_bytes + _MARGIN_BYTES)

    def _finish(self, recording: _Recording) -> None:
        file = recording.file
        if file is None:
            return
        file.end()
        from_s = tuple(round((when - recording.first_ns) / 1e9, 2) for when, _ in recording.events)
        beside = _Beside(tuple(event for _, event in recording.events), from_s, FPS, file.frames)
        text = json_line(beside) + "\n"
        self._budget.make_room(file.size_bytes + len(text.encode()))
        file.commit()
        write_text(file.path.with_suffix(".json"), text)

    def _shoot(self, frame: AnyFrame, prediction: Prediction) -> _Shot:
        """Return a frame as JPEG: an MJPEG camera's own, else one of at most ``_WIDTH`` px."""
        frame_size = (frame.width, frame.height)
        if isinstance(frame, RawFrame) and frame.encoding is Encoding.JPEG:
            return _Shot(prediction.captured_ns, frame.data, frame_size, frame_size, prediction)
        pixels = self._annotator.bare(frame, _WIDTH)
        size = (pixels.shape[1], pixels.shape[0])
        return _Shot(prediction.captured_ns, to_jpeg(pixels, _QUALITY, frame), size, frame_size, prediction)

    def _develop(self, shot: _Shot) -> Pixels:
        """Return a shot's picture, at most ``_WIDTH`` px wide, with what was found drawn in: (H, W, 3) uint8 BGR."""
        capture = Capture(shot.captured_ns, shot.prediction.frame_index, "clip")
        picture = self._annotator.bare(RawFrame(shot.jpeg, Encoding.JPEG, shot.size, capture), _WIDTH)
        self._annotator.draw_scaled(picture, shot.prediction, shot.frame_size)
        return picture
