"""The ModelSpec of a ``.tflite`` file: from the JSON beside it, its metadata, the options, and its tensors."""

from __future__ import annotations

import dataclasses
import struct
from enum import Enum
from pathlib import Path

from flatbuffers import flexbuffers

from converters.backends.interface import InputFacts, StatedUse
from converters.interface import PrepOptions, TaskOptions
from converters.labels import parse_labels
from converters.metadata import SPEC_NAME, ModelMetadata, TensorMetadata, read_label_file, read_metadata
from converters.normalise import Normalisation
from converters.prep import NORMALISE_HINT, image_size, make_prep
from converters.tasks import Activation, OutputFacts, TaskPlan, change_task, fitting_labels, plan_task, require_fitting
from converters.tflite_reader import OperatorInfo, TensorInfo, TfliteInfo, read_tflite
from device_runtime.contract.decode import loads, read_json
from device_runtime.contract.model import DTYPES, BoxFormat, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError, UsageError

POSTPROCESS = "TFLite_Detection_PostProcess"
"""The one custom operator that both engines carry."""

_MOVING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CONCATENATION", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
_PASSING = (*_MOVING, "DEQUANTIZE", "QUANTIZE", "CAST")
_LINEAR = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "MUL")
_DEFAULT_MAX_DETECTIONS = 10
_LARGEST_STORED = {"uint8": 255, "int8": 127, "int16": 32767}


def spec_beside(path: Path) -> Path:
    """Return where the ModelSpec of the model ``path`` is kept."""
    return path.with_suffix(".json")


def describe_tflite(path: Path, prep: PrepOptions, task: TaskOptions, labels: Path | None) -> ModelSpec:
    """Find out how to run a ``.tflite`` file.

    A ModelSpec in the JSON file beside it comes first (see ``with_options``), then the one inside it, then options, its
    own metadata, and what its tensors tell.

    Args:
        path: the model.
        prep: what the user says of the preparation.
        task: what the user says of the outputs.
        labels: the label file, or None.

    Raises:
        UsageError: something cannot be known; the hint names the option that tells it.
        BadFileError: a JSON or the label file does not fit.
        ModelError: it is no TFLite model, or has operators that no engine runs.
    """
    info = read_tflite(path)
    require_runnable(info, path)
    spec = _given_spec(path, info)
    if spec is not None:
        return with_options(spec, prep, task, labels)
    return _from_model(path, info, prep, task, labels)


def tensor_specs(tensors: tuple[TensorInfo, ...], where: str) -> tuple[TensorSpec, ...]:
    """Return tensors as a ModelSpec has them. Raises ModelError for a type that no engine takes."""
    specs = []
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            raise ModelError(f"{where}: tensor {tensor.name}: expected one of {', '.join(DTYPES)}, got {tensor.dtype}")
        quantised = len(tensor.scales) == 1 and len(tensor.zero_points) == 1
        try:
            specs.append(
                TensorSpec(
                    tensor.name,
                    tensor.shape,
                    tensor.dtype,
                    tensor.scales[0] if quantised else 0.0,
                    tensor.zero_points[0] if quantised else 0,
                )
            )
        except ValueError as error:
            raise ModelError(f"{where}: {error}") from error
    return tuple(specs)


def stated_use(path: Path, info: TfliteInfo) -> StatedUse:
    """Return what a ``.tflite`` file, or the JSON beside it, says of its own use.

    Raises:
        BadFileError: the JSON, or a label file inside, does not fit.
        ModelError: its metadata are damaged.
    """
    spec = _given_spec(path, info)
    if spec is not None:
        given = {item.name: getattr(spec.prep, item.name) for item in dataclasses.fields(PrepOptions) if spec.prep}
        meant = {item.name: getattr(spec.task, item.name) for item in dataclasses.fields(TaskOptions)}
        return StatedUse(PrepOptions(**given), TaskOptions(**meant), spec.labels)
    metadata = read_metadata(info, str(path))
    mean, std = _stated_normalisation(info, metadata)
    colour = metadata.inputs[0].colour if metadata and metadata.inputs else None
    prep = PrepOptions(colour=colour, mean=mean, std=std)
    return StatedUse(prep, _stated_task(info, metadata, TaskOptions()), _label_lines(path, metadata))


