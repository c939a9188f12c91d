"""What is wrong with a set of samples before it makes a wrong model: nothing to measure on, too few, the same again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from device_runtime.errors import BadFileError
from device_runtime.vision.frame import Pixels, Tensor

FEW = 16
"""Fewer samples are warned of. TensorFlow's guide asks for 100 to 500 (tensorflow.org/lite, "Post-training integer
quantization"); of 16 some of the widest values of an activation are already likely to be among them."""

_DARK, _BRIGHT = 8, 247
_LEVELS = 64
"""Pictures whose bytes all lie within so few of 256 levels leave most of the input's range unseen."""

_PIXEL_MAX = 255.0
_HINT = "give samples like those that the model will see: --calibration DIR"


@dataclass
class PictureChecks:
    """Looks at prepared pictures one by one, and judges the set. ``what`` names it in messages."""

    what: str
    _digests: set[bytes] = field(default_factory=set)
    _plain: list[str] = field(default_factory=list)
    _repeated: list[str] = field(default_factory=list)
    _low: int = 255
    _high: int = 0

    def add(self, name: str, pixels: Pixels) -> bool:
        """Look at a picture (height, width, channels) uint8; return whether it is one that was not there before."""
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest in self._digests:
            self._repeated.append(name)
            return False
        self._digests.add(digest)
        low, high = int(pixels.min()), int(pixels.max())
        if low == high or bool((pixels == pixels[0, 0]).all()):
            self._plain.append(name)
        self._low, self._high = min(self._low, low), max(self._high, high)
        return True

    def doubts(self) -> list[str]:
        """Return what is to be warned of.

        Raises:
            BadFileError: nothing can be measured on this set.
        """
        count = len(self._digests)
        if self._high <= _DARK or self._low >= _BRIGHT:
            shade = "black" if self._high <= _DARK else "white"
            raise BadFileError(
                f"{self.what}: its {_pictures(count)} are all {shade} (bytes {self._low}–{self._high})", hint=_HINT
            )
        if len(self._plain) == count:
            raise BadFileError(f"{self.what}: each of its {_pictures(count)} is of one colour only", hint=_HINT)
        found = []
        if self._plain:
            found.append(f"{self.what}: {_some(self._plain, 'picture')} of one colour only")
        if self._high - self._low < _LEVELS:
            found.append(
                f"{self.what}: its pictures have bytes {self._low}–{self._high} only; ranges measured on them are too "
                "narrow for others"
            )
        return found + _repeats(self.what, self._repeated, "picture") + _scarcity(self.what, count)


@dataclass
class TensorChecks:
    """Looks at samples of a tensor model one by one, and judges the set. ``inputs`` are the names of its inputs."""

    what: str
    inputs: Sequence[str]
    _digests: set[bytes] = field(default_factory=set)
    _repeated: list[str] = field(default_factory=list)
    _seen: dict[str, _Values] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[Tensor]) -> bool:
        """Look at a sample, a tensor per input; return whether it is one that was not there before."""
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in values)).digest()
        if digest in self._digests:
            self._repeated.append(name)
            return False
        self._digests.add(digest)
        for key, value in zip(self.inputs, values, strict=True):
            self._seen.setdefault(key, _Values()).add(value)
        return True

    def doubts(self) -> list[str]:
        """Return what is to be warned of.

        Raises:
            BadFileError: nothing can be measured on this set.
        """
        count = len(self._digests)
        constant = {key: seen for key, seen in self._seen.items() if seen.low == seen.high}
        if len(constant) == len(self._seen):
            values = ", ".join(f"{key} is {seen.low:g} everywhere" for key, seen in constant.items())
            raise BadFileError(f"{self.what}: its samples hold nothing to measure on: {values}", hint=_HINT)
        found = [f"{self.what}: input {key} is {seen.low:g} in all samples" for key, seen in constant.items()]
        found += [
            f"{self.what}: input {key} holds whole numbers of 0–255 only: normalise pixels as in training"
            for key, seen in self._seen.items()
            if seen.like_pixels
        ]
        return found + _repeats(self.what, self._repeated, "sample") + _scarcity(self.what, count)


@dataclass
class _Values:
    """What one input was given, over all samples."""

    low: float = float("inf")
    high: float = float("-inf")
    whole: bool = True
    real: bool = False

    def add(self, value: Tensor) -> None:
        self.low, self.high = min(self.low, float(value.min())), max(self.high, float(value.max()))
        self.real = self.real or value.dtype.kind == "f"
        self.whole = self.whole and (value.dtype.kind != "f" or bool((value == np.rint(value)).all()))

    @property
    def like_pixels(self) -> bool:
        """Whether these look like pixels that nobody has normalised."""
        return self.real and self.whole and self.low >= 0 and 128 <= self.high <= _PIXEL_MAX


def one_answer(outputs: Sequence[Tensor]) -> str:
    """Return a warning when a classifier says the same of all samples: one class only, or a wrong normalisation.

    Args:
        outputs: of the trained model; (n, classes), one of them.
    """
    if len(outputs) != 1 or outputs[0].ndim != 2 or outputs[0].shape[1] < 2 or len(outputs[0]) < 2:
        return ""
    best = np.unique(np.argmax(outputs[0], axis=1))
    if len(best) > 1:
        return ""
    return (
        f"the trained model says class {best[0]} of all {len(outputs[0])} samples: either they show one class only, or "
        "the normalisation is not that of the training"
    )


def _repeats(what: str, names: Sequence[str], noun: str) -> list[str]:
    return [f"{what}: {_some(names, noun)} left out, equal to others"] if names else []


def _scarcity(what: str, count: int) -> list[str]:
    if count >= FEW:
        return []
    return [f"{what}: only {count} different sample{'s'[: count != 1]}; give 100 or more, and at least {FEW}"]


def _some(names: Sequence[str], noun: str) -> str:
    """``3 pictures (a.png, b.png, c.png)``, the first few by name."""
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s'[: len(names) != 1]} ({shown})"


def _pictures(count: int) -> str:
    return f"{count} picture{'s'[: count != 1]}"
