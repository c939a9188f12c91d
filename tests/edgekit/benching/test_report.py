"""The HTML report: complete, alone in its file, and honest."""

import dataclasses
import re

import pytest

from device_runtime.contract.bench import EngineFacts, ModelFacts
from edgekit.benching.report import missing_percentiles, render, stage_rows, waiting
from tests.support.bench_reports import NOW, bench_report, machine
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
