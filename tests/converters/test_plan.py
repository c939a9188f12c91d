from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.backends.interface import InputFacts, LeadingLayers, SourceFacts
from converters.interface import ConvertRequest, PrepOptions, TaskOptions
from converters.plan import fold, plan_conversion
from converters.recipe import RECIPES
from converters.tasks import Activation, OutputFacts
from device_runtime.contract.model import Colour, ImagePrep, TensorSpec
from device_runtime.errors import UsageError
from device_runtime.vision.prepare import Preparer

SCORES = OutputFacts("scores", (1, 3), Activation.SOFTMAX)


def plan(leading=None, outputs=(SCORES,), size=(8, 8), channels=3, *, takes_bytes=True, **settings):
    facts = SourceFacts((InputFacts("image", (None, *size, channels)),), tuple(outputs), leading)
    wanted = ConvertRequest(Path("m.keras"), Path("m.tflite"), **settings)
    return plan_conversion(facts, wanted, takes_bytes=takes_bytes)


def plan_tensors(*shapes, outputs=(SCORES,), **settings):
    inputs = tuple(InputFacts(f"in{index}", shape) for index, shape in enumerate(shapes))
    wanted = ConvertRequest(Path("m.keras"), Path("m.tflite"), **settings)
    return plan_conversion(SourceFacts(inputs, tuple(outputs)), wanted, takes_bytes=True)


def normalised(mean, std):
    return PrepOptions(mean=mean, std=std)


def test_one_mean_and_deviation_are_folded_into_the_byte_input():
    made = plan(prep=normalised((127.5,), (127.5,)))
    assert (made.encoding.scale, made.encoding.zero_point) == (1 / 127.5, 128)
    assert made.export.mean == ()
    assert (made.source_prep.mean, made.float_prep.mean, made.byte_prep.mean) == ((127.5,), (127.5,), (128.0,))


@pytest.mark.parametrize(
    ("mean", "std"), [((1.0, 2.0, 3.0), (1.0,)), ((1.0,), (1.0, 2.0, 3.0)), ((-3.0,), (1.0,)), ((300.0,), (9.0,))]
)
def test_what_one_scale_cannot_hold_goes_into_the_graph(mean, std):
    made = plan(prep=normalised(mean, std))
    assert (made.encoding.scale, made.encoding.zero_point) == (1.0, 0)
    assert (made.export.mean, made.export.std) == (mean, std)
    assert (made.source_prep.mean, made.float_prep.mean, made.byte_prep.mean) == (mean, (0.0,), (0.0,))