def output_facts(info: TfliteInfo, where: str) -> list[OutputFacts]:
    """Return what the outputs of a model are. Raises ModelError for a type that no model here has."""
    return _facts(info, tensor_specs(_output_tensors(info), where))


def require_runnable(info: TfliteInfo, path: Path) -> None:
    """Raise ModelError when a model has custom operators that no engine carries."""
    strange = [name for name in info.custom_operators if name != POSTPROCESS]
    if strange:
        raise ModelError(
            f"{path}: custom operator{'s' if len(strange) > 1 else ''} {', '.join(strange)}: no engine here has "
            f"{'them' if len(strange) > 1 else 'it'}",
            hint="export the model with TFLite's builtin operators only",
        )


def _given_spec(path: Path, info: TfliteInfo) -> ModelSpec | None:
    """Return the ModelSpec beside a model, or the one inside it, or None."""
    beside = spec_beside(path)
    if beside.is_file():
        spec = read_json(ModelSpec, beside)
        _require_of(spec, info, f"{beside} does not belong to {path}", f"remove the file: rm {beside}")
        return spec
    inside = info.metadata.get(SPEC_NAME)
    if inside is None:
        return None
    where = f"{path}: its {SPEC_NAME}"
    spec = loads(ModelSpec, inside.decode("utf-8", "replace"), where)
    _require_of(spec, info, f"{where} is of another model", f"write what it is into {beside}")
    return spec


def _require_of(spec: ModelSpec, info: TfliteInfo, trouble: str, way_out: str) -> None:
    for kind, stated, tensors in (("input", spec.inputs, info.inputs), ("output", spec.outputs, info.outputs)):
        found = [(tensor.shape, tensor.dtype) for tensor in tensors]
        # The post-processing operator sets its shapes when it runs: the file has none.
        fits = len(stated) == len(found) and all(
            not shape or (tensor.shape, tensor.dtype) == (shape, dtype)
            for tensor, (shape, dtype) in zip(stated, found, strict=True)
        )
        if not fits:
            wanted = ", ".join(f"{list(tensor.shape)} {tensor.dtype}" for tensor in stated)
            got = ", ".join(f"{list(shape)} {dtype}" for shape, dtype in found)
            raise ModelError(
                f"{trouble}: it says {kind}s {wanted}, the model has {got}",
                hint=f"convert the model again, or {way_out}",
            )


def with_options(spec: ModelSpec, prep: PrepOptions, task: TaskOptions, labels: Path | None) -> ModelSpec:
    """Return ``spec`` with what the options say in place.

    What the outputs mean may be said anew. How pictures are prepared may not: it was decided when the model was
    converted, and may be folded into its numbers.

    Raises:
        UsageError: an option contradicts ``spec``, or options do not fit together.
        BadFileError: the label file cannot be used.
    """
    where = spec.name
    for name, value in vars(prep).items():
        if value is not None and spec.prep is None:
            raise _no_picture(where)
        if value is not None and value != getattr(spec.prep, name):
            raise UsageError(
                f"{where} was made with {name} {_word(getattr(spec.prep, name))}, not {_word(value)}",
                hint="leave the option out, or convert the model again",
            )
    new_task = change_task(spec.task, task, where)
    try:
        shapes = [tensor.shape for tensor in spec.outputs]
        names = fitting_labels(labels, shapes, new_task) if labels else spec.labels
        return dataclasses.replace(spec, task=new_task, labels=names)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value)
    return str(value.value if isinstance(value, Enum) else value)


