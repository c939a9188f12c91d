"""What every sink does."""

from __future__ import annotations

from typing import Protocol

from device_runtime.contract.prediction import Prediction
from device_runtime.vision.raw import AnyFrame


class Sink(Protocol):
    """Takes predictions, in a thread of its own behind a queue of its own: a slow sink slows nothing else down.

    ``name`` is what its counts are called. ``depth`` is how many predictions may wait for it; the oldest are dropped,
    and counted. With a depth of 0 it is called in the delivering thread itself, and must return at once. A sink that is
    ``events_only`` gets only predictions with events: no others crowd them out while it is busy.

    A ``vital`` sink is what the run is for, such as the file that a user asked for: its failure ends the run, and a
    source that can wait waits for it, so that nothing is lost. A failure of any other sink is counted and reported,
    and it is given the next prediction all the same.
    """

    name: str
    vital: bool
    depth: int
    events_only: bool

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Use one prediction and the frame that it is of. Both are shared with other threads: change neither.

        Raises:
            EdgeError: it could not be used; the message is shown as the sink's error.
        """

    def close(self, *, failed: bool) -> None:
        """Finish: complete what is being written, or remove it when the run ``failed``."""
