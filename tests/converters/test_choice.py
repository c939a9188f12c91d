"""What a search chooses and says, from figures alone."""

from dataclasses import replace

import pytest

from converters.choice import advice, best_first, confirm, guilty_layers, judged, with_frontier
from converters.interface import Candidate, Interval, LayerError, SearchOptions
from converters.recipe import RECIPES


def candidate(name, drop, size, ms, *, status="ok", runtime="litert"):
    return Candidate(
        name, RECIPES["float16"], status, size_bytes=size, drop=Interval(drop, drop - 1, drop + 1),
        latency_ms={runtime: {"1": ms}},
    )  # fmt: skip


FLOAT = candidate("float", 0.0, 400, 4.0)
FAST = candidate("fast", 0.8, 100, 1.0)
SMALL = candidate("small", 0.9, 50, 3.0)
CRUDE = candidate("crude", 5.0, 40, 0.5)


def test_the_fastest_or_the_smallest_within_the_budget_comes_first():
    tried = [judged(each, SearchOptions(max_drop=1.0)) for each in (FLOAT, FAST, SMALL, CRUDE)]
    assert [each.name for each in best_first(tried, "latency")] == ["fast", "small", "float"]
    assert [each.name for each in best_first(tried, "size")] == ["small", "fast", "float"]


def test_what_is_over_the_budget_says_by_how_much():
    assert judged(CRUDE, SearchOptions(max_drop=1.0)).reason.startswith("5.00 points less")
    large = judged(FLOAT, SearchOptions(max_bytes=300))
    assert (large.status, large.reason) == ("missed", "400 bytes; the budget is 300")
    assert judged(FAST, SearchOptions(max_drop=0.8)).status == "ok"


def test_among_equally_fast_ones_the_more_accurate_is_chosen_then_the_smaller_then_the_plainer():
    same = replace(FAST, name="same", latency_ms={"litert": {"1": 1.02}})
    assert best_first([FAST, replace(same, drop=Interval(0.1, 0, 1))], "latency")[0].name == "same"
    assert best_first([FAST, replace(same, size_bytes=90)], "latency")[0].name == "same"
    assert best_first([FAST, same], "latency")[0].name == "fast"
    assert best_first([same, FAST], "latency")[0].name == "same"


def test_to_gain_is_luck_and_counts_as_losing_nothing():
    lucky = replace(FAST, name="lucky", drop=Interval(-2.0, -3, 0), size_bytes=120)
    even = replace(FAST, name="even", drop=Interval(0.0, -1, 1))
    assert best_first([lucky, even], "latency")[0].name == "even"


def test_the_slowest_declared_runtime_counts():
    both = replace(FAST, name="both", latency_ms={"litert": {"1": 0.1}, "tflite-runtime": {"1": 9.0}})
    assert best_first([FAST, both], "latency")[0].name == "fast"


def test_the_frontier_holds_those_that_no_other_beats_in_both():
    dominated = candidate("dominated", 0.9, 500, 2.0)
    marked = {each.name: each.on_frontier for each in with_frontier([FLOAT, FAST, CRUDE, dominated], "latency")}
    assert marked == {"float": True, "fast": True, "crude": True, "dominated": False}


def test_a_wide_interval_says_how_many_samples_would_do():
    made = confirm(Interval(0.0, -3.0, 3.0), Interval(0.9, 0.8, 1.0), 0.9, 30, 1.0)
    assert (made.enough, made.pictures_needed) == (False, 270)
    told = advice([FAST], SearchOptions(max_drop=1.0), (), made)
    assert told == (
        (
            "30 held-out samples cannot tell whether a budget of 1 points is kept (95% interval of the drop: -3.00 to "
            "3.00); about 270 would"
        ),
    )
    assert confirm(Interval(0.0, -0.9, 0.9), Interval(0.9, 0.8, 1.0), 0.9, 900, 1.0).enough


def test_a_missed_budget_comes_with_what_would_help():
    options = SearchOptions(max_drop=1.0, candidates=("static-*",))
    told = advice([judged(CRUDE, options)], options, ("CONV_2D stem",), None)
    assert told[0] == "crude would do with --max-drop 5"
    assert "CONV_2D stem" in told[1]
    assert "static-*" in told[2]
    assert advice([FAST], SearchOptions(), (), None) == ()


@pytest.mark.parametrize(
    ("decibels", "guilty"),
    [
        ((5.0, 6.0, 20.0), ("CONV_2D layer-0", "CONV_2D layer-1")),
        ((35.0, 36.0), ()),
        ((), ()),
        ((1.0,) * 9, tuple(f"CONV_2D layer-{index}" for index in range(5))),
    ],
)
def test_only_layers_that_cost_much_are_guilty(decibels, guilty):
    layers = [LayerError(f"layer-{index};fused", "CONV_2D", snr, 1.0) for index, snr in enumerate(decibels)]
    assert guilty_layers(layers) == guilty
