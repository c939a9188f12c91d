"""What conversion gives and costs: recipes, the search's pick and TFLiteConverter's own int8, side by side in one run.

python benchmarks/conversion.py PROJECT...

Each PROJECT has an edgekit.toml whose [search] names an evaluation set. Files are made by the command line that users
have, each in a process of its own, whose wall time and largest process are measured; then all are evaluated on the
same pictures, and timed in turns. benchmarks/make_models.py makes the larger models.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from converters.datasets import read_dataset
from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from converters.jobs import CountPartitions
from converters.partitions import Partitions
from converters.process import open_worker
from converters.statistics import proportion
from device_runtime.bench.turns import time_in_turns
from device_runtime.contract.events import silent
from device_runtime.contract.model import ModelSpec
from device_runtime.engine.litert import installed_engines, open_engine
from device_runtime.errors import EdgeError
from edgekit.evaluating.evaluate import evaluate
from edgekit.project.config import Project, load_project

RECIPES = ("float32", "float16", "dynamic-int8", "weight-only-int8", "static-int8", "int16x8", "static-int4", "auto")
TENSORFLOW = "TFLiteConverter int8"
_SLOWEST_MS = 60.0


@dataclasses.dataclass
class Made:
    """A file that was made, or why it was not; ``seconds`` and ``peak_mb`` are of making it."""

    name: str
    path: Path
    seconds: float
    peak_mb: float
    failure: str = ""
    note: str = ""


def run(name: str, path: Path, command: list[str], folder: Path) -> Made:
    """Run a command; its wall time and its largest process count."""
    with (path.with_suffix(".log")).open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    failure = ""
    if process.returncode != 0:
        lines = path.with_suffix(".log").read_text(errors="replace").strip().splitlines()
        failure = next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")
    return Made(name, path, seconds, usage.ru_maxrss / 1024, failure)


def make_all(project: Project, folder: Path) -> list[Made]:
    """Make every file of the table."""
    made = []
    for recipe in RECIPES:
        path = folder / f"{recipe}.tflite"
        command = [
            sys.executable,
            "-m",
            "edgekit",
            "convert",
            "--recipe",
            recipe,
            "--runtime",
            "litert",
            "-o",
            str(path),
        ]
        done = run(recipe, path, command, project.folder)
        if recipe == "auto" and not done.failure:
            report = json.loads(path.with_suffix(".search.json").read_text())
            done.note = f"chose {report['chosen']} of {len(report['candidates'])}; {told(report['confirmation'])}"
        made.append(done)
    path = folder / "tensorflow.tflite"
    command = [
        sys.executable,
        __file__,
        "--tensorflow",
        str(path),
        str(folder / "static-int8.json"),
        str(project.folder),
    ]
    made.append(run(TENSORFLOW, path, command, Path.cwd()))
    return made


def told(confirmation: dict[str, dict[str, float]]) -> str:
    """Return what held-out pictures say of the winner."""
    metric, drop = confirmation["metric"], confirmation["drop"]
    return (
        f"held out: {metric['value']:.4f} ({metric['low']:.4f}–{metric['high']:.4f}), "
        f"{drop['value']:.2f} points lost ({drop['low']:.2f} to {drop['high']:.2f})"
    )


def with_tensorflow(target: Path, spec: Path, folder: Path) -> None:
    """Convert as TensorFlow's guide to post-training quantisation does, with pictures prepared as ours are."""
    import keras  # noqa: PLC0415 - heavy, and only for this
    import tensorflow as tf  # noqa: PLC0415

    from converters.jobs import Tidy  # noqa: PLC0415
    from converters.tidy import tidy  # noqa: PLC0415
    from device_runtime.contract.decode import read_json  # noqa: PLC0415
    from device_runtime.vision.normalise import normalise  # noqa: PLC0415
    from device_runtime.vision.picture import list_pictures, read_picture  # noqa: PLC0415
    from device_runtime.vision.prepare import prepare_bytes  # noqa: PLC0415

    project = load_project(folder)
    if project.calibration is None:
        raise SystemExit(f"{project.path}: expected [model] calibration")
    options = project.file.prep.options()
    known = read_json(ModelSpec, spec)
    prep = known.image_prep
    prep = dataclasses.replace(prep, mean=options.mean or (0.0,), std=options.std or (1.0,))
    model = keras.saving.load_model(project.source, compile=False)

    def images() -> object:
        for path in list_pictures(project.calibration or folder)[:100]:
            yield [normalise(prepare_bytes(read_picture(path), prep), prep)[None]]

    with tempfile.TemporaryDirectory() as saved:
        shape = (1, *model.inputs[0].shape[1:])
        model.export(saved, input_signature=[keras.InputSpec(shape=shape, dtype="float32")], verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        plain = Path(saved) / "plain.tflite"
        plain.write_bytes(converter.convert())
        # Its outputs may be in another order than ours, which the decoder cannot know.
        names = tuple(str(name) for name in model.output_names)
        order = tuple(names.index(tensor.name) for tensor in known.outputs)
        tidy(Tidy(str(plain), str(target), ("image",), names, order), silent)


def accuracy(made: Made, project: Project, engine: str) -> str:
    """Return what a file scores on the evaluation set, or why it does not."""
    if project.search.evaluation is None:
        raise SystemExit(f"{project.path}: expected [search] evaluation")
    prep = project.file.prep.options()
    if made.path.with_suffix(".json").exists():
        prep = PrepOptions()
    try:
        spec = describe_tflite(made.path, prep, project.file.task if made.name == TENSORFLOW else TaskOptions(), None)
        spec = dataclasses.replace(spec, labels=spec.labels or labels_of(project))
        dataset = read_dataset(project.search.evaluation)
        found = evaluate(made.path, spec, dataset, silent, engine)
    except (EdgeError, ValueError) as error:
        return f"– ({str(error)[-60:]})"
    name, value = next(iter(found.metrics.items()))
    if name != "top1":
        return f"{value:.4f}"
    interval = proportion(round(value * found.pictures), found.pictures)
    return f"{value:.4f} ({interval.low:.3f}–{interval.high:.3f})"


def labels_of(project: Project) -> tuple[str, ...]:
    """Return the project's labels."""
    return () if project.labels is None else tuple(project.labels.read_text().split())


def latencies(files: list[Path], engine: str, threads: int) -> list[float | None]:
    """Return medians in ms, taken in turns; None for what the engine cannot run, or runs too slowly to wait for."""
    engines = []
    for path in files:
        try:
            candidate = open_engine(path, engine, threads)
            slow = time_in_turns([candidate], 1, 0.0)[0].p50 > _SLOWEST_MS * (10 if engine == "litert" else 4)
            engines.append(None if slow else candidate)
        except EdgeError:
            engines.append(None)
    stats = iter(time_in_turns([each for each in engines if each is not None]))
    return [None if each is None else next(stats).p50 for each in engines]


def pieces(path: Path, engine: str, folder: Path) -> str:
    """Return in how many pieces XNNPACK takes a model."""
    try:
        with open_worker(folder, silent) as worker:
            return str(worker.call(CountPartitions(str(path), engine), Partitions, "load the model").count)
    except EdgeError:
        return "–"


def measure(project: Project) -> None:
    """Print one model's table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_all(project, folder)
        engines = installed_engines()
        times = {
            (engine, threads): latencies([each.path for each in made if not each.failure], engine, threads)
            for engine in engines
            for threads in (1, 2)
        }
        print(f"\n## {project.file.project.name}\n")
        columns = [f"{engine}: score | pieces | p50 ms 1, 2 threads" for engine in engines]
        print(f"| recipe | KB | {' | '.join(columns)} | made in s | peak MB |")
        print("|" + "---|" * (4 + 3 * len(engines)))
        working = [each for each in made if not each.failure]
        for row, each in enumerate(working):
            cells = []
            for engine in engines:
                pair = ", ".join(shown(times[engine, threads][row]) for threads in (1, 2))
                cells.append(f"{accuracy(each, project, engine)} | {pieces(each.path, engine, folder)} | {pair}")
            size = each.path.stat().st_size / 1e3
            print(f"| {each.name} | {size:.0f} | {' | '.join(cells)} | {each.seconds:.1f} | {each.peak_mb:.0f} |")
        for each in made:
            if each.failure or each.note:
                print(f"\n{each.name}: {each.failure or each.note}")


def shown(latency: float | None) -> str:
    """Return ms for people."""
    return "–" if latency is None else f"{latency:.3g}"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensorflow", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("projects", nargs="+", type=Path)
    options = parser.parse_args()
    if options.tensorflow:
        with_tensorflow(*options.projects)
        return
    for folder in options.projects:
        measure(load_project(folder))


if __name__ == "__main__":
    main()
