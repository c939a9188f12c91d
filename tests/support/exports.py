"""Opens a source in a child process, exports it, and holds the export against it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter, open_array
from converters.backends.interface import ExportPlan, SourceFacts, SourceOptions
from converters.jobs import Done, ExportFloat, OpenSource, Outputs, RunModel, RunSource, Tidy
from converters.process import open_worker
from converters.registry import backend_for
from device_runtime.contract.events import silent

_SAMPLES = 4


@dataclass
class Export:
    """What ``exported`` made: the tidy float model, and per output its largest difference from the source's."""

    facts: SourceFacts
    model: Path
    differences: dict


def opened(worker, path, **options):
    job = OpenSource(backend_for(path), str(path), SourceOptions(**options))
    return worker.call(job, SourceFacts, f"load {path.name}")


def exported(worker, path, folder, *, shapes=None, prep=None, plan=None, float_prep=None, **options):
    """Open, run, export and tidy ``path`` in ``worker``; run the result in another process."""
    facts = opened(worker, path, **options)
    shapes = shapes or tuple(tuple(side or 1 for side in (1, *item.shape[1:])) for item in facts.inputs)
    files = tuple(
        str(_samples(folder / f"samples-{index}.npy", shape[1:], "uint8" if prep else item.dtype))
        for index, (item, shape) in enumerate(zip(facts.inputs, shapes, strict=True))
    )
    wanted = worker.call(RunSource(files, prep, str(folder)), Outputs, "run")
    raw, tidy = folder / "exported.tflite", folder / "float.tflite"
    worker.call(ExportFloat(str(raw), plan or ExportPlan(shapes)), Done, "export")
    with open_worker(folder, silent) as other:
        names = [tuple(item.name for item in items) for items in (facts.inputs, facts.outputs)]
        other.call(Tidy(str(raw), str(tidy), *names, tuple(range(len(facts.outputs)))), Done, "tidy")
        got = other.call(RunModel(str(tidy), float_prep or prep, files, str(folder)), Outputs, "run")
    differences = {
        output.name: float(np.abs(open_array(one) - open_array(two)).max())
        for output, one, two in zip(facts.outputs, wanted.files, got.files, strict=True)
    }
    return Export(facts, tidy, differences)


def _samples(path, shape, dtype):
    generator = np.random.default_rng(1)
    with ArrayWriter(path, shape, dtype) as writer:
        for _ in range(_SAMPLES):
            if np.dtype(dtype).kind == "f":
                writer.append(generator.normal(size=shape).astype(dtype))
            else:
                writer.append(generator.integers(0, 256 if dtype == "uint8" else 5, shape).astype(dtype))
    return path
