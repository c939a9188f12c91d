import numpy as np
import pytest

from converters.errors import ConversionError
from converters.parity.compare import compare, require_parity
from converters.recipe import recipe_named
from device_runtime.contract.model import BoxUnit, ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError

IMAGE = TensorSpec("image", (1, 4, 4, 3), "uint8")


def classifier(classes=3):
    outputs = (TensorSpec("scores", (1, classes), "int8", 1 / 256, -128),)
    task = TaskSpec("classification", "probabilities")
    return ModelSpec("m", task, ImagePrep(4, 4), (IMAGE,), outputs, ("cat", "dog", "bird")[:classes])


def detector():
    outputs = (TensorSpec("boxes", (1, 2, 4), "float32"), TensorSpec("scores", (1, 2, 2), "float32"))
    task = TaskSpec("detection", "boxes-scores", score_threshold=0.5)
    return ModelSpec("m", task, ImagePrep(4, 4), (IMAGE,), outputs)


def segmenter(shape=(1, 2, 2, 2), decoder="class-scores"):
    outputs = (TensorSpec("map", shape, "float32"),)
    return ModelSpec("m", TaskSpec("segmentation", decoder), ImagePrep(4, 4), (IMAGE,), outputs, ("sky", "cat"))


def regressor(*shapes):
    inputs = (TensorSpec("a", (1, 2), "float32"), TensorSpec("b", (1, 1), "float32"))
    outputs = tuple(TensorSpec(f"out{index}", shape, "float32") for index, shape in enumerate(shapes))
    return ModelSpec("m", TaskSpec("regression", "values"), None, inputs, outputs)


def array(values):
    return np.array(values, np.float32)


def test_equal_outputs_agree_wholly():
    scores = array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    report = compare([scores], [scores], classifier(), ["a", "b"])
    assert (report.samples, report.agreement) == (2, 1.0)
    assert (report.outputs[0].snr_db, report.outputs[0].cosine, report.outputs[0].worst_abs) == (200.0, 1.0, 0.0)


def test_noise_is_measured_against_the_signal():
    wanted = array([[3.0, 4.0, 0.0]])
    report = compare([wanted], [wanted + array([[0.0, 0.0, 0.5]])], classifier(), ["a"])
    assert report.outputs[0].snr_db == pytest.approx(20.0)  # 10 log10(25 / 0.25)
    assert report.outputs[0].worst_abs == 0.5


def test_the_picture_that_differs_most_comes_first_with_both_answers():
    wanted = array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])
    got = array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0]])
    report = compare([wanted], [got], classifier(), ["same.png", "other.png"])
    assert report.agreement == 0.5
    worst = report.worst[0]
    assert (worst.picture, worst.source_says, worst.converted_says) == ("other.png", "cat 0.60", "dog 0.60")


def test_a_single_score_agrees_when_it_is_on_the_same_side():
    report = compare([array([[0.9], [0.4]])], [array([[0.6], [0.6]])], classifier(1), ["a", "b"])
    assert report.agreement == 0.5


def test_objects_agree_when_class_and_place_are_the_same():
    boxes = array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]])
    moved = array([[[0, 0, 0.5, 0.45], [0.0, 0.5, 0.2, 1]]])
    scores = array([[[0.9, 0], [0, 0.8]]])
    assert compare([boxes, scores], [boxes, scores], detector(), ["a"]).agreement == 1.0
    report = compare([boxes, scores], [moved, scores], detector(), ["a"])
    assert report.agreement == 0.5
    assert report.worst[0].source_says == "0 0.90, 1 0.80"


def test_two_models_that_find_nothing_agree():
    boxes, scores = array([[[0, 0, 0.5, 0.5]] * 2]), array([[[0.1, 0], [0, 0.2]]])
    report = compare([boxes, scores], [boxes, scores], detector(), ["a"])
    assert report.agreement == 1.0
    assert report.worst[0].source_says == "nothing"


def poses(count=2):
    outputs = (TensorSpec("poses", (1, count, 3 * 4 + 5), "float32"),)
    task = TaskSpec("pose", "movenet-multipose", score_threshold=0.3)
    return ModelSpec("m", task, ImagePrep(4, 4), (IMAGE,), outputs)


def pose(score, left, top, side, seen=4):
    """Return a row: four points at the corners of a square, so many of them seen, and its box."""
    corners = [(top, left), (top, left + side), (top + side, left), (top + side, left + side)]
    points = [(y, x, 0.9 if index < seen else 0.1) for index, (y, x) in enumerate(corners)]
    return [*np.reshape(points, -1), top, left, top + side, left + side, score]


def test_poses_agree_by_the_points_that_both_see_within_a_tenth_of_their_size():
    wanted = array([[pose(0.9, 0.1, 0.1, 0.2), pose(0.8, 0.5, 0.5, 0.4)]])
    assert compare([wanted], [wanted], poses(), "a").agreement == 1.0
    other_order = wanted[:, ::-1]
    assert compare([wanted], [other_order], poses(), "a").agreement == 1.0
    near = array([[pose(0.9, 0.119, 0.1, 0.2), pose(0.8, 0.5, 0.539, 0.4)]])
    assert compare([wanted], [near], poses(), "a").agreement == 1.0
    far = array([[pose(0.9, 0.122, 0.1, 0.2), pose(0.8, 0.5, 0.5, 0.4)]])
    report = compare([wanted], [far], poses(), "a")
    assert report.agreement == 0.5
    assert report.worst[0].source_says == "person 0.90, 4 points, person 0.80, 4 points"


