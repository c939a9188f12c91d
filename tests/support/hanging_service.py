"""A service of which a part hangs: ``first`` inference, ``model`` or ``sink`` after five frames, or ``never``."""

import dataclasses
import signal
import sys
import threading
import time

from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import HealthSpec
from device_runtime.errors import Interrupted
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.pulse import heart_of_service
from device_runtime.signals import interrupt_on, leave
from device_runtime.telemetry import Identity, Telemetry
from tests.support.video import ListSink, ScriptedCamera

HUNG = threading.Event()


class Sink(ListSink):
    def take(self, frame, prediction):
        if sys.argv[1] == "sink" and len(self.taken) == 5:
            HUNG.wait()
        super().take(frame, prediction)


def predict(frame):
    if sys.argv[1] == "first" or (sys.argv[1] == "model" and frame.index >= 5):
        HUNG.wait()
    return Prediction(frame.index, frame.captured_ns, (), {"total": (time.monotonic_ns() - frame.captured_ns) / 1e6})


def camera():
    return ScriptedCamera([(0.01, 1)] * 1_000_000, live=True)


def tell(event):
    sys.stdout.write(f"{event.message}\n")
    sys.stdout.flush()


def main():
    interrupt_on(signal.SIGTERM)
    telemetry = Telemetry(Identity("m", "e", "s", stall_s=0.5))
    setup = LoopSetup(Limits(stall_s=0.5), capture=CaptureSetup(camera, first_pause_s=0.01), telemetry=telemetry)
    with heart_of_service(None, tell) as heart:
        heart.watch(telemetry, HealthSpec())
        try:
            run_loop(camera(), predict, [Sink()], dataclasses.replace(setup, keeper=heart))
        except Interrupted:
            return 130
    return 0


if __name__ == "__main__":
    leave(main())