def _from_model(path: Path, info: TfliteInfo, prep: PrepOptions, task: TaskOptions, labels: Path | None) -> ModelSpec:
    where = str(path)
    metadata = read_metadata(info, where)
    inputs = tensor_specs(info.inputs, where)
    ready = None
    if len(inputs) == 1 and InputFacts(inputs[0].name, inputs[0].shape, inputs[0].dtype).is_image:
        about_input = metadata.inputs[0] if metadata and metadata.inputs else TensorMetadata()
        normalisation = _normalisation(prep, inputs[0], about_input, where)
        ready = make_prep(_size(info.inputs[0], where), prep, normalisation, where, colour=about_input.colour)
    elif prep != PrepOptions():
        raise _no_picture(where)
    elif task.name is None and task.decoder is None:
        # Without a picture there is nothing else that edgekit could read the outputs as.
        task = dataclasses.replace(task, name="regression")
    outputs = tensor_specs(_output_tensors(info), where)
    plan = _plan(info, outputs, task, metadata, where)
    if plan.order != tuple(range(len(outputs))):
        raise ModelError(
            f"{where}: expected {_in_order(plan.task)}, got them the other way round",
            hint="export the model with its outputs in this order",
        )
    shapes = [tensor.shape for tensor in outputs]
    names = fitting_labels(labels, shapes, plan.task) if labels else _packed_labels(path, metadata, shapes, plan.task)
    try:
        return ModelSpec(path.stem, plan.task, ready, inputs, outputs, names)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _in_order(task: TaskSpec) -> str:
    first, second = ("heat maps", "offsets") if task.name == "pose" else ("boxes", "scores")
    return f"{first} as its first output and {second} as its second"


def _no_picture(where: str) -> UsageError:
    return UsageError(
        f"{where}: it takes tensors, so there is no picture to prepare",
        hint="leave --normalise, --resize and the like out",
    )


def _size(tensor: TensorInfo, where: str) -> tuple[int, int, int]:
    if -1 in tensor.shape_signature[1:]:
        raise ModelError(
            f"{where}: expected an input of a fixed size, got {list(tensor.shape_signature)}",
            hint="convert it again with a fixed size: edgekit convert MODEL --input-size HEIGHTxWIDTH",
        )
    return image_size(tensor.shape, where)


def _normalisation(
    options: PrepOptions, tensor: TensorSpec, metadata: TensorMetadata, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std: what the user says, what a quantised input means by itself, or what the metadata say.

    A quantised 8-bit image input takes the picture's bytes (int8: byte - 128, an XOR), so that its scale and zero
    point are the normalisation, whatever rounding the metadata left.
    """
    if options.mean is not None and options.std is not None:
        return options.mean, options.std
    stated = _meant_by(tensor, metadata)
    if stated is not None:
        return stated
    raise UsageError(
        f"{where}: input {tensor.name} is {tensor.dtype} and the file does not say how pixels are normalised",
        hint=NORMALISE_HINT,
    )


def _meant_by(tensor: TensorSpec, metadata: TensorMetadata) -> Normalisation | None:
    if tensor.dtype in ("uint8", "int8") and tensor.quantised:
        shift = 128 if tensor.dtype == "int8" else 0
        return (float(tensor.zero_point + shift),), (1.0 / tensor.scale,)
    if tensor.dtype == "uint8":
        return (0.0,), (1.0,)
    return (metadata.mean, metadata.std) if metadata.mean and metadata.std else None


def _stated_normalisation(
    info: TfliteInfo, metadata: ModelMetadata | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    tensor = info.inputs[0] if info.inputs else None
    if len(info.inputs) != 1 or tensor is None or len(tensor.shape) != 4:
        return None, None
    about = metadata.inputs[0] if metadata and metadata.inputs else TensorMetadata()
    stated = _meant_by(tensor_specs((tensor,), "")[0], about)
    return stated or (None, None)


def _output_tensors(info: TfliteInfo) -> tuple[TensorInfo, ...]:
    """Return the outputs; those of the post-processing operator get the shapes that it sets when it runs."""
    operator = _postprocess(info)
    if operator is None or len(info.outputs) != 4:
        return info.outputs
    count = _max_detections(operator.custom_options)
    shapes = ((1, count, 4), (1, count), (1, count), (1,))
    return tuple(
        dataclasses.replace(tensor, shape=tensor.shape or shape)
        for tensor, shape in zip(info.outputs, shapes, strict=True)
    )


def _postprocess(info: TfliteInfo) -> OperatorInfo | None:
    return next((operator for operator in info.main.operators if operator.name == POSTPROCESS), None)


def _max_detections(options: bytes) -> int:
    """Read ``max_detections`` from the operator's FlexBuffers map."""
    try:
        value = int(flexbuffers.GetRoot(options).AsMap["max_detections"].AsInt)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error):
        return _DEFAULT_MAX_DETECTIONS
    return value if 1 <= value <= 100_000 else _DEFAULT_MAX_DETECTIONS


