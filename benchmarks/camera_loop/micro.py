"""Our single steps, on one picture or one output again and again: preparation, decoding a head, drawing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camera_loop.child import Repeated
from device_runtime.contract.decode import read_json
from device_runtime.contract.model import Colour, ImagePrep, ModelSpec, Resize, TaskSpec, TensorSpec
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.draw import draw
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.frame import Frame
from device_runtime.vision.placement import plan_placement
from device_runtime.vision.prepare import Preparer


class Step(Repeated):
    """A step of ours."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._do = self.prepared(options)

    def prepared(self, options: dict[str, Any]) -> Callable[[], object]:
        """Return what is to be measured."""
        raise NotImplementedError

    def once(self) -> object:
        """Do it."""
        return self._do()


class Prepare(Step):
    """A decoded frame into the model's input. Options: spec, picture, resize (the spec's)."""

    def prepared(self, options: dict[str, Any]) -> Callable[[], object]:
        """Return what is to be measured."""
        spec = read_json(ModelSpec, Path(options["spec"]))
        prep = dataclasses.replace(spec.image_prep, resize=Resize(options.get("resize", spec.image_prep.resize)))
        preparer = Preparer(prep, spec.inputs[0])
        target = np.empty(spec.inputs[0].shape, spec.inputs[0].dtype)
        frame = Frame(np.asarray(cv2.imread(options["picture"]), np.uint8), Colour.BGR)
        return lambda: preparer.write(frame, target)


class Decode(Step):
    """A YOLOv8-like int8 head to boxes. Options: head, scale, zero_point, side, items (to named boxes in the frame)."""

    def prepared(self, options: dict[str, Any]) -> Callable[[], object]:
        """Return what is to be measured."""
        head, side = np.load(options["head"]), options["side"]
        prep = ImagePrep(side, side, std=(255.0,))
        output = TensorSpec("head", head.shape, "int8", options["scale"], options["zero_point"])
        task = TaskSpec("detection", "yolov8", score_threshold=0.25, max_items=300, iou_threshold=0.5)
        spec = ModelSpec("head", task, prep, (TensorSpec("image", (1, side, side, 3), "uint8"),), (output,))
        decode, placement = decoder_of(spec), plan_placement(prep, side, side)
        self._kept = len(decode((head,), spec).items(spec, placement))
        if options.get("items"):
            return lambda: decode((head,), spec).items(spec, placement)
        return lambda: decode((head,), spec)

    def run(self, seconds: float) -> dict[str, Any]:
        """Decode for so long; ``kept`` says how many boxes."""
        return {**super().run(seconds), "kept": self._kept}


class Draw(Step):
    """Boxes and names on one picture. Options: picture, boxes (x1 y1 x2 y2 px), labels."""

    def prepared(self, options: dict[str, Any]) -> Callable[[], object]:
        """Return what is to be measured."""
        picture = np.asarray(cv2.imread(options["picture"]), np.uint8)
        items = tuple(
            Item(index, label, 0.5, tuple(box))
            for index, (label, box) in enumerate(zip(options["labels"], options["boxes"], strict=True))
        )
        prediction = Prediction(0, 0, items, {})
        return lambda: draw(picture, prediction)
