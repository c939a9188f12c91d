"""Frames as a camera gave them become the same inputs as frames that were made whole first."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.model import Colour, ImagePrep, Interpolation, Resize, TensorSpec
from device_runtime.vision.frame import Frame
from device_runtime.vision.prepare import Preparer
from device_runtime.vision.raw import Capture, DamagedFrameError, Encoding, RawFrame


def smooth_picture(width, height, seed=0):
    """A picture of large soft patches: what is left of detail after any camera."""
    coarse = np.random.default_rng(seed).integers(40, 216, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(bgr, encoding):
    height, width = bgr.shape[:2]
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    luma, quarters = i420[:height], i420[height:].reshape(2, height // 2, width // 2)
    if encoding is Encoding.JPEG:
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].ravel()
    elif encoding is Encoding.I420:
        data = i420
    elif encoding is Encoding.NV12:
        data = np.concatenate([luma, np.stack(quarters, axis=-1).reshape(height // 2, width)])
    else:
        data = np.empty((height, width, 2), np.uint8)
        data[:, :, 0] = luma
        for offset, quarter in enumerate(quarters):
            data[:, offset::2, 1] = quarter.repeat(2, axis=0)
    return RawFrame(np.ascontiguousarray(data), encoding, (width, height), Capture())


def prepared(frame, prep):
    shape = (1, prep.height, prep.width, prep.channels)
    target = np.empty(shape, np.uint8)
    placement = Preparer(prep, TensorSpec("image", shape, "uint8")).write(frame, target)
    return target[0].astype(int), placement


@st.composite
def cases(draw):
    prep = ImagePrep(
        draw(st.integers(32, 96)),
        draw(st.integers(32, 96)),
        draw(st.sampled_from(list(Colour))),
        draw(st.sampled_from(list(Resize))),
        draw(st.sampled_from([1.0, 0.8])),
        draw(st.sampled_from(list(Interpolation))),
        114,
    )
    size = (2 * draw(st.integers(40, 200)), 2 * draw(st.integers(40, 200)))
    return prep, smooth_picture(*size, draw(st.integers(0, 1000)))


@pytest.mark.parametrize("encoding", list(Encoding))
@given(case=cases())
def test_a_raw_frame_gives_the_input_of_the_whole_picture(encoding, case):
    prep, bgr = case
    raw = encoded(bgr, encoding)
    got, placement = prepared(raw, prep)
    wanted, whole_placement = prepared(raw.decoded(), prep)
    assert placement == whole_placement
    # Half a pixel of a reduced JPEG or of a chroma plane, on soft edges: a few levels, and not a colour more or less.
    assert np.abs(got - wanted).mean() < 3
    assert np.abs(got.mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 2


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("colour", list(Colour))
@pytest.mark.parametrize("bgr", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255), (90, 120, 200)])
def test_plain_colours_stay_what_they_are(encoding, colour, bgr):
    picture = np.full((96, 128, 3), bgr, np.uint8)
    prep = ImagePrep(32, 24, colour)
    got, _ = prepared(encoded(picture, encoding), prep)
    wanted, _ = prepared(Frame(picture, Colour.BGR), prep)
    assert np.abs(got - wanted).max() <= 4  # YUV in the video range has 220 levels


@pytest.mark.parametrize(
    ("size", "prep", "by"),
    [
        ((1920, 1080), ImagePrep(224, 224), 4),
        ((640, 480), ImagePrep(224, 224), 2),
        ((640, 480), ImagePrep(320, 320, resize=Resize.LETTERBOX), 2),
        ((1920, 1080), ImagePrep(96, 96, resize=Resize.CENTER_CROP), 8),
        ((640, 480), ImagePrep(640, 480), 1),
        ((636, 476), ImagePrep(50, 50), 4),  # an eighth of it is no whole number of pixels
        ((1920, 1080), ImagePrep(224, 224, interpolation=Interpolation.NEAREST), 1),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_the_input_has_use_for(size, prep, by):
    class Watched(RawFrame):
        __slots__ = ("reductions",)

        def decode_reduced(self, by):
            self.reductions = [*getattr(self, "reductions", []), by]
            return super().decode_reduced(by)

    whole = encoded(smooth_picture(*size), Encoding.JPEG)
    frame = Watched(whole.data, Encoding.JPEG, size, Capture())
    prepared(frame, prep)
    assert frame.reductions == [by]


def test_a_truncated_jpeg_is_damaged_and_not_half_grey():
    whole = encoded(smooth_picture(320, 240), Encoding.JPEG)
    half = RawFrame(whole.data[: whole.data.size // 2], Encoding.JPEG, (320, 240), Capture(index=7, source="cam"))
    with pytest.raises(DamagedFrameError, match=r"cam: frame 7: .*its end is missing"):
        prepared(half, ImagePrep(32, 32))
