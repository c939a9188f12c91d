"""Tables of the documentation that describe types and lists in the code."""

import dataclasses
import re
import types
import typing
from pathlib import Path

import pytest

from converters.datasets import KIND_OF_TASK
from device_runtime.bench.recorder import STEADY_WITHIN, WARMUP_FRAMES, WARMUP_MOST_S, WARMUP_S
from device_runtime.bench.statistics import NEEDED_SAMPLES, SAMPLES_FOR_INTERVAL, SAMPLES_FOR_P99
from device_runtime.contract import bench
from device_runtime.contract.bench import BENCH_SCHEMA, CONFIDENCE
from device_runtime.contract.model import TASK_DECODERS
from device_runtime.contract.prediction import Item
from edgekit.doctor.host import host_checks

_DOCS = Path(__file__).parent.parent.parent / "docs"
_WORDS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def documented(page, section):
    """The rows of a section's table: the first two columns."""
    part = re.split(r"^## ", (_DOCS / page).read_text(), flags=re.MULTILINE)
    text = next(piece for piece in part if piece.startswith(f"{section}\n"))
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))


def word(kind):
    """A type as the documentation calls it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(word(argument) for argument in arguments)
    if origin is tuple:
        return f"array of {word(arguments[0])}"
    if origin is dict:
        return f"object of {word(arguments[1])}"
    return _WORDS.get(kind) or kind.__name__


@pytest.mark.parametrize("kind", [kind for kind in vars(bench).values() if dataclasses.is_dataclass(kind)])
def test_every_key_of_a_bench_report_is_documented_with_its_type(kind):
    hints = typing.get_type_hints(kind)
    fields = {field.name: word(hints[field.name]) for field in dataclasses.fields(kind)}
    assert documented("reference/bench-json.md", kind.__name__) == fields


def test_the_rules_of_a_benchmark_are_documented_as_they_are():
    page = (_DOCS / "reference/bench-json.md").read_text()
    words = " ".join(page.split())
    half, frames = WARMUP_S / 2, WARMUP_FRAMES // 2
    assert f"`schema` is {BENCH_SCHEMA}." in page
    needed = [f"`{name}` {'takes ' * (name == 'p90')}{count}" for name, count in NEEDED_SAMPLES.items()]
    assert f"So {needed[0]} frames, {needed[1]} and {needed[2]}." in words
    assert f"`p50_interval` takes {SAMPLES_FOR_INTERVAL} frames, `p99_interval` {SAMPLES_FOR_P99}" in words
    assert f"hold it with {CONFIDENCE:.0%}" in words
    assert f"each of at least {frames} frames and {half:g} s, differ by less than {STEADY_WITHIN:.0%}" in words
    assert f"after {WARMUP_MOST_S:g} s and {WARMUP_FRAMES} frames" in words


def test_every_check_of_the_doctor_is_documented_in_its_order(tmp_path):
    names = re.findall(r"^\| `([\w-]+)` \|", (_DOCS / "guides/doctor.md").read_text(), re.MULTILINE)
    assert names == [check.name for check in host_checks(tmp_path)]


def test_every_task_is_documented_with_its_decoders():
    page = (_DOCS / "reference/tasks.md").read_text()
    decoders = re.findall(r"^\| (?:\w+)? ?\| `([\w-]+)` \|", page.split("## Item")[0], re.MULTILINE)
    assert decoders == [decoder for known in TASK_DECODERS.values() for decoder in known]


def test_every_key_of_an_item_is_documented_with_its_type():
    hints = typing.get_type_hints(Item)
    fields = {field.name: word(hints[field.name]) for field in dataclasses.fields(Item)}
    assert documented("reference/tasks.md", "Item") == fields


def test_every_kind_of_label_is_documented_by_its_header():
    page = (_DOCS / "reference/tasks.md").read_text()
    headers = re.findall(r"^\| `(file,[\w,]+)` \| (\w+)", page, re.MULTILINE)
    assert headers == [(kind.value, task) for task, kind in KIND_OF_TASK.items()]
