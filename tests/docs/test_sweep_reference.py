"""The page of a sweep's JSON has what the code writes."""

import dataclasses
import typing
from pathlib import Path

import pytest

from device_runtime.contract.reported import ReportedError
from edgekit.benching.sweep_report import (
    AXES,
    SWEEP_SCHEMA,
    Accuracy,
    Axis,
    PointLatency,
    Recommendation,
    Setting,
    SweepPoint,
    SweepReport,
)
from tests.docs.test_reference import documented, word

_DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize(
    "kind", [SweepReport, Axis, SweepPoint, Setting, PointLatency, Accuracy, Recommendation, ReportedError]
)
def test_every_key_of_a_sweep_is_documented_with_its_type(kind):
    hints = typing.get_type_hints(kind)
    fields = {field.name: word(hints[field.name]) for field in dataclasses.fields(kind)}
    fields = {name: {"bool": "boolean"}.get(text, text) for name, text in fields.items()}
    assert documented("reference/bench-sweep-json.md", kind.__name__) == fields


def test_versions_and_axes_are_documented():
    assert f"`schema` is {SWEEP_SCHEMA}." in (_DOCS / "reference/bench-sweep-json.md").read_text()
    guide = (_DOCS / "guides/bench-sweep.md").read_text()
    assert all(f"| `{axis}` |" in guide for axis in AXES)
