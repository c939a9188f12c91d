"""What each recipe costs and gives: size, accuracy and latency of a project's model, in one run.

python benchmarks/recipes.py PROJECT DATASET     (a folder with an edgekit.toml, and labelled pictures)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from converters import convert
from converters.datasets import read_dataset
from converters.interface import ConvertRequest
from converters.recipe import RECIPES
from device_runtime.bench.turns import time_in_turns
from device_runtime.contract.events import silent
from device_runtime.engine.litert import installed_engines, open_engine
from edgekit.evaluating.evaluate import evaluate
from edgekit.project.config import load_project


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("dataset", type=Path)
    options = parser.parse_args()
    project = load_project(options.project)
    dataset = read_dataset(options.dataset)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            name: convert(
                ConvertRequest(
                    project.source,
                    Path(folder) / f"{name}.tflite",
                    name,
                    project.calibration,
                    project.labels,
                    project.file.prep.options(),
                    project.file.task,
                ),
                silent,
            )
            for name in RECIPES
        }
        print(
            f"{project.file.project.name}: {len(dataset.pictures)} labelled pictures, 1 thread, median of invoke in ms"
        )
        for engine in installed_engines():
            timed = time_in_turns([open_engine(result.tflite, engine) for result in results.values()])
            latencies = [stats.p50 for stats in timed]
            for (name, result), latency in zip(results.items(), latencies, strict=True):
                metrics = evaluate(result.tflite, result.spec, dataset, silent, engine).metrics
                figures = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
                agreement = result.parity["litert"].agreement
                size = f"{result.tflite_bytes / 1e3:8.1f} KB"
                print(f"{engine:15} {name:13} {size}  {figures}  agreement {agreement:.4f}  p50 {latency:.3f}")


if __name__ == "__main__":
    main()
