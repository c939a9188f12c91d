"""MediaPipe's ImageClassifier, in the mode for video; it runs in the peers' environment."""

from __future__ import annotations

import importlib
from typing import Any

import cv2

from camera_loop.child import Repeated
from camera_loop.naive import Clip


class Loop(Repeated):
    """classify_for_video on every frame of a clip. Options: model, clip."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._mediapipe: Any = importlib.import_module("mediapipe")
        tasks = self._mediapipe.tasks
        vision = tasks.vision
        self._classifier = vision.ImageClassifier.create_from_options(
            vision.ImageClassifierOptions(
                base_options=tasks.BaseOptions(model_asset_path=options["model"]),
                running_mode=vision.RunningMode.VIDEO,
                max_results=5,
            )
        )
        self._clip = Clip(options["clip"])
        self._now_ms = 0

    def once(self) -> object:
        """Classify one frame."""
        rgb = cv2.cvtColor(self._clip.read(), cv2.COLOR_BGR2RGB)
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)
        self._now_ms += 33
        return self._classifier.classify_for_video(image, self._now_ms)
