"""Classification decoders against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.registry import decoder_of


def spec_of(decoder, classes, dtype="float32", scale=0.0, zero=0, **task):
    return ModelSpec(
        "m",
        TaskSpec("classification", decoder, **task),
        ImagePrep(4, 4),
        (TensorSpec("in", (1, 4, 4, 3), "uint8"),),
        (TensorSpec("out", (1, classes), dtype, scale, zero),),
    )


def decode(spec, values):
    found = decoder_of(spec)([np.asarray(values)[None]], spec)
    return list(zip(found.classes.tolist(), [round(score, 5) for score in found.scores.tolist()], strict=True))


def test_the_best_classes_come_first():
    values = np.array([0.1, 0.5, 0.05, 0.35], np.float32)
    assert decode(spec_of("probabilities", 4, max_items=2), values) == [(1, 0.5), (3, 0.35)]


def test_classes_below_the_threshold_are_left_out():
    values = np.array([0.1, 0.5, 0.05, 0.35], np.float32)
    assert decode(spec_of("probabilities", 4, score_threshold=0.2), values) == [(1, 0.5), (3, 0.35)]


def test_quantised_probabilities_are_dequantised_without_wrapping():
    spec = spec_of("probabilities", 3, "int8", 1 / 256, -128)
    assert decode(spec, np.array([-128, 127, 0], np.int8)) == [(1, 0.99609), (2, 0.5), (0, 0.0)]


def test_logits_go_through_softmax_however_large():
    assert decode(spec_of("logits", 2), np.array([1000.0, 1000.0], np.float32)) == [(0, 0.5), (1, 0.5)]
    assert decode(spec_of("logits", 2, max_items=1), np.array([0.0, np.log(3)], np.float32)) == [(1, 0.75)]


def test_a_single_logit_is_one_class():
    assert decode(spec_of("sigmoid", 1), np.array([0.0], np.float32)) == [(0, 0.5)]
    assert decode(spec_of("sigmoid", 2), np.array([-1e9, 1e9], np.float32)) == [(1, 1.0), (0, 0.0)]


@pytest.mark.parametrize("decoder", ["probabilities", "logits", "sigmoid"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_an_error(decoder, bad):
    with pytest.raises(ModelError, match="output out: expected finite numbers"):
        decode(spec_of(decoder, 3), np.array([0.1, bad, 0.2], np.float32))


@given(
    hnp.arrays(np.uint8, st.integers(1, 40)),
    st.integers(1, 50),
    st.floats(0, 1, width=32, allow_subnormal=False),  # scores are float32, too
)
def test_the_kept_classes_are_those_of_a_full_sort(values, count, threshold):
    spec = spec_of("probabilities", len(values), "uint8", 1 / 256, 0, max_items=count, score_threshold=threshold)
    scores = values.astype(np.float32) / np.float32(256)
    order = sorted(range(len(values)), key=lambda index: (-scores[index], index))[:count]
    expected = [(index, round(float(scores[index]), 5)) for index in order if scores[index] >= threshold]
    assert decode(spec, values) == expected
