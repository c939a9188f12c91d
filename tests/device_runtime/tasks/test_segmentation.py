"""Segmentation decoders against slow references, and their masks in the frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runtime.contract.model import ImagePrep, ModelSpec, Resize, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.predictor import Predictor
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.picture import read_picture
from device_runtime.vision.placement import PlacedMask, plan_placement

sides = st.integers(1, 6)


def spec_of(decoder, output, resize=Resize.STRETCH, size=(8, 8), labels=(), **task):
    width, height = size
    return ModelSpec(
        "m",
        TaskSpec("segmentation", decoder, **task),
        ImagePrep(width, height, resize=resize),
        (TensorSpec("in", (1, height, width, 3), "uint8"),),
        (output,),
        labels,
    )


def class_map(ids, spec=None, **options):
    ids = np.asarray(ids)
    spec = spec or spec_of("class-map", TensorSpec("ids", (1, *ids.shape), ids.dtype.name), **options)
    return decoder_of(spec)([ids[None]], spec), spec


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@given(data=st.data())
def test_each_cell_gets_its_best_class_and_the_lower_one_of_equals(dtype, data):
    shape = (1, data.draw(sides), data.draw(sides), data.draw(st.integers(2, 5)))
    # Few different values, so that there are ties.
    scores = data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from([0, 1, 2, 100])))
    spec = spec_of("class-scores", TensorSpec("scores", shape, dtype, 0.0 if dtype == "float32" else 0.25, 0))
    ids = decoder_of(spec)([scores], spec).ids
    for row in range(shape[1]):
        for column in range(shape[2]):
            cell = scores[0, row, column].tolist()
            assert ids[row, column] == cell.index(max(cell))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("decoder", ["class-scores", "class-map"])
def test_numbers_that_are_none_are_refused(decoder, value):
    shape = (1, 2, 2, 3 if decoder == "class-scores" else 1)
    tensor = np.zeros(shape, np.float32)
    tensor[0, 1, 1, 0] = value
    spec = spec_of(decoder, TensorSpec("out", shape, "float32"))
    with pytest.raises(ModelError, match="output out: expected finite numbers"):
        decoder_of(spec)([tensor], spec)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "float32"])
@pytest.mark.parametrize("trailing", [(), (1,)])
def test_class_ids_of_any_type_stay_what_they_are(dtype, trailing):
    ids = np.array([[0, 1, 2], [20, 99, 7]])
    spec = spec_of("class-map", TensorSpec("ids", (1, 2, 3, *trailing), dtype))
    found = decoder_of(spec)([ids.reshape(1, 2, 3, *trailing).astype(dtype)], spec)
    assert found.ids.tolist() == ids.tolist()
    assert found.ids.dtype == np.uint8


def test_quantised_class_ids_are_read_as_what_they_stand_for():
    spec = spec_of("class-map", TensorSpec("ids", (1, 1, 3), "int8", 0.5, -128))
    assert decoder_of(spec)([np.array([[[-128, -126, -120]]], np.int8)], spec).ids.tolist() == [[0, 1, 4]]


def test_many_classes_have_room_above_them():
    assert class_map(np.array([[254]]))[0].ids.dtype == np.uint8
    assert class_map(np.array([[255]]))[0].ids.dtype == np.uint16
    assert class_map(np.array([[65534]]))[0].ids.tolist() == [[65534]]


@pytest.mark.parametrize("value", [-1, 65535])
def test_a_class_id_out_of_range_is_refused(value):
    with pytest.raises(ModelError, match="expected class ids 0–65534"):
        class_map(np.array([[0, value]], np.int32))


@pytest.mark.parametrize(
    ("decoder", "shape"),
    [
        ("class-scores", (1, 4, 4, 1)),
        ("class-scores", (1, 4, 4)),
        ("class-scores", (2, 4, 4, 3)),
        ("class-map", (1, 4, 4, 2)),
        ("class-map", (1, 4)),
    ],
)
def test_an_output_that_is_no_map_is_refused(decoder, shape):
    with pytest.raises(ModelError, match=rf"decoder {decoder}: expected 1 output \(1, height, width"):
        decoder_of(spec_of(decoder, TensorSpec("out", shape, "float32")))


def test_items_are_the_classes_that_are_there_by_falling_share():
    found, spec = class_map([[0, 0, 0, 0], [0, 2, 2, 1]], size=(4, 2), labels=("sky", "cat", "dog"))
    items = found.items(spec, plan_placement(spec.image_prep, 400, 200))
    assert [(item.label, item.area, item.score) for item in items] == [
        ("sky", 5 / 8, None),
        ("dog", 2 / 8, None),
        ("cat", 1 / 8, None),
    ]


@given(hnp.arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(0, 4)))
def test_shares_of_all_classes_are_the_whole_picture(ids):
    found, spec = class_map(ids)
    items = found.items(spec, plan_placement(spec.image_prep, 64, 64))
    assert sum(item.area for item in items) == pytest.approx(1)
    assert {item.index for item in items} == set(ids.ravel().tolist())


def test_padding_around_a_letterboxed_frame_does_not_count():
    ids = np.array([[3] * 4, [0] * 4, [1] * 4, [3] * 4])
    found, spec = class_map(ids, resize=Resize.LETTERBOX, size=(8, 8))
    placement = plan_placement(spec.image_prep, 200, 100)
    items = found.items(spec, placement)
    assert [(item.index, item.area) for item in items] == [(0, 0.5), (1, 0.5)]
    frame = PlacedMask(found.ids, spec.image_prep, placement).in_frame()
    assert frame.shape == (100, 200)
    assert (frame[:50] == 0).all()
    assert (frame[50:] == 1).all()


def test_what_a_crop_leaves_out_has_no_class():
    found, spec = class_map([[1, 1], [1, 1]], resize=Resize.CENTER_CROP, size=(8, 8))
    frame = PlacedMask(found.ids, spec.image_prep, plan_placement(spec.image_prep, 200, 100)).in_frame()
    assert (frame[:, 50:150] == 1).all()
    assert (frame[:, :50] == 255).all()
    assert (frame[:, 150:] == 255).all()


@given(st.sampled_from(list(Resize)), st.tuples(sides, sides), st.tuples(*[st.integers(1, 40)] * 2), st.data())
def test_every_frame_pixel_takes_the_cell_that_its_centre_falls_into(resize, cells, size, data):
    (rows, columns), (width, height), side = cells, size, data.draw(st.integers(1, 9))
    ids = data.draw(hnp.arrays(np.uint8, cells, elements=st.integers(0, 9)))
    prep = ImagePrep(side, side, resize=resize)
    placement = plan_placement(prep, width, height)
    frame = placement.mask_to_frame(ids, prep)
    assert frame.shape == (height, width)
    for y in range(height):
        for x in range(width):
            inside_x, inside_y = x - placement.crop_left, y - placement.crop_top
            if not (0 <= inside_x < placement.crop_width and 0 <= inside_y < placement.crop_height):
                assert frame[y, x] == 255
                continue
            column = (placement.left + (inside_x + 0.5) * placement.width / placement.crop_width) * columns / side
            row = (placement.top + (inside_y + 0.5) * placement.height / placement.crop_height) * rows / side
            near = {
                int(ids[min(rows - 1, int(row + dy)), min(columns - 1, int(column + dx))])
                for dy in (-1e-9, 1e-9)
                for dx in (-1e-9, 1e-9)
            }
            assert frame[y, x] in near  # a centre that lies on a border belongs to either side


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deeplabv3_float", "deeplabv3_mnv2_dm05_pascal_quant"])
def test_a_bird_is_found_where_it_is(shared_data, name):
    from converters.describe import describe_tflite  # noqa: PLC0415 - only this test needs the other package
    from converters.interface import PrepOptions, TaskOptions  # noqa: PLC0415

    path = shared_data / "models" / f"{name}.tflite"
    spec = describe_tflite(path, PrepOptions(), TaskOptions(), None)
    prediction = Predictor(path, spec).predict(read_picture(shared_data / "images" / "bird_segmentation.bmp"))
    assert [item.index for item in prediction.items[:2]] == [0, 3]
    truth = read_picture(shared_data / "images" / "bird_segmentation_mask.bmp").pixels
    truth = truth if truth.ndim == 2 else truth[:, :, 0]
    found, bird = prediction.mask.in_frame() == 3, truth == 3
    assert (found & bird).sum() / (found | bird).sum() > 0.8
