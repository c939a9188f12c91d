"""Predictions as JSON lines."""

from __future__ import annotations

import json
from typing import TextIO

from device_runtime.contract.decode import encode
from device_runtime.contract.prediction import Prediction
from device_runtime.vision.frame import Frame


class JsonLines:
    """Writes one line per prediction, at once, so that a reader on the other end of a pipe sees it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, frame: Frame, prediction: Prediction) -> None:
        """Write ``prediction``; its keys are the fields of ``contract.prediction.Prediction``."""
        del frame
        self._stream.write(json.dumps(encode(prediction), ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()

    def close(self, *, failed: bool) -> None:
        """Leave the stream open: it is its owner's."""
        del failed
