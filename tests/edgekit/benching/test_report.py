"""The HTML report: complete, alone in its file, and honest."""

import dataclasses
import re

import pytest

from device_runtime.contract.bench import AtRate, EngineFacts, ModelFacts, OperatorProfile, OperatorTime
from edgekit.benching.compare import compare_runs
from edgekit.benching.gates import Gate
from edgekit.benching.operators import operators_of
from edgekit.benching.report import missing_percentiles, render, stage_rows, waiting
from tests.support.bench_reports import NOW, bench_report, full_report, machine, profile
from tests.support.pages import Page


def test_the_headline_figures_are_there():
    text = Page(render(bench_report())).text
    for figure in ("80.4 fps", "Total latency 11.0 ms p50", "First inference 45.6 ms", "Peak memory 98.7 MB"):
        assert figure in text
    for fact in ("belt", "Raspberry Pi 4 Model B Rev 1.4", "litert 2.3.0, 2 threads", "1 March 2026, 09:30 UTC"):
        assert fact in text


def test_the_page_needs_nothing_from_anywhere():
    source = render(bench_report())
    page = Page(source)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href", "xlink:href")]
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face", source)
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_a_report_says_is_never_markup():
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)>&amp;'
    state = machine(cpu=evil, board=evil, governor=evil, kernel=evil, python=evil, machine=evil)
    report = bench_report(
        model=ModelFacts(evil, evil, 1000, evil),
        engine=EngineFacts(evil, evil, 1, evil),
        source=evil,
        created=evil,
        warnings=(evil,),
        release=evil,
        before=state,
        after=state,
    )
    page = Page(render(report))
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in Page(render(bench_report(warnings=("x",)))).elements}
    assert evil in page.texts


def test_every_figure_has_a_title_and_every_table_its_headers():
    page = Page(render(bench_report()))
    figures = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(figures) == 5 + 2 + 1 + 2  # stages, histograms, timeline, memory
    assert all(figure["aria-label"] for figure in figures)
    assert any("Histogram of invoke latency over 1000 frames: p50" in text for text in page.texts)
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 1 + 2 + 1 + 1  # and throttling, bit by bit
    assert page.all("html")[0]["lang"] == "en"


def test_stages_come_in_the_order_in_which_a_frame_passes_them():
    report = bench_report()
    shuffled = dataclasses.replace(report, stages=dict(sorted(report.stages.items(), reverse=True)))
    assert [row.stage for row in stage_rows(shuffled)] == ["capture", "prepare", "invoke", "decode", "total"]


def test_percentiles_that_the_run_is_too_short_for_are_dashes_with_the_reason():
    report = bench_report(frames=40)
    assert {(row.p90, row.p95, row.p99) for row in stage_rows(report)} == {("–", "–", "–")}
    reason = (
        "–: p90 takes 64 frames, p95 takes 130 frames and p99 takes 662 frames, and this run had 40; measure longer"
    )
    assert missing_percentiles(report) == reason
    assert reason in Page(render(report)).text
    assert "p90 takes 64 frames" in Page(render(report)).text
    assert missing_percentiles(bench_report(frames=200)).startswith("–: p99 takes 662 frames, and this run had 200")
    assert missing_percentiles(bench_report()) == ""


def total_of(mean, source):
    stages = bench_report().stages
    return bench_report(source=source, stages=stages | {"total": dataclasses.replace(stages["total"], mean=mean)})


def test_waiting_is_told_apart_from_work():
    apart = total_of(33.0, "file:clip.mp4")
    work = sum(stats.mean for stage, stats in apart.stages.items() if stage != "total")
    told = f"{33.0 - work:.1f} of the 33.0 ms in total are waiting"
    assert waiting(apart) == f"{told}, because the next frame is read while the model works on the one before"
    assert waiting(total_of(33.0, "v4l2:0")) == f"{told}, for the next frame's turn"
    assert told in Page(render(apart)).text
    assert waiting(total_of(work * 1.01, "v4l2:0")) == ""


