"""Pieces of a delegate, told from what an engine has after loading."""

from converters.jobs import CountPartitions
from converters.partitions import Partitions, partitions_of
from converters.process import open_worker
from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo
from device_runtime.contract.events import silent
from device_runtime.engine.interface import Node
from tests.support.layered_tflite import layered, quantised

# A chain of six operators: t0 → A → t1 → B → t2 … → t6.
NAMES = "ABCDEF"
CHAIN = [Node(name, (place,), (place + 1,)) for place, name in enumerate(NAMES)]
GRAPH = SubgraphInfo(
    "main",
    tuple(TensorInfo(f"t{index}", (1,), "float32") for index in range(7)),
    tuple(
        OperatorInfo(name, 1, custom=False, inputs=(place,), outputs=(place + 1,)) for place, name in enumerate(NAMES)
    ),
    (0,),
    (6,),
)


def found(*pieces):
    """Partitions of the chain, where each piece is the tensor before it and the one behind it."""
    nodes = [*CHAIN, *(Node("DELEGATE", (first,), (last,)) for first, last in pieces)]
    return partitions_of(nodes, GRAPH, "litert", "2.3.0")


def layers(refs):
    return [ref.layer for ref in refs]


def test_a_model_in_one_piece_has_nothing_outside():
    whole = found((0, 6))
    assert (whole.count, whole.inside, whole.outside, whole.breaking) == (1, 6, (), ())


def test_what_lies_between_two_pieces_breaks_them_and_what_lies_at_the_ends_does_not():
    split = found((1, 3), (4, 5))
    assert (split.count, split.inside) == (2, 3)
    assert layers(split.outside) == ["t1", "t4", "t6"]
    assert layers(split.breaking) == ["t4"]


def test_without_a_delegate_everything_is_outside_and_nothing_is_broken():
    none = found()
    assert (none.count, none.inside, len(none.outside), none.breaking) == (0, 0, 6, ())


def count(model, engine, folder):
    with open_worker(folder, silent) as worker:
        return worker.call(CountPartitions(str(model), engine), Partitions, "count partitions")


def test_an_engine_takes_a_float_model_in_one_piece(tmp_path, engine):
    assert count(quantised(layered(), "float32", tmp_path), engine, tmp_path).count == 1


def test_a_hard_swish_in_int8_breaks_the_graph_in_two(tmp_path):
    seen = count(quantised(layered("HARD_SWISH"), "static-int8", tmp_path), "litert", tmp_path)
    assert (seen.count, layers(seen.breaking), seen.breaking[0].operator) == (2, ["active"], "HARD_SWISH")
    whole = count(quantised(layered("LOGISTIC"), "static-int8", tmp_path), "litert", tmp_path)
    assert (whole.count, whole.breaking) == (1, ())
