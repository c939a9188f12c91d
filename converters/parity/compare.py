"""Holds a converted model's outputs against the trained model's: SNR, cosine, agreement, and the worst pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.errors import ConversionError
from converters.interface import OutputParity, ParityReport, WorstSample
from converters.parity.agreement import judge_of
from converters.parity.difference import Difference, cosine
from converters.recipe import QuantRecipe
from device_runtime.contract.model import ModelSpec
from device_runtime.vision.frame import Tensor

_WORST = 5


def compare(
    source: Sequence[Tensor],
    converted: Sequence[Tensor],
    spec: ModelSpec,
    pictures: Sequence[str],
    *,
    generated: bool = False,
) -> ParityReport:
    """Compare real-valued outputs, sample by sample.

    Args:
        source: the trained model's outputs in the order of ``spec.outputs``, each (n, …) float32.
        converted: the converted model's, likewise, for the first n samples or all.
        spec: what the outputs mean.
        pictures: the names of the samples.
        generated: whether the samples were made up.

    Raises:
        ConversionError: shapes differ.
    """
    for wanted, got, tensor in zip(source, converted, spec.outputs, strict=True):
        if wanted.shape[1:] != got.shape[1:]:
            raise ConversionError(
                f"output {tensor.name}: expected {list(wanted.shape[1:])} as in the trained model, "
                f"got {list(got.shape[1:])}"
            )
    count = len(converted[0])
    sums = [Difference() for _ in spec.outputs]
    judge = judge_of(spec, source)
    samples = []
    for index in range(count):
        pairs = [
            (np.asarray(one[index], np.float64), np.asarray(two[index], np.float64))
            for one, two in zip(source, converted, strict=True)
        ]
        sums = [known.plus(*pair) for known, pair in zip(sums, pairs, strict=True)]
        said = judge.add([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        error = said.error
        if error is None:
            error = 1.0 - cosine(*(np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1)))
        samples.append(WorstSample(pictures[index], float(error), said.source_says, said.converted_says))
    outputs = tuple(
        OutputParity(tensor.name, known.snr_db, known.cosine, known.worst_abs)
        for tensor, known in zip(spec.outputs, sums, strict=True)
    )
    worst = tuple(sorted(samples, key=lambda sample: (-sample.error, sample.picture))[:_WORST])
    return ParityReport(count, judge.agreement, outputs, worst, generated)


def require_parity(report: ParityReport, recipe: QuantRecipe, what: str) -> None:
    """Refuse a model that does not say what the trained model says.

    Raises:
        ConversionError: an output differs more than ``recipe`` can explain.
    """
    for output in report.outputs:
        if output.snr_db >= recipe.min_snr_db:
            continue
        worst = report.worst[0]
        raise ConversionError(
            f"{what} is not the trained model any more: output {output.name} has {output.snr_db:.1f} dB signal to "
            f"noise (at least {recipe.min_snr_db:.0f} expected), agreement {report.agreement:.1%} on {report.samples} "
            f"pictures; most on {worst.picture}: {worst.source_says} became {worst.converted_says}",
            hint="check --normalise and that the pictures are like those of the training; or try: --recipe float16",
        )
