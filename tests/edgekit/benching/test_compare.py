"""Two runs side by side: what is shown, what is not, and what else differs."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.bench import ColdStart, EngineFacts, ModelFacts
from device_runtime.contract.decode import dumps, encode, loads
from device_runtime.errors import BadFileError, EdgeError
from edgekit.benching.compare import (
    BETWEEN_RUNS,
    JUDGED,
    Comparison,
    compare_runs,
    disturbances,
    read_report,
    title_of,
)
from tests.support.bench_reports import LONG_AGO, bench_report, full_report, machine
from tests.support.noisy_runs import noisy_report

_VERSION_1 = ("steady", "disturbed", "model_rss_bytes", "harness_us", "during", "operators", "cold_start", "at_rate")
_VERSION_1_LATER = (*_VERSION_1, "beside", "target", "schema")


def version_1(report):
    """The same run as the first version of the report told it, as a text."""
    plain = encode(report)
    for key in _VERSION_1_LATER:
        del plain[key]
    for stats in plain["stages"].values():
        for key in ("p95", "p50_interval", "p99_interval"):
            del stats[key]
    return dumps({**plain, "schema": 1})


def words(comparison):
    return {(each.stage, each.percentile): each.word for each in comparison.figures}


def test_of_100_comparisons_of_a_run_with_its_like_at_most_5_are_alarms():
    alarms = []
    for seed in range(100):
        correlation = (0.0, 0.7, 0.9)[seed % 3]
        one, two = (noisy_report(2 * seed + each, frames=300, correlation=correlation) for each in (0, 1))
        if compare_runs(one, two).word != "same":
            alarms.append(seed)
    assert len(alarms) <= 5


def test_a_slow_down_of_a_tenth_is_found_and_so_is_its_end():
    for seed in range(10):
        one, two = noisy_report(seed, frames=500), noisy_report(1000 + seed, frames=500, slower=1.1)
        assert compare_runs(one, two).word == "slower"
        assert compare_runs(two, one).word == "faster"


def test_a_difference_within_what_two_processes_differ_by_is_none():
    quiet = {"spread": 0.001, "level": 0}
    comparison = compare_runs(noisy_report(1, **quiet), noisy_report(2, slower=1.02, **quiet))
    assert comparison.word == "same"
    figure = comparison.figure("invoke", "p50")
    assert figure.interval.low < 1 < figure.interval.high
    assert figure.interval.high / figure.interval.low > (1 + BETWEEN_RUNS) ** 2


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.floats(0.5, 2.0))
def test_exchanging_the_runs_exchanges_the_words(seed, slower):
    one, two = noisy_report(seed, frames=200), noisy_report(seed + 1, frames=200, slower=slower)
    there, back = compare_runs(one, two), compare_runs(two, one)
    opposite = {"slower": "faster", "faster": "slower"}
    for figure, other in zip(there.figures, back.figures, strict=True):
        assert figure.ratio == pytest.approx(1 / other.ratio)
        # Resampling is by chance: only where the interval ends beside 1 may the words differ.
        if min(abs(bound - 1) for bound in (figure.interval.low, figure.interval.high)) > 0.03:
            assert other.word == opposite.get(figure.word, figure.word)


def test_the_judged_figures_come_first_and_p99_only_where_both_runs_have_it():
    pairs = [(each.stage, each.percentile) for each in compare_runs(bench_report(), bench_report()).figures]
    assert pairs[:4] == [("total", "p50"), ("total", "p99"), ("invoke", "p50"), ("invoke", "p99")]
    assert {stage for stage, _ in pairs} == {"capture", "prepare", "invoke", "decode", "total"}
    short = compare_runs(bench_report(), bench_report(frames=300))
    assert {percentile for _, percentile in words(short)} == {"p50"}


def test_runs_that_are_too_short_are_not_compared_and_it_is_said():
    comparison = compare_runs(bench_report(frames=63), bench_report())
    assert comparison.word == "unknown"
    figure = comparison.figure("invoke", "p50")
    assert (figure.word, figure.interval) == ("unknown", None)
    assert figure.why == "a comparison takes 64 frames of each run, and one has 63"
    assert title_of(comparison).startswith("these runs cannot be compared: total p50 a comparison takes")


def test_with_other_sources_only_the_model_itself_is_compared():
    comparison = compare_runs(noisy_report(1), noisy_report(2, source="file:clip.mp4", slower=1.5))
    assert words(comparison)["invoke", "p50"] == "slower"
    assert words(comparison)["total", "p50"] == "unknown"
    assert comparison.word == "slower"


def test_runs_that_became_slower_in_one_and_faster_in_the_other_are_mixed():
    one, two = noisy_report(1), noisy_report(2, slower=1.5)
    two = dataclasses.replace(
        two,
        stages={**two.stages, "total": noisy_report(3, slower=0.5).stages["total"]},
        samples_ms={**two.samples_ms, "total": noisy_report(3, slower=0.5).samples_ms["total"]},
    )
    comparison = compare_runs(one, two)
    assert comparison.word == "mixed"
    assert title_of(comparison).startswith("slower in part, and faster in part: total p50 ")


def test_what_differs_is_said():
    other = bench_report(
        model=ModelFacts("belt", "cd" * 32, 400_000, "1x160x160x3 int8"),
        engine=EngineFacts("tflite-runtime", "2.14.0", 4, "xnnpack"),
        before=machine(governor="ondemand"),
        release="belt 2.0",
    )
    found = {each.what: (each.before, each.after) for each in compare_runs(bench_report(), other).differences}
    assert found == {
        "model's digest": ("ab" * 32, "cd" * 32),
        "model's input": ("1x160x160x3 uint8", "1x160x160x3 int8"),
        "engine": ("litert", "tflite-runtime"),
        "engine's version": ("2.3.0", "2.14.0"),
        "threads": ("2", "4"),
        "governor": ("performance", "ondemand"),
        "release": ("none", "belt 2.0"),
    }
    assert compare_runs(bench_report(), bench_report()).differences == ()


@pytest.mark.parametrize(
    ("changes", "text", "grave"),
    [
        ({"before": machine(board="Raspberry Pi 5")}, "they are from different machines: Raspberry Pi 4 Model B", True),
        ({"before": machine(emulated="qemu")}, "emulated by qemu: its times mean nothing", True),
        ({"disturbed": ("others worked here",)}, "the second run was disturbed: others worked here", False),
        ({"steady": False}, "the second run was disturbed: latencies had not settled", False),
    ],
)
def test_what_makes_ratios_doubtful_is_marked(changes, text, grave):
    comparison = compare_runs(noisy_report(1), noisy_report(2, slower=1.5, **changes))
    assert any(text in doubt.text and doubt.grave == grave for doubt in comparison.doubts)
    assert title_of(comparison).startswith("slower, but in doubt: total p50 +")


def test_a_run_of_version_1_is_read_and_compared(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(version_1(noisy_report(1)))
    old = read_report(path)
    assert (old.schema, old.stages["total"].p95, old.disturbed) == (1, None, ())
    comparison = compare_runs(old, noisy_report(2, slower=1.2))
    assert comparison.word == "slower"
    assert comparison.doubts == ()


def test_a_run_of_version_1_tells_its_disturbance_by_its_machine():
    old = loads(
        type(bench_report()),
        version_1(bench_report(before=machine(load_1min=3.5), after=machine(throttled=LONG_AGO))),
        "old",
    )
    assert disturbances(old) == (
        "the machine was slowed down: under-voltage",
        "others worked on the machine before the run",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"schema": 2}', "is missing"),
        (dumps({**encode(bench_report()), "schema": 3}), "this reader knows up to 2, got 3"),
        (dumps({**encode(bench_report()), "stages": {}}), "no stage total in it"),
    ],
)
def test_a_file_that_is_no_run_is_an_error(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(BadFileError, match=message) as caught:
        read_report(path)
    assert str(path) in str(caught.value)


def test_a_run_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EdgeError, match="no such file"):
        read_report(tmp_path / "none.json")


def test_figures_that_each_run_has_once_are_put_side_by_side():
    starts = (900.0, 500.0, 520.0)
    one, two = full_report(), full_report(peak_rss_bytes=296_600_000, cold_start=ColdStart(starts))
    facts = {fact.name: fact for fact in compare_runs(one, two).facts}
    assert facts["peak memory"].ratio == 2
    assert (facts["cold start, median"].before, facts["cold start, median"].after) == (912.0, 520.0)
    assert "cold start, median" not in {fact.name for fact in compare_runs(one, bench_report()).facts}


def test_a_comparison_survives_json():
    comparison = compare_runs(full_report(), bench_report(frames=300))
    assert loads(Comparison, dumps(comparison), "text") == comparison


def test_what_is_judged_is_in_every_comparison():
    comparison = compare_runs(noisy_report(1), noisy_report(2))
    assert all(comparison.figure(*each) for each in JUDGED)
