"""The rows of the table: what is run side by side, and what was to be reached on two cores."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from camera_loop import counted, startup
from camera_loop.materials import HEAD_SCALE, HEAD_SIDE, HEAD_ZERO, Materials
from camera_loop.race import Absent, Entry, Race, race, single
from camera_loop.table import Line, at_least, at_most

_RANGES = {"mnv2": (-1, 1), "det320": (0, 1)}
_BOXES = [
    [50, 60, 150, 160],
    [200, 80, 300, 200],
    [320, 100, 420, 300],
    [450, 50, 600, 200],
    [60, 220, 160, 400],
    [200, 250, 300, 420],
    [330, 320, 430, 460],
    [460, 240, 620, 450],
]
_NAMES = ["person", "car", "dog", "cat", "bicycle", "chair", "bottle", "truck"]


@dataclass(frozen=True)
class Bench:
    """What rows need: the materials, and how long to measure."""

    materials: Materials
    rounds: int
    seconds: float

    def race(self, entries: dict[str, Entry], seconds: float | None = None) -> Race:
        """Run entries side by side."""
        return race(entries, self.materials.folder, self.rounds, seconds or self.seconds)

    def options(self, model: str, clip: str, **more: Any) -> dict[str, Any]:
        """Return what a loop is given."""
        low, high = _RANGES[model]
        spec = self.materials.spec(model)
        return {
            "model": str(self.materials.model(model)),
            "spec": str(self.materials.folder / f"{model}.json"),
            "clip": str(self.materials.clip(clip)),
            "source": f"file:{self.materials.clip(clip)}",
            "task": spec.task.name,
            "low": low,
            "high": high,
            **more,
        }


Row = Callable[[Bench], Iterator[Line]]


def _loops(bench: Bench, model: str, clip: str, others: dict[str, Entry] | None = None) -> Race:
    options = bench.options(model, clip)
    return bench.race(
        {
            "invoke only, 1 thread": Entry("bounds:InvokeOnly", options),
            "all stages in turn": Entry("bounds:Stages", options),
            "naive PIL loop": Entry("naive:PilLoop", options),
            "naive cv2 loop": Entry("naive:Cv2Loop", options),
            **(others or {}),
            "ours, one worker": Entry("ours:Loop", {**options, "workers": 1}),
            "ours, all cores": Entry("ours:Loop", options),
        }
    )


def _bound(run: Race) -> float:
    """Return the median over rounds of cores ÷ CPU of all stages, fps."""
    return statistics.median(_cores() * 1e3 / turn.cpu_ms for turn in run.turns["all stages in turn"])


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _to_bound(run: Race, name: str) -> float:
    """Return the median over rounds of a loop's rate ÷ what all cores could do if no stage waited."""
    pairs = zip(run.turns[name], run.turns["all stages in turn"], strict=True)
    return statistics.median(turn.rate * stages.cpu_ms / (_cores() * 1e3) for turn, stages in pairs)


def _rates(run: Race) -> Iterator[Line]:
    """Yield everybody's rate, and each as a multiple of the model alone."""
    for name in run.turns:
        ratio = run.faster(name, "invoke only, 1 thread")
        yield Line(name, f"{run.rate(name):7.1f} fps", f"{ratio:.2f}× of invoke only")
    capture, predict = (run.more("all stages in turn", f"{stage}_ms") for stage in ("capture", "predict"))
    yield Line(
        "bound: cores ÷ Σ stage CPU",
        f"{_bound(run):7.1f} fps",
        f"{_bound(run) / run.rate('invoke only, 1 thread'):.2f}× of invoke only; "
        f"capture {capture:.2f} + predict {predict:.2f} ms",
    )
    for name, why in run.absent.items():
        yield Line(name, "not here", why)
    yield Line("other processes took", f"{run.others:7.1%} of the cores at most")


def _against(run: Race, name: str, than: str, goal: float) -> Line:
    return at_least(f"{name} ÷ {than}", "", run.faster(name, than), goal)


