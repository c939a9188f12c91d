"""What every sink does."""

from __future__ import annotations

from typing import Protocol

from device_runtime.contract.prediction import Prediction
from device_runtime.vision.frame import Frame


class Sink(Protocol):
    """Takes predictions, in a thread of its own: a slow sink does not slow the model down."""

    def take(self, frame: Frame, prediction: Prediction) -> None:
        """Use one prediction and the frame that it is of."""

    def close(self, *, failed: bool) -> None:
        """Finish: complete what is being written, or remove it when the run ``failed``."""
