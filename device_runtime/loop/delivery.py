"""Brings predictions to the sinks: in the order of their frames, and no sink waits for another."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from device_runtime.contract.prediction import Prediction
from device_runtime.errors import EdgeError
from device_runtime.loop.handover import Handover
from device_runtime.loop.status import Status
from device_runtime.sinks.interface import Sink
from device_runtime.vision.raw import AnyFrame

if TYPE_CHECKING:
    from device_runtime.contract.live import SinkStatus

Answer = Prediction | Callable[[], Prediction]
"""A prediction, or what gives it when it is called: the decoding may be left to the delivering thread."""

Result = tuple[AnyFrame, Answer]
Delivered = tuple[AnyFrame, Prediction]


class Refine(Protocol):
    """What is done with predictions in the order of their frames, before the sinks: tracking, rules."""

    def apply(self, frame: AnyFrame, prediction: Prediction) -> Prediction:
        """Return the prediction as the sinks get it."""

    def finish(self) -> Prediction | None:
        """Return what is still to be said when the run ends, as if it were of the last frame; None if nothing."""


_AHEAD = 8
"""Results that may wait for an earlier frame's: as many as workers could finish meanwhile."""

_GRACE_S = 1.0
_CLOSE_S = 2.0


class Delivery(threading.Thread):
    """Takes numbered results from workers, puts them in order, and hands them to the sinks."""

    def __init__(self, sinks: Sequence[Sink], refine: Refine | None, status: Status, *, live: bool) -> None:
        super().__init__(name="delivery", daemon=True)
        self._refine = refine
        self._status = status
        self._outlets = [_Outlet(sink, status, self.fail, live=live) for sink in sinks]
        self._changed = threading.Condition()
        self._results: dict[int, Result | None] = {}
        self._next = 0
        self._closed = self._waits = False
        self._frame: AnyFrame | None = None
        self.failure: BaseException | None = None
        self.delivered = self.settled = 0
        self.last: Prediction | None = None
        status.telemetry.watch_sinks(self.status)

    def put(self, number: int, result: Result | None) -> bool:
        """Hand over the result of the ``number``-th frame that was taken, None if it has none; False after a failure.

        It waits while many results wait for an earlier one, or for the sinks.
        """
        with self._changed:
            self._changed.wait_for(lambda: number < self._next + _AHEAD or self._closed)
            if self.failure is not None:
                return False
            self._results[number] = result
            if number == self._next:
                self._changed.notify_all()
            return True

    def run(self) -> None:
        """Deliver until the end, or until a vital sink fails."""
        try:
            while (found := self._following()) is not None:
                for result in found:
                    if result is not None:
                        self._deliver(result)
                    self.settled += 1
            if self._refine is not None and self._frame is not None and (final := self._refine.finish()) is not None:
                self._hand_out((self._frame, final))
        except BaseException as error:  # noqa: BLE001 - it is raised when the run ends
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Let the run end with this error."""
        with self._changed:
            self.failure = self.failure or error
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing follows what is there: nobody waits for the result of a frame that has none."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def finish(self, *, failed: bool, hurry: bool) -> None:
        """Deliver what is there, close the sinks, and raise what went wrong in them.

        With ``hurry`` nobody waits long: not for a slow sink either that nothing is to be lost of.
        """
        self.close()
        with contextlib.suppress(RuntimeError):  # an interruption came before it was started
            self.join(_CLOSE_S if hurry else None)
        for outlet in self._outlets:
            outlet.finish(failed=failed or self.failure is not None, hurry=hurry)
            if outlet.sink.vital:
                self.failure = self.failure or outlet.failure
        if self.failure is not None and not failed:
            raise self.failure

    def status(self) -> dict[str, SinkStatus]:
        """Return what each sink did so far, by its name."""
        return {outlet.sink.name: outlet.status() for outlet in self._outlets}

    @property
    def idle(self) -> bool:
        """Whether it waits for the next result: what came before is delivered, as far as the sinks' queues."""
        with self._changed:
            return self._waits

    def hung_sink(self, stall_s: float) -> str | None:
        """Return the name of a vital sink that has been at one prediction for longer than ``stall_s``."""
        hung = (outlet.sink.name for outlet in self._outlets if outlet.sink.vital and outlet.busy_s() > stall_s)
        return next(hung, None)

    @property
    def dropped(self) -> int:
        """Predictions that sinks had no time for."""
        return sum(outlet.queue.dropped for outlet in self._outlets)

    def _following(self) -> list[Result | None] | None:
        """Wait for the results that are next; None after the end."""
        with self._changed:
            self._waits = True
            self._changed.wait_for(lambda: self._next in self._results or self._closed)
            self._waits = False
            if self.failure is not None:
                return None
            found: list[Result | None] = []
            while self._next in self._results:
                found.append(self._results.pop(self._next))
                self._next += 1
            self._changed.notify_all()
            if not found and self._closed:
                return None
            return found

    def _deliver(self, result: Result) -> None:
        frame, answer = result
        prediction = answer if isinstance(answer, Prediction) else answer()
        if self._refine is not None:
            self._frame = frame
            prediction = self._refine.apply(frame, prediction)
        self.last = prediction
        self.delivered += 1
        self._status.telemetry.predicted(prediction)
        self._hand_out((frame, prediction))

    def _hand_out(self, result: Delivered) -> None:
        for outlet in self._outlets:
            if result[1].events or not outlet.sink.events_only:
                outlet.put(result)


