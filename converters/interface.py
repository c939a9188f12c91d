"""What a conversion is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from converters.recipe import QuantRecipe
from device_runtime.contract.model import (
    BoxFormat,
    BoxUnit,
    Colour,
    Interpolation,
    ModelSpec,
    Resize,
    ScoreActivation,
    SsdAnchors,
)

METRICS = ("top1", "map", "miou", "agreement")
"""What a search may hold its budget against, each 0–1."""
OBJECTIVES = ("latency", "size")


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
    box_unit: BoxUnit | None = None
    score_activation: ScoreActivation | None = None
    background: bool | None = None
    anchors: SsdAnchors | None = None


@dataclass(frozen=True)
class SearchOptions:
    """What a search is to find: the fastest or the smallest model within the budget.

    ``max_drop`` is in points of ``metric`` (0.01 each); ``metric`` None is top1, map or miou where ``evaluation``, a
    labelled data set, is given, and agreement with the trained model otherwise. ``max_bytes`` 0 is any size.
    ``candidates`` are patterns of the names of recipes to try.
    """

    max_drop: float = 1.0
    metric: str | None = None
    optimize: str = "latency"
    evaluation: Path | None = None
    max_bytes: int = 0
    candidates: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise ValueError(f"max_drop: expected 0–100 points, got {self.max_drop}")
        if self.metric not in (None, *METRICS):
            raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {self.metric}")
        if self.optimize not in OBJECTIVES:
            raise ValueError(f"optimize: expected {' or '.join(OBJECTIVES)}, got {self.optimize}")


@dataclass(frozen=True)
class ConvertRequest:
    """A trained model, and what is wanted of it.

    ``source`` is a file or folder, or ``module:callable``. ``recipe`` is a name, a formula, a TOML file (see
    ``converters.recipe``), or ``auto``, which searches by ``search``; None is static-int8, or as-is for a model that
    is quantised already. ``calibration`` is a folder of pictures (``.npy`` or ``.npz`` files for a tensor model), the
    representative data set; ``samples`` of them, chosen by ``seed``, calibrate the quantised ranges and compare the
    result with the source model. ``input_size`` (height, width) fixes the size of an image model that leaves it open,
    ``input_shapes`` those of any other. ``float_io`` and ``keep_float`` change the recipe, see
    ``QuantRecipe``. ``runtimes`` are the engines on which the result has to run and to be right.
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
    keep_float: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ("litert",)
    search: SearchOptions = field(default_factory=SearchOptions)

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
    """A sample on which the two models differ much.

    ``error`` is 1 - cosine over all outputs; for a regression, whose few values have hardly a direction, it is the
    difference relative to the values' spread.
    """

    picture: str
    error: float
    source_says: str
    converted_says: str


@dataclass(frozen=True)
class ParityReport:
    """The converted file, loaded and run by the board's own code, against the source model.

    ``agreement`` is the share (0–1) of samples on which both give the same answer: the same best class; for a detector
    the same objects (class equal and IoU ≥ 0.5, F1 over all samples); for a segmentation the mean IoU of both class
    maps over all samples, of the classes that cover at least 0.1% of the trained model's; for a regression values that
    differ by less than 5% of their spread over the source's samples. ``generated`` tells that the samples were made up,
    for want of any: their agreement says little, their SNR still shows a broken conversion.
    """

    samples: int
    agreement: float
    outputs: tuple[OutputParity, ...]
    worst: tuple[WorstSample, ...]
    generated: bool = False


@dataclass(frozen=True)
class LayerError:
    """How far a layer of a quantised model is from the same layer in float: of its output tensor, over samples."""

    name: str
    operator: str
    snr_db: float
    cosine: float

    @property
    def title(self) -> str:
        """Its operator and its name: a tensor of several fused layers has all their names, and the first one tells."""
        return f"{self.operator} {self.name.partition(';')[0]}"


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95% confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """One recipe that a search tried.

    ``metric`` is its figure on the evaluation set (0–1), ``drop`` how much less than the float model's that is, in
    points (0.01 of the metric). ``latency_ms`` is the median of an invocation by runtime and number of threads;
    ``partitions`` how many pieces XNNPACK takes it in, by runtime. ``status`` is ``ok``, ``missed`` (the budget),
    ``refused`` (it is not right, or does not run; ``reason`` says what) or ``left-out``. ``on_frontier`` tells that
    no other candidate is both more accurate and faster (or smaller, whichever is optimised).
    """

    name: str
    recipe: QuantRecipe
    status: str
    reason: str = ""
    size_bytes: int = 0
    metric: float | None = None
    drop: Interval | None = None
    snr_db: float | None = None
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)
    on_frontier: bool = False


@dataclass(frozen=True)
class Confirmation:
    """The chosen candidate on pictures that no decision was made with.

    ``enough`` tells whether the interval of ``drop`` is narrow enough to say that the budget is kept;
    ``pictures_needed`` is an estimate of how many would do, 0 when these do.
    """

    pictures: int
    baseline: float
    metric: Interval
    drop: Interval
    enough: bool
    pictures_needed: int = 0


@dataclass(frozen=True)
class SplitSizes:
    """How many pictures calibrated ranges, compared candidates, and confirmed the winner."""

    calibration: int
    evaluation: int
    held_out: int


@dataclass(frozen=True)
class SearchReport:
    """All that a search tried, and what it chose; ``chosen`` is None when nothing kept the budget.

    ``baseline`` is the float model's own figure on the evaluation set. ``layers`` are the errors of the static-int8
    model's layers, in the order of computation; ``guilty`` names those that cost most; ``advice`` says what would help.
    """

    source: str
    options: SearchOptions
    metric: str
    runtimes: tuple[str, ...]
    baseline: float
    candidates: tuple[Candidate, ...]
    chosen: str | None
    pictures: SplitSizes
    confirmation: Confirmation | None
    layers: tuple[LayerError, ...]
    guilty: tuple[str, ...]
    advice: tuple[str, ...]
    seconds: float


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
    search: SearchReport | None = None