def classifier_480p(bench: Bench) -> Iterator[Line]:
    """Mnv2 int8, 480p mp4."""
    options = bench.options("mnv2", "480p.mp4")
    file = str(bench.materials.quantised)
    old = {**options, "engine": "tflite-runtime", "runtime": "tflite-runtime"}
    run = _loops(
        bench,
        "mnv2",
        "480p.mp4",
        {
            "MediaPipe ImageClassifier": Entry("peer_mediapipe:Loop", {**options, "model": file}, peer=True),
            "onnxruntime int8, naive cv2 loop": Entry(
                "peer_onnx:Loop", {**options, "onnx": str(bench.materials.onnx)}, peer=True
            ),
            "tflite-runtime, naive cv2 loop": Entry("naive:Cv2Loop", old),
            "tflite-runtime, ours, all cores": Entry("ours:Loop", old),
        },
    )
    yield from _rates(run)
    yield _against(run, "ours, one worker", "invoke only, 1 thread", 0.97)
    yield _against(run, "ours, all cores", "invoke only, 1 thread", 1.30)


def detector_480p(bench: Bench) -> Iterator[Line]:
    """Det320 int8, 480p mp4."""
    options = bench.options("det320", "480p.mp4")
    exported = {**options, "model": str(bench.materials.model("det320-float-io"))}
    peers = {"Ultralytics predict(stream=True)": Entry("peer_ultralytics:Loop", exported, peer=True)}
    run = _loops(bench, "det320", "480p.mp4", peers)
    yield from _rates(run)
    yield _against(run, "ours, all cores", "invoke only, 1 thread", 1.60)
    yield _against(run, "ours, all cores", "naive cv2 loop", 2.5)


def classifier_1080p_mp4(bench: Bench) -> Iterator[Line]:
    """Mnv2 int8, 1080p mp4."""
    run = _loops(bench, "mnv2", "1080p.mp4")
    yield from _rates(run)
    yield at_least("ours, all cores ÷ bound", "", _to_bound(run, "ours, all cores"), 0.95)


def classifier_1080p_mjpeg(bench: Bench) -> Iterator[Line]:
    """Mnv2 int8, 1080p MJPEG."""
    run = _loops(bench, "mnv2", "1080p.avi")
    yield from _rates(run)
    yield _against(run, "ours, all cores", "invoke only, 1 thread", 0.80)
    yield _against(run, "ours, all cores", "naive cv2 loop", 2.8)


def memory(bench: Bench) -> Iterator[Line]:
    """Mnv2 int8, 480p mp4: what a process holds at the end of one run, and the most that it ever held."""
    options = bench.options("mnv2", "480p.mp4")
    run = single(
        {
            "naive cv2 loop": Entry("naive:Cv2Loop", options),
            "ours, one worker": Entry("ours:Loop", {**options, "workers": 1}),
            "ours, all cores": Entry("ours:Loop", options),
            "MediaPipe ImageClassifier": Entry(
                "peer_mediapipe:Loop", {**options, "model": str(bench.materials.quantised)}, peer=True
            ),
            "onnxruntime int8, naive cv2 loop": Entry(
                "peer_onnx:Loop", {**options, "onnx": str(bench.materials.onnx)}, peer=True
            ),
            "Ultralytics predict (det320)": Entry(
                "peer_ultralytics:Loop",
                {**options, "model": str(bench.materials.model("det320-float-io"))},
                peer=True,
            ),
        },
        bench.materials.folder,
        4 * bench.seconds,
    )
    for name, turns in run.turns.items():
        yield Line(name, f"{turns[0].rss_mb:.0f} MB, peak {turns[0].peak_mb:.0f}")
    naive = run.turns["naive cv2 loop"][0]
    for name in ("ours, one worker", "ours, all cores"):
        turn = run.turns[name][0]
        yield at_most(f"{name} ÷ naive cv2 loop", "", turn.rss_mb / naive.rss_mb, 1.05)
        yield at_most(f"{name} ÷ naive cv2 loop, peak", "", turn.peak_mb / naive.peak_mb, 1.05)


