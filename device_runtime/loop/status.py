"""Where the parts of a loop tell what happens: counts, and words for people."""

from __future__ import annotations

from device_runtime.contract.events import Events, Notice
from device_runtime.telemetry import Telemetry
from device_runtime.vision.raw import DamagedFrameError


class Status:
    """Telemetry and events of one run. Every part may call it from its own thread."""

    def __init__(self, telemetry: Telemetry, events: Events) -> None:
        self.telemetry = telemetry
        self.events = events
        self.damaged = 0

    def note_damaged(self, error: DamagedFrameError) -> None:
        """Count a frame that cannot be decoded, and tell of the first: a bad cable would tell of thirty a second."""
        self.damaged += 1
        self.telemetry.damaged()
        if self.damaged == 1:
            self.warn(f"{error}; it is left out, and further ones are only counted")

    def warn(self, message: str) -> None:
        """Tell of something that may not be what was wanted."""
        self.events(Notice(message, "warning"))

    def tell(self, message: str) -> None:
        """Tell of something that is well."""
        self.events(Notice(message))
