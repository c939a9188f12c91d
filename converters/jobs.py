"""What the child process is asked to do, and what it answers: plain data, sent as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from converters.backends.interface import ExportPlan
from device_runtime.contract.model import ImagePrep, TensorSpec


@dataclass(frozen=True)
class OpenSource:
    """Load a trained model and keep it loaded. ``backend`` is ``module:attribute``. Answer: ``SourceFacts``."""

    backend: str
    source: str


@dataclass(frozen=True)
class RunSource:
    """Run the loaded model on prepared pictures, normalised by ``prep``; its outputs go to ``folder``."""

    samples: str
    prep: ImagePrep
    folder: str


@dataclass(frozen=True)
class ExportFloat:
    """Write the loaded model as float32 TFLite."""

    target: str
    plan: ExportPlan


@dataclass(frozen=True)
class InputEncoding:
    """How a byte of the input is read: ``real = scale * (byte - zero_point)``."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Quantise:
    """Apply a recipe to a float32 TFLite model.

    ``samples`` calibrate it, normalised by ``prep``; ``encoding`` is that of a uint8 input, None for a float one;
    ``order`` and ``names`` are of the outputs, in the order that the result is to have.
    """

    model: str
    target: str
    recipe: str
    samples: str
    prep: ImagePrep
    encoding: InputEncoding | None
    order: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class RunModel:
    """Run a TFLite model on the first ``limit`` prepared pictures (0: all), with the board's own code."""

    model: str
    prep: ImagePrep
    samples: str
    folder: str
    engine: str = "auto"
    limit: int = 0


@dataclass(frozen=True)
class Outputs:
    """Real-valued outputs, one ``.npy`` of (n, …) float32 for each."""

    files: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """The job is done. ``tools`` are the packages that did it, with their versions."""

    tools: dict[str, str] = field(default_factory=dict)


Job = OpenSource | RunSource | ExportFloat | Quantise | RunModel
JOBS: dict[str, type[Job]] = {
    "open": OpenSource,
    "run-source": RunSource,
    "export": ExportFloat,
    "quantise": Quantise,
    "run-model": RunModel,
}
