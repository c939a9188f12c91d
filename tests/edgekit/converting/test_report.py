"""The HTML report of a search: complete, alone in its file, and honest."""

import dataclasses
import re

import pytest

from converters.interface import Confirmation, Interval, LayerError
from device_runtime.contract.decode import dumps
from edgekit.converting.report import judge, render
from tests.support.pages import Page
from tests.support.search_reports import CANDIDATES, LAYERS, candidate, search_report

MISSED = tuple(each for each in CANDIDATES if each.status != "ok")
NOTHING = {"chosen": None, "confirmation": None}


def rows_of(page):
    """Return the rows of the candidates' table by name: what stands in each cell."""
    found = re.findall(r'<tr class="([\w-]+)"><th scope="row"><span[^>]*>\d+</span> ([^<]+)</th>(.*?)</tr>', page)
    return {name: (kind, re.findall(r"<td[^>]*>([^<]*)</td>", cells)) for kind, name, cells in found}


def test_what_was_chosen_is_on_top_with_what_it_costs():
    text = Page(render(search_report())).text
    assert "static-int8+equalise keeps the budget of 1 point" in text
    assert "On 500 samples that no decision was made with it loses 0.40 points (95% interval −0.10 to 0.90)" in text  # noqa: RUF001
    for figure in ("97.4 % trained model 97.8%", "8.60 ms float32 13.8 ms 1.6×", "3.9 MB float32 13.9 MB 3.5×"):
        assert figure in text


def test_every_candidate_is_in_the_table_with_its_result():
    rows = rows_of(render(search_report()))
    assert list(rows) == [each.name for each in CANDIDATES]
    assert rows["static-int8+equalise"][0] == "chosen"
    assert rows["static-int8"] == (
        "missed",
        ["over budget", "96.20%", "1.80 (1.30 to 2.30)", "3.9 MB", "8.50 / 5.10", "2", "20.0"],
    )
    assert rows["static-int4"] == ("refused", ["refused", *["–"] * 6])
    text = Page(render(search_report())).text
    assert "output scores has 1.2 dB signal to noise" in text
    assert "1.80 points less" not in text  # the table shows it


def test_a_budget_that_is_not_of_accuracy_is_told():
    large = candidate("static-int8", 0.98, 5.0, 900_000, "missed", reason="900000 bytes; the budget is 500000")
    assert "900000 bytes; the budget is 500000" in Page(render(search_report(candidates=(large,), **NOTHING))).text


def test_no_model_is_said_in_the_title_and_in_the_banner_with_what_would_help():
    report = search_report(candidates=MISSED, advice=("static-int8 would do with --max-drop 1.8",), **NOTHING)
    text = Page(render(report)).text
    assert "[no model] mobilenet.keras" in text
    assert "No candidate keeps the budget of 1 point" in text
    assert "The nearest is static-int8, 1.80 points below the trained model. No model was written." in text
    assert "static-int8 would do with --max-drop 1.8" in text
    assert "chosen" not in {kind for kind, _ in rows_of(render(report)).values()}


def test_candidates_of_which_none_runs_are_a_report_too():
    report = search_report(candidates=(CANDIDATES[8],), **NOTHING, layers=(), guilty=())
    text = Page(render(report)).text
    assert "None of them could be run. No model was written." in text
    assert "Accuracy against cost" not in text
    assert "Where accuracy goes" not in text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "clean"),
        ({"confirmation": None}, "noted"),
        (
            {"confirmation": Confirmation(30, 1.0, Interval(1, 0.9, 1), Interval(0, -3, 3), False, 900)},  # noqa: FBT003 - as in its JSON
            "noted",
        ),
        (NOTHING, "disturbed"),
    ],
)
def test_a_result_that_is_not_sure_is_not_called_sure(changes, kind):
    assert judge(search_report(**changes)).kind == kind


def test_the_layers_that_cost_most_come_first_and_are_marked():
    page = Page(render(search_report()))
    assert page.of_class("guilty") == ["rect", "rect", "span", "tr", "tr"]
    assert page.text.count("costs most") == 3  # two rows, and the legend
    assert "The 12 worst of 56 layers" in page.text
    assert page.text.index(LAYERS[6].name) < page.text.index(LAYERS[3].name)


def test_the_page_needs_nothing_from_anywhere():
    source = render(search_report())
    page = Page(source)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href", "xlink:href")]
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face", source)


def test_what_a_report_says_is_never_markup():
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)>&amp;'
    bad = candidate(evil, 0.97, 9.0, 1000, reason=evil, latency_ms={evil: {"1": 9.0}}, partitions={evil: 2})
    report = search_report(
        source=evil,
        runtimes=(evil,),
        candidates=(bad,),
        chosen=evil,
        layers=(LayerError(evil, evil, 3.0, 0.9),),
        guilty=(f"{evil} {evil}",),
        advice=(evil,),
    )
    page = Page(render(report))
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert any(evil in text for text in page.texts)


def test_every_figure_has_a_title_and_every_table_its_headers():
    page = Page(render(search_report()))
    figures = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert [figure["aria-label"] for figure in figures] == [
        "Accuracy against latency of 8 candidates",
        f"Signal to noise of 56 layers, least 9.5 dB in {LAYERS[6].title}",
    ]
    assert len(page.all("caption")) == 2
    assert {header["scope"] for header in page.all("th")} == {"col", "row"}
    cells = [cell for cell in page.all("td") if "data-label" not in cell]
    assert cells == []  # on a phone each cell needs its column's name


def test_two_runtimes_have_a_column_each():
    both = {"litert": {"1": 8.0, "2": 5.0}, "tflite-runtime": {"1": 90.0, "2": 50.0}}
    each = dataclasses.replace(CANDIDATES[5], latency_ms=both, partitions={"litert": 2, "tflite-runtime": 9})
    report = search_report(runtimes=("litert", "tflite-runtime"), candidates=(each,))
    assert rows_of(render(report))[each.name][1][4:7] == ["8.00 / 5.00", "90.0 / 50.0", "2 / 9"]


def test_a_report_is_json_too(tmp_path):
    report = search_report(options=dataclasses.replace(search_report().options, evaluation=tmp_path))
    assert f'"evaluation": "{tmp_path}"' in dumps(report)
