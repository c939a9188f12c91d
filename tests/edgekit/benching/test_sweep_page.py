"""A sweep's page: every setting is in it, the one to take is named with its reason, and noise is shown."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Interval
from edgekit.benching.sweep_figures import plots_of
from edgekit.benching.sweep_page import judge, render_sweep, view_of
from edgekit.benching.sweep_report import Accuracy, Setting
from tests.support.bench_reports import bench_report, machine
from tests.support.pages import Page
from tests.support.sweep_reports import sweep_of, sweep_point, sweep_report

costs = st.tuples(st.floats(0, 1e5), st.integers(1, 10**9), st.none() | st.floats(0, 1))


def points_of(*triples):
    return [
        sweep_point(number, Setting(threads=number), ms, size, accuracy)
        for number, (ms, size, accuracy) in enumerate(triples, start=1)
    ]


@given(st.lists(costs, max_size=12))
def test_everything_stays_in_its_plot_and_every_point_is_drawn_once(triples):
    report = sweep_of(*points_of(*triples))
    judged = [accuracy for _, _, accuracy in triples if accuracy is not None]
    for plot in plots_of(report):
        drawn = "; ".join(point.title for point in plot.points).split("; ")
        assert len(drawn) == len(judged or triples)
        places = [value for point in plot.points for value in (point.x, point.y, point.label.x, point.label.y)]
        places += [end for point in plot.points if point.bar for end in point.bar]
        places += [float(value) for corner in plot.frontier.split() for value in corner.split(",")]
        places += [tick.at for tick in (*plot.x_ticks, *plot.y_ticks)]
        assert all(-0.01 <= value <= 100.01 for value in places)


def test_with_a_data_set_accuracy_is_drawn_against_latency_and_size_and_without_one_size_against_latency():
    assert [plot.title for plot in plots_of(sweep_report())] == [
        "Top-1 accuracy against latency",
        "Top-1 accuracy against size",
    ]
    bare = [dataclasses.replace(point, accuracy=None) for point in sweep_report().points]
    assert [plot.title for plot in plots_of(sweep_of(*bare))] == ["Size of the model in MB against latency"]
    assert plots_of(sweep_of()) == ()


def test_one_file_in_all_points_has_no_plot_of_its_size():
    assert len(plots_of(sweep_of(*points_of((5.0, 1000, 0.9), (6.0, 1000, 0.9))))) == 1


def test_where_only_latency_differs_it_is_drawn_as_bars():
    view = view_of(sweep_of(*points_of((10.0, 1000, None), (5.0, 1000, None))))
    assert view.plots == ()
    assert [(bar.name, bar.length, bar.value) for bar in view.bars] == [
        ("1: 1 thread", 100, "10.0 ms"),
        ("2: 2 threads", 50, "5.00 ms"),
    ]
    assert view_of(sweep_report()).bars == ()


def test_better_is_higher_and_quicker_is_further_left_also_for_an_error():
    good, quick = plots_of(sweep_of(*points_of((10.0, 1000, 0.9), (5.0, 2000, 0.8))))[0].points
    assert good.y < quick.y
    assert quick.x < good.x
    errors = [
        dataclasses.replace(point, accuracy=Accuracy("mae", value, 100, Interval(value - 0.1, value + 0.1)))
        for point, value in zip(points_of((10.0, 1000, None), (5.0, 2000, None)), (1.0, 2.0), strict=True)
    ]
    exact, rough = plots_of(sweep_of(*errors))[0].points
    assert exact.y < rough.y


def test_points_at_one_place_are_one_with_all_their_numbers():
    same = plots_of(sweep_report())[1].points
    assert [point.number for point in same] == ["1–3", "4–6", "7–8", "10–12"]
    assert [point.kind for point in same] == ["beaten", "kept", "kept", "chosen"]


def test_the_line_joins_what_nothing_beats_in_both():
    worse, quick, good = points_of((10.0, 1000, 0.8), (5.0, 1000, 0.85), (9.0, 1000, 0.9))
    plot = plots_of(sweep_of(worse, quick, good))[0]
    corners = [tuple(float(value) for value in corner.split(",")) for corner in plot.frontier.split()]
    _, second, third = plot.points
    assert corners == [
        pytest.approx(place, abs=0.01) for place in [(second.x, second.y), (third.x, second.y), (third.x, third.y)]
    ]


def test_the_recommended_setting_is_named_with_its_reason():
    report = sweep_report()
    text = Page(render_sweep(report)).text
    assert "Take static-int8, 4 threads" in text
    reason = report.recommended.reason
    assert f"{reason[:1].upper()}{reason[1:]}" in text
    assert "12 static-int8, 4 threads recommended" in text


def test_each_setting_has_its_row_with_intervals_and_what_came_of_it():
    rows = view_of(sweep_report()).rows
    assert [row.number for row in rows] == list(range(1, 13))
    assert [row.kind for row in rows if row.number in (5, 6, 9, 12)] == ["doubtful", "front", "failed", "chosen"]
    assert (rows[0].p50, rows[0].p50_interval) == ("41.0", "40.2–41.8")
    assert (rows[0].accuracy, rows[0].accuracy_interval) == ("95.1%", "93.9–96.2%")
    assert rows[0].result.startswith("beaten by ")


def test_what_failed_and_what_was_disturbed_is_said_with_its_reason():
    text = Page(render_sweep(sweep_report())).text
    assert "9: dynamic-int8, 4 threads the engine gave no answer within 60 s (edgekit doctor)" in text
    assert "5: float16, 2 threads others took 31% of the cores" in text


def test_a_sweep_in_which_nothing_was_measured_recommends_nothing():
    failed = [dataclasses.replace(point, latency=None, accuracy=None) for point in sweep_report().points]
    verdict, flag = judge(sweep_of(*failed))
    assert (verdict.kind, verdict.title, flag) == ("disturbed", "No setting can be recommended", "no result")
    assert "[no result] belt" in Page(render_sweep(sweep_of(*failed))).text
    assert "The settings" in Page(render_sweep(sweep_of())).text


def test_a_recommendation_from_disturbed_or_emulated_runs_is_no_result():
    reason = ("others took 31% of the cores",)
    busy = [dataclasses.replace(point, disturbed=reason) for point in points_of((5.0, 1000, 0.9))]
    verdict, flag = judge(sweep_of(*busy))
    assert (verdict.kind, flag) == ("disturbed", "disturbed")
    emulated = (bench_report(before=machine(emulated="QEMU")),)
    imitated = [dataclasses.replace(point, runs=emulated) for point in points_of((5.0, 1000, 0.9))]
    verdict, flag = judge(sweep_of(*imitated))
    assert (verdict.kind, flag) == ("disturbed", "emulated")


def test_a_sweep_that_was_stopped_says_so():
    verdict, _ = judge(sweep_report(complete=False))
    assert verdict.kind == "noted"
    assert "as far as was measured" in verdict.title


def test_nothing_in_a_sweep_is_markup():
    evil = "<script>alert(1)</script>"
    point = sweep_point(1, Setting(recipe=evil), 5.0, 1000, 0.9, disturbed=(evil,))
    page = Page(render_sweep(sweep_of(point, model=evil, source=evil, dataset=evil, warnings=(evil,), target=evil)))
    assert evil in page.text
    assert "script" not in {tag for tag, _ in page.elements}
