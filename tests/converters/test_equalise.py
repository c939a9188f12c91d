"""Cross-layer equalisation on models that are built to break, and on ones that are not."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.arrays import ArrayWriter
from converters.equalise import equalised
from converters.jobs import Calibrate, Done, Quantise
from converters.process import open_worker
from converters.ranges import calibrate, read_ranges
from converters.recipe import RECIPES, recipe_named
from device_runtime.contract.events import Notice, silent
from device_runtime.engine.litert import open_engine
from device_runtime.engine.values import real, stored
from tests.support.tiny_tflite import Net, Op, Tensor, build

SIDE, WIDE = 8, 16
NONE, RELU, RELU6 = 0, 1, 3


def conv(activation=RELU):
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = 1
    options.fusedActivationFunction = activation
    return schema.BuiltinOptions.Conv2DOptions, options


def depthwise(activation=RELU):
    options = schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.depthMultiplier = 1
    options.fusedActivationFunction = activation
    return schema.BuiltinOptions.DepthwiseConv2DOptions, options


def net(spread=1.0, activation=RELU, *, late=False, branch=False, between=()):
    """Two convolutions with a depthwise one between them; channels differ by up to ``spread`` and are evened out after.

    They differ after the first layer, or (``late``) after the second one. ``between`` are operators without parameters
    before the depthwise one, ``branch`` reads its input once more.
    """
    generator = np.random.default_rng(0)
    scales = np.geomspace(1, 1 / spread, WIDE).astype(np.float32)
    before, after = (np.ones_like(scales), scales) if late else (scales, np.ones_like(scales))
    first = np.abs(generator.normal(size=(WIDE, 1, 1, 3))).astype(np.float32) * before[:, None, None, None]
    middle = np.abs(generator.normal(size=(1, 3, 3, WIDE))).astype(np.float32) * after / before
    last = generator.normal(size=(4, 1, 1, WIDE)).astype(np.float32) / after
    shape, wide = (1, SIDE, SIDE, 3), (1, SIDE, SIDE, WIDE)
    tensors = [
        Tensor("image", shape),
        Tensor("w0", first.shape, values=first),
        Tensor("b0", (WIDE,), values=(generator.normal(size=WIDE) * 0.1).astype(np.float32) * before),
        Tensor("wide", wide),
        Tensor("w1", middle.shape, values=middle),
        Tensor("deep", wide),
        Tensor("w2", last.shape, values=last),
        Tensor("out", (1, SIDE, SIDE, 4)),
        *(Tensor(f"between{index}", wide) for index in range(len(between))),
    ]
    ops = [Op("CONV_2D", [0, 1, 2], [3], options=conv(activation))]
    ops += [Op(name, [3 if index == 0 else 7 + index], [8 + index]) for index, name in enumerate(between)]
    read = 7 + len(between) if between else 3
    tensors += [
        Tensor("b1", (WIDE,), values=np.linspace(0, 1, WIDE, dtype=np.float32) * after),
        Tensor("b2", (4,), values=np.zeros(4, np.float32)),
    ]
    ops += [
        Op("DEPTHWISE_CONV_2D", [read, 4, len(tensors) - 2], [5], options=depthwise(activation)),
        Op("CONV_2D", [5, 6, len(tensors) - 1], [7], options=conv(NONE)),
    ]
    outputs = [7]
    if branch:
        tensors.append(Tensor("also", wide))
        ops.append(Op("LOGISTIC", [3], [len(tensors) - 1]))
        outputs.append(len(tensors) - 1)
    return build(Net(tensors, ops, outputs=outputs))


@pytest.fixture
def folder(tmp_path):
    rows = np.random.default_rng(1).uniform(0, 1, (32, SIDE, SIDE, 3)).astype(np.float32)
    with ArrayWriter(tmp_path / "rows.npy", rows.shape[1:], np.float32) as writer:
        for row in rows:
            writer.append(row)
    return tmp_path


def ranges_of(content, folder):
    (folder / "float.tflite").write_bytes(content)
    calibrate(Calibrate(str(folder / "float.tflite"), str(folder / "r.npz"), (str(folder / "rows.npy"),), None), silent)
    return read_ranges(folder / "r.npz")


def quantised(content, folder, recipe, events=silent):
    ranges_of(content, folder)
    made = folder / "made.tflite"
    job = Quantise(str(folder / "float.tflite"), str(made), recipe_named(recipe), str(folder / "r.npz"))
    with open_worker(folder, events) as worker:
        worker.call(job, Done, "quantise")
    return made


def answers(path, folder):
    engine = open_engine(path)
    found = []
    for row in np.load(folder / "rows.npy"):
        engine.input_view()[...] = stored(row[None], engine.inputs[0])
        engine.invoke()
        found.append(real(engine.output(0), engine.outputs[0]))
    return np.array(found)


def snr_db(content, folder, recipe):
    """How right a recipe makes a model."""
    quantised(content, folder, recipe)
    wanted, got = (answers(folder / name, folder) for name in ("float.tflite", "made.tflite"))
    return 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2))


@pytest.mark.parametrize("formula", ["wi8c-ai8", "wi8t-ai8"])
def test_a_model_that_is_built_to_break_is_right_at_int8(folder, formula):
    content = net(spread=1e4)
    assert snr_db(content, folder, formula) < 15
    assert snr_db(content, folder, f"{formula}+equalise") > 30


def test_a_model_with_channels_of_one_size_is_left_alone(folder):
    content = net(spread=1.0)
    ranges = ranges_of(content, folder)
    assert equalised(content, ranges) == (content, ranges, False)
    assert snr_db(content, folder, "wi8c-ai8+equalise") > 30


@pytest.mark.parametrize("between", [(), ("RELU",), ("RELU", "RELU6")])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("activation", [NONE, RELU, RELU6])
@pytest.mark.parametrize("measured", [True, False])
def test_the_float_model_says_the_same_bit_by_bit(folder, activation, late, between, measured):
    content = net(1e3, activation, late=late, between=between)
    ranges = ranges_of(content, folder) if measured else None
    made, _, changed = equalised(content, ranges)
    # What is cut off at 6 can only be scaled where it is certain that it never reaches 6.
    assert changed or activation == RELU6 or "RELU6" in between
    (folder / "evened.tflite").write_bytes(made)
    (folder / "float.tflite").write_bytes(content)
    assert np.array_equal(*(answers(folder / name, folder) for name in ("float.tflite", "evened.tflite")))


def test_ranges_follow_the_channels(folder):
    content = net(1e3)
    made, ranges, _ = equalised(content, ranges_of(content, folder))
    measured = ranges_of(made, folder)
    assert all(np.allclose(ranges[name][kind], measured[name][kind]) for name in measured for kind in ("min", "max"))
    spread = ranges["wide"]["max"].max() / ranges["wide"]["max"].min()
    assert spread < 100


def test_what_is_cut_off_at_6_stays_cut_off_there(folder):
    """Values that reach 6 are not scaled; what cannot reach it is, up to there."""
    np.save(folder / "rows.npy", np.load(folder / "rows.npy") * 40)
    content = net(1e3, RELU6, late=True)
    ranges = ranges_of(content, folder)
    assert ranges["wide"]["max"].max() == ranges["deep"]["max"].max() == 6
    made, evened, changed = equalised(content, ranges)
    assert changed
    assert np.array_equal(evened["wide"]["max"], ranges["wide"]["max"])
    assert evened["deep"]["max"].min() > 4 * ranges["deep"]["max"].min()
    (folder / "evened.tflite").write_bytes(made)
    assert np.array_equal(*(answers(folder / name, folder) for name in ("float.tflite", "evened.tflite")))


def test_a_tensor_that_others_read_is_left_alone(folder):
    content = net(1e3, branch=True)
    before = ranges_of(content, folder)
    _, after, _ = equalised(content, before)
    assert np.array_equal(after["wide"]["max"], before["wide"]["max"])


def test_a_model_without_pairs_is_left_as_it_is_and_it_is_said(folder):
    tensors = [Tensor("image", (1, SIDE, SIDE, 3)), Tensor("out", (1, SIDE, SIDE, 3))]
    content = build(Net(tensors, [Op("TANH", [0], [1])]))
    assert equalised(content, None) == (content, None, False)
    heard = []
    quantised(content, folder, "wi8c-ai8+equalise", heard.append)
    said = [event.message for event in heard if isinstance(event, Notice)]
    assert said == ["recipe wi8c-ai8+equalise: there is nothing to equalise in this model"]


def test_no_recipe_of_the_table_equalises():
    assert not any(recipe.equalise for recipe in RECIPES.values())
