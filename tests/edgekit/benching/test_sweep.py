"""A sweep: what varies, in which order it is measured, and what becomes of failures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.datasets import read_dataset
from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.bench import Interval
from device_runtime.contract.decode import dumps, encode, loads
from device_runtime.contract.events import Notice, Step
from device_runtime.errors import BadFileError, EdgeError, Interrupted, ModelError, UsageError
from edgekit.benching.axes import MOST_POINTS, Axes, parse_axes
from edgekit.benching.compare import BETWEEN_RUNS
from edgekit.benching.run import BenchCall
from edgekit.benching.sweep import (
    STAGE,
    SweepOptions,
    latency_of,
    plan_sweep,
    round_factors,
    run_sweep,
    work_of,
)
from edgekit.benching.sweep_report import Accuracy, Axis, Setting, SweepReport
from edgekit.benching.sweep_table import shown_accuracy, sweep_table
from edgekit.boards.errors import UnreachableError
from edgekit.project.locate import located_model
from tests.support.bench_reports import machine
from tests.support.datasets import write_class_folders
from tests.support.sweeps import DISTURBANCE, Bench, TinyModels, always, run_of, sweep_plan
from tests.support.tflite import brightness_model


def by_threads(call):
    return {1: 10.0, 2: 6.0, 4: 5.0}[call.threads]


# What varies.


def test_axes_are_read_from_words():
    axes = parse_axes(["threads=1,2", "recipe=static-int8,float16", "size=96x96,96x128", "engine=litert", "threads=4"])
    assert axes == Axes(("static-int8", "float16"), ((96, 96), (96, 128)), ("litert",), (), (1, 2, 4))
    assert axes.told()[1] == Axis("size", ("96x96", "96x128"))
    assert len(axes.settings(Setting())) == 12
    assert axes.settings(Setting(delegate="none"))[-1] == Setting("float16", (96, 128), "litert", "none", 4)


def test_a_value_that_is_named_twice_is_one():
    assert parse_axes(["threads=2,1", "threads=2"]).threads == (2, 1)


def test_commas_between_the_patterns_of_a_formula_do_not_part_recipes():
    axes = parse_axes(["recipe=wi8c-ai8+keep:HARD_SWISH,*/logits*,float16"])
    assert axes.recipes == ("wi8c-ai8+keep:HARD_SWISH,*/logits*", "float16")


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("thread=1", 'unknown axis "thread"', 'did you mean "threads"?'),
        ("threads", 'expected values with commas between them, got "threads"', "--sweep threads=1,2"),
        ("threads=1,,2", "expected values with commas", "--sweep threads=1,2"),
        ("threads=0", 'whole numbers from 1 to 256, got "0"', "--sweep threads=1,2,4"),
        ("threads=two", 'got "two"', ""),
        ("recipe=int8", '"int8" is no recipe', "use one of: dynamic-int8, static-int8, weight-only-int8"),
        ("recipe=flot16", 'unknown recipe "flot16"', 'did you mean "float16"?'),
        ("recipe=auto", "expected recipes by name, got auto", "edgekit convert --recipe auto"),
        ("size=96", 'expected HEIGHTxWIDTH in pixels, got "96"', "--sweep size=96x96"),
        ("engine=onnx", 'expected litert or tflite-runtime, got "onnx"', ""),
        ("delegate=gpu", 'expected xnnpack or none, got "gpu"', ""),
    ],
)
def test_what_cannot_be_varied_is_refused_with_what_was_meant(word, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_axes([word])
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_nothing_to_vary_is_refused():
    with pytest.raises(UsageError, match="expected something to vary"):
        parse_axes([])


def test_too_many_points_are_refused():
    axes = parse_axes([f"threads={','.join(str(count) for count in range(1, MOST_POINTS + 2))}"])
    with pytest.raises(UsageError, match=f"at most {MOST_POINTS} points, got {MOST_POINTS + 1}"):
        axes.settings(Setting())


# Measuring.


def test_each_point_is_measured_once_in_each_round_in_an_order_of_its_own(tmp_path):
    bench = Bench(lambda _: 10.0)
    plan = sweep_plan(tmp_path, "threads=1,2,3,4,5,6", rounds=4)
    report = run_sweep(plan, measure=bench)
    threads = [call.threads for call in bench.calls]
    rounds = [threads[start : start + 6] for start in range(0, 24, 6)]
    assert all(sorted(each) == [1, 2, 3, 4, 5, 6] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert [len(point.runs) for point in report.points] == [4] * 6
    assert {call.duration_s for call in bench.calls} == {1.5}
    again = Bench(lambda _: 10.0)
    run_sweep(plan, measure=again)
    assert again.calls == bench.calls
    other = Bench(lambda _: 10.0)
    run_sweep(dataclasses.replace(plan, seed=1), measure=other)
    assert other.calls != bench.calls


def test_a_point_is_called_with_its_setting_and_all_else_as_it_was(tmp_path):
    bench = Bench(lambda _: 10.0)
    plan = sweep_plan(tmp_path, "engine=litert", "delegate=none", "threads=3", rounds=1)
    plan = dataclasses.replace(plan, call=dataclasses.replace(plan.call, source="synthetic:belt", runs=70))
    run_sweep(plan, measure=bench)
    (call,) = bench.calls
    assert (call.engine, call.delegate, call.threads, call.source, call.runs) == (
        "litert",
        "none",
        3,
        "synthetic:belt",
        70,
    )
    assert call.spec == call.model.with_suffix(".json")


def test_the_latency_is_what_a_frame_costs_and_a_recommendation_is_made(tmp_path):
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2,4"), measure=Bench(by_threads))
    assert [round(point.latency.p50, 6) for point in report.points] == [10.0, 6.0, 5.0]
    assert report.points[0].latency.frames == 600
    assert report.recommended.point == 3
    assert report.complete


def test_a_drift_of_the_machine_meets_all_points_alike_and_does_not_hide_differences(tmp_path):
    bench = Bench(lambda call: {1: 10.0, 2: 10.5}[call.threads], drift=1.01)
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2", rounds=12), measure=bench)
    one, two = (point.latency for point in report.points)
    assert one.p50_interval.high < two.p50_interval.low
    assert one.p50_interval.low < one.p50 < one.p50_interval.high
    raw = [latency_of(point.runs) for point in report.points]
    assert raw[0].p50_interval.high > raw[1].p50_interval.low  # with the drift in it


def test_a_percentile_that_needs_more_frames_asks_for_them(tmp_path):
    bench = Bench(by_threads)
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2", percentile="p95", rounds=2), measure=bench)
    assert {call.runs for call in bench.calls} == {130}
    assert report.recommended.reason.startswith("the fastest (6.00 ms p95)")


def test_points_that_are_too_short_for_the_percentile_are_named(tmp_path):
    plan = sweep_plan(tmp_path, "threads=1,2", percentile="p95")
    report = run_sweep(plan, measure=Bench(by_threads, frames=100))
    assert report.recommended is None
    assert "2 points have too few frames for p95; measure longer" in report.warnings


def test_a_point_that_fails_is_a_row_and_is_not_tried_again(tmp_path):
    def work(call):
        if call.threads == 2:
            raise ModelError("no such kernel", hint="take another one")
        return 10.0

    bench, events = Bench(work), []
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2,3"), events.append, measure=bench)
    assert report.complete
    assert [call.threads for call in bench.calls].count(2) == 1
    failed = report.points[1]
    assert (failed.error.message, failed.error.code, failed.latency, failed.on_front) == (
        "no such kernel",
        "bad-model",
        None,
        False,
    )
    assert Notice("2 threads: no such kernel", "warning") in events
    assert "failed: no such kernel" in sweep_table(report).rows[1]


def test_a_point_that_fails_later_keeps_its_rounds(tmp_path):
    calls = []

    def work(call):
        calls.append(call)
        if len(calls) == 2:
            raise EdgeError("the camera is gone")
        return 10.0

    report = run_sweep(sweep_plan(tmp_path, "threads=1", rounds=3), measure=Bench(work))
    (point,) = report.points
    assert len(point.runs) == 2
    assert point.error.message == "the camera is gone"
    assert point.latency.p50 == pytest.approx(10.0)


def test_a_model_that_cannot_be_made_is_a_row(tmp_path):
    plan = sweep_plan(tmp_path, "recipe=float32,float16", models=TinyModels(tmp_path, failing=("float16",)))
    report = run_sweep(plan, measure=Bench(lambda _: 10.0))
    assert [point.error is None for point in report.points] == [True, False]
    assert report.points[1].error.hint == "take another one"
    assert report.recommended.point == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("interrupted")])
def test_what_was_measured_before_an_interruption_is_kept(tmp_path, stop):
    kept = []

    def work(_):
        if len(kept) == 4:
            raise stop
        return 10.0

    report = run_sweep(sweep_plan(tmp_path, "threads=1,2,3", rounds=2), measure=Bench(work), keep=kept.append)
    assert not report.complete
    assert sorted(len(point.runs) for point in report.points) == [1, 1, 2]
    assert report.recommended is not None
    assert "stopped before all rounds were measured" in report.warnings
    assert [sum(len(point.runs) for point in each.points) for each in kept] == [1, 2, 3, 4]


def test_an_interruption_before_anything_was_measured_is_one(tmp_path):
    def work(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep_plan(tmp_path, "threads=1,2"), measure=Bench(work))


def test_a_board_that_does_not_answer_any_more_ends_the_sweep(tmp_path):
    done = []

    def work(call):
        done.append(call)
        if len(done) == 3:
            raise UnreachableError("the connection was lost")
        return 10.0

    report = run_sweep(sweep_plan(tmp_path, "threads=1,2,3", target="ssh://board"), measure=Bench(work))
    assert len(done) == 3
    assert not report.complete
    assert report.target == "ssh://board"
    assert "the connection was lost" in report.warnings[-1]


def test_rounds_that_were_disturbed_are_left_out_as_long_as_one_is_not(tmp_path):
    seen = []

    def disturbed(call):
        seen.append(call.threads)
        return (DISTURBANCE,) if call.threads == 2 or len(seen) <= 2 else ()

    report = run_sweep(sweep_plan(tmp_path, "threads=1,2"), measure=Bench(by_threads, disturbed=disturbed))
    one, two = report.points
    assert (one.latency.rounds, one.disturbed) == (2, ())
    assert (two.latency.rounds, two.disturbed) == (3, (DISTURBANCE,))
    assert report.recommended.point == 1
    assert "4 of 6 measurements were disturbed; see each point" in report.warnings
    assert f"disturbed: {DISTURBANCE}" in sweep_table(report).rows[1][-1]


def test_steps_are_the_sweeps_own(tmp_path):
    events = []

    def measure(_, told):
        told(Step("measure something"))
        told(Notice("something to know"))
        return run_of(10.0)

    run_sweep(sweep_plan(tmp_path, "threads=1,2", rounds=1), events.append, measure=measure)
    titles = [event.title for event in events if isinstance(event, Step)]
    assert sorted(title.partition(": ")[2] for title in titles) == ["1 thread", "2 threads"]
    assert [title.partition(":")[0] for title in titles] == ["round 1 of 1, 1 of 2", "round 1 of 1, 2 of 2"]
    assert Notice("something to know") in events


def test_a_report_without_single_frames_is_an_error_of_its_point(tmp_path):
    report = run_sweep(sweep_plan(tmp_path, "threads=1", rounds=1), measure=lambda *_: run_of(1.0, samples_ms={}))
    assert "no complete frames" in report.points[0].error.message


# Statistics.


def test_the_work_of_a_frame_is_without_capture_and_waiting():
    np.testing.assert_allclose(work_of(run_of(10.0, frames=70)), np.full(70, 10.0))


def with_work(work_ms, **changes):
    """A round as a sweep keeps it."""
    run = run_of(work_ms, frames=200, samples_ms={}, **changes)
    return dataclasses.replace(run, stages={**run.stages, STAGE: always(work_ms, 200)})


def test_the_interval_of_several_rounds_is_students():
    found = latency_of([with_work(value) for value in (9.0, 10.0, 11.0)])
    logs = np.log([9.0, 10.0, 11.0])
    half = 4.303 * logs.std(ddof=1) / np.sqrt(3)
    assert found.p50 == pytest.approx(np.exp(logs.mean()))
    assert found.p50_interval.low == pytest.approx(np.exp(logs.mean() - half))
    assert found.p50_interval.high == pytest.approx(np.exp(logs.mean() + half))


def test_one_round_has_its_own_interval_and_what_two_processes_may_differ_by():
    found = latency_of([with_work(10.0)])
    assert found.p50_interval == Interval(
        pytest.approx(9.9 / (1 + BETWEEN_RUNS)), pytest.approx(10.1 * (1 + BETWEEN_RUNS))
    )
    assert found.p95_interval is None


@given(st.lists(st.lists(st.floats(0.5, 50), min_size=3, max_size=3), min_size=2, max_size=5), st.data())
def test_what_all_points_of_a_round_have_in_common_is_taken_out_whole(rows, data):
    drift = data.draw(st.lists(st.floats(0.5, 2), min_size=3, max_size=3))
    steady = [[with_work(value) for value in row] for row in rows]
    drifting = [[with_work(value * by) for value, by in zip(row, drift, strict=True)] for row in rows]
    before, after = round_factors(steady), round_factors(drifting)
    assert np.prod(after) == pytest.approx(1.0)
    mean = np.exp(np.log(drift).mean())
    for one, two in zip(steady, drifting, strict=True):
        found, expected = latency_of(two, after), latency_of(one, before)
        assert found.p50 == pytest.approx(expected.p50 * mean)
        assert found.p50_interval.high / found.p50 == pytest.approx(expected.p50_interval.high / expected.p50)


def test_one_point_has_nothing_in_common_with_others_and_disturbed_ones_do_not_count():
    row = [with_work(10.0), with_work(20.0)]
    hot = [with_work(10.0, disturbed=("hot",)), with_work(90.0)]
    assert round_factors([row]) == ()
    assert round_factors([row, hot]) == ()
    assert round_factors([row, row[:1]]) == ()
    assert round_factors([]) == ()
    assert round_factors([row, row, hot]) == pytest.approx((2**-0.5, 2**0.5))


@given(st.lists(st.floats(0.01, 1e4), min_size=2, max_size=20))
def test_a_figure_lies_in_its_interval(values):
    found = latency_of([with_work(value) for value in values])
    assert min(values) * 0.999 <= found.p50 <= max(values) * 1.001
    assert found.p50_interval.low <= found.p50 <= found.p50_interval.high


# Accuracy.


def test_accuracy_is_measured_once_for_each_file_and_engine(tmp_path):
    dataset = read_dataset(write_class_folders(tmp_path / "pictures"))
    events = []
    plan = sweep_plan(tmp_path, "recipe=float32,float16", "threads=1,2", "engine=litert", dataset=dataset)
    report = run_sweep(plan, events.append, measure=Bench(lambda _: 10.0))
    assert [event.title for event in events if isinstance(event, Step)].count("evaluate 8 pictures") == 2
    found = [point.accuracy for point in report.points]
    assert [(each.metric, each.pictures) for each in found] == [("top1", 8)] * 4
    assert [each.value for each in found[:2]] == [1.0, 1.0]
    assert found[2].value == found[3].value < 1.0  # this one takes most of them for dark
    assert found[0].interval.low < 1.0 == found[0].interval.high
    assert report.dataset == str(tmp_path / "pictures")
    assert report.recommended.point == 1


def test_without_labels_points_are_compared_by_latency_and_size_and_that_is_said(tmp_path):
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2"), measure=Bench(by_threads))
    assert report.dataset is None
    assert any("accuracy was not measured" in warning for warning in report.warnings)
    assert "accuracy was not measured" in report.recommended.reason
    assert "top-1" not in sweep_table(report).columns


def test_a_data_set_of_other_labels_ends_the_sweep_before_anything_is_measured(tmp_path):
    folder = write_class_folders(tmp_path / "pictures")
    (folder / "red").rename(folder / "purple")
    bench = Bench(lambda _: 10.0)
    with pytest.raises(UsageError, match="purple"):
        run_sweep(sweep_plan(tmp_path, "threads=1", dataset=read_dataset(folder)), measure=bench)
    assert bench.calls == []


# The report.


def test_a_report_comes_back_from_its_json(tmp_path):
    report = run_sweep(sweep_plan(tmp_path, "threads=1,2", "size=8x8"), measure=Bench(by_threads))
    assert loads(SweepReport, dumps(report), "sweep") == report
    assert all(run.samples_ms == {} and STAGE in run.stages for point in report.points for run in point.runs)
    with pytest.raises(BadFileError, match="update edgekit"):
        loads(SweepReport, dumps({**encode(report), "schema": 99}), "sweep")


def test_the_table_has_a_row_for_each_point_and_marks_the_recommended_one(tmp_path):
    table = sweep_table(run_sweep(sweep_plan(tmp_path, "threads=1,2"), measure=Bench(by_threads)))
    assert table.columns == ("", "#", "threads", "p50 ms", "p95 ms", "size", "")
    assert [row[:3] for row in table.rows] == [("", "1", "1"), ("→", "2", "2")]
    assert table.rows[1][-1] == "recommended; on the front"
    assert table.rows[0][-1] == "beaten by 2"
    assert table.notes[-1].startswith("recommended: 2 threads: the fastest (6.00 ms p50) of 2 points")


def test_emulated_machines_are_never_a_result(tmp_path):
    emulated = machine(emulated="QEMU")
    reason = "emulated by QEMU: wall times mean nothing here"

    def measure(*_):
        return run_of(10.0, before=emulated, disturbed=(reason,))

    report = run_sweep(sweep_plan(tmp_path, "threads=1,2"), measure=measure)
    assert "every point was disturbed (emulated by QEMU" in report.recommended.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds: expected 1–20, got 0"),
        ({"percentile": "p42"}, "percentile: expected p50 or p95, got p42"),
        ({"max_drop": -1.0}, "max drop: expected 0–100 points, got -1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        sweep_plan(tmp_path, "threads=1", **changes)


# Real models, measured for real.


@pytest.fixture
def model(tmp_path):
    brightness_model(tmp_path / "brightness.tflite")
    return tmp_path / "brightness.tflite"


def located(path, words, options=None, **changes):
    with located_model(path, PrepOptions(), TaskOptions(), None) as found:
        call = BenchCall(found.model, found.spec_path, duration_s=0.1, **changes)
        plan = plan_sweep(found, words, call, options)
        return plan, run_sweep(plan)


def test_a_real_sweep_measures_threads_and_delegates(model, tmp_path):
    write_class_folders(tmp_path / "pictures")
    options = SweepOptions(data=tmp_path / "pictures", rounds=1)
    plan, report = located(model, ["threads=1,2", "delegate=xnnpack,none"], options)
    assert plan.name == "brightness"
    assert [point.error for point in report.points] == [None] * 4
    ran = [(run.engine.threads, run.engine.delegate) for point in report.points for run in point.runs]
    assert ran == [(1, "xnnpack"), (2, "xnnpack"), (1, "none"), (2, "none")]
    assert all(point.accuracy.value == 1.0 and point.latency.frames > 0 for point in report.points)
    assert report.recommended is not None


def test_a_converted_model_has_no_other_recipe_or_size(model):
    with pytest.raises(UsageError, match=r"--sweep recipe: brightness\.tflite is converted already") as caught:
        located(model, ["recipe=float16"])
    assert "leave MODEL out" in caught.value.hint
    with pytest.raises(UsageError, match="--sweep size"):
        located(model, ["size=96x96"])


def test_a_data_set_that_is_not_there_is_said_before_anything_is_measured(model):
    with pytest.raises(BadFileError, match="no such data set"):
        located(model, ["threads=1"], SweepOptions(data=Path("nowhere")))


def test_where_an_error_lies_is_in_its_own_unit_and_a_share_in_per_cent():
    assert shown_accuracy(Accuracy("mae", 0.42, 50, Interval(0.4, 0.45))) == "0.42 (0.4–0.45)"
    assert shown_accuracy(Accuracy("top1", 0.975, 500, Interval(0.95, 0.988))) == "97.5% (95.0–98.8)"
    assert shown_accuracy(Accuracy("top1", 0.975, 500)) == "97.5%"
