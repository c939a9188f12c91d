import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, jaccard_score

from converters.parity.metrics import (
    DetectedPicture,
    mean_average_precision,
    mean_iou,
    overlap,
    per_class_accuracy,
    top_k_accuracy,
)


def picture(found, truths):
    """Build a picture from (box, score, class) and (box, class) rows; a box is the left edge of a 10x10 square."""
    return DetectedPicture(
        np.array([[x, 0, x + 10, 10] for x, _, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([index for _, _, index in found], np.int64),
        np.array([[x, 0, x + 10, 10] for x, _ in truths], np.float32).reshape(-1, 4),
        np.array([index for _, index in truths], np.int64),
    )


def test_finding_everything_and_nothing_else_is_one():
    result = mean_average_precision([picture([(0, 0.9, 0), (50, 0.2, 1)], [(0, 0), (50, 1)])], classes=2)

    assert result.mean == 1.0
    assert result.per_class == (1.0, 1.0)
    assert result.truths == (1, 1)


def test_finding_nothing_is_zero():
    assert mean_average_precision([picture([], [(0, 0)])], classes=1).mean == 0.0


def test_the_area_follows_the_precision_envelope():
    # By falling score: hit, miss, hit, miss, hit of 4 truths. Precision 1, 1/2, 2/3, 1/2, 3/5 at recall 1/4, 2/4, 3/4.
    found = [(0, 0.9, 0), (500, 0.8, 0), (100, 0.7, 0), (600, 0.6, 0), (200, 0.5, 0)]
    truths = [(0, 0), (100, 0), (200, 0), (300, 0)]

    result = mean_average_precision([picture(found, truths)], classes=1)

    assert result.mean == pytest.approx(0.25 * (1 + 2 / 3 + 3 / 5))


def test_a_second_detection_of_one_object_is_a_false_positive():
    result = mean_average_precision([picture([(0, 0.9, 0), (1, 0.8, 0), (100, 0.7, 0)], [(0, 0), (100, 0)])], 1)

    assert result.mean == pytest.approx(0.5 * (1 + 2 / 3))


def test_a_detection_whose_object_is_claimed_may_claim_another_that_it_overlaps():
    result = mean_average_precision([picture([(2, 0.9, 0), (2, 0.8, 0)], [(0, 0), (2, 0)])], 1, iou_threshold=0.5)

    assert result.mean == 1.0


def test_the_overlap_must_reach_the_threshold():
    # Squares of 10 shifted by 5 px: common 50, union 150.
    shifted = [picture([(5, 0.9, 0)], [(0, 0)])]

    assert mean_average_precision(shifted, 1, iou_threshold=1 / 3 - 1e-6).mean == 1.0
    assert mean_average_precision(shifted, 1, iou_threshold=1 / 3 + 1e-6).mean == 0.0


def test_the_right_place_with_the_wrong_class_does_not_count():
    result = mean_average_precision([picture([(0, 0.9, 1)], [(0, 0), (100, 1)])], classes=2)

    assert result.per_class == (0.0, 0.0)


def test_objects_of_another_picture_are_not_claimed():
    result = mean_average_precision([picture([(0, 0.9, 0)], []), picture([], [(0, 0)])], classes=1)

    assert result.mean == 0.0


def test_a_class_that_never_occurs_does_not_count():
    result = mean_average_precision([picture([(0, 0.9, 0), (50, 0.9, 2)], [(0, 0)])], classes=3)

    assert result.mean == 1.0
    assert result.per_class == (1.0, None, None)


def test_scores_are_ranked_over_all_pictures():
    confident_miss = picture([(0, 0.9, 0)], [])
    shy_hit = picture([(0, 0.3, 0)], [(0, 0)])

    assert mean_average_precision([confident_miss, shy_hit], 1).mean == pytest.approx(0.5)


def test_without_any_labelled_object_there_is_no_figure():
    with pytest.raises(ValueError, match="at least one picture with a labelled object"):
        mean_average_precision([picture([(0, 0.9, 0)], [])], classes=1)


def test_a_class_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expected class indices 0–0, got 1–1"):
        mean_average_precision([picture([], [(0, 1)])], classes=1)


def test_arrays_of_different_lengths_are_refused():
    none = np.zeros((0, 4), np.float32)
    with pytest.raises(ValueError, match="detections: expected"):
        DetectedPicture(none, np.ones(1, np.float32), np.zeros(0, np.int64), none, np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="truth: expected"):
        DetectedPicture(none, np.ones(0, np.float32), np.zeros(0, np.int64), none, np.zeros(2, np.int64))


rows = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.integers(0, 2)), max_size=8
)
objects = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=1, max_size=6)