def test_a_float_recipe_leaves_the_normalisation_to_the_preparation():
    made = plan(takes_bytes=False, prep=normalised((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    prep = made.prep_of(RECIPES["float16"])
    assert made.encoding is None
    assert (prep.mean, prep.std, made.export.mean) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), ())


def test_leading_layers_are_left_out_when_their_work_can_be_folded():
    made = plan(leading=LeadingLayers(("rescaling",), (0.0,), (255.0,), removable=True))
    assert made.export.bare
    assert made.source_prep.std == (1.0,)
    assert (made.encoding.scale, made.float_prep.std, made.byte_prep.std) == (1 / 255.0, (255.0,), (255.0,))


def test_leading_layers_that_cannot_be_cut_off_stay():
    made = plan(leading=LeadingLayers(("rescaling",), (0.0,), (255.0,), removable=False))
    assert not made.export.bare
    assert (made.encoding.scale, made.byte_prep.std) == (1.0, (1.0,))


def test_a_second_normalisation_is_warned_of():
    leading = LeadingLayers(("rescaling",), (0.0,), (255.0,), removable=True)
    made = plan(leading=leading, prep=normalised((0.0,), (255.0,)))
    assert "rescaling" in made.warnings[0]
    assert not made.export.bare
    assert plan(leading=leading, prep=normalised((0.0,), (1.0,))).warnings == ()


def test_a_normalisation_that_nobody_tells_is_asked_for():
    with pytest.raises(UsageError) as caught:
        plan()
    assert "--normalise" in caught.value.hint


def test_scores_before_boxes_are_put_in_order():
    outputs = [OutputFacts("scores", (1, 6, 3)), OutputFacts("boxes", (1, 6, 4))]
    made = plan(outputs=outputs, prep=normalised((0.0,), (1.0,)))
    assert made.order == (1, 0)
    assert [output.name for output in made.outputs] == ["boxes", "scores"]
    assert (made.task.name, made.task.score_threshold, made.task.max_items) == ("detection", 0.5, 100)


def test_an_activation_of_its_own_asks_for_the_decoder():
    odd = [OutputFacts("scores", (1, 3), Activation.UNKNOWN)]
    with pytest.raises(UsageError) as caught:
        plan(outputs=odd, prep=normalised((0.0,), (1.0,)))
    assert "--decoder" in caught.value.hint
    assert plan(outputs=odd, prep=normalised((0.0,), (1.0,)), task=TaskOptions(decoder="logits")).task.name == (
        "classification"
    )


def test_an_open_size_is_fixed_by_the_option_only():
    known = {"prep": normalised((0.0,), (1.0,))}
    with pytest.raises(UsageError, match="input size is open") as caught:
        plan(size=(None, None), **known)
    assert "--input-size" in caught.value.hint
    assert plan(size=(None, None), input_size=(6, 4), **known).byte_prep.width == 4
    with pytest.raises(UsageError, match="its input is 8x8, got --input-size 6x4"):
        plan(input_size=(6, 4), **known)


def test_one_channel_is_grey():
    assert plan(channels=1, prep=normalised((0.0,), (1.0,))).byte_prep.colour is Colour.GRAY


def test_a_recipe_says_which_preparation_is_its_own():
    made = plan(prep=normalised((127.5,), (127.5,)))
    assert made.prep_of(RECIPES["static-int8"]) == made.byte_prep
    assert made.encoding_of(RECIPES["static-int8"]) == made.encoding
    assert made.prep_of(RECIPES["float16"]) == made.float_prep
    assert made.encoding_of(RECIPES["float16"]) is None


def test_a_model_that_takes_tensors_has_no_preparation():
    made = plan_tensors((None, 8), (None, 4, 4, 3))
    assert (made.source_prep, made.float_prep, made.byte_prep, made.encoding) == (None, None, None, None)
    assert made.task.name == "regression"
    assert made.export.shapes == ((1, 8), (1, 4, 4, 3))


def test_the_sizes_that_a_tensor_model_leaves_open_are_asked_for_and_checked():
    with pytest.raises(UsageError, match=r"its input size is open: in0 \?x\?x40") as caught:
        plan_tensors((None, None, 40), (None, 3))
    assert "--input-shape 1x1x40 --input-shape 1x3" in caught.value.hint
    assert plan_tensors((None, None, 40), input_shapes=((1, 12, 40),)).export.shapes == ((1, 12, 40),)
    with pytest.raises(UsageError, match=r"input in0 is \?x\?x40, got --input-shape 1x12x41"):
        plan_tensors((None, None, 40), input_shapes=((1, 12, 41),))
    with pytest.raises(UsageError, match="got --input-shape 2x12x40"):
        plan_tensors((None, None, 40), input_shapes=((2, 12, 40),))


@given(st.floats(0, 255), st.floats(0.5, 300))
def test_every_folded_normalisation_takes_bytes_straight_and_is_right_within_half_a_step(mean, std):
    prep = ImagePrep(4, 4, mean=(mean,), std=(std,))
    encoding = fold(prep)
    stated = ImagePrep(4, 4, mean=(float(encoding.zero_point),), std=(1.0 / encoding.scale,))
    tensor = TensorSpec("image", (1, 4, 4, 3), "uint8", encoding.scale, encoding.zero_point)
    assert Preparer(stated, tensor).straight
    for byte in (0, 1, 127, 255):
        error = encoding.scale * (byte - encoding.zero_point) - (byte - mean) / std
        assert abs(error) <= 0.5 / std + 1e-9
