"""Frames as cameras give them: JPEG headers, damaged frames, YUV, and that decoding is done once."""

import io
import threading

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from device_runtime.contract.model import Colour
from device_runtime.vision.frame import Frame
from device_runtime.vision.raw import (
    Capture,
    DamagedFrameError,
    Encoding,
    RawFrame,
    is_cut,
    jpeg_frame,
    jpeg_size,
    pixel_frame,
    restamp,
)

CAPTURE = Capture(5, 7, "camera", 0.5)


def jpeg(width=64, height=48, mode="RGB", **options):
    """A JPEG of noise, which is long: bytes."""
    bands = 3 if mode == "RGB" else 1
    noise = np.random.default_rng(width * height).integers(0, 255, (height, width, bands), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise.squeeze(2) if bands == 1 else noise).save(file, "JPEG", **options)
    return file.getvalue()


def array(data):
    return np.frombuffer(data, np.uint8)


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    mode=st.sampled_from(["RGB", "L"]),
    progressive=st.booleans(),
    comment=st.binary(max_size=300),
)
def test_the_size_is_pillows_for_every_jpeg(width, height, mode, progressive, comment):
    data = jpeg(width, height, mode, progressive=progressive, comment=comment)
    assert jpeg_size(data) == Image.open(io.BytesIO(data)).size == (width, height)
    assert jpeg_size(array(data).data) == (width, height)


def test_a_thumbnail_in_the_header_is_not_the_picture():
    exif = Image.Exif()
    exif[0x010E] = jpeg(16, 8).hex()
    data = jpeg(64, 48, exif=b"Exif\0\0" + jpeg(16, 8))
    assert jpeg_size(data) == (64, 48)
    assert jpeg_size(jpeg(64, 48, exif=exif.tobytes())) == (64, 48)


