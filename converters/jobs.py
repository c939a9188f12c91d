"""What the child process is asked to do, and what it answers: plain data, sent as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from converters.backends.interface import ExportPlan, InputFacts, SourceFacts, SourceOptions
from converters.interface import LayerError
from converters.partitions import Partitions
from converters.recipe import QuantRecipe
from device_runtime.contract.model import ImagePrep, ModelSpec, TensorSpec


@dataclass(frozen=True)
class OpenSource:
    """Load a trained model and keep it loaded. ``backend`` is ``module:attribute``. Answer: ``SourceFacts``."""

    backend: str
    source: str
    options: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True)
class ReadSignatures:
    """Tell the signatures of a SavedModel, without loading it. Answer: ``Signatures``."""

    source: str


@dataclass(frozen=True)
class RunSource:
    """Run the loaded model on samples; its outputs go to ``folder``.

    ``samples`` are one ``.npy`` per input. With ``prep`` they are prepared pictures that it normalises; without, they
    are the input's own values.
    """

    samples: tuple[str, ...]
    prep: ImagePrep | None
    folder: str


@dataclass(frozen=True)
class MeasureFits:
    """Hold preparations against what the loaded image model remembers of its training. Answer: ``Fits``.

    ``samples`` is the ``.npy`` of pictures, in the colour order of the first of ``preps``.
    """

    samples: str
    preps: tuple[ImagePrep, ...]


@dataclass(frozen=True)
class ExportFloat:
    """Write the loaded model as float32 TFLite."""

    target: str
    plan: ExportPlan


@dataclass(frozen=True)
class Tidy:
    """Rewrite a float model so that its inputs and outputs have known names, and its outputs the decoder's order.

    ``inputs`` and ``outputs`` are names in the source's order; ``order`` are positions in ``outputs``.
    """

    model: str
    target: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Calibrate:
    """Measure the range of every activation of a float model on samples (as in ``RunSource``); write them to a file."""

    model: str
    target: str
    samples: tuple[str, ...]
    prep: ImagePrep | None


@dataclass(frozen=True)
class InputEncoding:
    """How a byte of the input is read: ``real = scale * (byte - zero_point)``."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Quantise:
    """Apply a recipe to a tidy float model.

    ``ranges`` is what ``Calibrate`` wrote, empty for a recipe that needs none; ``encoding`` is that of the bytes that
    an image model takes, None when its recipe does not take bytes.
    """

    model: str
    target: str
    recipe: QuantRecipe
    ranges: str = ""
    encoding: InputEncoding | None = None


@dataclass(frozen=True)
class Finish:
    """Make a model smaller without loss, and put its description in."""

    model: str
    target: str
    spec: ModelSpec


@dataclass(frozen=True)
class RunModel:
    """Run a TFLite model on the first ``limit`` samples (0: all), with the board's own code."""

    model: str
    prep: ImagePrep | None
    samples: tuple[str, ...]
    folder: str
    engine: str = "auto"
    limit: int = 0


@dataclass(frozen=True)
class TimeModels:
    """Time models on one engine, in turns. Answer: ``Timings``."""

    models: tuple[str, ...]
    engine: str
    threads: int


@dataclass(frozen=True)
class MeasureSensitivity:
    """Quantise each operator of a tidy float model alone, and tell how much its outputs suffer.

    The first ``limit`` samples (0: all) are as in ``RunSource``; ``ranges`` as in ``Quantise``. Answer:
    ``Sensitivities``.
    """

    model: str
    recipe: QuantRecipe
    ranges: str
    samples: tuple[str, ...]
    prep: ImagePrep | None
    limit: int = 8


@dataclass(frozen=True)
class Sensitivities:
    """What each operator costs alone, at the model's outputs, the worst first; ``name`` is its output tensor."""

    layers: tuple[LayerError, ...]


@dataclass(frozen=True)
class CountPartitions:
    """Load a model, and tell in how many pieces XNNPACK takes it. Answer: ``Partitions``."""

    model: str
    engine: str


@dataclass(frozen=True)
class CompareLayers:
    """Compare a quantised model layer by layer with its float version, on the first ``limit`` samples (0: all).

    ``samples`` are as in ``RunSource``; ``float_prep`` and ``prep`` are what each of the models makes of a picture,
    None for tensor models. Answer: ``LayerErrors``.
    """

    float_model: str
    model: str
    samples: tuple[str, ...]
    float_prep: ImagePrep | None
    prep: ImagePrep | None
    limit: int = 16


@dataclass(frozen=True)
class LayerErrors:
    """The layers of two versions of a model, in the order of the graph."""

    layers: tuple[LayerError, ...]


@dataclass(frozen=True)
class Timings:
    """The median of an invocation in ms, of each model."""

    p50_ms: tuple[float, ...]


@dataclass(frozen=True)
class Outputs:
    """Real-valued outputs, one ``.npy`` of (n, …) float32 for each."""

    files: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Signature:
    """What a function of a SavedModel takes and gives, in the order of the names."""

    name: str
    inputs: tuple[InputFacts, ...]
    outputs: tuple[InputFacts, ...]


@dataclass(frozen=True)
class Signatures:
    """All signatures of a SavedModel, in the order of their names."""

    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class Fits:
    """The misfit of each preparation, 0 for the training's own; none where the model remembers nothing."""

    misfits: tuple[float, ...]


@dataclass(frozen=True)
class Done:
    """The job is done. ``tools`` are the packages that did it, with their versions."""

    tools: dict[str, str] = field(default_factory=dict)


Job = (
    OpenSource
    | RunSource
    | ReadSignatures
    | MeasureFits
    | ExportFloat
    | Tidy
    | Calibrate
    | Quantise
    | Finish
    | RunModel
    | TimeModels
    | MeasureSensitivity
    | CountPartitions
    | CompareLayers
)
Answer = SourceFacts | Outputs | Timings | Sensitivities | Partitions | LayerErrors | Signatures | Fits | Done
JOBS: dict[str, type[Job]] = {
    "open": OpenSource,
    "read-signatures": ReadSignatures,
    "run-source": RunSource,
    "measure-fits": MeasureFits,
    "export": ExportFloat,
    "tidy": Tidy,
    "calibrate": Calibrate,
    "quantise": Quantise,
    "finish": Finish,
    "run-model": RunModel,
    "time": TimeModels,
    "measure-sensitivity": MeasureSensitivity,
    "count-partitions": CountPartitions,
    "compare-layers": CompareLayers,
}