def test_a_throttled_run_says_so_in_the_title_the_banner_and_at_every_headline():
    report = bench_report(
        after=machine(throttled=NOW | NOW << 16, frequency_mhz=600.0, temperature_c=84.0),
        warnings=("the machine was slowed down: under-voltage",),
    )
    page = Page(render(report))
    assert "[disturbed] belt" in page.text
    assert "Disturbed run: under-voltage" in page.text
    assert page.text.count("the machine was slowed down: under-voltage") == 1
    assert page.of_class("flag") == ["p"] * 5
    assert "0x0 before, 0x10001 after" in page.text
    assert "under-voltage no yes yes yes" in page.text
    assert "1800 MHz → 600 MHz" in page.text
    assert "51.5 °C → 84.0 °C" in page.text


def test_a_clean_run_carries_no_flag():
    page = Page(render(bench_report()))
    assert page.of_class("flag") == []
    assert "disturbed run" not in page.text.lower()
    assert "under-voltage no no no frequency capped no no no" in page.text


def test_what_a_machine_does_not_tell_is_said():
    bare = machine(board=None, governor=None, frequency_mhz=None, temperature_c=None, throttled=None, memory_bytes=None)
    page = Page(render(bench_report(before=bare, after=bare)))
    assert page.text.count("not told by this machine") == 6
    assert "Cortex-A72 litert 2.3.0" in page.text


@pytest.mark.parametrize("frames", [2, 63, 5000])
def test_runs_of_any_length_are_drawn(frames):
    assert "Latency over the run" in Page(render(bench_report(frames=frames))).text


def test_a_report_without_single_samples_is_drawn_without_their_figures():
    page = Page(render(bench_report(samples_ms={})))
    assert "Where the time goes" in page.text
    assert "Latency over the run" not in page.text


PARTS = {
    "operators": ("What the model spends its time on", "operators"),
    "at_rate": ("With a camera of 30 fps", "outcome"),
    "cold_start": ("Each start is a new process", None),
}


@pytest.mark.parametrize("part", PARTS)
def test_what_a_report_has_is_shown_and_what_it_has_not_leaves_no_hole(part):
    words, css = PARTS[part]
    there, gone = Page(render(full_report())), Page(render(full_report(**{part: None})))
    assert words in there.text
    assert words not in gone.text
    assert css is None or (there.of_class(css) and not gone.of_class(css))


def test_intervals_stand_below_their_figures_and_the_headline_has_the_median_s():
    total = full_report().stages["total"]
    ends = f"{total.p50_interval.low:.1f}–{total.p50_interval.high:.1f}"
    text = Page(render(full_report())).text
    assert f"ms p50 95% {ends} p90" in text
    assert "below a figure, where it lies with 95% confidence" in text
    without = dataclasses.replace(total, p50_interval=None, p99_interval=None)
    bare = Page(render(bench_report(stages=dict.fromkeys(bench_report().stages, without)))).text
    assert "95%" not in bare


def test_a_headline_says_what_its_missing_percentiles_take():
    text = Page(render(bench_report(frames=40))).text
    assert "p90 takes 64 frames p99 takes 662 frames" in text


def test_the_slowest_operators_come_first_and_the_others_are_folded_away_but_counted():
    page = Page(render(full_report()))
    assert "48 other operators: " in page.text
    slowest = max(profile().operators, key=lambda each: each.mean_ms)
    after = page.text.partition("The slowest operators, ms per inference")[2]
    assert re.search(r"\d+ [A-Z_0-9]+", after).group() == f"{slowest.index} {slowest.type}"
    for each in profile().operators:
        assert page.text.count(each.name) == 1
    whole = Page(render(full_report(operators=profile(13)))).text
    assert "other operators" not in whole
    assert "All operators, ms per inference" in whole


def test_operators_are_summed_up_by_type_the_most_costly_first():
    operators = tuple(
        OperatorTime(index, kind, "", ms, ms / 10)
        for index, (kind, ms) in enumerate([("ADD", 1), ("CONV", 4), ("ADD", 5)])
    )
    found = operators_of(OperatorProfile(operators, 50, 1.0, 0.0))
    assert [(bar.name.replace("\N{NO-BREAK SPACE}", " "), bar.value, bar.length) for bar in found.types] == [
        ("ADD × 2", "6.00 ms, 60.0%", 100),
        ("CONV × 1", "4.00 ms, 40.0%", pytest.approx(66.667)),
    ]
    assert [row.index for row in found.top] == [2, 1, 0]
    assert operators_of(OperatorProfile((), 50, 1.0, 0.0)) is None


