"""Runs two versions of a model and compares them layer by layer. Child process only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import open_array
from converters.describe import tensor_specs
from converters.errors import ConversionError
from converters.interface import LayerError
from converters.jobs import CompareLayers, LayerErrors
from converters.layers import paired_layers
from converters.parity.difference import Difference, Real
from converters.ranges import real_inputs, watched
from converters.tflite_reader import TensorInfo, TfliteInfo, parse_tflite
from device_runtime.contract.events import Events, Progress
from device_runtime.contract.model import ImagePrep
from device_runtime.engine.values import stored
from device_runtime.vision.frame import Tensor


def compare_layers(job: CompareLayers, events: Events) -> LayerErrors:
    """Return how far each layer's values are from the float model's, in the order of the float model's graph.

    An error holds what the layers before it did, too: where the figure falls, a layer adds something of its own.

    Raises:
        ConversionError: the models have no layers in common.
        BadFileError, ModelError: a file is no model, or damaged.
    """
    one, two = (_Watched(Path(path), prep) for path, prep in ((job.float_model, job.float_prep), (job.model, job.prep)))
    pairs = paired_layers(one.info.main, two.info.main)
    if not pairs:
        raise ConversionError(
            f"{job.model} and {job.float_model} have no layers in common: expected a float and a quantised version of "
            "the same model",
            hint="give the float model that it was made from: edgekit convert MODEL --recipe float32 -o float.tflite",
        )
    samples = [open_array(Path(file)) for file in job.samples]
    count = min(len(samples[0]), job.limit or len(samples[0]))
    apart = [Difference() for _ in pairs]
    for row in range(count):
        one.run(samples, row)
        two.run(samples, row)
        apart = [known.plus(one.real(pair.one), two.real(pair.two)) for known, pair in zip(apart, pairs, strict=True)]
        events(Progress(row + 1, count, "samples"))
    return LayerErrors(
        tuple(
            # Infinite values have no direction.
            LayerError(pair.name, pair.operator, known.snr_db, 0.0 if np.isnan(known.cosine) else known.cosine)
            for pair, known in zip(pairs, apart, strict=True)
        )
    )


class _Watched:
    """A model in LiteRT that keeps every tensor."""

    def __init__(self, path: Path, prep: ImagePrep | None) -> None:
        content = path.read_bytes()
        self.info: TfliteInfo = parse_tflite(content, str(path))
        self._prep = prep
        self._interpreter: Any = watched(content)
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._specs = tensor_specs(self.info.inputs, str(path))

    def run(self, samples: Sequence[Tensor], row: int) -> None:
        """Run the model on one sample."""
        values = real_inputs(samples, row, self._prep)
        for index, value, spec in zip(self._inputs, values, self._specs, strict=True):
            self._interpreter.set_tensor(index, stored(value, spec))
        self._interpreter.reset_all_variables()
        self._interpreter.invoke()

    def real(self, index: int) -> Real:
        """Return what a tensor of the main graph stands for."""
        values = np.asarray(self._interpreter.get_tensor(index), np.float64)
        tensor: TensorInfo = self.info.main.tensors[index]
        if not tensor.scales:
            return values
        return (values - tensor.zero_points[0]) * tensor.scales[0]
