"""The loop with the live page: not there, there with nobody looking, and with one viewer in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from camera_loop.ours import Loop
from device_runtime.cameras.sources import Repeating
from device_runtime.contract.service import PageSpec
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.web.page import Page

_LOOK = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as stream:
    while stream.read1(65536):
        pass
"""


class WatchedLoop(Loop):
    """Options: those of the loop, and viewers (0 or 1)."""

    def run(self, seconds: float) -> dict[str, Any]:
        """Predict for so long."""
        camera = Repeating(self._options["source"])
        telemetry = Telemetry(Identity("benchmark", "", camera.name))
        page = Page(PageSpec(port=0), telemetry)
        looking = _Looked(page, self._options["viewers"])
        ahead = self._predictors[0].ahead(live=camera.live, workers=self._workers)
        setup = LoopSetup(
            Limits(duration_s=seconds),
            self._workers,
            self.another,
            capture=CaptureSetup(None, ahead),
            telemetry=telemetry,
        )
        summary = run_loop(camera, self._predictors[0].predict, [looking], setup)
        return {"count": summary.frames, "seconds": summary.seconds, "encoded": page.encoded}


class _Looked:
    """The page as a sink that somebody looks at as soon as it is there."""

    def __init__(self, page: Page, viewers: int) -> None:
        self._page = page
        self._looking: list[subprocess.Popen[bytes]] = []
        self.name, self.vital, self.depth, self.events_only = page.name, page.vital, page.depth, page.events_only
        self.take = page.take
        page.start()
        for _ in range(viewers):
            self._looking.append(subprocess.Popen([sys.executable, "-S", "-c", _LOOK, f"{page.url}stream.mjpg"]))

    def close(self, *, failed: bool) -> None:
        """Close the page; those who look see its end."""
        self._page.close(failed=failed)
        for looking in self._looking:
            looking.wait(10)