def test_a_point_that_one_model_does_not_see_is_a_difference():
    wanted, fewer = array([[pose(0.9, 0.1, 0.1, 0.2)]]), array([[pose(0.9, 0.1, 0.1, 0.2, seen=2)]])
    assert compare([wanted], [fewer], poses(1), "a").agreement == pytest.approx(2 * 2 / (4 + 2))
    nobody = array([[pose(0.1, 0.1, 0.1, 0.2)]])
    report = compare([wanted], [nobody], poses(1), "a")
    assert (report.agreement, report.worst[0].converted_says) == (0.0, "nothing")
    assert compare([nobody], [nobody], poses(1), "a").agreement == 1.0


def test_a_head_whose_scores_were_lost_in_its_pixels_is_refused():
    """Its signal to noise ratio is good: the boxes are right, and nothing is ever found."""
    outputs = (TensorSpec("head", (1, 6, 21), "int8", 2.5, -128),)
    task = TaskSpec("detection", "yolov8", score_threshold=0.5, box_unit=BoxUnit.PIXEL)
    spec = ModelSpec("m", task, ImagePrep(4, 4), (IMAGE,), outputs)
    head = np.full((1, 6, 21), 100, np.float32)
    with pytest.raises(ModelError, match=r"steps of 2\.5: coordinates in pixels leave no room for scores"):
        compare([head], [head], spec, ["a"])


def test_maps_agree_by_their_mean_iou_over_all_samples():
    sky, cat = [1, 0], [0, 1]
    wanted = array([[[sky, sky], [sky, cat]], [[sky, sky], [sky, sky]]])
    got = array([[[sky, sky], [cat, cat]], [[sky, sky], [sky, sky]]])
    report = compare([wanted], [got], segmenter(), ["a", "b"])
    assert report.agreement == pytest.approx((6 / 7 + 1 / 2) / 2)
    worst = report.worst[0]
    assert (worst.picture, worst.source_says, worst.converted_says) == ("a", "sky 75%, cat 25%", "sky 50%, cat 50%")


def test_a_few_stray_cells_do_not_weigh_as_much_as_a_class():
    wanted = np.zeros((1, 50, 50), np.float32)
    wanted[0, :, :25] = 1
    wanted[0, 0, 0] = 2  # 0.04% of the cells
    got = np.where(wanted == 2, 1, wanted)
    report = compare([wanted], [got], segmenter((1, 50, 50), "class-map"), ["a"])
    assert report.agreement > 0.99
    assert compare([wanted], [1 - got], segmenter((1, 50, 50), "class-map"), ["a"]).agreement == 0.0


def test_maps_of_ids_agree_whatever_classes_come_up():
    report = compare(
        [array([[[0, 7]], [[0, 0]]])], [array([[[0, 7]], [[0, 9]]])], segmenter((1, 1, 2), "class-map"), "ab"
    )
    # Class 9, which only the converted model sees, costs class 0 a cell.
    assert report.agreement == pytest.approx((2 / 3 + 1) / 2)


def test_values_agree_when_they_differ_by_little_of_their_spread():
    wanted = array([[0.0], [50.0], [100.0], [100.0]])
    report = compare([wanted], [wanted + array([[5.0], [-4.0], [5.1], [0.0]])], regressor((1, 1)), "abcd")
    assert report.agreement == 0.75
    worst = report.worst[0]
    assert (worst.picture, worst.source_says, worst.converted_says) == ("c", "0 100", "0 105.1")
    assert worst.error == pytest.approx(0.051)


def test_each_value_is_held_against_its_own_spread():
    wanted = [array([[0.0], [1.0]]), array([[[0.0, 5.0]], [[1000.0, 5.0]]])]
    spec = regressor((1, 1), (1, 1, 2))
    slight = [wanted[0], wanted[1] + array([[[40.0, 0]], [[-40.0, 0]]])]
    assert compare(wanted, slight, spec, "ab").agreement == 1.0
    grave = [wanted[0] + array([[0.2], [0.0]]), wanted[1]]
    report = compare(wanted, grave, spec, "ab")
    assert report.agreement == 0.5
    assert report.worst[0].source_says == "0 0, 1 0, 2 5"


@pytest.mark.parametrize(("constant", "near", "far"), [(20.0, 0.9, 1.1), (0.0, 0.04, 0.06)])
def test_values_that_never_change_are_held_against_their_size(constant, near, far):
    wanted = np.full((3, 1), constant, np.float32)
    assert compare([wanted], [wanted + np.float32(near)], regressor((1, 1)), "abc").agreement == 1.0
    assert compare([wanted], [wanted + np.float32(far)], regressor((1, 1)), "abc").agreement == 0.0


def test_other_shapes_are_no_conversion_of_the_same_model():
    with pytest.raises(ConversionError, match=r"expected \[3\] as in the trained model, got \[2\]"):
        compare([array([[1, 2, 3]])], [array([[1, 2]])], classifier(), ["a"])


def test_a_model_that_says_something_else_is_refused_with_figures():
    wanted, got = array([[0.9, 0.1, 0.0]]), array([[0.0, 0.1, 0.9]])
    report = compare([wanted], [got], classifier(), ["a.png"])
    with pytest.raises(ConversionError, match=r"agreement 0\.0% on 1 pictures; most on a\.png: cat 0\.90 became bird"):
        require_parity(report, recipe_named("static-int8"), "it")


def test_what_rounding_explains_is_accepted():
    wanted = array([[0.9, 0.1, 0.0]])
    report = compare([wanted], [wanted + np.float32(1 / 512)], classifier(), ["a"])
    require_parity(report, recipe_named("static-int8"), "it")
    with pytest.raises(ConversionError):
        require_parity(
            compare([wanted], [wanted + np.float32(0.1)], classifier(), ["a"]), recipe_named("float32"), "it"
        )
