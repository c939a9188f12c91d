"""What every backend does: open a trained model, tell what it is, run it, and export it to float32 TFLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from converters.tasks import OutputFacts

Batch = npt.NDArray[np.float32]


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
class SourceFacts:
    """What a trained model is. ``height`` and ``width`` are None where the model leaves them open.

    ``outputs`` are in the model's own order; their shapes have 1 for the batch, and 1 for what is open.
    """

    height: int | None
    width: int | None
    channels: int
    outputs: tuple[OutputFacts, ...]
    leading: LeadingLayers | None = None
    tools: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportPlan:
    """What to export: batch 1, this size, and what stands before the model's own layers.

    With ``bare`` the leading layers are left out. With ``mean`` and ``std`` (one value per channel), a layer that
    normalises pixels 0–255 is put in front.
    """

    height: int
    width: int
    bare: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class SourceModel(Protocol):
    """A trained model, loaded in the child process. It keeps float32 images (n, height, width, channels) as input."""

    def facts(self) -> SourceFacts:
        """Return what the model is.

        Raises:
            ModelError: it is no vision model with one image input.
        """

    def run(self, images: Batch) -> Sequence[Batch]:
        """Return the trained model's own outputs for a batch of images, in the order of ``facts().outputs``."""

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write the model as float32 TFLite.

        Its outputs carry their position in the names of its signature: sorted, they are in ``facts().outputs``' order.

        Raises:
            ConversionError: the framework cannot convert it.
        """


SourceOpener = Callable[[Path], SourceModel]
"""What an entry point of the group ``edgekit.backends`` refers to. Its module is imported in the child process."""
