"""What every backend does: open a trained model, tell what it is, run it, and export it to float32 TFLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from converters.interface import PrepOptions, TaskOptions
from converters.tasks import OutputFacts

Batch = npt.NDArray[Any]
"""A batch of one input or output, of its dtype: float32 as a rule."""


@dataclass(frozen=True)
class LeadingLayers:
    """Layers at the start of a model that normalise pixels: ``(x - mean) / std``, per channel or one for all.

    ``removable`` tells whether the model can be exported without them.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    removable: bool


@dataclass(frozen=True)
class SourceOptions:
    """What the user says of a source that does not say it itself.

    ``signature`` is the name of a SavedModel's; ``input_shapes`` are those of an example input, batch first, in the
    framework's own order of axes, for a source that has none (a function that makes a model).
    """

    signature: str | None = None
    input_shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class InputFacts:
    """One input: its shape with the batch first and None where it is open, images with channels last."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    @property
    def is_image(self) -> bool:
        """Whether pictures fit it: floats or bytes, four axes, and 1 or 3 channels."""
        return len(self.shape) == 4 and self.shape[3] in (1, 3) and self.dtype in ("float32", "uint8", "int8")


@dataclass(frozen=True)
class StatedUse:
    """What a source says itself of how it is used, as the options that would say the same; options come first."""

    prep: PrepOptions = field(default_factory=PrepOptions)
    task: TaskOptions = field(default_factory=TaskOptions)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceFacts:
    """What a trained model is.

    ``outputs`` are in the model's own order; their shapes have 1 for the batch, and 1 for what is open. ``quantised``
    tells that its values are stored as integers already, so that no recipe can be applied. ``remarks`` are sentences
    about it that the user should read. ``stated`` is what the file itself says of its use.
    """

    inputs: tuple[InputFacts, ...]
    outputs: tuple[OutputFacts, ...]
    leading: LeadingLayers | None = None
    tools: dict[str, str] = field(default_factory=dict)
    quantised: bool = False
    remarks: tuple[str, ...] = ()
    stated: StatedUse = field(default_factory=StatedUse)

    @property
    def image(self) -> InputFacts | None:
        """The input of an image model: one that has this input only; None for a model that takes tensors."""
        return self.inputs[0] if len(self.inputs) == 1 and self.inputs[0].is_image else None


@dataclass(frozen=True)
class ExportPlan:
    """What to export: the whole shape of each input, with batch 1, and what stands before the model's own layers.

    With ``bare`` the leading layers are left out. With ``mean`` and ``std`` (one value per channel), a layer that
    normalises pixels 0–255 is put in front; both for image models only.
    """

    shapes: tuple[tuple[int, ...], ...]
    bare: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class SourceModel(Protocol):
    """A trained model, loaded in the child process. Images are (n, height, width, channels) float32."""

    def facts(self) -> SourceFacts:
        """Return what the model is.

        Raises:
            ModelError: it cannot be converted, whatever the options.
        """

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the trained model's own outputs, in the order of ``facts().outputs``.

        Args:
            inputs: a batch (n, …) for each of ``facts().inputs``, n being 1 or more.
        """

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write the model as float32 TFLite.

        Inputs and outputs carry their position in the names of its signature: sorted (``output_10`` after
        ``output_9``), they are in the order of ``facts()``.

        Raises:
            ConversionError: the framework cannot convert it.
        """


SourceOpener = Callable[[Path, SourceOptions], SourceModel]
"""What an entry point of the group ``edgekit.backends`` refers to. Its module is imported in the child process."""
