"""Recipes on small models; the quantiser runs in the child process, as it always does."""

import contextlib
import itertools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.arrays import ArrayWriter, open_array
from converters.errors import ConversionError
from converters.jobs import InputEncoding, Outputs, RunModel
from converters.op_versions import require_versions
from converters.process import open_worker
from converters.recipe import RECIPES, recipe_named
from converters.recipe_facts import runs_on, size_factor
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep
from device_runtime.engine.litert import ENGINES
from device_runtime.errors import EdgeError, UsageError
from tests.support.colours import SIDE as PICTURE
from tests.support.colours import colour_pictures
from tests.support.quantising import quantise
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier

SIDE = 64
UNIT = ImagePrep(SIDE, SIDE, std=(255.0,))
SIGNED = ImagePrep(PICTURE, PICTURE, mean=(127.5,), std=(127.5,))
MADE = [name for name in RECIPES if name != "as-is"]
FORMULAS = ["wi8t-ad8", "wi8c-ad8", "wi8t-af32", "wi8t-ai8", "wi8tc-ai8+float-io", "wi8c-ai16+float-io"]
WORKERS = {}
LAYER = schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()


@pytest.fixture(scope="module", autouse=True)
def workers(tmp_path_factory):
    """Child processes that live as long as these tests: one that quantises, one for each engine."""
    folder = tmp_path_factory.mktemp("workers")
    with contextlib.ExitStack() as stack:
        WORKERS.update({name: stack.enter_context(open_worker(folder, silent)) for name in ("make", *ENGINES)})
        yield
    WORKERS.clear()


@pytest.fixture
def samples(tmp_path):
    return written(tmp_path / "samples.npy", np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8))


@pytest.fixture
def colours(tmp_path):
    return written(tmp_path / "colours.npy", colour_pictures(16, seed=3)[0])


def written(path, rows):
    with ArrayWriter(path, rows.shape[1:], rows.dtype) as writer:
        for row in rows:
            writer.append(row)
    return path


def quantised(content, recipe, samples, folder, names=("scores",), order=(0,)):
    source = folder / "float.tflite"
    source.write_bytes(content)
    encoding = InputEncoding(1 / 255, 0)
    target = folder / "made.tflite"
    return quantise(
        source, target, recipe, [samples], UNIT, encoding=encoding, outputs=names, order=order, worker=WORKERS["make"]
    )


def answers(model, samples, folder, engine="litert", prep=UNIT):
    """The model's first output, on ``samples``: a file, or several for a tensor model."""
    files = tuple(str(path) for path in (samples if isinstance(samples, list) else [samples]))
    job = RunModel(str(model), prep, files, str(folder), engine)
    return np.array(open_array(WORKERS[engine].call(job, Outputs, "run").files[0]))


def snr_db(wanted, got):
    return 10 * np.log10(np.sum(wanted**2) / max(np.sum((wanted - got) ** 2), 1e-20))


def prep_of(recipe, prep):
    """How pictures are prepared for a model that takes bytes: a byte's value is its scale and zero point."""
    return ImagePrep(prep.width, prep.height, mean=(128.0,), std=(127.5,)) if recipe.takes_bytes else prep


def on_colours(source, recipe, colours, folder, engine):
    """A colour model quantised and run: its file, its answers and the float model's."""
    recipe = recipe_named(recipe)
    encoding = InputEncoding(1 / 127.5, 128)
    made = quantise(
        source,
        folder / "made.tflite",
        recipe,
        [colours],
        SIGNED,
        encoding=encoding,
        outputs=("logits",),
        worker=WORKERS["make"],
    )
    require_versions(read_tflite(made), "the model")
    got = answers(made, colours, folder, engine, prep_of(recipe, SIGNED))
    return read_tflite(made), got, answers(source, colours, folder, "litert", SIGNED)


@pytest.mark.parametrize("recipe", MADE)
def test_a_model_of_more_than_256_kb_keeps_its_weights(samples, tmp_path, recipe):
    """From 256 KB of weights on, the quantiser stores them behind the tables of the file."""
    content = classifier(size=(SIDE, SIDE), classes=200, last="LOGISTIC")
    made = quantised(content, recipe, samples, tmp_path)
    wanted = answers(tmp_path / "float.tflite", samples, tmp_path)
    assert np.abs(wanted - answers(made, samples, tmp_path)).max() < 0.05
    constants = [tensor.constant_bytes for tensor in read_tflite(made).main.tensors]
    assert max(constants) == SIDE * SIDE * 3 * 200 * 4 * size_factor(recipe_named(recipe)) > 256 << 10