def test_a_time_too_short_for_its_digits_is_not_called_nothing():
    found = operators_of(OperatorProfile((OperatorTime(0, "ADD", "", 0.0001, 1.0),), 50, 1.0, 0.9))
    assert found.top[0].ms == "< 0.001"
    assert found.note.endswith("look at shares rather than times.")


def rated(frames, dropped):
    return full_report(at_rate=AtRate(30.0, frames / 10, frames, dropped, full_report().stages["total"]))


def test_a_camera_that_the_model_is_too_slow_for_is_told_apart():
    assert "The model keeps up with the camera: 3 of 900 frames came too fast." in Page(render(rated(897, 3))).text
    assert "The model is slower than the camera: 120 of 300 frames came too fast." in Page(render(rated(180, 120))).text
    assert "none of 300 frames came too fast" in Page(render(rated(300, 0))).text


def test_the_machine_s_clock_and_heat_are_told_from_the_beginning_over_the_worst_to_the_end():
    text = Page(render(full_report())).text
    assert "1800 MHz; from 1000 MHz to 1800 MHz" in text
    assert "51.5 °C → 80.2 °C; at most 80.5 °C" in text
    assert "Work of others 2.8% on average, at most 22%" in text
    assert "Memory pressure 0.9% on average, at most 3%" in text


def test_throttling_during_the_run_is_decoded_bit_by_bit():
    text = Page(render(full_report())).text
    assert "Condition before during after since boot" in text
    for line in ("under-voltage no no no no", "frequency capped no yes no yes", "throttled no yes no yes"):
        assert line in text
    silent = machine(throttled=None)
    bare = Page(render(full_report(before=silent, after=silent, during=())))
    assert "Condition" not in bare.text
    assert "Throttling not told by this machine" in bare.text


def test_what_measuring_costs_and_what_ran_beside_it_is_told():
    text = Page(render(full_report())).text
    assert "Measuring costs 6.3 µs per frame" in text
    assert "belt-sorter 1.3.2 ran beside it" in text
    assert "pi4.local (Raspberry Pi 4 Model B Rev 1.4)" in text


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"before": machine(emulated="QEMU TCG")}, "emulated"),
        ({"steady": False}, "unsteady"),
        ({"disturbed": ("others took 40% of the cores",)}, "disturbed"),
    ],
)
def test_whatever_makes_a_run_no_result_stands_in_its_title_and_at_every_headline(changes, flag):
    page = Page(render(bench_report(**changes)))
    assert f"[{flag}] belt" in page.text
    assert page.of_class("flag") == ["p"] * 5
    assert page.text.count(f"{flag} run") >= 5


def test_a_comparison_and_gates_are_part_of_the_report_when_there_are_any():
    report = bench_report(created="2026-03-02T10:00:00+00:00")
    comparison = compare_runs(bench_report(), report)
    gates = (Gate("total.p95 ≤ 14.0 ms", "missed", "15.8 ms", "measure again"),)
    text = Page(render(report, comparison, gates)).text
    assert "Against the run of 1 March 2026, 09:30 UTC" in text
    assert "No difference that these runs can show" in text
    assert "total.p95 ≤ 14.0 ms missed 15.8 ms; measure again" in text
    assert "Against the run" not in Page(render(report)).text


def test_nothing_in_any_part_of_a_report_is_markup():
    evil = "<script>alert(1)</script>"
    operators = OperatorProfile(
        (OperatorTime(0, evil, evil, 1.0, 1.0), OperatorTime(1, "ADD", evil, 1.0, 1.0)), 50, 1.0, 0.1
    )
    report = full_report(operators=operators, release=evil, beside=evil, target=evil, disturbed=(evil,), source=evil)
    other = dataclasses.replace(bench_report(), release=evil, before=machine(board=evil, emulated=evil))
    gates = (Gate(evil, "undecided", evil, evil),)
    page = Page(render(report, compare_runs(other, report), gates))
    assert evil in page.text
    assert "script" not in {tag for tag, _ in page.elements}
