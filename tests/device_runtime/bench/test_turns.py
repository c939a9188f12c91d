"""Models that are timed against each other."""

from device_runtime.bench.turns import time_in_turns
from device_runtime.engine.litert import open_engine
from tests.support.tflite import brightness_model


def test_models_are_timed_in_turns_and_each_at_least_once_a_round(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    engines = [open_engine(tmp_path / "m.tflite") for _ in range(2)]
    stats = time_in_turns(engines, rounds=3, slice_s=0.0)
    assert [each.count for each in stats] == [3, 3]
    assert all(0 < each.min <= each.p50 <= each.max for each in stats)
