"""The recommended point, its reason, and how it gets into the project file."""

import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Interval
from device_runtime.errors import UsageError
from edgekit.benching.pareto import comparable
from edgekit.benching.recommend import needs_conversion, recommend, settings_of, within, write_recommendation
from edgekit.benching.sweep_report import Accuracy, Axis
from edgekit.project.config import read_project
from tests.support.small_projects import PROJECT
from tests.support.sweeps import point, sweep_report


def test_the_fastest_that_is_accurate_enough_is_taken():
    report = sweep_report(
        [
            point(1, 20.0, accuracy=0.970, recipe="float32"),
            point(2, 10.0, accuracy=0.962, recipe="static-int8"),
            point(3, 5.0, accuracy=0.900, recipe="static-int4"),
        ]
    )
    assert report.recommended.point == 2
    assert report.recommended.reason == (
        "the fastest (10.0 ms p50) of 2 points whose top1 is within 1 point of the best (96.2% of 97.0%)"
    )
    assert sweep_report(report.points, max_drop=10.0).recommended.point == 3
    assert "within 10 points" in sweep_report(report.points, max_drop=10.0).recommended.reason


def test_of_equally_fast_points_the_one_with_fewer_threads_is_taken():
    report = sweep_report([point(1, 10.1, threads=2), point(2, 10.0, threads=4), point(3, 10.2, threads=1, noise=0.0)])
    assert report.recommended.point == 3
    assert report.recommended.reason == (
        "as fast within the noise (10.2 ms p50) as the fastest, 4 threads (10.0 ms), with fewer threads, of 3 points; "
        "accuracy was not measured"
    )


def test_then_the_smaller_file_is_taken():
    report = sweep_report([point(1, 10.0, size=2000, recipe="float32"), point(2, 10.1, size=500, recipe="float16")])
    assert report.recommended.point == 2
    assert "with a smaller file" in report.recommended.reason


def test_without_intervals_two_runs_may_differ_by_what_processes_do():
    near = [point(1, 10.0, threads=2, noise=None), point(2, 10.2, threads=1, noise=None)]
    far = [point(1, 10.0, threads=2, noise=None), point(2, 11.0, threads=1, noise=None)]
    assert sweep_report(near).recommended.point == 2
    assert sweep_report(far).recommended.point == 1


def test_a_disturbed_point_is_not_taken_while_there_is_another_and_that_is_said():
    report = sweep_report([point(1, 1.0, disturbed=("too hot",)), point(2, 9.0)])
    assert report.recommended.point == 2
    assert report.recommended.reason.endswith("; 1 point that was disturbed did not count")


def test_where_all_were_disturbed_the_reason_says_so():
    report = sweep_report([point(1, 1.0, disturbed=("too hot",)), point(2, 9.0, disturbed=("too hot",))])
    assert report.recommended.point == 1
    assert "but every point was disturbed (too hot): measure again" in report.recommended.reason


def test_nothing_is_recommended_where_nothing_was_measured():
    report = sweep_report([point(1, 1.0, latency=None)])
    assert report.recommended is None
    with pytest.raises(UsageError, match="no point of the sweep was measured"):
        settings_of(report)


def test_an_error_is_the_better_the_smaller_it_is():
    errors = [
        dataclasses.replace(point(number, p50), accuracy=Accuracy("mae", value, 50))
        for number, p50, value in [(1, 20.0, 0.500), (2, 10.0, 0.504), (3, 5.0, 0.9)]
    ]
    report = sweep_report(errors)
    assert report.recommended.point == 2
    assert "whose mae is within 1 per cent of the best (0.504 of 0.5)" in report.recommended.reason


POINTS = st.lists(
    st.builds(
        lambda p50, accuracy, size, threads, noise, hot: (p50, accuracy, size, threads, noise, hot),
        st.integers(1, 9).map(float),
        st.integers(90, 99).map(lambda share: share / 100),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sampled_from([None, 0.0, 0.1]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(POINTS, st.sampled_from([0.0, 1.0, 5.0]))
def test_the_recommended_point_keeps_the_rule(rows, max_drop):
    points = [
        point(number, p50, accuracy=accuracy, size=size, threads=threads, noise=noise, disturbed=("hot",) * hot)
        for number, (p50, accuracy, size, threads, noise, hot) in enumerate(rows, start=1)
    ]
    report = sweep_report(points, max_drop=max_drop)
    compared = comparable(report.points, "p50")
    chosen = report.point(report.recommended.point)
    assert chosen in compared
    assert chosen.disturbed == () or all(each.disturbed for each in points)
    best = max(each.accuracy.value for each in compared)
    assert within(chosen.accuracy, Accuracy("top1", best, 500), max_drop)
    good = [each for each in compared if within(each.accuracy, Accuracy("top1", best, 500), max_drop)]
    surely_faster = [each for each in good if surely_below(each.latency, chosen.latency)]
    assert not surely_faster
    assert recommend(sweep_report(list(reversed(points)), max_drop=max_drop)) == report.recommended


def surely_below(one, two):
    if one.p50_interval is None or two.p50_interval is None:
        return one.p50 < two.p50 / 1.031  # by what two processes may differ
    return one.p50 < two.p50 and one.p50_interval.high < two.p50_interval.low


def project(folder):
    (folder / "edgekit.toml").write_text(PROJECT)
    return read_project(folder / "edgekit.toml")


def test_what_was_varied_is_written_and_nothing_else(tmp_path):
    report = sweep_report([point(1, 9.0, recipe="float16", threads=2, engine="tflite-runtime")])
    changes = write_recommendation(project(tmp_path), report)
    assert [str(change) for change in changes] == [
        '[model] recipe: "static-int8" → "float16"',
        "[service] threads: 1 → 2",
    ]
    assert needs_conversion(changes)
    assert tomllib.loads((tmp_path / "edgekit.toml").read_text())["service"] == {"threads": 2}


def test_delegates_and_sizes_are_written_where_the_project_reads_them(tmp_path):
    best = point(1, 9.0, delegate="none")
    best = dataclasses.replace(best, setting=dataclasses.replace(best.setting, input_size=(96, 128)))
    axes = (Axis("size", ("96x128",)), Axis("delegate", ("none",)))
    write_recommendation(project(tmp_path), sweep_report([best], axes=axes))
    written = read_project(tmp_path / "edgekit.toml").file
    assert (written.model.input_size, written.service.delegate) == ((96, 128), "none")


def test_what_is_so_already_needs_no_conversion(tmp_path):
    changes = write_recommendation(project(tmp_path), sweep_report([point(1, 9.0, recipe="static-int8", threads=1)]))
    assert changes == ()
    assert not needs_conversion(changes)


def test_without_a_project_or_a_whole_sweep_nothing_is_written(tmp_path):
    report = sweep_report([point(1, 9.0, threads=2)])
    with pytest.raises(UsageError, match="not a project's"):
        write_recommendation(None, report)
    with pytest.raises(UsageError, match="stopped before it was complete"):
        write_recommendation(project(tmp_path), dataclasses.replace(report, complete=False))
    assert (tmp_path / "edgekit.toml").read_text() == PROJECT


def test_an_interval_of_the_accuracy_is_no_reason_to_leave_a_point_out():
    wide = Accuracy("top1", 0.96, 20, Interval(0.8, 0.99))
    assert within(wide, Accuracy("top1", 0.97, 20, Interval(0.85, 1.0)), 1.0)
    assert not within(dataclasses.replace(wide, value=0.9), Accuracy("top1", 0.97, 20), 1.0)