@given(found=rows, truths=objects)
def test_the_figure_is_a_share_and_a_useless_detection_at_the_end_changes_nothing(found, truths):
    result = mean_average_precision([picture(found, truths)], classes=3)
    with_one_more = mean_average_precision([picture([*found, (900, 0.01, truths[0][1])], truths)], classes=3)

    assert 0.0 <= result.mean <= 1.0
    assert with_one_more == result


@given(found=rows, truths=objects)
def test_only_the_order_of_scores_matters(found, truths):
    squared = [(x, score**2, index) for x, score, index in found]

    assert mean_average_precision([picture(squared, truths)], 3) == mean_average_precision([picture(found, truths)], 3)


def test_top_k_counts_the_true_class_among_the_best():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]], np.float32)
    truths = np.array([0, 0, 0])

    assert [top_k_accuracy(scores, truths, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_equal_scores_for_all_classes_are_not_called_right():
    assert top_k_accuracy(np.zeros((4, 10), np.float32), np.array([3, 4, 5, 6])) == 0.0


def test_top_k_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"expected \(n, classes\) scores"):
        top_k_accuracy(np.zeros((2, 3), np.float32), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"expected \(n, classes\) scores"):
        top_k_accuracy(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="k: expected 1 or more"):
        top_k_accuracy(np.zeros((1, 3), np.float32), np.zeros(1, np.int64), k=0)


def test_accuracy_per_class_leaves_out_classes_without_samples():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 0]]

    assert per_class_accuracy(scores, np.array([0, 0, 0]), 3) == (pytest.approx(2 / 3), None, None)


maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 4))


@given(maps, st.data())
def test_mean_iou_is_the_mean_of_jaccard_indices_over_the_classes_that_occur(truth, data):
    found = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, 4)))
    result = mean_iou(overlap(truth, found, 5))
    present = sorted(set(truth.ravel()) | set(found.ravel()))
    assert result.mean == pytest.approx(jaccard_score(truth.ravel(), found.ravel(), labels=present, average="macro"))
    shares = jaccard_score(truth.ravel(), found.ravel(), labels=present, average=None, zero_division=0)
    assert [result.per_class[index] for index in present] == pytest.approx(shares.tolist())
    assert [index for index, share in enumerate(result.per_class) if share is not None] == present


@given(maps, st.data())
def test_what_is_counted_are_the_margins_of_the_confusion_matrix(truth, data):
    found = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, 4)))
    matrix = confusion_matrix(truth.ravel(), found.ravel(), labels=range(5))
    counted = overlap(truth, found, 5)
    np.testing.assert_array_equal(counted, [np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])


@given(st.lists(maps, min_size=2, max_size=3))
def test_all_pixels_of_all_pictures_count_alike(pictures):
    flat = np.concatenate([each.ravel() for each in pictures])
    shifted = (flat + 1) % 5
    parts = sum(overlap(each, (each + 1) % 5, 5) for each in pictures)
    np.testing.assert_array_equal(parts, overlap(flat, shifted, 5))


def test_pixels_without_a_true_class_do_not_count():
    truth = np.array([0, 255, 1, 255], np.uint8)
    assert mean_iou(overlap(truth, np.array([0, 1, 1, 99], np.uint8), 2)).mean == 1.0
    with pytest.raises(ValueError, match="expected class ids 0–1, got 0–255"):
        overlap(truth, truth, 2, ignore=None)


def test_maps_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="expected maps of one shape"):
        overlap(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(ValueError, match="expected class ids 0–1, got 2–2"):
        overlap(np.zeros(1, np.uint8), np.full(1, 2, np.uint8), 2)
    with pytest.raises(ValueError, match="at least one pixel"):
        mean_iou(overlap(np.full(3, 255, np.uint8), np.zeros(3, np.uint8), 2))
