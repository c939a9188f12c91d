import subprocess
import sys
from pathlib import Path

import pytest

from converters.runtimes import TABLE, runtimes, unsupported
from converters.tflite_reader import parse_tflite, read_tflite
from device_runtime.engine.litert import ENGINES, installed_engines
from tests.support.layered_tflite import layered, quantised
from tests.support.tiny_tflite import Net, Op, Tensor, build

ROOT = Path(__file__).parent.parent.parent


def model(code, version=1):
    tensors = [Tensor("in", (1, 4)), Tensor("layer", (1, 4)), Tensor("out", (1, 4))]
    return parse_tflite(build(Net(tensors, [Op(code, [0], [1], version), Op("TANH", [1], [2])])), "tiny")


def test_the_table_is_what_the_engines_answer(tmp_path):
    if set(installed_engines()) != set(ENGINES):
        pytest.skip("needs both engines")
    target = tmp_path / "table.json"
    command = [sys.executable, "-m", "converters.probe_runtimes", target]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert target.read_text() == TABLE.read_text()


def test_every_engine_is_in_the_table():
    assert set(runtimes()) == set(ENGINES)


def test_a_model_of_old_operators_runs_everywhere():
    assert [unsupported(model("TANH"), runtime) for runtime in runtimes()] == [(), ()]


def test_too_new_a_version_is_named_with_its_layer_and_the_runtime_that_has_it():
    (found,) = unsupported(model("FULLY_CONNECTED", 12), "tflite-runtime")
    assert (found.operator, found.version, found.layer) == ("FULLY_CONNECTED", 12, "layer")
    assert found.reason == "tflite-runtime 2.14.0 has FULLY_CONNECTED up to version 10"
    assert "run it with litert" in found.way_out
    assert unsupported(model("FULLY_CONNECTED", 12), "litert") == ()


def test_an_operator_that_a_runtime_does_not_have_at_all_is_named():
    (found,) = unsupported(model("REDUCE_WINDOW"), "tflite-runtime")
    assert found.reason == "tflite-runtime 2.14.0 does not have REDUCE_WINDOW"


def test_a_version_that_no_runtime_has_sends_nobody_to_another_one():
    (found,) = unsupported(model("TANH", 99), "litert")
    assert "run it with" not in found.way_out


def test_an_operator_of_tensorflow_itself_is_told_from_other_custom_ones():
    (flex,) = unsupported(model("FlexErf"), "litert")
    assert "Erf is an operator of TensorFlow itself" in flex.reason
    assert "TFLITE_BUILTINS" in flex.way_out
    (custom,) = unsupported(model("MyMagic"), "litert")
    assert custom.reason == "a custom operator that litert does not have"


def test_the_detectors_custom_operator_is_in_every_runtime():
    assert [unsupported(model("TFLite_Detection_PostProcess"), runtime) for runtime in runtimes()] == [(), ()]


@pytest.mark.parametrize("recipe", ["dynamic-int4", "static-int4", "weight-only-int4"])
def test_int4_weights_are_nothing_for_tflite_runtime(tmp_path, recipe):
    """Where versions do not tell, it loads the model and gives NaN."""
    info = read_tflite(quantised(layered(), recipe, tmp_path))
    assert unsupported(info, "litert") == ()
    found = unsupported(info, "tflite-runtime")
    assert {item.operator for item in found} & {"CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE"}
    assert all("tflite-runtime 2.14.0 has" in item.reason for item in found)


@pytest.mark.shared
def test_real_models_run_everywhere_but_for_the_one_that_is_made_to_fail(shared_data):
    found = {
        path.name: {item.operator for runtime in runtimes() for item in unsupported(read_tflite(path), runtime)}
        for path in (shared_data / "models").glob("*.tflite")
    }
    assert {name: operators for name, operators in found.items() if operators} == {
        "model_invoking_error.tflite": {"fake-op-double"}
    }
