"""The guide to measuring, and the page of its JSON, say what is so."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from device_runtime.contract.bench import CONFIDENCE
from edgekit.benching.compare import BETWEEN_RUNS, COMPARISON_SCHEMA, Comparison, Difference, Doubt, Fact, Figure, Side
from edgekit.benching.gates import Gate
from tests.docs.test_reference import documented, word
from tests.support.tflite import brightness_model

_DOCS = Path(__file__).parent.parent.parent / "docs"


def plain(kind):
    """A type as the documentation calls it; one of some words is a string."""
    options = [option for option in typing.get_args(kind) if isinstance(option, str)]
    return "string" if options else word(kind)


@pytest.mark.parametrize("kind", [Comparison, Side, Figure, Fact, Difference, Doubt, Gate])
def test_every_key_of_a_comparison_is_documented_with_its_type(kind):
    hints = typing.get_type_hints(kind)
    fields = {field.name: plain(hints[field.name]) for field in dataclasses.fields(kind)}
    assert documented("reference/bench-comparison-json.md", kind.__name__) == fields


def test_the_rules_of_comparisons_are_documented_as_they_are():
    assert f"`schema` is {COMPARISON_SCHEMA}." in (_DOCS / "reference/bench-comparison-json.md").read_text()
    guide = (_DOCS / "guides/bench.md").read_text()
    assert f"Every interval is wider by {BETWEEN_RUNS:.0%} than" in guide
    assert f"by the {CONFIDENCE:.0%} interval of the ratio" in guide


def test_the_python_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    [code] = re.findall(r"^```python\n(.*?)^```", (_DOCS / "guides/bench.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "out").mkdir()
    brightness_model(tmp_path / "out" / "belt.tflite")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "bench.md", "exec"), {})  # noqa: S102 - it is what the guide tells people to write
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("0.")
    assert "p50" in out[1]
    assert out[2].startswith("invoke.p95 ≤ 40.0 ms ")
    assert [path.suffix for path in (tmp_path / "bench").iterdir()] == [".json"]
