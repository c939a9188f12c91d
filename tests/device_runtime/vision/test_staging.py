"""Frames that are prepared ahead: the same answers, and no buffer under two frames at once."""

import numpy as np

from device_runtime.contract.model import Colour, ImagePrep, TensorSpec
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import LoopSetup, run_loop
from device_runtime.predictor import Predictor
from device_runtime.vision.frame import Frame
from device_runtime.vision.prepare import Preparer
from device_runtime.vision.staging import Staged, Stager, frame_of
from tests.support.tflite import brightness_model
from tests.support.video import ListSink, ScriptedCamera


def stager(wants=lambda _: True):
    prep = ImagePrep(4, 4)
    return Stager(Preparer(prep, TensorSpec("image", (1, 4, 4, 3), "uint8")), wants)


def grey(level):
    return Frame(np.full((8, 8, 3), level, np.uint8), Colour.RGB, index=level)


def test_a_buffer_is_used_again_only_after_it_was_released():
    stage = stager()
    first, second = stage(grey(1)), stage(grey(2))
    assert isinstance(first, Staged)
    assert (first.tensor == 1).all()
    assert (second.tensor == 2).all()
    assert first.tensor is not second.tensor
    buffer = first.tensor
    first.release()
    third = stage(grey(3))
    assert third.tensor is buffer
    assert (second.tensor == 2).all()


def test_frames_that_are_not_wanted_pass_as_they_are():
    frame = grey(1)
    assert stager(lambda _: False)(frame) is frame
    assert frame_of(frame) is frame
    assert frame_of(stager()(frame)) is frame


def test_predictions_are_the_same_ahead_or_not_with_one_worker_or_several(tmp_path):
    spec = brightness_model(tmp_path / "m.tflite")

    def answers(workers, *, ahead):
        predictor, sink = Predictor(tmp_path / "m.tflite", spec), ListSink()
        stage = predictor.ahead(live=False, workers=workers) if ahead else None
        setup = LoopSetup(
            workers=workers,
            another=lambda: Predictor(tmp_path / "m.tflite", spec).infer,
            capture=CaptureSetup(stage=stage),
        )
        camera = ScriptedCamera([(0, level % 256) for level in range(300)])
        run_loop(camera, predictor.infer, [sink], setup)
        return [prediction.items for _, prediction in sink.taken]

    plain = answers(1, ahead=False)
    assert len(plain) == 300
    assert len(set(plain)) > 100
    assert answers(1, ahead=True) == plain
    assert answers(3, ahead=True) == plain


def test_a_live_camera_is_not_prepared_ahead(tmp_path):
    spec = brightness_model(tmp_path / "m.tflite")
    assert Predictor(tmp_path / "m.tflite", spec).ahead(live=True, workers=1) is None
