"""Sweeps without a machine: what measures, what makes models, and reports as they come out."""

import dataclasses
import functools

from device_runtime.contract.bench import Interval, LatencyStats, ModelFacts
from device_runtime.contract.events import silent
from device_runtime.errors import EdgeError
from edgekit.benching.axes import parse_axes
from edgekit.benching.pareto import with_front
from edgekit.benching.recommend import recommend
from edgekit.benching.run import BenchCall
from edgekit.benching.sweep import SweepPlan
from edgekit.benching.sweep_report import Accuracy, Axis, PointLatency, Setting, SweepPoint, SweepReport
from edgekit.benching.variants import Variant
from tests.support.bench_reports import bench_report
from tests.support.tflite import brightness_model

DISTURBANCE = "the machine was slowed down: frequency capped"


class Bench:
    """Measures by a table: ``work_ms`` gives what a frame costs for a call, and may raise.

    ``drift`` makes each measurement that much slower than the one before; ``calls`` are what was asked, in order.
    """

    def __init__(self, work_ms, drift=1.0, disturbed=lambda _: (), frames=200):
        self._work_ms = work_ms
        self._drift = drift
        self._disturbed = disturbed
        self._frames = frames
        self.calls = []

    def __call__(self, call, events):
        del events
        self.calls.append(call)
        work = self._work_ms(call) * self._drift ** len(self.calls)
        return run_of(work, call.model.stat().st_size, self._frames, disturbed=tuple(self._disturbed(call)))


@functools.cache
def _some_run():
    return bench_report(2)


def run_of(work_ms, size=1000, frames=200, **changes):
    """Return a run in which each frame costs exactly this, a tenth of it for each of preparing and decoding."""
    costs = {"capture": 1.0, "prepare": 0.1 * work_ms, "invoke": 0.8 * work_ms, "decode": 0.1 * work_ms}
    costs["total"] = 2 * work_ms
    made = {
        "samples_ms": {stage: (value,) * frames for stage, value in costs.items()},
        "stages": {stage: always(value, frames) for stage, value in costs.items()},
        "model": ModelFacts("tiny", "ab" * 32, size, "1x8x8x3 float32"),
        "frames": frames,
    }
    return dataclasses.replace(_some_run(), **{**made, **changes})


def always(value, count, noise=0.01):
    """Return the statistics of ``count`` equal latencies, with an interval all the same."""
    interval = Interval(value * (1 - noise), value * (1 + noise))
    return LatencyStats(count, value, value, value, value, value, value, None, p50_interval=interval)


class TinyModels:
    """Makes a tiny real model for each recipe and size; a recipe in ``failing`` cannot be made."""

    def __init__(self, folder, failing=()):
        self._folder = folder
        self._failing = failing
        self.made = []

    def __call__(self, setting, events=silent):
        del events
        name = f"tiny-{setting.recipe or 'own'}-{setting.word('size') or 'own'}"
        if setting.recipe in self._failing:
            raise EdgeError(f"{setting.recipe} cannot be made", hint="take another one")
        path = self._folder / f"{name}.tflite"
        if name not in self.made:
            self.made.append(name)
            # Recipes say something else of pictures, so that their accuracy differs: what is brighter than it is dark.
            bias = {"float16": 0.97}.get(setting.recipe, 0.25)
            brightness_model(path, size=8 if setting.input_size is None else setting.input_size[0], bias=bias)
        return Variant(path, brightness_spec(path), path.with_suffix(".json"))


def brightness_spec(path):
    """Return the ModelSpec beside a model."""
    from device_runtime.contract.decode import read_json  # noqa: PLC0415 - as the code does it
    from device_runtime.contract.model import ModelSpec  # noqa: PLC0415

    return read_json(ModelSpec, path.with_suffix(".json"))


def sweep_plan(folder, *words, **changes):
    """Return a plan over these axes for tiny models."""
    models = changes.pop("models", None) or TinyModels(folder)
    call = BenchCall(folder / "none.tflite", folder / "none.json", duration_s=6.0)
    return SweepPlan(**{"name": "tiny", "axes": parse_axes(words), "call": call, "models": models, **changes})


def point(number, p50, *, size=1000, accuracy=None, noise=0.02, **changes):
    """Return a measured point; ``noise`` is relative, half of the latency's interval, None for one that is unknown."""
    setting = {name: changes.pop(name) for name in ("recipe", "threads", "engine", "delegate") if name in changes}
    interval = None if noise is None else Interval(p50 * (1 - noise), p50 * (1 + noise))
    found = None if accuracy is None else Accuracy("top1", accuracy, 500, Interval(accuracy - 0.02, accuracy + 0.02))
    latency = PointLatency(p50, p50 * 1.2, interval, interval, 600, 3)
    facts = ModelFacts(f"m{number}", "ab" * 32, size, "1x96x96x3 uint8")
    return dataclasses.replace(
        SweepPoint(number, Setting(**setting), facts, latency, found, (run_of(p50, size, 70, samples_ms={}),)),
        **changes,
    )


def sweep_report(points, **changes):
    """Return the judged report of these points, as over recipes and threads."""
    values = {name: tuple(dict.fromkeys(each.setting.word(name) for each in points)) for name in ("recipe", "threads")}
    made = {"percentile": "p50", "created": "2026-03-01T09:30:00+00:00", "model": "belt", "source": "synthetic:belt"}
    report = SweepReport(
        **{
            "axes": tuple(Axis(name, each) for name, each in values.items() if any(each)),
            "rounds": 3,
            "duration_s": 10.0,
            "seed": 0,
            **made,
            **changes,
            "points": (),
        }
    )
    report = dataclasses.replace(report, points=with_front(points, report.percentile))
    return dataclasses.replace(report, recommended=recommend(report))
