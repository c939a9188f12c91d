"""What a conversion is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.contract.model import BoxFormat, Colour, Interpolation, ModelSpec, Resize


@dataclass(frozen=True)
class PrepOptions:
    """What the user says of the preparation; None is left to the model, to its metadata or to the default.

    ``mean`` and ``std`` are in pixel units (0–255), see ``ImagePrep``.
    """

    resize: Resize | None = None
    crop_fraction: float | None = None
    interpolation: Interpolation | None = None
    pad: int | None = None
    colour: Colour | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TaskOptions:
    """What the user says of the task; None is left to the model, to its metadata or to the default."""

    name: str | None = None
    decoder: str | None = None
    score_threshold: float | None = None
    max_items: int | None = None
    iou_threshold: float | None = None
    box_format: BoxFormat | None = None
    label_offset: int | None = None


@dataclass(frozen=True)
class ConvertRequest:
    """A trained model, and what is wanted of it.

    ``source`` is a file or folder, or ``module:callable``. ``recipe`` is a name, a formula or a TOML file (see
    ``converters.recipe``); None is static-int8, or as-is for a model that is quantised already. ``calibration`` is a
    folder of pictures (``.npy`` or ``.npz`` files for a tensor model), the representative data set; ``samples`` of
    them, chosen by ``seed``, calibrate the quantised ranges and compare the result with the source model.
    ``input_size`` (height, width) fixes the size of an image model that leaves it open, ``input_shapes`` those of any
    other. ``runtimes`` are the engines on which the result has to run and to be right.
    """

    source: Path
    output: Path
    recipe: str | None = None
    calibration: Path | None = None
    labels: Path | None = None
    prep: PrepOptions = field(default_factory=PrepOptions)
    task: TaskOptions = field(default_factory=TaskOptions)
    samples: int = 100
    seed: int = 0
    input_size: tuple[int, int] | None = None
    input_shapes: tuple[tuple[int, ...], ...] = ()
    signature: str | None = None
    float_io: bool = False
    runtimes: tuple[str, ...] = ("litert",)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples: expected 1 or more, got {self.samples}")
        if self.input_size is not None and min(self.input_size) < 1:
            raise ValueError(f"input_size: expected 1 px or more, got {self.input_size}")
        if not self.runtimes:
            raise ValueError("runtimes: expected 1 or more, got none")


@dataclass(frozen=True)
class OutputParity:
    """How one output of the converted model differs from the source model's, over all samples.

    ``snr_db`` is 10 log10(signal power / error power), at most 200; ``cosine`` the mean cosine of the flattened
    outputs; ``worst_abs`` the largest difference of a value.
    """

    name: str
    snr_db: float
    cosine: float
    worst_abs: float


@dataclass(frozen=True)
class WorstSample:
    """A picture on which the two models differ much. ``error`` is 1 - cosine over all outputs."""

    picture: str
    error: float
    source_says: str
    converted_says: str


@dataclass(frozen=True)
class ParityReport:
    """The converted file, loaded and run by the board's own code, against the source model.

    ``agreement`` is the share (0–1) of samples on which both give the same answer: the same best class, or for a
    detector the same objects (class equal and IoU ≥ 0.5, F1 over all samples). ``generated`` tells that the samples
    were made up, for want of any: their agreement says little, their SNR still shows a broken conversion.
    """

    samples: int
    agreement: float
    outputs: tuple[OutputParity, ...]
    worst: tuple[WorstSample, ...]
    generated: bool = False


@dataclass(frozen=True)
class ConversionResult:
    """A finished conversion: the files are written, and were verified as written.

    ``parity`` has what each declared runtime made of the final bytes.
    """

    tflite: Path
    spec_path: Path
    spec: ModelSpec
    recipe: str
    source_bytes: int
    float_bytes: int
    tflite_bytes: int
    parity: dict[str, ParityReport]
    skipped_pictures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
