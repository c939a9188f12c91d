"""The decoders by the names that a ModelSpec gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device_runtime.contract.model import ModelSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.classification import decode_logits, decode_probabilities, decode_sigmoid
from device_runtime.tasks.detection import decode_boxes_scores, decode_postprocess
from device_runtime.tasks.interface import Decoder
from device_runtime.tasks.regression import decode_values
from device_runtime.tasks.segmentation import decode_class_map, decode_class_scores

_Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class _Head:
    """A decoder, and which outputs it reads: in words, and as a check of their shapes."""

    decode: Decoder
    reads: str
    fits: Callable[[_Shapes], bool]


def decoder_of(spec: ModelSpec) -> Decoder:
    """Return the decoder that ``spec`` names.

    Raises:
        ModelError: the model's outputs are not what the decoder reads.
    """
    head = _HEADS[spec.task.name, spec.task.decoder]
    shapes = [tensor.shape for tensor in spec.outputs]
    if not head.fits(shapes):
        got = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"decoder {spec.task.decoder}: expected {head.reads}, got {len(shapes)}: {got}",
            hint="choose another one with --task and --decoder",
        )
    return head.decode


def _one(shapes: _Shapes) -> bool:
    return len(shapes) == 1


def _four(shapes: _Shapes) -> bool:
    return len(shapes) == 4


def _boxes_and_scores(shapes: _Shapes) -> bool:
    if len(shapes) != 2:
        return False
    boxes, scores = shapes
    return len(boxes) == 3 and boxes[-1] == 4 and len(scores) == 3 and scores[1] == boxes[1]


def _score_map(shapes: _Shapes) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1 and shapes[0][3] >= 2


def _id_map(shapes: _Shapes) -> bool:
    return len(shapes) == 1 and len(shapes[0]) in (3, 4) and shapes[0][0] == 1 and shapes[0][3:] in ((), (1,))


def _some(shapes: _Shapes) -> bool:
    return len(shapes) >= 1


_HEADS: dict[tuple[str, str], _Head] = {
    ("classification", "probabilities"): _Head(decode_probabilities, "1 output", _one),
    ("classification", "logits"): _Head(decode_logits, "1 output", _one),
    ("classification", "sigmoid"): _Head(decode_sigmoid, "1 output", _one),
    ("detection", "detection-postprocess"): _Head(decode_postprocess, "4 outputs", _four),
    ("detection", "boxes-scores"): _Head(
        decode_boxes_scores, "outputs (1, n, 4) and (1, n, classes)", _boxes_and_scores
    ),
    ("segmentation", "class-scores"): _Head(
        decode_class_scores, "1 output (1, height, width, 2 or more classes)", _score_map
    ),
    ("segmentation", "class-map"): _Head(decode_class_map, "1 output (1, height, width) of class ids", _id_map),
    ("regression", "values"): _Head(decode_values, "1 output or more", _some),
}