def overload(bench: Bench) -> Iterator[Line]:
    """Det320 int8, 1080p MJPEG at twice the rate that is kept up."""
    run = bench.race({"ours": Entry("overload:Overloaded", bench.options("det320", "1080p.avi"))}, 4.0)
    told = {key: run.more("ours", key) for key in run.turns["ours"][0].more}
    yield Line("the camera gives", f"{told['fps']:.0f} fps", f"{run.rate('ours'):.0f} fps taken")
    yield Line("age of a result, median", f"{told['age_p50_ms']:.1f} ms")
    ratios = [turn.more["age_p95_ms"] / turn.more["bound_ms"] for turn in run.turns["ours"]]
    yield at_most(
        "age p95 ÷ 2 × (frame interval + stages)",
        f"{told['age_p95_ms']:.1f} ms against {told['bound_ms']:.1f}",
        statistics.median(ratios),
        1.0,
    )
    growth = [turn.more["last_p95_ms"] / turn.more["first_p95_ms"] for turn in run.turns["ours"]]
    figure = f"{told['first_p95_ms']:.1f} ms, {told['last_p95_ms']:.1f} ms"
    yield at_most("p95 of the last third ÷ of the first", figure, statistics.median(growth), 1.1)
    yield Line("other processes took", f"{run.others:.1%} of the cores at most")


def preparation(bench: Bench) -> Iterator[Line]:
    """A decoded frame to the classifier's bytes, CPU per frame."""
    tensor = bench.materials.spec("mnv2").inputs[0]
    for size, goal in (("480p", 11.0), ("1080p", 35.0)):
        picture = str(bench.materials.picture(size))
        spec = str(bench.materials.folder / "mnv2.json")
        target = {
            "picture": picture,
            "side": tensor.shape[1],
            "scale": tensor.scale,
            "zero_point": tensor.zero_point,
            "low": -1,
            "high": 1,
        }
        run = bench.race(
            {
                "ours": Entry("micro:Prepare", {"spec": spec, "picture": picture}),
                "ours, letterboxed": Entry("micro:Prepare", {"spec": spec, "picture": picture, "resize": "letterbox"}),
                "PIL": Entry("naive:Prepare", {**target, "pil": True}),
                "cv2": Entry("naive:Prepare", {**target, "pil": False}),
                "Ultralytics (letterboxed)": Entry("peer_ultralytics:Prepare", target, peer=True),
            },
            0.3,
        )
        for name in run.turns:
            yield Line(f"{size}: {name}", f"{run.cpu_ms(name):.3f} ms")
        yield at_least(f"{size}: PIL ÷ ours", "", run.cheaper("ours", "PIL"), goal)
        yield from _cheaper(run, f"{size}: ", "ours, letterboxed", "Ultralytics (letterboxed)", 3.0)


def _cheaper(run: Race, where: str, name: str, than: str, goal: float) -> Iterator[Line]:
    if than in run:
        yield at_least(f"{where}{than} ÷ {name}", "", run.cheaper(name, than), goal)
    else:
        yield Line(f"{where}{than}", "not here", run.absent[than])


def decoding(bench: Bench) -> Iterator[Line]:
    """An int8 head of 8400 boxes and 80 classes, CPU per frame."""
    given = {"head": str(bench.materials.head), "scale": HEAD_SCALE, "zero_point": HEAD_ZERO, "side": HEAD_SIDE}
    run = bench.race(
        {
            "ours, to boxes": Entry("micro:Decode", given),
            "ours, to named boxes in the frame": Entry("micro:Decode", {**given, "items": True}),
            "Ultralytics": Entry("peer_ultralytics:Decode", given, peer=True),
        },
        0.3,
    )
    for name in run.turns:
        yield Line(name, f"{run.cpu_ms(name) * 1e3:.0f} µs", f"{run.more(name, 'kept'):.0f} boxes kept")
    yield from _cheaper(run, "", "ours, to boxes", "Ultralytics", 25.0)


def drawing(bench: Bench) -> Iterator[Line]:
    """Eight boxes with names on a 480p frame, CPU per frame."""
    given = {"picture": str(bench.materials.picture("480p")), "boxes": _BOXES}
    run = bench.race(
        {
            "ours": Entry("micro:Draw", {**given, "labels": _NAMES}),
            "supervision": Entry(
                "peer_supervision:Draw", {**given, "labels": [f"{name} 0.50" for name in _NAMES]}, peer=True
            ),
        },
        0.3,
    )
    for name in run.turns:
        yield Line(name, f"{run.cpu_ms(name) * 1e3:.0f} µs")
    yield from _cheaper(run, "", "ours", "supervision", 2.5)


