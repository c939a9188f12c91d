"""Markdown for GitHub: a table that stays one, whatever names and messages hold."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.bench import ModelFacts
from device_runtime.contract.reported import ReportedError
from edgekit.benching.compare import compare_runs
from edgekit.benching.gates import Gate
from edgekit.benching.markdown import escaped, markdown
from edgekit.benching.outcome import Failure, Outcome
from tests.support.bench_reports import bench_report, full_report


def tables(text):
    """The rows of each table: how many cells each has."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE)
    return [[len(re.findall(r"(?<!\\)\|", row)) - 1 for row in block.splitlines()] for block in blocks]


def test_a_run_is_a_table_of_its_stages_and_a_line_of_facts():
    text = markdown([Outcome(bench_report())])
    assert text.startswith("### belt on Raspberry Pi 4 Model B Rev 1.4\n")
    assert "| ms | p50 | 95% of p50 | p90 | p95 | p99 | max |\n" in text
    assert re.search(r"^\| invoke \| 10\.\d \| \S+ \|", text, re.MULTILINE)
    assert "80.4 fps over 1000 frames, peak memory 98.7 MB, litert 2.3.0, 2 threads" in text
    assert str(tables(text)[0]) == "[7, 7, 7, 7, 7, 7, 7]"


def test_a_disturbed_run_is_marked_first():
    lines = markdown([Outcome(full_report())]).splitlines()
    assert lines[2].startswith("> ⚠️ **Disturbed run: ")


def test_gates_and_the_comparison_have_tables_of_their_own():
    before, after = bench_report(), bench_report(frames=900)
    gates = (
        Gate("total.p95 ≤ 40.0 ms", "passed", "12.0 ms"),
        Gate("fps ≥ 90.0", "missed", "80.4"),
        Gate("total.p99 ≤ 50.0 ms", "undecided", "too short", "measure longer"),
    )
    text = markdown([Outcome(after, compare_runs(before, after), gates)])
    assert "| total.p95 ≤ 40.0 ms | ✅ passed | 12.0 ms |\n" in text
    assert "| fps ≥ 90.0 | ❌ missed | 80.4 |\n" in text
    assert "| total.p99 ≤ 50.0 ms | ⚠️ not decided | too short. measure longer |\n" in text
    assert "**no difference that these runs can show: " in text
    assert "| peak memory | 98.7 MB | 98.7 MB | ±0.0% | |\n" in text
    assert [set(table) for table in tables(text)] == [{3}, {7}, {5}]


def test_the_slowest_operators_are_listed():
    text = markdown([Outcome(full_report())])
    assert "| operator | type | ms | share |" in text
    assert "model\\_1/backbone" in text
    assert tables(text)[-1] == [4] * 7


def test_a_board_that_gave_nothing_says_why():
    failure = Failure("pi5", ReportedError("unreachable", "pi5: no route to host", "ping pi5", 5))
    text = markdown([Outcome(bench_report()), failure])
    assert "### pi5\n\n❌ **pi5: no route to host**\n\nhint: ping pi5\n" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<script>", "\\<script\\>"),
        ("*bold* _it_ `code`", "\\*bold\\* \\_it\\_ \\`code\\`"),
        ("[text](javascript:x)", "\\[text\\](javascript:x)"),
        ("@user and #12", "@<!-- -->user and #<!-- -->12"),
        ("https://evil.example www.evil.example", "https<!-- -->://evil.example www<!-- -->.evil.example"),
        ("&amp; $x$ back\\slash", "\\&amp; \\$x\\$ back\\\\slash"),
        ("two\nlines\r\n\u2028three", "two lines three"),
    ],
)
def test_text_is_text(text, shown):
    assert escaped(text) == shown


@settings(max_examples=50)
@given(st.text())
def test_whatever_a_report_says_stays_in_its_cell_and_line(text):
    plain = bench_report(70)
    odd = bench_report(70, model=ModelFacts(text, "ab" * 32, 1, text), warnings=(text,), target=text or None)
    gates = [Gate(text, "missed", text, text)]
    shown = tables(markdown([Outcome(odd, compare_runs(plain, odd), tuple(gates))]))
    assert [set(table) for table in shown] == [{3}, {7}, {5}]
    assert "\n" not in escaped(text)
