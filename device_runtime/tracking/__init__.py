"""Which object is which from frame to frame."""

from device_runtime.tracking.tracker import Tracker

__all__ = ["Tracker"]
