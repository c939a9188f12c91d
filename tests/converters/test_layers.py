"""Layer by layer: which are the same, and how far apart they are."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.errors import ConversionError
from converters.jobs import CompareLayers, LayerErrors
from converters.layers import paired_layers
from converters.process import open_worker
from converters.shrink import shrink
from converters.tflite_reader import parse_tflite, read_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import silent
from tests.support.layered_tflite import layered, quantised, samples
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier

LAYERS = ["stem", "active", "depth", "point", "pooled", "dense", "scores"]


def names(pairs):
    return [pair.name for pair in pairs]


def compared(float_model, model, folder):
    path = folder / "given.npy"
    np.save(path, samples(4, seed=5))
    with open_worker(folder, silent) as worker:
        job = CompareLayers(str(float_model), str(model), (str(path),), None, None)
        return worker.call(job, LayerErrors, "compare layers").layers


@pytest.mark.parametrize("recipe", ["float16", "dynamic-int8", "static-int8", "int16x8"])
def test_layers_are_paired_by_name(tmp_path, recipe):
    made = quantised(layered(), recipe, tmp_path)
    assert names(paired_layers(read_tflite(tmp_path / "float.tflite").main, read_tflite(made).main)) == LAYERS


def test_layers_without_names_are_paired_by_their_order(tmp_path):
    made = quantised(layered(), "static-int8", tmp_path)
    one = read_tflite(tmp_path / "float.tflite").main
    two = parse_tflite(shrink(made.read_bytes()), "small").main
    pairs = paired_layers(one, two)
    assert names(pairs) == LAYERS
    assert [two.operators[0].outputs[0], two.operators[-1].outputs[0]] == [pairs[0].two, pairs[-1].two]


def test_layers_that_have_no_names_at_all_are_called_by_their_places():
    graph = parse_tflite(shrink(layered()), "small").main
    assert names(paired_layers(graph, graph))[:2] == ["CONV_2D #0", "HARD_SWISH #1"]


def test_another_models_layers_are_not_taken_for_these():
    one = parse_tflite(layered(), "one").main
    assert paired_layers(one, parse_tflite(shrink(classifier()), "other").main) == ()


def test_a_model_differs_nowhere_from_itself(tmp_path):
    made = quantised(layered(), "float32", tmp_path)
    layers = compared(made, made, tmp_path)
    assert {layer.snr_db for layer in layers} == {200.0}
    assert [layer.cosine for layer in layers] == pytest.approx([1.0] * len(LAYERS))


def test_coarser_numbers_cost_more(tmp_path):
    fine = compared(tmp_path / "float.tflite", quantised(layered(), "float16", tmp_path), tmp_path)
    coarse = compared(tmp_path / "float.tflite", quantised(layered(), "static-int8", tmp_path), tmp_path)
    assert [layer.name for layer in coarse] == LAYERS
    assert all(one.snr_db > two.snr_db + 10 for one, two in zip(fine, coarse, strict=True))
    assert all(20 < layer.snr_db < 60 and layer.cosine > 0.99 for layer in coarse)


def test_the_layer_where_accuracy_went_is_found(tmp_path):
    """One layer's weights are spoilt: everything before it is as good as ever."""
    made = quantised(layered(), "static-int8", tmp_path)
    good = compared(tmp_path / "float.tflite", made, tmp_path)
    model = unpack(made.read_bytes())
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"point/weights")
    buffer = model.buffers[tensor.buffer]
    buffer.data = np.array(buffer.data)[::-1].copy()
    made.write_bytes(pack(model))
    bad = compared(tmp_path / "float.tflite", made, tmp_path)
    falls = [two.name for one, two in zip(good, bad, strict=True) if two.snr_db < one.snr_db - 10]
    assert falls[0] == "point"
    assert next(layer.operator for layer in bad if layer.name == "point") == "CONV_2D"


def test_infinite_values_are_no_likeness(tmp_path):
    tensors = [Tensor("in", (1, 4)), Tensor("zero", (1, 4)), Tensor("infinite", (1, 4))]
    options = (schema.BuiltinOptions.SubOptions, schema.SubOptionsT())
    path = tmp_path / "log.tflite"
    path.write_bytes(build(Net(tensors, [Op("SUB", [0, 0], [1], options=options), Op("LOG", [1], [2])])))
    np.save(tmp_path / "four.npy", np.ones((2, 4), np.float32))
    with open_worker(tmp_path, silent) as worker:
        job = CompareLayers(str(path), str(path), (str(tmp_path / "four.npy"),), None, None)
        zero, infinite = worker.call(job, LayerErrors, "compare layers").layers
    assert (zero.snr_db, zero.cosine) == (200.0, 1.0)
    assert (infinite.snr_db, infinite.cosine) == (-200.0, 0.0)


def test_models_that_have_nothing_in_common_are_refused(tmp_path):
    one, other = tmp_path / "one.tflite", tmp_path / "other.tflite"
    one.write_bytes(layered())
    other.write_bytes(classifier())
    with pytest.raises(ConversionError, match="have no layers in common"):
        compared(one, other, tmp_path)
