"""The decoders by the names that a ModelSpec gives them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device_runtime.contract.model import ModelSpec, SsdAnchors, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.interface import Decoder

_Shapes = Sequence[tuple[int, ...]]


_LARGEST_STEP = 0.1
"""Of scores, in a tensor that also has coordinates. A head in pixels of 640 with 8 bits has steps of 2.5: its scores
are all 0."""


@dataclass(frozen=True)
class _Head:
    """A decoder, ``module.function`` of this package, and which outputs it reads: in words, and as a check of shapes.

    Its module is imported when it is wanted: all of them together take 20 ms. ``scores`` is the output that has
    coordinates and scores in one, None where they are apart.
    """

    decode: str
    reads: str
    fits: Callable[[_Shapes], bool]
    scores: int | None = None


def decoder_of(spec: ModelSpec) -> Decoder:
    """Return the decoder that ``spec`` names.

    Raises:
        ModelError: the model's outputs are not what the decoder reads, or so coarse that they cannot be read.
    """
    head = _HEADS[spec.task.name, spec.task.decoder]
    shapes = [tensor.shape for tensor in spec.outputs]
    if not head.fits(shapes):
        got = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"decoder {spec.task.decoder}: expected {head.reads}, got {len(shapes)}: {got}",
            hint="choose another one with --task and --decoder",
        )
    if head.scores is not None:
        _require_fine(spec.outputs[head.scores])
    if spec.task.anchors is not None:
        _require_anchors(spec, spec.task.anchors)
    module, _, function = head.decode.partition(".")
    decode: Decoder = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    return decode


def _require_fine(tensor: TensorSpec) -> None:
    if tensor.scale > _LARGEST_STEP:
        raise ModelError(
            f"output {tensor.name}: expected scores in steps of {_LARGEST_STEP} or less, got a {tensor.dtype} tensor "
            f"with steps of {tensor.scale:.3g}: coordinates in pixels leave no room for scores",
            hint="export the model with boxes as fractions of its input, or with boxes and scores as two outputs",
        )


def _require_anchors(spec: ModelSpec, anchors: SsdAnchors) -> None:
    from device_runtime.tasks.anchors import anchor_boxes, anchors_of_layers  # noqa: PLC0415 - as the decoders

    made = len(anchor_boxes(anchors, spec.image_prep.width, spec.image_prep.height))
    wanted = spec.outputs[0].shape[1]
    if made != wanted:
        cells = ", ".join(str(len(kinds)) for kinds in anchors_of_layers(anchors))
        raise ModelError(
            f"output {spec.outputs[0].name}: expected {made} boxes, as many as there are anchors (strides "
            f"{', '.join(str(stride) for stride in anchors.strides)} with {cells} a cell), got {wanted}",
            hint="describe the anchors that the model was trained with: --anchors FILE, or [task.anchors]",
        )


def _one(shapes: _Shapes) -> bool:
    return len(shapes) == 1


def _four(shapes: _Shapes) -> bool:
    return len(shapes) == 4


def _boxes_and_scores(shapes: _Shapes) -> bool:
    if len(shapes) != 2:
        return False
    boxes, scores = shapes
    return len(boxes) == 3 and boxes[-1] == 4 and len(scores) == 3 and scores[1] == boxes[1]


def _codes_and_scores(shapes: _Shapes) -> bool:
    if len(shapes) == 2 and len(shapes[0]) == 4 and shapes[0][2] == 1:
        return _boxes_and_scores([(*shapes[0][:2], shapes[0][3]), shapes[1]])
    return _boxes_and_scores(shapes)


def _table(shapes: _Shapes, axis: int, least: int) -> bool:
    """Whether there is one output (1, a, b) with ``least`` values a box or more along ``axis``."""
    return len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][0] == 1 and shapes[0][axis] >= least


def _rows_of_six(shapes: _Shapes) -> bool:
    return _table(shapes, 2, 6) and shapes[0][2] == 6


def _pose_columns(shapes: _Shapes) -> bool:
    return _table(shapes, 1, 8) and shapes[0][1] % 3 == 2


def _one_pose(shapes: _Shapes) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][:2] == (1, 1) and shapes[0][3] == 3


def _poses(shapes: _Shapes) -> bool:
    return _table(shapes, 2, 8) and shapes[0][2] % 3 == 2


def _heat_maps(shapes: _Shapes) -> bool:
    if not 1 <= len(shapes) <= 2 or any(len(shape) != 4 or shape[0] != 1 for shape in shapes):
        return False
    return len(shapes) == 1 or shapes[1] == (*shapes[0][:3], 2 * shapes[0][3])


def _score_map(shapes: _Shapes) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1 and shapes[0][3] >= 2


def _id_map(shapes: _Shapes) -> bool:
    return len(shapes) == 1 and len(shapes[0]) in (3, 4) and shapes[0][0] == 1 and shapes[0][3:] in ((), (1,))


def _some(shapes: _Shapes) -> bool:
    return len(shapes) >= 1


_HEADS: dict[tuple[str, str], _Head] = {
    ("classification", "probabilities"): _Head("classification.decode_probabilities", "1 output", _one),
    ("classification", "logits"): _Head("classification.decode_logits", "1 output", _one),
    ("classification", "sigmoid"): _Head("classification.decode_sigmoid", "1 output", _one),
    ("detection", "detection-postprocess"): _Head("detection.decode_postprocess", "4 outputs", _four),
    ("detection", "boxes-scores"): _Head(
        "detection.decode_boxes_scores", "outputs (1, n, 4) and (1, n, classes)", _boxes_and_scores
    ),
    ("detection", "ssd"): _Head("detection.decode_ssd", "outputs (1, n, 4) and (1, n, classes)", _codes_and_scores),
    ("detection", "yolov5"): _Head(
        "yolo.decode_yolov5", "1 output (1, n, 5 + classes)", lambda shapes: _table(shapes, 2, 6), scores=0
    ),
    ("detection", "yolov8"): _Head(
        "yolo.decode_yolov8", "1 output (1, 4 + classes, n)", lambda shapes: _table(shapes, 1, 5), scores=0
    ),
    ("detection", "yolov8-transposed"): _Head(
        "yolo.decode_yolov8_transposed", "1 output (1, n, 4 + classes)", lambda shapes: _table(shapes, 2, 5), scores=0
    ),
    ("detection", "yolo-end2end"): _Head("yolo.decode_yolo_end2end", "1 output (1, n, 6)", _rows_of_six, scores=0),
    ("pose", "movenet"): _Head("pose.decode_movenet", "1 output (1, 1, points, 3)", _one_pose),
    ("pose", "movenet-multipose"): _Head("pose.decode_movenet_multipose", "1 output (1, n, 3 x points + 5)", _poses),
    ("pose", "yolov8-pose"): _Head(
        "yolo.decode_yolov8_pose", "1 output (1, 5 + 3 x points, n)", _pose_columns, scores=0
    ),
    ("pose", "heatmaps"): _Head(
        "pose.decode_heatmaps",
        "output (1, height, width, points), or also offsets (1, height, width, 2 x points)",
        _heat_maps,
    ),
    ("segmentation", "class-scores"): _Head(
        "segmentation.decode_class_scores", "1 output (1, height, width, 2 or more classes)", _score_map
    ),
    ("segmentation", "class-map"): _Head(
        "segmentation.decode_class_map", "1 output (1, height, width) of class ids", _id_map
    ),
    ("regression", "values"): _Head("regression.decode_values", "1 output or more", _some),
}