def starting(bench: Bench) -> Iterator[Line]:
    """From the start of a process to its first prediction, 480p mp4."""
    model, clip = bench.materials.model("mnv2"), bench.materials.clip("480p.mp4")
    taken = startup.first_answers(
        {"usual": startup.usual(model, clip, *_RANGES["mnv2"]), "ours": startup.ours(model, clip)}, 2 * bench.rounds
    )
    usual, ours = taken["usual"], taken["ours"]
    yield Line("usual script: cv2, numpy, PIL, ai_edge_litert", f"{statistics.median(usual) * 1e3:.0f} ms")
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, usual, strict=True))
    yield at_most("ours ÷ usual script", f"{statistics.median(ours) * 1e3:.0f} ms", ratio, 0.85)


def watching(bench: Bench) -> Iterator[Line]:
    """The live page, mnv2 int8, 480p mp4, all cores."""
    options = bench.options("mnv2", "480p.mp4")
    run = bench.race(
        {
            "no page": Entry("ours:Loop", options),
            "page, nobody looks": Entry("watched:WatchedLoop", {**options, "viewers": 0}),
            "page, one viewer": Entry("watched:WatchedLoop", {**options, "viewers": 1}),
        },
        2 * bench.seconds,
    )
    for name, goal in (("page, nobody looks", 1.0), ("page, one viewer", 10.0)):
        cost = (1 - run.faster(name, "no page")) * 100
        yield at_most(f"{name}: costs", f"{run.rate(name):.1f} fps of {run.rate('no page'):.1f}", cost, goal, " %")


def instructions(bench: Bench) -> Iterator[Line]:
    """What is executed for a frame, the model and everything around it."""
    for model, clip in (("mnv2", "1080p.avi"), ("det320", "480p.mp4")):
        options = bench.options(model, clip)
        what = {"model": "bounds:InvokeOnly", "naive cv2 loop": "naive:Cv2Loop", "ours": "bounds:Stages"}
        try:
            counts = counted.instructions({name: (entry, options) for name, entry in what.items()})
        except Absent as why:
            yield Line("instructions", "not here", str(why))
            return
        alone = counts["model"]
        naive, ours = counts["naive cv2 loop"] - alone, counts["ours"] - alone
        yield Line(f"{model} {clip}: the model alone", f"{alone / 1e6:.1f} M")
        yield Line(f"{model} {clip}: naive cv2 loop, around the model", f"{naive / 1e6:.1f} M")
        yield Line(f"{model} {clip}: ours, around the model", f"{ours / 1e6:.1f} M", f"{naive / ours:.1f}× fewer")


ROWS: dict[str, tuple[str, Row]] = {
    "mnv2-480p": ("MobileNetV2 224 int8, 480p mp4 (frames per second)", classifier_480p),
    "det320-480p": ("detector 320 int8, 480p mp4 (frames per second)", detector_480p),
    "mnv2-1080p-mp4": ("MobileNetV2 224 int8, 1080p mp4 (frames per second)", classifier_1080p_mp4),
    "mnv2-1080p-mjpeg": ("MobileNetV2 224 int8, 1080p MJPEG (frames per second)", classifier_1080p_mjpeg),
    "overload": ("a camera with twice the frames that can be taken: detector 320 int8, 1080p MJPEG", overload),
    "memory": ("memory of a process in one run: MobileNetV2 224 int8, 480p mp4", memory),
    "prepare": ("preparation of a byte input (CPU per frame)", preparation),
    "decode": ("decoding a head of 8400 boxes × 80 classes, int8 (CPU per frame)", decoding),
    "draw": ("drawing 8 boxes with names at 480p (CPU per frame)", drawing),
    "start": ("from the start of a process to the first prediction", starting),
    "instructions": ("instructions per frame, counted by valgrind", instructions),
    "page": ("the live page (frames per second)", watching),
}
"""The rows by the names that ``--only`` takes."""
