import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.arrays import ArrayWriter
from converters.jobs import Calibrate, Done, MeasureSensitivity, Sensitivities
from converters.process import open_worker
from converters.recipe import recipe_named
from device_runtime.contract.events import Progress, silent
from tests.support.tiny_tflite import Net, Op, Tensor, build

DENSE = schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()


def chain():
    """Three dense layers; the first weight of the second is so large that int8 leaves nothing of the others."""
    generator = np.random.default_rng(0)
    weights = [(generator.normal(size=(16, 16)) * 0.3).astype(np.float32) for _ in range(3)]
    weights[1][:, 0] = 4000
    weights[0][0] = 0
    tensors = [Tensor("x", (1, 16))]
    ops = []
    for index, values in enumerate(weights):
        tensors += [Tensor(f"w{index}", (16, 16), values=values), Tensor(f"dense{index}", (1, 16))]
        ops.append(Op("FULLY_CONNECTED", [2 * index, 2 * index + 1, -1], [2 * index + 2], options=DENSE))
    tensors.append(Tensor("out", (1, 16)))
    ops.append(Op("ABS", [6], [7]))
    return build(Net(tensors, ops))


@pytest.fixture
def measured(tmp_path):
    def measure(content, recipe, limit=8, events=silent):
        model, ranges, rows = (tmp_path / name for name in ("float.tflite", "r.npz", "rows.npy"))
        model.write_bytes(content)
        with ArrayWriter(rows, (16,), np.float32) as writer:
            for row in np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32):
                writer.append(row)
        with open_worker(tmp_path, events) as worker:
            worker.call(Calibrate(str(model), str(ranges), (str(rows),), None), Done, "calibrate")
            job = MeasureSensitivity(str(model), recipe_named(recipe), str(ranges), (str(rows),), None, limit)
            return worker.call(job, Sensitivities, "measure").layers

    return measure


@pytest.mark.parametrize("recipe", ["static-int8", "weight-only-int8", "dynamic-int8"])
def test_the_operator_that_suffers_most_comes_first(measured, recipe):
    layers = measured(chain(), recipe)
    assert [layer.snr_db for layer in layers] == sorted(layer.snr_db for layer in layers)
    assert (layers[0].name, layers[0].operator) == ("dense1", "FULLY_CONNECTED")
    assert layers[0].snr_db < layers[1].snr_db - 10
    assert layers[0].cosine < layers[1].cosine <= 1


def test_only_what_the_recipe_quantises_is_measured(measured):
    """ABS has no integer kernel in any recipe; what is kept in float costs nothing."""
    assert {layer.name for layer in measured(chain(), "static-int8")} == {"dense0", "dense1", "dense2"}
    assert {layer.name for layer in measured(chain(), "wi8c-ai8+keep:dense1")} == {"dense0", "dense2"}


def test_more_bits_cost_less(measured):
    costs = [
        {layer.name: layer.snr_db for layer in measured(chain(), recipe)}
        for recipe in ("static-int4", "static-int8", "int16x8")
    ]
    assert costs[0]["dense0"] < costs[1]["dense0"] < costs[2]["dense0"]


def test_progress_is_told_and_the_answer_repeats(measured):
    heard = []
    first = measured(chain(), "static-int8", 3, heard.append)
    steps = [event for event in heard if isinstance(event, Progress) and event.unit == "operators"]
    assert [(event.done, event.total) for event in steps] == [(1, 3), (2, 3), (3, 3)]
    assert measured(chain(), "static-int8", 3) == first
    assert measured(chain(), "static-int8", 0) != first
