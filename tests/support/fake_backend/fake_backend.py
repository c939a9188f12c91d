"""A converter backend as another package would bring it: a ``.fake`` file names a float TFLite model, the trained one.

What it exports may be told to differ from what it runs, which is how a framework that drops weights looks from outside.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from converters.backends.interface import InputFacts, LeadingLayers, SourceFacts
from converters.tasks import Activation, OutputFacts


def open_source(path, options):
    del options
    return FakeModel(json.loads(path.read_text()))


class FakeModel:
    def __init__(self, told):
        self._told = told
        self._model = Path(told["model"])
        self._interpreter = Interpreter(str(self._model))
        self._interpreter.allocate_tensors()

    def facts(self):
        image = InputFacts("image", tuple(self._interpreter.get_input_details()[0]["shape"].tolist()))
        outputs = tuple(
            OutputFacts(name, tuple(self._details(name)["shape"].tolist()), Activation.SOFTMAX)
            for name in self._names()
        )
        leading = None
        if "leading" in self._told:
            mean, std = self._told["leading"]
            leading = LeadingLayers(("rescaling",), (mean,), (std,), removable=False)
        return SourceFacts((image,), outputs, leading, {"fake": "1.0"})

    def run(self, inputs):
        rows = [self._run_one(image[None]) for image in inputs[0]]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def export(self, target, plan):
        del plan
        what = self._told.get("export", "")
        if what == "die":
            sys.stderr.write("the last words of the framework\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            Path(self._told["started"]).touch()
            time.sleep(600)
        if what == "raise":
            sys.stdout.write("some noise\n")
            raise RuntimeError("the framework is unhappy")
        target.write_bytes(Path(self._told.get("exported", self._model)).read_bytes())

    def _run_one(self, image):
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], image)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._details(name)["index"]) for name in self._names()]

    def _names(self):
        return sorted(self._outputs())

    def _details(self, name):
        return self._outputs()[name]

    def _outputs(self):
        return self._interpreter.get_signature_runner().get_output_details()