@pytest.mark.parametrize("recipe", [*MADE, *FORMULAS])
def test_a_recipe_is_right_on_every_engine_that_it_names_and_refused_by_others(
    trained, colours, tmp_path, engine, recipe
):
    """What tflite-runtime makes of int4 convolutions, where it loads them, is NaN."""
    source = trained / "plain.tflite"
    if engine not in runs_on(recipe_named(recipe)):
        with pytest.raises(EdgeError, match=r"cannot load the model|holds NaN"):
            on_colours(source, recipe, colours, tmp_path, engine)
        return
    _, got, wanted = on_colours(source, recipe, colours, tmp_path, engine)
    assert np.array_equal(got.argmax(1), wanted.argmax(1))
    assert snr_db(wanted, got) > (10 if "4" in recipe else 20)


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [
        ("wi8c-ai8+keep:HARD_SWISH", "HARD_SWISH"),
        ("wi8c-ai8+keep:HARD_SWISH,MUL,MEAN,ADD", "MUL"),
        ("wi8c-ai8+keep:DEPTHWISE_CONV_2D", "DEPTHWISE_CONV_2D"),
        ("wi8c-ai8+keep:*onv2d*", "CONV_2D"),
        ("wi8c-af32+keep:CONV_2D", "CONV_2D"),
        ("wi8ct-ad8+keep:CONV_2D", "CONV_2D"),
        ("wf16-af32+keep:CONV_2D", "CONV_2D"),
    ],
)
def test_kept_operators_stay_float_and_the_rest_does_not(trained, colours, tmp_path, engine, recipe, kept):
    source = trained / "hard-swish.tflite"
    info, got, wanted = on_colours(source, recipe, colours, tmp_path, engine)
    types = {
        (each.name, info.main.tensors[each.inputs[:2][-1]].dtype) for each in info.main.operators if each.name == kept
    }
    assert {dtype for _, dtype in types} == {"float32"}
    assert {tensor.dtype for tensor in info.main.tensors} & {"int8", "float16"}
    assert snr_db(wanted, got) > 20


