"""Scores of a search: accuracy where there are labels, agreement with the trained model where there are none."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from converters.parity.scores import Scorer, TrueObjects
from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import UsageError


def spec_of(task, *shapes):
    image = (TensorSpec("image", (1, 8, 8, 3), "float32"),)
    outputs = tuple(TensorSpec(f"out{index}", shape, "float32") for index, shape in enumerate(shapes))
    return ModelSpec("m", task, ImagePrep(8, 8), image, outputs)


CLASSIFIER = spec_of(TaskSpec("classification", "probabilities"), (1, 3))
DETECTOR = spec_of(TaskSpec("detection", "boxes-scores", 0.5, 10), (1, 2, 4), (1, 2, 2))
SEGMENTER = spec_of(TaskSpec("segmentation", "class-scores"), (1, 2, 2, 3))
REGRESSOR = spec_of(TaskSpec("regression", "values"), (1, 1))


def one_hot(classes, count):
    return np.eye(count, dtype=np.float32)[np.asarray(classes)]


def test_labels_make_top_1_accuracy_and_pairs_its_drop():
    truths = [0, 1, 2, 0, 1]
    source, other = [one_hot([0, 1, 2, 0, 2], 3)], [one_hot([0, 1, 1, 1, 1], 3)]
    scorer = Scorer("top1", CLASSIFIER, source, truths)
    baseline, measured = scorer.measure(source), scorer.measure(other)
    assert (baseline.value, measured.value) == (0.8, pytest.approx(0.6))
    drop = measured.drop_from(baseline, seed=0)
    assert drop.value == pytest.approx(20.0)  # two lost, one won, of five
    assert drop.low < 0
    assert drop.high > 20
    assert measured.interval(0).low < 0.6 < measured.interval(0).high


def test_without_labels_the_trained_models_answer_is_the_truth():
    source = [one_hot([0, 1, 2, 0], 3)]
    measured = Scorer("agreement", CLASSIFIER, source, None).measure([one_hot([0, 1, 2, 2], 3)])
    assert measured.value == 0.75
    assert Scorer("agreement", CLASSIFIER, source, [1, 1, 1, 1]).measure(source).value == 1.0


def detections(*boxes_and_scores):
    """Outputs of pictures with two boxes each, all of class 0; a score of 0 is no detection."""
    boxes = np.array([[box for box, _ in picture] for picture in boxes_and_scores], np.float32)
    scores = np.array([[[score, 0] for _, score in picture] for picture in boxes_and_scores], np.float32)
    return [boxes, scores]


LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)


def test_mean_average_precision_counts_what_the_threshold_of_use_leaves_out():
    truths = [TrueObjects(np.array([LEFT, RIGHT], np.float32), np.array([0, 0]))] * 2
    both = detections([(LEFT, 0.9), (RIGHT, 0.3)], [(LEFT, 0.8), (RIGHT, 0.2)])
    one = detections([(LEFT, 0.9), (RIGHT, 0.0)], [(LEFT, 0.8), (RIGHT, 0.0)])
    scorer = Scorer("map", DETECTOR, both, truths)
    assert scorer.measure(both).value == 1.0
    assert scorer.measure(one).value == 0.5
    assert scorer.measure(one).drop_from(scorer.measure(both), 0).value == pytest.approx(50.0)


def test_two_detectors_agree_by_the_objects_that_both_find():
    source = detections([(LEFT, 0.9), (RIGHT, 0.9)], [(LEFT, 0.9), (RIGHT, 0.1)])
    other = detections([(LEFT, 0.9), (RIGHT, 0.1)], [(LEFT, 0.9), (RIGHT, 0.1)])
    assert Scorer("agreement", DETECTOR, source, None).measure(other).value == pytest.approx(2 * 2 / 5)
    nothing = detections([(LEFT, 0.0), (RIGHT, 0.0)])
    assert Scorer("agreement", DETECTOR, nothing, None).measure(nothing).value == 1.0


def test_segmenters_are_scored_by_mean_iou_where_the_truth_is_known():
    generator = np.random.default_rng(0)
    ids, masks = generator.integers(0, 3, (6, 2, 2)), generator.integers(0, 3, (6, 8, 8)).astype(np.uint8)
    masks[0, 4:, 4:] = 255
    outputs = [one_hot(ids, 3)]
    measured = Scorer("miou", SEGMENTER, outputs, list(masks)).measure(outputs)
    cells = masks[:, [2, 6]][:, :, [2, 6]]  # the class at the centre of each of the 2 x 2 cells
    known = cells != 255
    assert measured.value == pytest.approx(jaccard_score(cells[known], ids[known], average="macro"))
    assert Scorer("agreement", SEGMENTER, outputs, None).measure(outputs).value == 1.0


def test_poses_agree_by_the_points_that_both_see():
    spec = spec_of(TaskSpec("pose", "movenet", 0.3), (1, 1, 2, 3))
    source = [np.array([[[[0.1, 0.1, 0.9], [0.9, 0.9, 0.9]]]] * 2, np.float32)]
    other = [source[0].copy()]
    other[0][0, 0, 0, 0] = 0.5  # one of four points is elsewhere
    assert Scorer("agreement", spec, source, None).measure(other).value == 0.75
    with pytest.raises(UsageError, match="the metric of a pose model is agreement"):
        Scorer("top1", spec, source, None)


def test_regressors_agree_where_values_are_near_for_their_spread():
    source = [np.array([[0.0], [10.0], [5.0], [2.0]], np.float32)]
    other = [np.array([[0.4], [10.0], [5.6], [2.0]], np.float32)]
    assert Scorer("agreement", REGRESSOR, source, None).measure(other).value == 0.75


@pytest.mark.parametrize(
    ("metric", "spec", "says"),
    [
        ("map", CLASSIFIER, "the metric of a classification model is top1 or agreement"),
        ("top1", DETECTOR, "the metric of a detection model is map or agreement"),
        ("miou", REGRESSOR, "the metric of a regression model is agreement"),
        ("top1", CLASSIFIER, "needs pictures with labels"),
        ("miou", SEGMENTER, "needs pictures with labels"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(metric, spec, says):
    with pytest.raises(UsageError, match=says):
        Scorer(metric, spec, [], None)
