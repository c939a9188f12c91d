"""The JSON and TOML codec."""

import json
import typing
from dataclasses import dataclass, field
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.decode import decode, dumps, encode, loads
from device_runtime.contract.model import (
    TASK_DECODERS,
    BoxFormat,
    BoxUnit,
    Colour,
    ImagePrep,
    ModelSpec,
    Resize,
    SsdAnchors,
    TaskSpec,
    TensorSpec,
)
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import BadFileError
from device_runtime.vision.placement import PlacedMask


@dataclass(frozen=True)
class Inner:
    count: int
    ratio: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    colour: Colour = Colour.RGB
    inner: Optional[Inner] = None  # noqa: UP045 - the contract runs on Python 3.9, so it is spelt so there
    pairs: tuple[Inner, ...] = ()
    table: dict[str, int] = field(default_factory=dict)
    flag: bool = False


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def model_specs(draw):
    task = draw(st.sampled_from(list(TASK_DECODERS)))
    prep = None if task == "regression" and draw(st.booleans()) else draw(image_preps())
    classes = draw(st.integers(1, 8))
    labels = tuple(draw(st.lists(st.text(max_size=9), min_size=classes, max_size=classes)))
    shape = (1, 3) if prep is None else (1, prep.height, prep.width, prep.channels)
    decoder = draw(st.sampled_from(TASK_DECODERS[task]))
    output = (1, 1, classes, 3) if decoder == "movenet" else (1, classes)
    labels = () if task == "pose" and decoder != "movenet" else labels
    image = TensorSpec("in", shape, "int8", draw(st.floats(0, 10, width=32)), draw(st.integers(-128, 127)))
    return ModelSpec(
        draw(st.text(max_size=20)),
        TaskSpec(
            task,
            decoder,
            0.0 if task in ("segmentation", "regression") else draw(st.floats(0, 1)),
            box_format=draw(st.sampled_from(list(BoxFormat))),
            box_unit=draw(st.sampled_from(list(BoxUnit))),
            anchors=SsdAnchors(draw(st.sampled_from([(8,), (16, 32)])), 0.1) if decoder == "ssd" else None,
        ),
        prep,
        (image,) if prep else (image,) * draw(st.integers(1, 3)),
        (TensorSpec("out", output, "float32"),),
        labels,
    )


@st.composite
def image_preps(draw):
    colour = draw(st.sampled_from(list(Colour)))
    return ImagePrep(
        draw(st.integers(1, 512)),
        draw(st.integers(1, 512)),
        colour,
        draw(st.sampled_from(list(Resize))),
        mean=tuple(draw(st.lists(numbers, min_size=colour.channels, max_size=colour.channels))),
        std=(draw(st.floats(0.125, 300, width=32)),),
    )


@given(model_specs())
def test_a_spec_survives_the_way_through_json(spec):
    assert loads(ModelSpec, dumps(spec), "spec") == spec


@given(model_specs())
def test_equal_values_have_equal_texts(spec):
    again = loads(ModelSpec, dumps(spec), "spec")
    assert dumps(again) == dumps(spec)


def test_nested_data_is_decoded_with_defaults():
    data = {"name": "x", "inner": {"count": 1}, "pairs": [{"count": 2, "ratio": 1}], "table": {"a": 3}}
    assert decode(Outer, data, "f") == Outer("x", Colour.RGB, Inner(1), (Inner(2, 1.0),), {"a": 3})
    assert encode(decode(Outer, data, "f"))["pairs"] == [{"count": 2, "ratio": 1.0}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, 'f: key "name" is missing'),
        ([], "f: expected a table, got list"),
        ({"name": 1}, "f: name: expected a text, got 1"),
        ({"name": "x", "flag": 1}, "f: flag: expected true or false, got 1"),
        ({"name": "x", "inner": {"count": True}}, "f: inner: count: expected a whole number, got True"),
        ({"name": "x", "inner": {"count": 1.5}}, "f: inner: count: expected a whole number, got 1.5"),
        ({"name": "x", "colour": "rbg"}, "f: colour: expected one of rgb, bgr, gray, got 'rbg'"),
        ({"name": "x", "pairs": {"a": 1}}, "f: pairs: expected a list, got dict"),
        ({"name": "x", "pairs": [{"count": 1}, 2]}, "f: pairs[1]: expected a table, got int"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(data, message):
    with pytest.raises(BadFileError) as caught:
        decode(Outer, data, "f")
    assert str(caught.value) == message


def test_unknown_keys_are_errors_for_people_and_ignored_for_machines():
    data = {"name": "x", "inner": {"count": 1, "ratoi": 2}}
    assert decode(Outer, data, "f").inner == Inner(1)
    with pytest.raises(BadFileError, match='f: inner: unknown key "ratoi"') as caught:
        decode(Outer, data, "f", unknown="error")
    assert caught.value.hint == 'did you mean "ratio"?'


def test_values_that_contradict_each_other_are_bad_files_not_bugs():
    spec = json.loads(
        dumps(
            ModelSpec(
                "m",
                TaskSpec("classification", "logits"),
                ImagePrep(4, 4),
                (TensorSpec("in", (1, 4, 4, 3), "uint8"),),
                (TensorSpec("out", (1, 2), "float32"),),
                ("a", "b"),
            )
        )
    )
    spec["labels"].append("c")
    with pytest.raises(BadFileError, match="f: labels: expected 2 for output out, got 3"):
        decode(ModelSpec, spec, "f")
    spec["labels"].pop()
    spec["schema"] = 99
    with pytest.raises(BadFileError, match="schema: this reader knows up to 1, got 99"):
        decode(ModelSpec, spec, "f")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_data_makes_the_decoder_fail_in_any_other_way(data):
    with pytest.raises(BadFileError, match=r"^f: "):
        decode(ModelSpec, data, "f")


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "nul"])
def test_what_is_not_json_is_said_to_be_so(text):
    with pytest.raises(BadFileError, match="f: not JSON"):
        loads(ModelSpec, text, "f")


def test_what_only_lives_in_memory_is_no_part_of_the_json():
    assert "mask" not in encode(Prediction(1, 2, (), mask=PlacedMask(None, None, None)))


def test_a_literal_takes_its_own_words_only():
    kind = typing.Literal["full", "empty"]
    assert decode(kind, "full", "f") == "full"
    with pytest.raises(BadFileError, match="f: expected one of full, empty, got 'fill'") as caught:
        decode(kind, "fill", "f")
    assert caught.value.hint == 'did you mean "full"?'
