"""Events, and the predictions and frames that they come with."""

import datetime as dt

import cv2
import numpy as np

from device_runtime.contract.model import Colour
from device_runtime.contract.prediction import Item, Prediction, RuleEvent
from device_runtime.vision.frame import Frame
from device_runtime.vision.raw import Capture, Encoding, RawFrame

GEAR = Item(0, "gear", 0.9, (10.0, 10.0, 50.0, 40.0), track=1)
RUN = "0123456789ab"


def event(number=1, phase="begin", *, rule="stays", second=0, dwell_s=0.0):
    """Return an event with its own id and time."""
    at = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC) + dt.timedelta(seconds=number + second)
    return RuleEvent(f"{RUN}-{number}", rule, phase, at.isoformat(timespec="milliseconds"), 0, GEAR, "gate", dwell_s)


def predicted(*events, index=0, seconds=None):
    """Return a prediction; frames come at 30 a second unless told otherwise."""
    seconds = index / 30 if seconds is None else seconds
    return Prediction(index, round(seconds * 1e9), (GEAR,), {"invoke": 1.5}, events)


def frame(size=(64, 48), value=0):
    """Return a plain frame."""
    return Frame(np.full((size[1], size[0], 3), value, np.uint8), Colour.RGB, source="camera")


def jpeg_frame(size=(64, 48), value=0):
    """Return a frame as an MJPEG camera gives it."""
    data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), value, np.uint8))[1].reshape(-1)
    return RawFrame(data, Encoding.JPEG, size, Capture(source="camera"))
