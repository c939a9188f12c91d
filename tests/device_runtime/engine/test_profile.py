"""The profile of a model's operators, measured with the real library in its own process."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import EngineFacts
from device_runtime.engine.interface import Node
from device_runtime.engine.litert import open_engine
from device_runtime.engine.native import DELEGATED_EVENT, OPERATOR_EVENT, Event
from device_runtime.engine.profile import match_words, middle_mean, name_steps, profile_operators
from tests.support.layered_tflite import layered, samples
from tests.support.tiny_tflite import Net, Op, Tensor, build

QUICK_S = 0.05


def facts_of(model, delegate="auto", engine="litert"):
    opened = open_engine(model, engine, 1, delegate)
    return EngineFacts(opened.name, opened.version, opened.threads, opened.delegate)


def profile_of(model, delegate="auto", inputs=()):
    found = profile_operators(model, facts_of(model, delegate), QUICK_S, inputs)
    assert found.reason == ""
    return found.profile


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "layered.tflite"
    path.write_bytes(layered())
    return path


LAYERS = ("stem", "active", "depth", "point", "pooled", "dense", "scores")


def test_the_engines_own_kernels_are_told_in_the_order_of_the_graph(model):
    profile = profile_of(model, "none")
    assert [(each.index, each.type, each.name) for each in profile.operators] == list(
        zip(
            range(7),
            ("CONV_2D", "HARD_SWISH", "DEPTHWISE_CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"),
            LAYERS,
            strict=True,
        )
    )


def test_a_delegates_steps_have_its_words_and_the_names_of_the_graph(model):
    profile = profile_of(model, "xnnpack")
    names = [each.name for each in profile.operators]
    assert [name for name in names if name] == [name for name in LAYERS if name in names]
    assert {"stem", "depth", "point"} <= set(names)
    assert {each.type.partition(" (")[0] for each in profile.operators} > {"Convolution", "HardSwish"}


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_the_shares_are_of_all_operators_and_these_cover_the_inference(model, delegate):
    profile = profile_of(model, delegate, [samples(1)])
    assert sum(each.share for each in profile.operators) == pytest.approx(1.0)
    assert all(each.mean_ms >= 0 and 0 <= each.share <= 1 for each in profile.operators)
    assert 0.0 < profile.covered <= 1.0
    assert profile.overhead > -1.0
    assert profile.inferences >= 3


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_layer_with_ten_times_the_work_takes_the_larger_share(tmp_path, delegate):
    path = tmp_path / "two.tflite"
    path.write_bytes(two_convolutions(narrow=8, wide=80))
    profile = profile_of(path, delegate)
    narrow, wide = profile.operators
    assert profile.covered > 0.5
    assert (narrow.name, wide.name) == ("narrow", "wide")
    assert wide.share > 0.6


def two_convolutions(narrow, wide):
    """Two 3 × 3 convolutions, the second one with ``wide`` / ``narrow`` times the work of the first."""
    random = np.random.default_rng(0)
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    convolution = (schema.BuiltinOptions.Conv2DOptions, options)
    tensors = [Tensor("image", (1, 64, 64, 8))]
    for name, channels in (("narrow", narrow), ("wide", wide)):
        inputs = tensors[-1].shape[3]
        weights = random.normal(0, 0.1, (channels, 3, 3, inputs)).astype(np.float32)
        tensors += [
            Tensor(f"{name}/weights", weights.shape, values=weights),
            Tensor(f"{name}/bias", (channels,), values=np.zeros(channels, np.float32)),
            Tensor(name, (1, 64, 64, channels)),
        ]
    ops = [Op("CONV_2D", [at, at + 1, at + 2], [at + 3], options=convolution) for at in (0, 3)]
    return build(Net(tensors, ops))


def test_an_engine_without_times_says_so(model):
    found = profile_operators(model, facts_of(model, engine="tflite-runtime"), QUICK_S)
    assert found.profile is None
    assert found.reason == "tflite-runtime tells no times of operators; ai-edge-litert does"


def test_a_library_of_another_version_is_left_alone(model):
    found = profile_operators(model, EngineFacts("litert", "3.0.0", 1, "xnnpack"), QUICK_S)
    assert found.profile is None
    assert found.reason == "the profile knows ai-edge-litert 2.1, 2.2, 2.3, got 3.0.0"


def test_what_is_no_model_is_a_reason(tmp_path, model):
    facts = facts_of(model)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"none")
    assert "expected a TFLite model" in profile_operators(broken, facts, QUICK_S).reason


def test_a_crash_of_native_code_is_a_reason_and_not_the_end(tmp_path, model, monkeypatch):
    facts = facts_of(model)
    crashing = tmp_path / "packages" / "ai_edge_litert"
    crashing.mkdir(parents=True)
    (crashing / "__init__.py").write_text("import os\n\nos.abort()\n")
    (crashing / "libLiteRt.so").touch()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    found = profile_operators(model, facts, QUICK_S)
    assert found.profile is None
    assert found.reason == "LiteRT ended with SIGABRT while it profiled the model"


def test_inputs_that_do_not_fit_are_a_reason(model):
    found = profile_operators(model, facts_of(model), QUICK_S, [np.zeros(5, np.float32)])
    assert found.reason == "input image: expected 3072 bytes, got 20 bytes"


@pytest.mark.shared
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2_1.0_224_quant",
        "coco_ssd_mobilenet_v1_quant",  # its outputs have their sizes when it has run
        "movenet_single_pose_lightning_ptq",  # seven pieces for XNNPACK
    ],
)
def test_models_of_others_are_covered_and_named(shared_data, name, delegate):
    path = shared_data / "models" / f"{name}.tflite"
    profile = profile_of(path, delegate)
    assert 0.9 < profile.covered <= 1.0
    named = [each.name for each in profile.operators if each.name]
    assert len(named) > 0.9 * len(profile.operators)
    assert len(set(named)) == len(named)


def test_words_that_correspond_one_to_one_are_certain():
    words = ["Convert (NC)", "Convolution (NHWC, F32) DWConv", "Fully Connected (NC, F32) GEMM", "Copy (NC, X32)"]
    assert match_words(words, ["QUANTIZE", "DEPTHWISE_CONV_2D", "CONV_2D", "CONCATENATION"]) == [0, 1, 2, 3]


def test_a_word_with_two_places_is_not_certain():
    words = ["Convolution (NHWC, F32) IGEMM", "Add (ND)"]
    assert match_words(words, ["CONV_2D", "PAD", "ADD", "ADD"]) == [0, None]
    assert match_words(words, ["CONV_2D", "PAD", "ADD"]) == [0, 2]
    assert match_words(words, ["PAD", "ADD"]) == [None, None]
    assert match_words([], ["ADD"]) == []


OPERATORS = {"CONV_2D": "Convolution (NHWC, F32) IGEMM", "ADD": "Add (ND)", "SOFTMAX": "Softmax (NC, F32)"}


@given(
    st.lists(st.tuples(st.sampled_from([*OPERATORS, "RESHAPE", "PAD"]), st.booleans(), st.integers(0, 1)), max_size=12)
)
def test_a_certain_place_is_the_right_one(layers):
    """XNNPACK folds some operators into others, and puts in steps of its own."""
    words, truth = [], []
    for place, (operator, folded, copies) in enumerate(layers):
        words += ["Copy (NC, X32)"] * copies
        truth += [None] * copies
        if operator in OPERATORS and not folded:
            words.append(OPERATORS[operator])
            truth.append(place)
    operators = [operator for operator, _, _ in layers]
    if len(words) == len(operators):
        return  # then they are taken for one to one
    for found, right in zip(match_words(words, operators), truth, strict=True):
        assert found in (None, right)


def test_pieces_of_a_delegate_get_the_names_of_what_they_are_made_of():
    steps = [
        Event(b"Convolution (NHWC, F32) IGEMM", DELEGATED_EVENT, 5, 0, 0),
        Event(b"Add (ND)", DELEGATED_EVENT, 5, 1, 0),
        Event(b"CUSTOM", OPERATOR_EVENT, 5, 2, 0),
        Event(b"Softmax (NC, F32)", DELEGATED_EVENT, 5, 0, 0),
    ]
    nodes = [
        Node("CONV_2D", (0, 1), (2,)),
        Node("ADD", (2, 0), (3,)),
        Node("CUSTOM", (3,), (4,)),
        Node("SOFTMAX", (4,), (5,)),
    ]
    pieces = [Node("DELEGATE", (0, 1), (3,)), Node("DELEGATE", (4,), (5,))]
    tensors = ["conv", "sum", "custom", "scores"]
    assert name_steps(steps, [*nodes, *pieces], tensors) == tensors
    assert name_steps(steps, [*nodes, pieces[0]], tensors) == ["", "", "custom", ""]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_the_middle_is_within_the_values(values):
    assert min(values) - 1e-6 <= middle_mean(values) <= max(values) + 1e-6


def test_an_interruption_is_not_in_the_middle():
    assert middle_mean([10] * 20 + [9000] * 3) == 10
