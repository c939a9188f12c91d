"""What is measured with: two models, four clips, two pictures and a head, made once and kept in a folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camera_loop.clips import SIZES, make_clip
from camera_loop.race import HERE, environment, peers_python
from device_runtime.contract.decode import read_json
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import UnfitError

HEAD_SIDE = 640
_CLASSES, _CELLS = 80, 8400
_OBJECTS = 12


@dataclass(frozen=True)
class Materials:
    """Where everything is; ``shared`` holds third-party photos and a classifier's weights."""

    folder: Path
    shared: Path

    def model(self, name: str) -> Path:
        """Return the model mnv2, det320 or det320-float-io; its description lies beside it."""
        return self.folder / f"{name}.tflite"

    def spec(self, name: str) -> ModelSpec:
        """Return what describes a model."""
        return read_json(ModelSpec, self.folder / f"{name}.json")

    def clip(self, name: str) -> Path:
        """Return a clip, such as 480p.mp4."""
        return self.folder / name

    def picture(self, name: str) -> Path:
        """Return a frame of 480p or 1080p."""
        return self.folder / f"{name}.png"

    @property
    def photos(self) -> Path:
        """Photos to calibrate with and to make clips of."""
        return self.shared / "images/imagenet100"

    @property
    def quantised(self) -> Path:
        """The classifier as its authors quantised it."""
        return self.shared / "models/mobilenet_v2_1.0_224_quant.tflite"

    @property
    def head(self) -> Path:
        """An int8 head (1, 84, 8400), see ``make_head``."""
        return self.folder / "head.npy"

    @property
    def onnx(self) -> Path:
        """The classifier for onnxruntime; it is there when the peers' environment was when this was made."""
        return self.folder / "mnv2.onnx"

    def make(self) -> None:
        """Make what is missing."""
        if not self.photos.is_dir():
            raise UnfitError(f"{self.photos}: expected photos, got no such folder", hint="name it: --shared FOLDER")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_detector()
        self._make_classifier()
        for size in SIZES:
            for kind in ("mp4", "avi"):
                clip = self.clip(f"{size}.{kind}")
                if not clip.exists():
                    make_clip(self.photos, size, clip)
            if not self.picture(size).exists():
                cv2.imwrite(str(self.picture(size)), first_frame(self.clip(f"{size}.mp4")))
        if not self.head.exists():
            np.save(self.head, make_head())

    def _make_detector(self) -> None:
        trained = self.folder / "det320.keras"
        if not trained.exists():
            _run(sys.executable, "-m", "camera_loop.detector", self.photos, trained)
        task = ["--task", "detection", "--decoder", "yolov8", "--box-unit", "fraction", "--score-threshold", "0.25"]
        for name, options in (("det320", []), ("det320-float-io", ["--float-io"])):
            if not self.model(name).exists():
                self._convert(trained, name, "0..1", *task, *options)

    def _make_classifier(self) -> None:
        trained, arrays = self.folder / "mnv2.keras", self.folder / "mnv2.npz"
        if not trained.exists():
            _run(sys.executable, HERE / "make_models.py", "mobilenet-v2", self.quantised, trained)
        if not self.model("mnv2").exists():
            labels = ["--labels", str(self.shared / "labels/imagenet_labels.txt")]
            self._convert(trained, "mnv2", "-1..1", *labels)
        python = peers_python()
        if python is not None and not self.onnx.exists():
            _run(sys.executable, "-m", "camera_loop.layers", trained, arrays)
            _run(python, "-m", "camera_loop.peer_onnx", arrays, self.photos, self.onnx)

    def _convert(self, trained: Path, name: str, normalise: str, *options: str) -> None:
        wanted = ["--calibration", self.photos, f"--normalise={normalise}", "--samples", "30"]
        _run(sys.executable, "-m", "edgekit", "convert", trained, "-o", self.model(name), *wanted, *options)


def _run(*command: Any) -> None:
    """Run a command; what it says is told when it fails."""
    words = [str(word) for word in command]
    print("·", " ".join(words[1:]), file=sys.stderr)
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnfitError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")


def first_frame(clip: Path) -> Any:
    """Return the first frame of a clip, BGR."""
    given, frame = cv2.VideoCapture(str(clip)).read()
    if not given:
        raise UnfitError(f"{clip}: expected a video, got no frame")
    return frame


HEAD_SCALE, HEAD_ZERO = 0.0039, -128


def make_head() -> Any:
    """Return what a YOLO of 640 px gives for a scene: (1, 84, 8400) int8, cxcywh fractions and 80 class scores.

    Twelve objects, each found by three to seven cells, and a background that is sure of nothing.
    """
    generator = np.random.default_rng(0)
    head = np.empty((1, 4 + _CLASSES, _CELLS), np.float32)
    head[0, :2] = generator.uniform(0.05, 0.95, (2, _CELLS))
    head[0, 2:4] = generator.uniform(0.03, 0.3, (2, _CELLS))
    head[0, 4:] = generator.beta(0.3, 40, (_CLASSES, _CELLS))
    for _ in range(_OBJECTS):
        box = np.concatenate([generator.uniform(0.2, 0.8, 2), generator.uniform(0.08, 0.3, 2)])
        cells = generator.choice(_CELLS, int(generator.integers(3, 8)), replace=False)
        head[0, :4, cells] = box + generator.normal(0, 0.005, (len(cells), 4))
        head[0, 4 + int(generator.integers(_CLASSES)), cells] = generator.uniform(0.3, 0.9, len(cells))
    return np.clip(np.round(head / HEAD_SCALE) + HEAD_ZERO, -128, 127).astype(np.int8)
