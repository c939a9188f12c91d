"""Ultralytics' own pipeline and its parts; it needs torch, and runs in the peers' environment."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import cv2
import numpy as np

from camera_loop.child import Repeated


def _import(name: str) -> Any:
    """Import a module of Ultralytics or torch; its own NMS stands in where torchvision does not fit this torch."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        stand_in: Any = types.ModuleType("torchvision")
        stand_in.ops = types.SimpleNamespace(nms=_own_suppression)
        sys.modules["torchvision"] = stand_in
    return importlib.import_module(name)


def _own_suppression(boxes: Any, scores: Any, overlap: float) -> Any:
    return importlib.import_module("ultralytics.utils.nms").TorchNMS.nms(boxes, scores, overlap)


class Loop(Repeated):
    """``YOLO(model).predict(clip, stream=True)``. Options: model (float in and out, as it exports), clip."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._model = _import("ultralytics").YOLO(options["model"], task="detect")
        self._clip = options["clip"]
        self._frames: Any = iter(())

    def once(self) -> object:
        """Predict one frame; a clip that ends begins again."""
        found = next(self._frames, None)
        while found is None:
            self._frames = self._model.predict(
                self._clip, stream=True, imgsz=320, conf=0.25, iou=0.5, device="cpu", verbose=False
            )
            found = next(self._frames, None)
        return found


class Prepare(Repeated):
    """LetterBox and BasePredictor.preprocess, then the LiteRT backend's quantisation. Options: picture, side, scale."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._torch = _import("torch")
        side = options["side"]
        self._fit = _import("ultralytics.data.augment").LetterBox((side, side), auto=False, stride=32)
        self._picture = cv2.imread(options["picture"])
        self._scale, self._zero = options["scale"], options["zero_point"]

    def once(self) -> object:
        """Return (1, side, side, 3) of bytes: the steps of BasePredictor.preprocess and LiteRTBackend.forward."""
        torch = self._torch
        image = torch.from_numpy(self._fit(image=self._picture)).unsqueeze(0)
        image = image.permute(0, 3, 1, 2).contiguous().flip(1).float().div_(255)
        batch = image.cpu().numpy().transpose(0, 2, 3, 1)
        batch = batch / self._scale + self._zero
        return batch.clip(0, 255, out=batch).astype(np.uint8)


class Decode(Repeated):
    """LiteRTBackend's dequantisation, then non_max_suppression. Options: head, scale, zero_point, side."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._torch = _import("torch")
        self._suppress = _import("ultralytics.utils.nms").non_max_suppression
        self._head = np.load(options["head"])
        self._options = options
        self._kept = 0

    def once(self) -> object:
        """Decode the output."""
        side = self._options["side"]
        x = (self._head.astype(np.float32) - self._options["zero_point"]) * self._options["scale"]
        x[:, [0, 2]] *= side
        x[:, [1, 3]] *= side
        found = self._suppress(self._torch.from_numpy(x), conf_thres=0.25, iou_thres=0.5)
        self._kept = len(found[0])
        return found

    def run(self, seconds: float) -> dict[str, Any]:
        """Decode for so long; ``kept`` says how many boxes."""
        return {**super().run(seconds), "kept": self._kept}
