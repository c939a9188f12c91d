"""Camera loops as tutorials write them: one thread, one step after the other, floats all the way."""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np

from camera_loop.child import Repeated

_THRESHOLD, _OVERLAP, _MOST = 0.25, 0.5, 5


class Clip:
    """A video's frames, again and again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._capture = cv2.VideoCapture(path)

    def read(self) -> Any:
        """Return the next frame, (H, W, 3) uint8 BGR."""
        given, frame = self._capture.read()
        if not given:
            self._capture = cv2.VideoCapture(self._path)
            given, frame = self._capture.read()
        return frame


class Model:
    """A TFLite interpreter, used as its documentation shows."""

    def __init__(self, path: str, runtime: str) -> None:
        package = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}[runtime]
        made = importlib.import_module(f"{package}.interpreter").Interpreter(path, num_threads=1)
        made.allocate_tensors()
        self.interpreter = made
        self.given, self.answered = made.get_input_details()[0], made.get_output_details()[0]
        self.height, self.width = int(self.given["shape"][1]), int(self.given["shape"][2])

    def run(self, image: Any) -> Any:
        """Run one image, (height, width, 3) float32 as the model was trained with; return floats."""
        batch = np.expand_dims(image, axis=0)
        scale, zero = self.given["quantization"]
        if self.given["dtype"] != np.float32:
            batch = quantised(batch, scale, zero, self.given["dtype"])
        self.interpreter.set_tensor(self.given["index"], batch)
        self.interpreter.invoke()
        output = self.interpreter.get_tensor(self.answered["index"])[0]
        scale, zero = self.answered["quantization"]
        return output if output.dtype == np.float32 else (output.astype(np.float32) - zero) * scale


def best_classes(scores: Any) -> list[tuple[int, float]]:
    """Return the best classes of (n,) scores."""
    return [(int(index), float(scores[index])) for index in np.argsort(scores)[::-1][:_MOST]]


def boxes_of(output: Any, width: int, height: int) -> list[tuple[int, float, list[float]]]:
    """Return class, score and x y w h in px from (4 + classes, n): a Python loop over cells, then OpenCV's NMS."""
    boxes, scores, classes = [], [], []
    for cell in output.T:
        score = np.amax(cell[4:])
        if score >= _THRESHOLD:
            x, y, across, down = cell[0], cell[1], cell[2], cell[3]
            boxes.append(
                [
                    float((x - across / 2) * width),
                    float((y - down / 2) * height),
                    float(across * width),
                    float(down * height),
                ]
            )
            scores.append(float(score))
            classes.append(int(np.argmax(cell[4:])))
    kept = cv2.dnn.NMSBoxes(boxes, scores, _THRESHOLD, _OVERLAP)
    return [(classes[index], scores[index], boxes[index]) for index in kept]


class Cv2Loop(Repeated):
    """The usual OpenCV loop. Options: model, clip, task, low and high (the range it was trained with), runtime."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._model = Model(options["model"], options.get("runtime", "litert"))
        self._clip = Clip(options["clip"])
        self._task = options["task"]
        self._low, self._high = options["low"], options["high"]

    def once(self) -> object:
        """Predict one frame."""
        frame = self._clip.read()
        output = self._model.run(self.prepare(frame))
        if self._task == "classification":
            return best_classes(output)
        return boxes_of(output, frame.shape[1], frame.shape[0])

    def prepare(self, frame: Any) -> Any:
        """Return the model's image as floats."""
        return scaled(resize_cv2(frame, (self._model.width, self._model.height)), self._low, self._high)


class PilLoop(Cv2Loop):
    """The same with Pillow for the picture, as TensorFlow's examples have it."""

    def prepare(self, frame: Any) -> Any:
        """Return the model's image as floats."""
        return scaled(resize_pil(frame, (self._model.width, self._model.height)), self._low, self._high)


def resize_cv2(frame: Any, size: tuple[int, int]) -> Any:
    """Return a BGR frame as RGB of ``size`` (width, height)."""
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size)


def resize_pil(frame: Any, size: tuple[int, int]) -> Any:
    """Return the same by way of Pillow, with its own default filter."""
    from PIL import Image  # noqa: PLC0415 - the cv2 loop does without

    return np.array(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).resize(size))


def scaled(resized: Any, low: float, high: float) -> Any:
    """Return bytes as floats in the range that the model was trained with."""
    image = resized.astype(np.float32) / 255.0
    return image if low == 0 else image * (high - low) + low


def quantised(batch: Any, scale: float, zero_point: int, dtype: Any) -> Any:
    """Return floats as the model's integers."""
    return (batch / scale + zero_point).astype(dtype)


class Prepare(Repeated):
    """The loops' way from a frame to the model's bytes. Options: picture, side, pil, low, high, scale, zero_point."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._picture = cv2.imread(options["picture"])
        self._options = options

    def once(self) -> object:
        """Prepare the picture."""
        given = self._options
        resize = resize_pil if given["pil"] else resize_cv2
        image = scaled(resize(self._picture, (given["side"], given["side"])), given["low"], given["high"])
        return quantised(np.expand_dims(image, axis=0), given["scale"], given["zero_point"], np.uint8)
