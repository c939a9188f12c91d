"""How the figures of a bench report came about, in words."""

from __future__ import annotations

from device_runtime.bench.statistics import NEEDED_SAMPLES
from device_runtime.contract.bench import CONFIDENCE, BenchReport
from edgekit.benching.cards import harness
from edgekit.reporting.page import count_of, listed

STAGE_MEANINGS = {
    "capture": "Decoding one frame; waiting until a camera has a new one is not in it. Runs beside the other stages.",
    "prepare": "Resizing, colour order and normalisation, written straight into the model's input.",
    "invoke": "The model itself, run by the engine.",
    "decode": "Turning the model's outputs into labels, scores and boxes.",
    "draw": "Drawing the answer into the frame, after it is found: not in the total.",
    "total": "From the moment a frame was captured to its finished prediction, waiting for its turn included.",
}

_NEEDED = listed([f"{count} for {name}" for name, count in NEEDED_SAMPLES.items()])
_PERCENTILES = (
    "Over all counted frames, interpolated linearly. A percentile is shown from as many frames on as LoadGen, the "
    f"measuring tool of MLPerf, takes for it: {_NEEDED}."
)
_INTERVALS = (
    f"Where a figure lies with {100 * CONFIDENCE:.0f}% confidence: a bootstrap over blocks of neighbouring frames, "
    "because latencies of neighbours are alike. What differs from one process to the next is not in it."
)
_THROUGHPUT = "Finished predictions per second, from the first counted one to the last."
_COLD = "From the start of a new process to its first prediction, Python and all imports included."
_FIRST = "From the start of loading the model to the first finished prediction, capture included, starting Python not."
_PEAK = "The most that the whole measuring process held in RAM at once, Python and all libraries included."
_GROWN = "The share of the model is what it grew by while the model was loaded and ran for the first time."
_CAMERA = (
    "Frames at a fixed rate, as a camera gives them. One that comes while the loop is busy is dropped for a newer one. "
    "Age runs from the moment when the camera had the frame to its prediction."
)
_MACHINE = (
    "Read about once a second while the model ran; the clock is that of the slowest core. Work of others is what "
    "other processes took of all cores, memory pressure the share of time in which somebody waited for memory."
)


def method_of(report: BenchReport) -> tuple[tuple[str, str], ...]:
    """Say how each figure of this report came about, in the order in which the page shows them."""
    intervals = any(stats.p50_interval or stats.p99_interval for stats in report.stages.values())
    peak = f"{_PEAK} {_GROWN}" if report.model_rss_bytes is not None else _PEAK
    told = (
        ("What ran", _what_ran(report)),
        ("Warm-up", _warm_up(report)),
        ("Percentiles", _PERCENTILES),
        ("Intervals", _INTERVALS if intervals else ""),
        ("Throughput", _THROUGHPUT),
        ("The machine", _MACHINE if report.during else ""),
        ("Camera", _CAMERA if report.at_rate else ""),
        ("Cold start", _COLD if report.cold_start else ""),
        ("First inference", _FIRST),
        ("Peak memory", peak),
        (
            "Measuring itself",
            f"It costs {harness(report)}, which is in fps and not in invoke." if report.harness_us else "",
        ),
    )
    return tuple((name, text) for name, text in told if text)


def _what_ran(report: BenchReport) -> str:
    drawn = "Answers are drawn, and nothing is saved" if "draw" in report.stages else "Nothing is drawn or saved"
    beside = f"; {report.beside} ran beside it" if report.beside else ", and the process does nothing else"
    return (
        f"The camera loop as on a board, with frames from {report.source}: capture in one thread, preparation and the "
        f"model in another. {drawn}{beside}."
    )


def _warm_up(report: BenchReport) -> str:
    late = "" if report.steady else "They had not when the time for it was over. "
    return (
        f"Frames count once latencies have settled, as caches, clocks and memory do. {late}This run left out "
        f"{count_of(report.warmup_frames, 'frame')}."
    )
