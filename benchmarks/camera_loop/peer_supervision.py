"""supervision's annotators; they run in the peers' environment."""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np

from camera_loop.child import Repeated


class Draw(Repeated):
    """BoxAnnotator and LabelAnnotator on one picture. Options: picture, boxes (x1 y1 x2 y2 px), labels."""

    def __init__(self, options: dict[str, Any]) -> None:
        library: Any = importlib.import_module("supervision")
        boxes = np.array(options["boxes"], np.float32)
        self._found = library.Detections(
            xyxy=boxes, confidence=np.full(len(boxes), 0.5, np.float32), class_id=np.arange(len(boxes))
        )
        self._labels = options["labels"]
        self._boxes, self._names = library.BoxAnnotator(), library.LabelAnnotator()
        self._picture = cv2.imread(options["picture"])

    def once(self) -> object:
        """Draw them."""
        self._boxes.annotate(self._picture, self._found)
        return self._names.annotate(self._picture, self._found, self._labels)
