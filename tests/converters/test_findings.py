"""What an explanation amounts to, from facts that are given."""

from dataclasses import replace

import numpy as np
import pytest

from converters.findings import RuntimeView, findings_of
from converters.interface import LayerError
from converters.partitions import OperatorRef, Partitions
from converters.runtimes import unsupported
from converters.shrink import shrink
from converters.tflite_reader import parse_tflite
from tests.support.layered_tflite import layered
from tests.support.tiny_tflite import Net, Op, Tensor, build

FLOAT = parse_tflite(layered(), "float")
LAYERS = ["stem", "active", "depth", "point", "pooled", "dense", "scores"]


def split(*breaking, count=2, outside=()):
    return Partitions("litert", "2.3.0", count, 5, (*breaking, *outside), breaking)


def view(partitions):
    return RuntimeView(partitions.engine, partitions.engine_version, partitions=partitions)


def layers(**noise):
    """Layers of 40 dB, but for those that are named."""
    return [LayerError(name, "CONV_2D", noise.get(name, 40.0), 0.99) for name in LAYERS]


def test_nothing_is_found_where_nothing_is_wrong():
    assert findings_of(FLOAT, [view(split(count=1))], layers(), FLOAT) == ()


def test_an_operator_that_cannot_be_run_is_told_once_with_its_layers():
    tensors = [Tensor(name, (1, 4)) for name in ("in", "one", "two", "three", "four")]
    info = parse_tflite(build(Net(tensors, [Op("FlexErf", [index], [index + 1]) for index in range(4)])), "flex")
    (found,) = findings_of(info, [RuntimeView("litert", "2.3.0", unsupported(info, "litert"))], (), None)
    assert "litert cannot run FlexErf version 1 (one, two, three and 1 more)" in found.what
    assert "TFLITE_BUILTINS" in found.way_out


def test_operators_that_break_the_pieces_are_grouped_by_what_they_are():
    tensors = [
        Tensor("in", (1, 4), "int8", 0.1),
        Tensor("one", (1, 4), "int8", 0.1),
        Tensor("two", (1, 4), "int8", 0.1),
    ]
    info = parse_tflite(build(Net(tensors, [Op("HARD_SWISH", [0], [1]), Op("HARD_SWISH", [1], [2])])), "int8")
    refs = [OperatorRef("HARD_SWISH", 1, layer, place) for place, layer in enumerate(("one", "two"))]
    (found,) = findings_of(info, [view(split(*refs, count=3))], (), None)
    assert "in 3 pieces; between them 2 HARD_SWISH (integers): one, two" in found.what
    assert found.way_out.endswith("--recipe wi8c-ai8+keep:HARD_SWISH")


@pytest.mark.parametrize(
    ("place", "kind", "way_out"),
    [
        (0, "floats with integer weights", "--recipe weight-only-int8"),
        (1, "a change of types", "--recipe auto"),
        (2, "as the trained model does", "replace them"),
    ],
)
def test_every_kind_of_break_has_its_way_out(place, kind, way_out):
    weights = np.zeros((4, 4), np.int8)
    tensors = [
        Tensor("in", (1, 4)),
        Tensor("weights", (4, 4), "int8", 0.1, values=weights),
        Tensor("one", (1, 4)),
        Tensor("two", (1, 4), "int8", 0.1),
        Tensor("three", (1, 4)),
    ]
    ops = [Op("FULLY_CONNECTED", [0, 1], [2]), Op("QUANTIZE", [2], [3]), Op("COS", [2], [4])]
    info = parse_tflite(build(Net(tensors, ops)), "mixed")
    (found,) = findings_of(info, [view(split(OperatorRef(ops[place].code, 1, "layer", place)))], (), None)
    assert f"1 {ops[place].code} ({kind}): layer" in found.what
    assert way_out in found.way_out


def test_a_runtime_without_kernels_points_to_one_that_has_them():
    none = Partitions("tflite-runtime", "2.14.0", 0, 0, (OperatorRef("CONV_2D", 3, "stem", 0),), ())
    (found,) = findings_of(FLOAT, [view(split(count=1)), view(none)], (), None)
    assert "XNNPACK takes nothing of this model" in found.what
    few = replace(none, count=2, inside=1, outside=none.outside * 2, breaking=none.outside)
    (part,) = findings_of(FLOAT, [view(few)], (), None)
    assert "XNNPACK takes 1 of 3 operators of this model" in part.what
    assert "run it with litert" in found.way_out
    (alone,) = findings_of(FLOAT, [view(none)], (), None)
    assert "run it with" not in alone.way_out


def test_a_layer_that_is_much_worse_than_its_inputs_is_named_and_those_behind_it_are_not():
    lossy = layers(depth=10.0, point=10.0, pooled=11.0, dense=9.0, scores=10.0)
    (found,) = findings_of(FLOAT, [], lossy, FLOAT)
    assert "accuracy goes in depth (CONV_2D): its output has 10.0 dB signal to noise, its inputs 40.0 dB" in found.what
    assert "--recipe wi8c-ai8+keep:depth;" in found.way_out


def test_a_fall_that_leaves_little_noise_is_no_finding():
    assert findings_of(FLOAT, [], layers(depth=31.0), FLOAT) == ()


def test_a_bad_first_layer_is_a_finding():
    (found,) = findings_of(FLOAT, [], [LayerError(name, "CONV_2D", 5.0, 0.5) for name in LAYERS], FLOAT)
    assert "accuracy goes in stem" in found.what


def test_what_an_engine_says_when_it_does_not_load_a_model_is_a_finding():
    trouble = RuntimeView("tflite-runtime", "2.14.0", trouble="model.tflite: cannot load the model: no int4")
    (found,) = findings_of(FLOAT, [trouble, RuntimeView("litert", "2.3.0", installed=False)], (), None)
    assert found.what == "model.tflite: cannot load the model: no int4"
    assert "--runtime tflite-runtime" in found.way_out


def test_a_layer_without_a_name_is_told_by_its_place_and_left_to_a_search():
    """No pattern of a recipe finds it."""
    nameless = parse_tflite(shrink(layered()), "small")
    errors = [LayerError("CONV_2D #0", "CONV_2D", 40.0, 0.99), LayerError("HARD_SWISH #1", "HARD_SWISH", 10.0, 0.9)]
    (found,) = findings_of(nameless, [], errors, nameless)
    assert "accuracy goes in HARD_SWISH #1" in found.what
    assert found.way_out == "search for what costs least: --recipe auto"


def test_a_recipe_for_a_layer_with_an_odd_name_can_be_pasted_into_a_shell():
    tensors = [Tensor("in", (1, 4)), Tensor("a;b c", (1, 4))]
    info = parse_tflite(build(Net(tensors, [Op("TANH", [0], [1])])), "odd")
    (found,) = findings_of(info, [], [LayerError("a;b c", "TANH", 5.0, 0.5)], info)
    assert "--recipe 'wi8c-ai8+keep:a;b%20c';" in found.way_out
