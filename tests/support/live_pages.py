"""A running page with a small application behind it: frames and predictions as fast or slow as a test wants."""

import contextlib
import http.client
import json
import threading
import time

import numpy as np

from device_runtime.contract.model import Colour
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.contract.service import PageSpec
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.frame import Frame
from device_runtime.web.page import Page

TOKEN = "a-token-of-tests-1234"  # noqa: S105 - a token of tests
IDENTITY = Identity("belt", "litert 2.3", "synthetic:belt", "belt 0.1.0")


def make_frame(index, width=320, height=240):
    """A grey picture with a white bar that moves."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    left = index * 7 % (width - 20)
    pixels[:, left : left + 20] = 255
    return Frame(pixels, Colour.BGR, time.monotonic_ns(), index, "test", 1.0)


def make_prediction(index, items=None, **fields):
    """A prediction with plausible timings."""
    stages = {"capture": 1.0, "prepare": 0.4, "invoke": 6.0 + index % 5, "decode": 0.1, "total": 9.0 + index % 5}
    found = (Item(0, "bolt", 0.93, (20.0, 30.0, 120.0, 110.0)),) if items is None else items
    return Prediction(index, time.monotonic_ns(), found, stages, **fields)


class Application:
    """A page, its telemetry, and a thread that plays the loop."""

    def __init__(self, spec, **options):
        self.telemetry = Telemetry(IDENTITY)
        self.telemetry.workers = 1
        self.page = Page(spec, self.telemetry, **options)
        self.index = 0
        self.frame_of = make_frame
        self.prediction_of = make_prediction
        self._stop = threading.Event()
        self._thread = None

    def step(self):
        """One prediction."""
        prediction = self.prediction_of(self.index)
        frame = self.frame_of(self.index)
        self.telemetry.predicted(prediction)
        self.page.take(frame, prediction)
        self.index += 1

    def run(self, interval_s=0.02):
        """Predict from now on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, args=(interval_s,), daemon=True)
        self._thread.start()

    def pause(self):
        """Predict no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self, interval_s):
        while not self._stop.wait(interval_s):
            self.step()

    @property
    def port(self):
        return int(self.page.url.rstrip("/").rpartition(":")[2])

    def ask(self, path, method="GET", body=None, **headers):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def watch(self, **headers):
        """A viewer of the video: an open response, and its connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", "/stream.mjpg", headers={k.replace("_", "-"): v for k, v in headers.items()})
        return Viewer(connection, connection.getresponse())


class Reply:
    """A whole answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


class Viewer:
    """Reads pictures from a stream."""

    def __init__(self, connection, response):
        self.connection, self.response, self.status = connection, response, response.status

    def picture(self):
        """The next picture's bytes; empty at the end."""
        length = None
        while line := self.response.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n" and length is not None:
                return self.response.read(length)
        return b""

    def close(self):
        self.response.close()
        self.connection.close()


@contextlib.contextmanager
def running(spec=None, **options):
    """A page on a free port, closed at the end."""
    application = Application(spec or PageSpec(port=0, fps=30.0), **options)
    application.page.start()
    try:
        yield application
    finally:
        application.pause()
        application.page.close(failed=False)
