"""Every decoder that a ModelSpec can name is there."""

import pytest

from device_runtime.contract.model import TASK_DECODERS, ImagePrep, ModelSpec, SsdAnchors, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.anchors import anchor_boxes
from device_runtime.tasks.registry import decoder_of

ANCHORS = len(anchor_boxes(SsdAnchors(), 320, 320))
OUTPUTS = {
    "probabilities": [(1, 5)],
    "logits": [(1, 5)],
    "sigmoid": [(1, 5)],
    "detection-postprocess": [(1, 9, 4), (1, 9), (1, 9), (1,)],
    "boxes-scores": [(1, 9, 4), (1, 9, 3)],
    "ssd": [(1, ANCHORS, 4), (1, ANCHORS, 3)],
    "yolov5": [(1, 9, 8)],
    "yolov8": [(1, 7, 9)],
    "yolov8-transposed": [(1, 9, 7)],
    "yolo-end2end": [(1, 9, 6)],
    "class-scores": [(1, 8, 8, 3)],
    "class-map": [(1, 8, 8)],
    "movenet": [(1, 1, 17, 3)],
    "movenet-multipose": [(1, 6, 56)],
    "yolov8-pose": [(1, 56, 9)],
    "heatmaps": [(1, 9, 9, 17), (1, 9, 9, 34)],
    "values": [(1, 2), (1, 3)],
}
KINDS = [(task, decoder) for task, decoders in TASK_DECODERS.items() for decoder in decoders]


def spec_of(task, decoder, shapes):
    anchors = SsdAnchors() if decoder == "ssd" else None
    outputs = tuple(TensorSpec(f"out{index}", shape, "float32") for index, shape in enumerate(shapes))
    image = (TensorSpec("image", (1, 320, 320, 3), "float32"),)
    return ModelSpec("m", TaskSpec(task, decoder, anchors=anchors), ImagePrep(320, 320), image, outputs)


@pytest.mark.parametrize(("task", "decoder"), KINDS)
def test_a_decoder_is_found_for_the_outputs_that_it_reads(task, decoder):
    assert decoder_of(spec_of(task, decoder, OUTPUTS[decoder])).__name__.startswith("decode_")


@pytest.mark.parametrize(("task", "decoder"), [kind for kind in KINDS if kind[1] != "values"])
def test_outputs_that_a_decoder_cannot_read_are_told_with_what_it_expects(task, decoder):
    with pytest.raises(ModelError, match=rf"decoder {decoder}: expected .*output.*, got 5: \[1, 2\]"):
        decoder_of(spec_of(task, decoder, [(1, 2)] * 5))
