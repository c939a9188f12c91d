"""The decoders by the names that a ModelSpec gives them."""

from __future__ import annotations

from device_runtime.contract.model import ModelSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.classification import decode_logits, decode_probabilities, decode_sigmoid
from device_runtime.tasks.detection import decode_boxes_scores, decode_postprocess
from device_runtime.tasks.interface import Decoder

_DECODERS: dict[tuple[str, str], tuple[Decoder, int]] = {
    ("classification", "probabilities"): (decode_probabilities, 1),
    ("classification", "logits"): (decode_logits, 1),
    ("classification", "sigmoid"): (decode_sigmoid, 1),
    ("detection", "detection-postprocess"): (decode_postprocess, 4),
    ("detection", "boxes-scores"): (decode_boxes_scores, 2),
}
"""For each task and decoder: the function, and how many outputs it reads."""


def decoder_of(spec: ModelSpec) -> Decoder:
    """Return the decoder that ``spec`` names.

    Raises:
        ModelError: the model's outputs are not what the decoder reads.
    """
    decoder, outputs = _DECODERS[spec.task.name, spec.task.decoder]
    shapes = ", ".join(str(list(tensor.shape)) for tensor in spec.outputs)
    if len(spec.outputs) != outputs:
        raise ModelError(
            f"decoder {spec.task.decoder}: expected {outputs} outputs, got {len(spec.outputs)} ({shapes})",
            hint="choose another one with --task and --decoder",
        )
    if spec.task.decoder == "boxes-scores":
        boxes, scores = (tensor.shape for tensor in spec.outputs)
        if len(boxes) != 3 or boxes[-1] != 4 or len(scores) != 3 or scores[1] != boxes[1]:
            raise ModelError(
                f"decoder boxes-scores: expected outputs (1, n, 4) and (1, n, classes), got {shapes}",
                hint="choose another one with --task and --decoder",
            )
    return decoder