def test_any_layers_may_stay_float(trained, colours, tmp_path, engine):
    """As a search does it: by the names of tensors, whatever signs are in them, in any combination."""
    source = trained / "hard-swish.tflite"
    base = recipe_named("static-int8")
    quantise(
        source, tmp_path / "first.tflite", "float32", [colours], SIGNED, outputs=("logits",), worker=WORKERS["make"]
    )
    info = read_tflite(tmp_path / "first.tflite")
    names = [info.main.tensors[operator.outputs[0]].name for operator in info.main.operators]
    generator = np.random.default_rng(0)
    for count in (1, len(names) // 2, len(names) - 1):
        chosen = tuple(generator.permutation(names)[:count].tolist())
        kept = base.__class__(**{**vars(base), "keep_float": chosen, "name": f"{count} kept"})
        made = quantise(
            source, tmp_path / "made.tflite", kept, [colours], SIGNED, encoding=InputEncoding(1 / 127.5, 128),
            outputs=("logits",), worker=WORKERS["make"],
        )  # fmt: skip
        got = answers(made, colours, tmp_path, engine, prep_of(kept, SIGNED))
        assert snr_db(answers(source, colours, tmp_path, "litert", SIGNED), got) > 20
        assert read_tflite(made).inputs[0].dtype == "uint8"


def test_bytes_go_straight_into_a_first_layer_that_stays_float(trained, colours, tmp_path, engine):
    source = trained / "plain.tflite"
    first = read_tflite(source).main.operators[0]
    assert first.name == "CONV_2D"
    name = read_tflite(source).main.tensors[first.outputs[0]].name
    recipe = RECIPES["static-int8"].__class__(**{**vars(RECIPES["static-int8"]), "keep_float": (name,), "name": "x"})
    made = quantise(
        source, tmp_path / "made.tflite", recipe, [colours], SIGNED, encoding=InputEncoding(1 / 127.5, 128),
        outputs=("logits",), worker=WORKERS["make"],
    )  # fmt: skip
    info = read_tflite(made)
    assert (info.inputs[0].dtype, info.main.operators[0].name) == ("uint8", "DEQUANTIZE")
    assert "QUANTIZE" not in [operator.name for operator in info.main.operators[:2]]
    got = answers(made, colours, tmp_path, engine, prep_of(recipe, SIGNED))
    assert snr_db(answers(source, colours, tmp_path, "litert", SIGNED), got) > 20


def test_float_io_leaves_inputs_and_outputs_float_around_an_integer_model(trained, colours, tmp_path):
    info, got, wanted = on_colours(trained / "plain.tflite", "wi8c-ai8+float-io", colours, tmp_path, "litert")
    assert [tensor.dtype for tensor in (*info.inputs, *info.outputs)] == ["float32", "float32"]
    assert [tensor.name for tensor in (*info.inputs, *info.outputs)] == ["image", "logits"]
    names = [operator.name for operator in info.main.operators]
    assert (names[0], names[-1], names.count("QUANTIZE"), names.count("DEQUANTIZE")) == ("QUANTIZE", "DEQUANTIZE", 1, 1)
    assert snr_db(wanted, got) > 20


def test_int16_activations_have_int16_inputs_and_more_precision(trained, colours, tmp_path, engine):
    info, got, wanted = on_colours(trained / "plain.tflite", "int16x8", colours, tmp_path, engine)
    _, plain, _ = on_colours(trained / "plain.tflite", "static-int8", colours, tmp_path, engine)
    assert (info.inputs[0].dtype, info.inputs[0].zero_points) == ("int16", (0,))
    assert snr_db(wanted, got) > snr_db(wanted, plain) + 5


def test_what_a_pattern_does_not_mean_is_an_error(trained, colours, tmp_path):
    with pytest.raises(UsageError, match='no operator or output tensor of the model is "HARD_SWICH"') as caught:
        on_colours(trained / "hard-swish.tflite", "wi8c-ai8+keep:HARD_SWICH", colours, tmp_path, "litert")
    assert "HARD_SWISH" in caught.value.hint


# Models that take tensors.


def two_inputs():
    """A layer for each of two inputs, one of whole numbers that stays as it is; their sum."""
    generator = np.random.default_rng(1)
    table, weights = generator.normal(size=(9, 4)).astype(np.float32), generator.normal(size=(4, 6)).astype(np.float32)
    tensors = [
        Tensor("speed", (1, 6)),
        Tensor("place", (1,), "int32"),
        Tensor("weights", (4, 6), values=weights),
        Tensor("dense", (1, 4)),
        Tensor("table", (9, 4), values=table),
        Tensor("row", (1, 4)),
        Tensor("sum", (1, 4)),
    ]
    options = schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT()
    added = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    ops = [
        Op("FULLY_CONNECTED", [0, 2, -1], [3], options=LAYER),
        Op("GATHER", [4, 1], [5], options=options),
        Op("ADD", [3, 5], [6], options=added),
    ]
    return build(Net(tensors, ops, inputs=[0, 1]))


@pytest.mark.parametrize("recipe", ["static-int8", "int16x8", "dynamic-int8", "wi8c-ai8+float-io"])
def test_a_model_of_two_inputs_is_quantised_with_measured_ranges(tmp_path, engine, recipe):
    generator = np.random.default_rng(0)
    files = [
        written(tmp_path / "speed.npy", generator.normal(scale=3, size=(20, 6)).astype(np.float32)),
        written(tmp_path / "place.npy", generator.integers(0, 9, 20, np.int32)),
    ]
    source = tmp_path / "float.tflite"
    net = build_with_names(two_inputs(), ("speed", "place"))
    source.write_bytes(net)
    made = quantise(
        source,
        tmp_path / "made.tflite",
        recipe,
        files,
        None,
        inputs=("speed", "place"),
        outputs=("sum",),
        worker=WORKERS["make"],
    )
    info = read_tflite(made)
    wanted_type = {"static-int8": "int8", "int16x8": "int16"}.get(recipe, "float32")
    assert [tensor.dtype for tensor in info.inputs] == [wanted_type, "int32"]
    if wanted_type == "int8":
        low, high = open_array(files[0]).min(), open_array(files[0]).max()
        assert info.inputs[0].scales[0] == pytest.approx((high - low) / 255, rel=1e-5)
    got, wanted = (answers(model, files, tmp_path, engine, None) for model in (made, source))
    assert snr_db(wanted, got) > 25


def build_with_names(content, names):
    """Name the signature's inputs, in order."""
    from converters.tflite_writer import pack, unpack  # noqa: PLC0415 - beside its one use

    model = unpack(content)
    graph = model.subgraphs[0]
    signature = model.signatureDefs[0]
    signature.inputs = []
    for name, index in sorted(zip(names, graph.inputs, strict=True)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"input_{list(names).index(name)}".encode(), index
        signature.inputs.append(entry)
    return pack(model)


@pytest.mark.parametrize("recipe", ["float16", "dynamic-int8", "weight-only-int8", "static-int8", "int16x8"])
def test_a_recurrent_layer_is_quantised_or_stays_float_and_is_right(trained, tmp_path, engine, recipe):
    rows = np.random.default_rng(0).normal(size=(20, 10, 6)).astype(np.float32)
    files = [written(tmp_path / "steps.npy", rows)]
    source = trained / "lstm.tflite"
    made = quantise(
        source,
        tmp_path / "made.tflite",
        recipe,
        files,
        None,
        inputs=("steps",),
        outputs=("answer",),
        worker=WORKERS["make"],
    )
    require_versions(read_tflite(made), "the model")
    got, wanted = (answers(model, files, tmp_path, engine, None) for model in (made, source))
    assert snr_db(wanted, got) > 25
    inner = {tensor.dtype for graph in read_tflite(made).subgraphs[1:] for tensor in graph.tensors}
    assert ("int8" in inner) == (recipe in ("dynamic-int8", "weight-only-int8"))


# Tidying.


def test_outputs_come_in_the_wanted_order_under_the_wanted_names(samples, tmp_path):
    tensors = [
        Tensor("in", (1, SIDE, SIDE, 3)),
        Tensor("one", (1, SIDE, SIDE, 3)),
        Tensor("two", (1, SIDE, SIDE, 3)),
    ]
    content = build(Net(tensors, [Op("LOGISTIC", [0], [1]), Op("TANH", [0], [2])], outputs=[1, 2]))
    made = quantised(content, "float32", samples, tmp_path, names=("first", "second"), order=(1, 0))
    info = read_tflite(made)
    assert [tensor.name for tensor in info.inputs] == ["image"]
    assert [tensor.name for tensor in info.outputs] == ["second", "first"]
    assert [info.producer(index).name for index in info.main.outputs] == ["TANH", "LOGISTIC"]


def test_another_number_of_outputs_is_no_conversion_of_the_same_model(samples, tmp_path):
    content = classifier(size=(SIDE, SIDE))
    with pytest.raises(ConversionError, match="expected 2 outputs in the exported model, got 1"):
        quantised(content, "float32", samples, tmp_path, names=("one", "two"), order=(0, 1))


@pytest.mark.parametrize("name", ["same", ""])
def test_tensors_of_one_name_are_told_apart(samples, tmp_path, name):
    shape = (1, SIDE, SIDE, 3)
    tensors = [Tensor("in", shape), *(Tensor(name, shape) for _ in range(3)), Tensor("out", shape)]
    chain = [Op("LOGISTIC", [index], [index + 1]) for index in range(4)]
    made = quantised(build(Net(tensors, chain)), "static-int8", samples, tmp_path, names=("out",))
    names = [tensor.name for tensor in read_tflite(made).main.tensors]
    assert len(set(names)) == len(names)
    assert {"image", "out"} <= set(names)


def test_parts_that_nothing_reads_do_not_keep_a_split_from_running(samples, tmp_path, engine):
    shape, part = (1, SIDE, SIDE, 3), (1, SIDE, SIDE, 1)
    options = schema.BuiltinOptions.SplitOptions, schema.SplitOptionsT()
    options[1].numSplits = 3
    tensors = [
        Tensor("axis", (), "int32", values=np.array(3, np.int32)),
        Tensor("image", shape),
        Tensor("soft", shape),
        *(Tensor(f"part{index}", part) for index in range(3)),
        Tensor("out", part),
    ]
    ops = [Op("TANH", [1], [2]), Op("SPLIT", [0, 2], [3, 4, 5], options=options), Op("LOGISTIC", [4], [6])]
    made = quantised(build(Net(tensors, ops, inputs=[1])), "static-int8", samples, tmp_path, names=("out",))
    parts = [tensor for tensor in read_tflite(made).main.tensors if tensor.name.startswith("part")]
    assert [tensor.dtype for tensor in parts] == ["int8"] * 3
    assert all(one.scales == two.scales for one, two in itertools.pairwise(parts))
    wanted = answers(tmp_path / "float.tflite", samples, tmp_path)
    assert np.abs(wanted - answers(made, samples, tmp_path, engine)).max() < 0.05