@given(st.binary(max_size=200))
@example(b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x10\x03")
@example(b"\xff\xd8\xff\xfe\0\0" * 20)
def test_no_bytes_are_too_strange_for_the_header(data):
    for begun in (data, b"\xff\xd8" + data, b"\xff\xd8\xff\xe0" + data):
        size = jpeg_size(begun)
        assert size is None or min(size) > 0


@given(st.data())
def test_a_cut_jpeg_is_damaged_or_no_jpeg_at_all(data):
    whole = jpeg()
    part = whole[: data.draw(st.integers(0, len(whole) - 2))]
    if jpeg_size(part) is None:
        with pytest.raises(DamagedFrameError, match=r"camera: frame 7: expected a JPEG, got \d+ bytes that begin with"):
            jpeg_frame(array(part), CAPTURE)
        return
    frame = jpeg_frame(array(part), CAPTURE)
    assert is_cut(frame.data)
    for by in (1, 2, 8):
        with pytest.raises(DamagedFrameError, match=r"got \d+ bytes: its end is missing"):
            frame.decode_reduced(by)


@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=20))
def test_a_garbled_jpeg_gives_a_picture_or_says_that_it_is_damaged(flips):
    data = array(jpeg()).copy()
    for where, value in flips:
        data[int(where * data.size)] = value
    try:
        frame = jpeg_frame(data, CAPTURE).decoded()
    except DamagedFrameError:
        return
    assert frame.pixels.shape[2] == 3


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_a_jpeg_is_decoded_reduced_with_sides_rounded_up(by, progressive):
    frame = jpeg_frame(array(jpeg(101, 75, progressive=progressive)), CAPTURE)
    pixels = frame.decode_reduced(by)
    assert pixels.shape == (-(-75 // by), -(-101 // by), 3)


def test_a_grey_jpeg_becomes_three_equal_channels():
    pixels = jpeg_frame(array(jpeg(mode="L")), CAPTURE).decoded().pixels
    assert pixels.shape == (48, 64, 3)
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_the_orientation_in_a_cameras_jpeg_does_not_turn_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert jpeg_frame(array(jpeg(exif=exif.tobytes())), CAPTURE).decoded().pixels.shape == (48, 64, 3)


@given(padding=st.integers(0, 20_000))
def test_zero_bytes_behind_a_jpeg_are_left_away(padding):
    whole = jpeg()
    frame = jpeg_frame(array(whole + b"\0" * padding), CAPTURE)
    assert frame.data.tobytes() == whole
    assert frame.decoded().width == 64


def test_a_buffer_of_zero_bytes_is_a_damaged_frame():
    with pytest.raises(DamagedFrameError, match="got 0 bytes that begin with nothing"):
        jpeg_frame(np.zeros(10_000, np.uint8), CAPTURE)


def test_other_bytes_behind_a_jpeg_do_no_harm():
    frame = jpeg_frame(array(jpeg() + b"vendor data"), CAPTURE)
    assert frame.decoded().pixels.shape == (48, 64, 3)


def test_a_header_that_promises_another_size_is_damaged():
    frame = RawFrame(array(jpeg(32, 32)), Encoding.JPEG, (64, 48), CAPTURE)
    with pytest.raises(DamagedFrameError, match="its size is 32x32 px"):
        frame.decoded()


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [(Encoding.YUYV, (48, 64, 2)), (Encoding.I420, (72, 64)), (Encoding.NV12, (72, 64))],
)
def test_yuv_has_its_shape_and_grey_stays_grey(encoding, shape):
    data = np.full(shape, 128, np.uint8)
    if encoding is Encoding.YUYV:
        data[..., 0] = 126
    else:
        data[:48] = 126
    frame = RawFrame(data, encoding, (64, 48), CAPTURE).decoded()
    assert frame.pixels.shape == (48, 64, 3)
    # (126 - 16) * 255 / 219: BT.601, video range.
    assert np.abs(frame.pixels.astype(int) - 128).max() <= 1
    for wrong in (data[:-2], data[..., :-1], data.astype(np.int16), data.reshape(-1)):
        with pytest.raises(DamagedFrameError, match=f"expected {encoding.value} of 64x48 px"):
            RawFrame(wrong, encoding, (64, 48), CAPTURE)


@pytest.mark.parametrize(
    ("encoding", "code"), [(Encoding.I420, cv2.COLOR_BGR2YUV_I420), (Encoding.YUYV, None), (Encoding.NV12, None)]
)
def test_colours_survive_yuv(encoding, code):
    bgr = np.zeros((48, 64, 3), np.uint8)
    bgr[:, :32], bgr[:, 32:] = (200, 60, 30), (30, 60, 200)
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    luma, blue, red = planes[:48], planes[48:60].reshape(24, 32), planes[60:].reshape(24, 32)
    if code is not None:
        data = planes
    elif encoding is Encoding.NV12:
        data = np.vstack([luma, np.stack([blue, red], -1).reshape(24, 64)])
    else:
        chroma = np.stack([blue, red], -1).repeat(2, 0).reshape(48, 64)
        data = np.stack([luma, chroma], -1)
    pixels = RawFrame(data, encoding, (64, 48), CAPTURE).decoded().pixels
    assert np.abs(pixels.astype(int) - bgr)[:, [5, 58]].max() <= 4


def test_a_frame_is_decoded_once_for_all_who_ask():
    frame = jpeg_frame(array(jpeg(640, 480)), CAPTURE)
    found = []
    threads = [threading.Thread(target=lambda: found.append(frame.decoded())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(whole) for whole in found} == {id(found[0])}
    whole = found[0]
    assert (whole.captured_ns, whole.index, whole.source, whole.capture_ms) == (5, 7, "camera", 0.5)
    assert whole.colour is Colour.BGR


@pytest.mark.parametrize(
    "frame",
    [
        Frame(np.zeros((4, 4, 3), np.uint8), Colour.RGB, 5, 7, "camera", 0.5),
        RawFrame(np.zeros((6, 4), np.uint8), Encoding.I420, (4, 4), CAPTURE),
    ],
    ids=["pixels", "raw"],
)
def test_a_frame_gets_another_number_or_time_and_shares_its_pixels(frame):
    other = restamp(frame, index=0)
    assert (other.index, other.captured_ns, other.source, other.capture_ms) == (0, 5, "camera", 0.5)
    assert restamp(frame, captured_ns=9).captured_ns == 9
    assert restamp(frame, captured_ns=9).index == 7
    name = "data" if isinstance(frame, RawFrame) else "pixels"
    assert np.shares_memory(getattr(other, name), getattr(frame, name))
    assert frame.index == 7


@pytest.mark.parametrize(
    ("pixels", "colour", "message"),
    [
        (np.zeros((4, 6, 3), np.uint16), Colour.BGR, r"cam: frame 7: pixels: expected \(H, W, 3\) uint8 for bgr, got"),
        (np.zeros((4, 6, 4), np.uint8), Colour.BGR, "got"),
        (np.zeros((4, 6), np.uint8), Colour.BGR, "got"),
        (np.zeros((0, 6, 3), np.uint8), Colour.BGR, "got"),
        (np.zeros((4, 6, 3), np.uint8), Colour.GRAY, r"expected \(H, W\) uint8 for gray"),
    ],
)
def test_pixels_of_another_depth_or_shape_are_a_damaged_frame(pixels, colour, message):
    with pytest.raises(DamagedFrameError, match=message):
        pixel_frame(pixels, colour, Capture(0, 7, "cam"))
