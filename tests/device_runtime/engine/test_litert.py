"""Both interpreters behind one interface."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from device_runtime.contract.model import TensorSpec
from device_runtime.engine.litert import open_engine
from device_runtime.errors import ModelError, UnfitError, UsageError
from tests.support.tflite import brightness_model, constant_model


def test_a_model_runs_and_gives_what_can_be_computed_by_hand(tmp_path, engine):
    brightness_model(tmp_path / "m.tflite", size=4)
    opened = open_engine(tmp_path / "m.tflite", engine)
    assert opened.inputs == (TensorSpec("image", (1, 4, 4, 3), "float32"),)
    opened.input_view()[...] = np.array([0.1, 0.2, 0.3], np.float32)
    opened.invoke()
    np.testing.assert_allclose(opened.output(0), [[0.25, 0.1, 0.2, 0.3]], atol=1e-6)
    opened.input_view()[...] = 0.5
    before = opened.output(0)
    opened.invoke()
    np.testing.assert_allclose(opened.output(0), [[0.25, 0.5, 0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(before, [[0.25, 0.1, 0.2, 0.3]], atol=1e-6)  # an output is a copy


def test_quantisation_is_described(tmp_path, engine):
    answer = np.array([[1, 2]], np.uint8)
    constant_model(tmp_path / "m.tflite", [("scores", answer, 0.5, 3)], scale=0.25, zero_point=7)
    opened = open_engine(tmp_path / "m.tflite", engine)
    assert opened.inputs[0] == TensorSpec("image", (1, 8, 8, 3), "uint8", 0.25, 7)
    assert opened.outputs[0] == TensorSpec("scores", (1, 2), "uint8", 0.5, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such model"),
        (b"", "got an empty file"),
        (b"PK\3\4 a zip file, not a model", "expected a TFLite model"),
    ],
)
def test_what_is_no_model_is_refused_before_native_code_sees_it(tmp_path, engine, content, message):
    path = tmp_path / "m.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        open_engine(path, engine)


def test_a_truncated_model_is_an_error(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").write_bytes((tmp_path / "m.tflite").read_bytes()[:200])
    with pytest.raises(ModelError, match=r"litert .* cannot load the model"):
        open_engine(tmp_path / "m.tflite", "litert")


@pytest.mark.shared
def test_a_custom_operator_is_named(shared_data, engine):
    with pytest.raises(ModelError, match="fake-op-double") as caught:
        open_engine(shared_data / "models" / "model_invoking_error.tflite", engine)
    assert "edgekit inspect" in caught.value.hint


def test_unknown_engines_and_thread_counts_are_usage_errors(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match="expected auto, litert or tflite-runtime, got 'tpu'"):
        open_engine(tmp_path / "m.tflite", "tpu")
    with pytest.raises(UsageError, match="threads: expected 1 or more, got 0"):
        open_engine(tmp_path / "m.tflite", "auto", 0)


def test_a_delegate_is_told_for_every_model_of_a_process_and_can_be_left_out(tmp_path, engine):
    brightness_model(tmp_path / "m.tflite")
    asked = ("auto", "xnnpack", "none", "auto")
    opened = [open_engine(tmp_path / "m.tflite", engine, delegate=delegate) for delegate in asked]
    assert [each.delegate for each in opened] == ["xnnpack", "xnnpack", "none", "xnnpack"]
    for each in opened:
        each.input_view()[...] = 0.5
        each.invoke()
        np.testing.assert_allclose(each.output(0), [[0.25, 0.5, 0.5, 0.5]], atol=1e-6)


def test_a_delegate_that_runs_nothing_of_a_model_is_refused_when_it_is_asked_for(tmp_path, engine):
    constant_model(tmp_path / "m.tflite", [("scores", np.array([[1, 2]], np.int32), 0.0, 0)])
    assert open_engine(tmp_path / "m.tflite", engine).delegate == "none"
    with pytest.raises(UnfitError, match="runs nothing of this model here"):
        open_engine(tmp_path / "m.tflite", engine, delegate="xnnpack")


def test_an_unknown_delegate_is_a_usage_error(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match="delegate: expected auto, xnnpack or none, got 'gpu'"):
        open_engine(tmp_path / "m.tflite", delegate="gpu")


def test_without_any_engine_the_error_says_how_to_get_one(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    # -S: without site-packages there is no engine; numpy's folder is put back by hand.
    script = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:]\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n in ('ai_edge_litert', 'tflite_runtime') else find(n, *a)\n"
        "from device_runtime.engine.litert import open_engine\n"
        "try: open_engine(pathlib.Path(sys.argv[1]))\n"
        "except Exception as e: print(type(e).__name__, e, '|', e.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "m.tflite"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{UnfitError.__name__} no engine is installed for")
    assert "pip install ai-edge-litert" in done.stdout


def test_loading_prints_nothing(tmp_path, engine, capfd):
    brightness_model(tmp_path / "m.tflite")
    open_engine(tmp_path / "m.tflite", engine).invoke()
    assert capfd.readouterr() == ("", "")


def test_engines_in_two_threads_do_not_disturb_each_other(tmp_path, engine):
    brightness_model(tmp_path / "m.tflite", size=16)
    wrong = []

    def work(value):
        opened = open_engine(tmp_path / "m.tflite", engine)
        for _ in range(200):
            opened.input_view()[...] = value
            opened.invoke()
            if abs(opened.output(0)[0, 1] - value) > 1e-5:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (0.25, 0.75)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_models_that_load_in_several_threads_leave_stderr_where_it_was(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    script = (
        "import os, sys, threading\n"
        "from pathlib import Path\n"
        "from device_runtime.engine.litert import open_engine\n"
        "before = os.fstat(2)\n"
        "def load():\n"
        "    for _ in range(40):\n"
        "        open_engine(Path(sys.argv[1]))\n"
        "threads = [threading.Thread(target=load) for _ in range(6)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "after = os.fstat(2)\n"
        "sys.exit((before.st_dev, before.st_ino) != (after.st_dev, after.st_ino))\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "m.tflite"]
    assert subprocess.run(command, stderr=subprocess.PIPE, check=False, timeout=120).returncode == 0
