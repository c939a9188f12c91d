"""Holds the declared normalisation against what a trained model remembers of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.arrays import open_array
from converters.backends.interface import SourceModel
from converters.jobs import Fits, MeasureFits
from converters.normalise import NAMED, format_normalise
from device_runtime.contract.events import Events
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.errors import UsageError
from device_runtime.vision.normalise import normalise

_MOST_PICTURES = 128
_SUSPICIOUS, _CLEARER = 0.03, 5.0
_BLATANT, _MUCH_CLEARER = 0.5, 50.0
"""Misfits that were measured, in natural units of information: with the training's normalisation 0.001–0.014 (digits,
belt, models trained for 90 steps; 0.002 for vww_96 on 100 pictures of another data set, 0.011 on 48); 0..1 taken for
-1..1 or the reverse 0.7–3.9, and 0.08 after 90 steps only; 0–255 into a unit range 200–4000; red and blue exchanged
0.05 against 0.002, and 0.023 against 0.014."""


@dataclass(frozen=True)
class TrainingFit:
    """How well a declared preparation fits a model's training, and the best of others.

    ``misfit`` and ``best_misfit`` are 0 where what the model sees is what it remembers.
    """

    declared: ImagePrep
    misfit: float
    best: ImagePrep
    best_misfit: float

    @property
    def suspicious(self) -> bool:
        """Whether another preparation fits so much better that the declared one is probably not the training's."""
        return self.misfit >= _SUSPICIOUS and self.misfit >= _CLEARER * self.best_misfit

    @property
    def blatant(self) -> bool:
        """Whether it certainly is not."""
        return self.misfit >= _BLATANT and self.misfit >= _MUCH_CLEARER * self.best_misfit


def other_preps(prep: ImagePrep) -> tuple[ImagePrep, ...]:
    """Return preparations that a model is often trained with, other than ``prep``: the same picture, other numbers.

    These are the normalisations that have names, that of the Caffe models, and ``prep`` with red and blue exchanged.
    """
    known = [(prep.colour, *NAMED[word]) for word in NAMED if word != "imagenet"]
    if prep.channels == 3:
        known.append((Colour.RGB, *NAMED["imagenet"]))
        # keras.applications' "caffe" mode: BGR, ImageNet's mean subtracted, not scaled.
        known.append((Colour.BGR, (103.939, 116.779, 123.68), (1.0,)))
        swapped = Colour.RGB if prep.colour is Colour.BGR else Colour.BGR
        known.append((swapped, prep.mean, prep.std))
    found = [replace(prep, colour=colour, mean=mean, std=std) for colour, mean, std in known]
    return tuple(item for item in dict.fromkeys(found) if item != prep)


def measure_fits(model: SourceModel, job: MeasureFits, events: Events) -> Fits:
    """Return the misfit of each preparation; none where the model remembers nothing.

    Runs in the child process, on the first samples of an image model.
    """
    del events
    memory = getattr(model, "memory", lambda: None)()
    if memory is None:
        return Fits(())
    pixels = np.asarray(open_array(Path(job.samples))[:_MOST_PICTURES])
    misfits = []
    for prep in job.preps:
        swapped = pixels if prep.colour is job.preps[0].colour else pixels[..., ::-1]
        misfits.append(memory.misfit([normalise(swapped, prep)]))
    return Fits(tuple(misfits))


def judge(preps: Sequence[ImagePrep], misfits: Sequence[float]) -> TrainingFit | None:
    """Return how the first preparation compares with the others; None when nothing was measured."""
    if not misfits:
        return None
    best = min(range(1, len(preps)), key=lambda index: misfits[index])
    return TrainingFit(preps[0], misfits[0], preps[best], misfits[best])


def require_fit(fit: TrainingFit | None, where: str) -> tuple[str, ...]:
    """Return what to warn of.

    Raises:
        UsageError: the declared normalisation certainly is not that of the training.
    """
    if fit is None or not fit.suspicious:
        return ()
    says = (
        f"{where}: with {_words(fit.declared)} the model's first layers see other numbers than in training "
        f"(misfit {fit.misfit:.2g}); {_words(fit.best, fit.declared)} fits ({fit.best_misfit:.2g})"
    )
    option = _options(fit.best, fit.declared)
    if fit.blatant:
        raise UsageError(says, hint=f"normalise as in training: {option}")
    return (f"{says}: {option}",)


def _words(prep: ImagePrep, other: ImagePrep | None = None) -> str:
    word = f"normalisation {format_normalise(prep.mean, prep.std)}"
    return f"{word} in {prep.colour.value} order" if other is not None and other.colour is not prep.colour else word


def _options(prep: ImagePrep, declared: ImagePrep) -> str:
    option = f"--normalise {format_normalise(prep.mean, prep.std)}"
    return option if prep.colour is declared.colour else f"{option} --colour {prep.colour.value}"
