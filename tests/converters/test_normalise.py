import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.normalise import NAMED, format_normalise, parse_normalise
from device_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "low", "high"), [("0..255", 0.0, 255.0), ("0..1", 0.0, 1.0), ("-1..1", -1.0, 1.0), (" -1..1 ", -1.0, 1.0)]
)
def test_a_range_maps_black_and_white_to_its_ends(text, low, high):
    (mean,), (std,) = parse_normalise(text)
    assert (0 - mean) / std == low
    assert (255 - mean) / std == high


def test_imagenet_has_a_value_for_each_channel():
    mean, std = parse_normalise("imagenet")
    assert [round(value / 255, 3) for value in mean] == [0.485, 0.456, 0.406]
    assert [round(value / 255, 3) for value in std] == [0.229, 0.224, 0.225]


def test_mean_and_deviation_are_read_per_channel():
    assert parse_normalise("1,2,3:4,5,6") == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert parse_normalise("127:128") == ((127.0,), (128.0,))


@pytest.mark.parametrize("text", ["", "0-255", "1:0", "1:-2", "a:b", "1,2:3", "1,2,3:4,5", "nan:1", "1:inf", "1::2"])
def test_anything_else_is_a_usage_error(text):
    with pytest.raises(UsageError):
        parse_normalise(text)


def test_a_misspelt_word_is_answered_with_the_right_one():
    with pytest.raises(UsageError) as caught:
        parse_normalise("imagnet")
    assert caught.value.hint == 'did you mean "imagenet"?'


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3), st.lists(st.integers(1, 255), min_size=3, max_size=3))
def test_what_is_formatted_is_read_back(mean, std):
    wanted = (tuple(map(float, mean)), tuple(map(float, std)))
    assert parse_normalise(format_normalise(*wanted)) == wanted


def test_known_normalisations_are_formatted_as_their_word():
    assert [format_normalise(*value) for value in NAMED.values()] == list(NAMED)