class _Outlet:
    """One sink with its queue and its thread."""

    def __init__(self, sink: Sink, status: Status, fail: Callable[[BaseException], None], *, live: bool) -> None:
        self.sink = sink
        self.failure: BaseException | None = None
        self._status = status
        self._fail = fail
        self._taken = self._failed = 0
        self._since: float | None = None
        self._error: str | None = None
        self.queue: Handover[Delivered] = Handover(max(1, sink.depth), newest_wins=live or not sink.vital)
        self._thread: threading.Thread | None = None
        if sink.depth:
            self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
            self._thread.start()

    def put(self, result: Delivered) -> None:
        """Hand over a result: to the thread, or to a sink that returns at once."""
        if self._thread is None:
            self._take(result)
        else:
            self.queue.put(result)

    def busy_s(self) -> float:
        """Return for how long the sink has been at one prediction."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def status(self) -> SinkStatus:
        """Return what the sink did so far."""
        from device_runtime.contract.live import SinkStatus  # noqa: PLC0415 - what nobody asks for delays nothing

        return SinkStatus(self._taken, self.queue.dropped, self._failed, self._error)

    def finish(self, *, failed: bool, hurry: bool) -> None:
        """Let the sink have what waits for it, and close it; one that hangs is closed all the same, and left behind."""
        self.queue.close()
        if self._thread is not None:
            patient = self.sink.vital and not hurry
            self._thread.join(None if patient else _GRACE_S)
            if self._thread.is_alive():
                self.queue.clear()
        try:
            self.sink.close(failed=failed or self.failure is not None)
        except BaseException as error:  # noqa: BLE001 - the others must be closed too
            self._note(error)
            self.failure = self.failure or error
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while self.failure is None and (result := self.queue.take()) is not None:
            self._take(result)
        self.queue.close()

    def _take(self, result: Delivered) -> None:
        self._since = time.monotonic()
        try:
            self.sink.take(*result)
        except Exception as error:  # noqa: BLE001 - what a sink does wrong must not end an application on a roof
            self._note(error)
            if self.sink.vital:
                self.failure = error
                self._fail(error)
        else:
            self._taken += 1
            if self._error is not None:
                self._error = None
                self._status.tell(f"{self.sink.name} works again")
        self._since = None

    def _note(self, error: BaseException) -> None:
        self._failed += 1
        if self._error is None and not self.sink.vital:
            self._status.warn(f"{self.sink.name}: {error}")
        self._error = str(error) if isinstance(error, EdgeError) else f"{type(error).__name__}: {error}"
