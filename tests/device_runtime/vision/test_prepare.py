"""Preparation against a slow, independent reference made of NumPy and plain cv2 calls."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import Colour, ImagePrep, Interpolation, Resize, TensorSpec
from device_runtime.vision.frame import Frame
from device_runtime.vision.normalise import byte_table, normalise
from device_runtime.vision.placement import plan_placement
from device_runtime.vision.prepare import Preparer, prepare_bytes


def frames(draw, width, height):
    colour = draw(st.sampled_from(list(Colour)))
    shape = (height, width) if colour is Colour.GRAY else (height, width, 3)
    seed = draw(st.integers(0, 2**31))
    return Frame(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8), colour)


@st.composite
def preparations(draw):
    colour = draw(st.sampled_from(list(Colour)))
    count = draw(st.sampled_from([1, colour.channels]))
    mean = draw(st.lists(st.sampled_from([0.0, 128.0, 127.5, 123.68]), min_size=count, max_size=count))
    std = draw(st.lists(st.sampled_from([1.0, 255.0, 127.5, 58.4]), min_size=count, max_size=count))
    prep = ImagePrep(
        draw(st.integers(1, 40)),
        draw(st.integers(1, 40)),
        colour,
        draw(st.sampled_from(list(Resize))),
        draw(st.sampled_from([1.0, 0.875])),
        draw(st.sampled_from(list(Interpolation))),
        draw(st.sampled_from([0, 114])),
        tuple(mean),
        tuple(std),
    )
    frame = frames(draw, draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    dtype = draw(st.sampled_from(["uint8", "int8", "int16", "float32", "float16"]))
    scale, zero = draw(st.sampled_from([(1 / 128, 0), (1.0, 0), (1 / 127.5, -1), (0.1, 3), (0.0, 0)]))
    if dtype.startswith("float"):
        scale, zero = 0.0, 0
    shape = (1, prep.height, prep.width, prep.channels)
    return prep, frame, TensorSpec("image", shape, dtype, scale, zero)


def reference(prep, frame, tensor):
    """The definition, with no buffer reused and nothing written in place."""
    place = plan_placement(prep, frame.width, frame.height)
    part = frame.pixels[
        place.crop_top : place.crop_top + place.crop_height, place.crop_left : place.crop_left + place.crop_width
    ]
    methods = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
    if part.shape[1::-1] != (place.width, place.height):
        method = methods[prep.interpolation.value]
        part = cv2.resize(np.ascontiguousarray(part), (place.width, place.height), interpolation=method)
    if frame.colour is not prep.colour:
        name = f"COLOR_{frame.colour.name}2{prep.colour.name}"
        part = cv2.cvtColor(part, getattr(cv2, name))
    canvas = np.full((prep.height, prep.width, prep.channels), prep.pad, np.uint8)
    part = part.reshape(place.height, place.width, prep.channels)
    canvas[place.top : place.top + place.height, place.left : place.left + place.width] = part
    return byte_table(prep, tensor)[canvas, np.arange(prep.channels) % max(len(prep.mean), len(prep.std))]


@settings(max_examples=400, deadline=None)
@given(preparations())
def test_every_way_of_preparing_gives_what_its_definition_says(case):
    prep, frame, tensor = case
    target = np.zeros(tensor.shape, tensor.dtype)
    preparer = Preparer(prep, tensor)
    for _ in range(2):  # the second time through reused buffers
        preparer.write(frame, target)
        np.testing.assert_array_equal(target[0], reference(prep, frame, tensor))


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "mean", "std"),
    [
        ("uint8", 1 / 255, 0, 0.0, 255.0),
        ("uint8", 1 / 128, 128, 128.0, 128.0),
        ("int8", 1 / 255, -128, 0.0, 255.0),
        ("int8", 1.0, -128, 0.0, 1.0),
    ],
)
def test_a_folded_normalisation_lets_camera_bytes_straight_in(dtype, scale, zero, mean, std):
    prep = ImagePrep(8, 8, mean=(mean,), std=(std,))
    preparer = Preparer(prep, TensorSpec("image", (1, 8, 8, 3), dtype, scale, zero))
    assert preparer.straight
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    target = np.zeros((1, 8, 8, 3), dtype)
    preparer.write(Frame(pixels, Colour.RGB), target)
    np.testing.assert_array_equal(target[0].view(np.uint8), pixels if dtype == "uint8" else pixels ^ 0x80)


def test_a_half_step_zero_point_still_takes_bytes_with_at_most_one_step_of_difference():
    prep = ImagePrep(8, 8, mean=(127.5,), std=(127.5,))
    table = byte_table(prep, TensorSpec("image", (1, 8, 8, 3), "uint8", 1 / 128, 128))
    assert np.abs(table[:, 0].astype(int) - np.arange(256)).max() <= 1


def test_normalising_prepared_bytes_equals_preparing_into_a_float_tensor():
    prep = ImagePrep(20, 10, Colour.BGR, Resize.LETTERBOX, pad=114, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    frame = Frame(np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype(np.uint8), Colour.RGB)
    target = np.zeros((1, 10, 20, 3), np.float32)
    Preparer(prep, TensorSpec("image", (1, 10, 20, 3), "float32")).write(frame, target)
    np.testing.assert_array_equal(normalise(prepare_bytes(frame, prep), prep), target[0])


@settings(max_examples=200, deadline=None)
@example(Resize.LETTERBOX, 81, 120, 1, 603, 1.0)  # factor and offset are 600 times the frame, and nearly cancel
@given(
    st.sampled_from(list(Resize)),
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.integers(1, 640),
    st.integers(1, 640),
    st.floats(0.5, 1.0),
)
def test_boxes_survive_the_way_to_the_input_and_back(resize, frame_w, frame_h, width, height, fraction):
    prep = ImagePrep(width, height, resize=resize, crop_fraction=fraction)
    place = plan_placement(prep, frame_w, frame_h)
    left, top = place.crop_left, place.crop_top
    boxes = np.array([[left, top, left + place.crop_width, top + place.crop_height]], np.float32)
    inside = place.boxes_to_input(boxes, prep)
    assert (inside >= -1e-4).all()
    assert (inside <= 1 + 1e-4).all()
    np.testing.assert_allclose(place.boxes_to_frame(inside, prep), boxes, atol=2e-5 * max(frame_w, frame_h, 100))


def test_a_frame_of_another_depth_is_refused_with_what_was_expected():
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 for rgb, got \(4, 4, 3\) float32"):
        Frame(np.zeros((4, 4, 3), np.float32), Colour.RGB)