def _plan(
    info: TfliteInfo,
    outputs: tuple[TensorSpec, ...],
    options: TaskOptions,
    metadata: ModelMetadata | None,
    where: str,
) -> TaskPlan:
    return plan_task(_facts(info, outputs), _stated_task(info, metadata, options), where)


def _stated_task(info: TfliteInfo, metadata: ModelMetadata | None, options: TaskOptions) -> TaskOptions:
    """Return the options with what the model itself says of its outputs, where they leave it open."""
    unsaid = options.decoder is None and options.name in (None, "detection")
    if _postprocess(info) is not None and len(info.outputs) == 4 and unsaid:
        decoder = "detection-postprocess"
        return dataclasses.replace(options, name="detection", decoder=decoder, box_format=BoxFormat.YXYX)
    about = metadata.outputs if metadata else ()
    box_format = next((item.box_format for item in about if item.box_format), None)
    if options.box_format is None and box_format is not None and len(info.outputs) == 2:
        return dataclasses.replace(options, box_format=box_format)
    return options


def _facts(info: TfliteInfo, outputs: tuple[TensorSpec, ...]) -> list[OutputFacts]:
    indices = info.main.outputs
    return [
        OutputFacts(tensor.name, tensor.shape, _activation(info, index), _whole(tensor), _largest(tensor))
        for tensor, index in zip(outputs, indices, strict=True)
    ]


def _whole(tensor: TensorSpec) -> bool:
    return "int" in tensor.dtype and not tensor.quantised


def _largest(tensor: TensorSpec) -> float | None:
    """Return the largest value that a quantised tensor can hold, else None."""
    if not tensor.quantised or tensor.dtype not in _LARGEST_STORED:
        return None
    return tensor.scale * (_LARGEST_STORED[tensor.dtype] - tensor.zero_point)


def _activation(info: TfliteInfo, tensor: int) -> Activation:
    for _ in range(len(info.main.operators)):
        operator = info.producer(tensor)
        if operator is None:
            return Activation.UNKNOWN
        if operator.name == "SOFTMAX":
            return Activation.SOFTMAX
        if operator.name == "LOGISTIC":
            return Activation.SIGMOID
        if operator.name in _LINEAR:
            return Activation.LINEAR
        if operator.name not in _PASSING or not operator.inputs:
            return Activation.UNKNOWN
        tensor = operator.inputs[0]
    return Activation.UNKNOWN


def _packed_labels(
    path: Path, metadata: ModelMetadata | None, shapes: list[tuple[int, ...]], task: TaskSpec
) -> tuple[str, ...]:
    """Return the labels that are appended to the model, or none."""
    labels = _label_lines(path, metadata)
    if labels:
        require_fitting(labels, shapes, task, f"{path}: {_label_file(metadata)}")
    return labels


def _label_lines(path: Path, metadata: ModelMetadata | None) -> tuple[str, ...]:
    name = _label_file(metadata)
    return parse_labels(read_label_file(path, name), f"{path}: {name}") if name else ()


def _label_file(metadata: ModelMetadata | None) -> str:
    return next((output.label_file for output in metadata.outputs if output.label_file), "") if metadata else ""
