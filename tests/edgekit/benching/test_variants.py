"""The models of a sweep: converted once, used again, and refused where there can be none."""

import dataclasses
import shutil

import pytest

from device_runtime.contract.events import Notice
from device_runtime.errors import UsageError
from edgekit.benching.sweep import run_sweep
from edgekit.benching.sweep_report import Setting
from edgekit.benching.variants import ProjectModels
from edgekit.project.config import read_project
from tests.support.sweeps import Bench, sweep_plan

PROJECT = """
[project]
name = "colours"
[model]
source = "{source}"
recipe = "float32"
calibration = "pictures"
[prep]
normalise = "-1..1"
[task]
name = "classification"
decoder = "probabilities"
"""


def project(folder, source):
    shutil.copy(source, folder)
    shutil.copytree(source.parent / "pictures", folder / "pictures", dirs_exist_ok=True)
    (folder / "edgekit.toml").write_text(PROJECT.format(source=source.name))
    return read_project(folder / "edgekit.toml")


@pytest.fixture
def colours(tmp_path, trained):
    return project(tmp_path, trained / "plain.keras")


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


@pytest.mark.slow
def test_each_recipe_is_converted_once_and_used_again_while_nothing_changed(colours):
    events = []
    models = ProjectModels(colours)
    one, two = Setting("float16"), Setting("float16", threads=2)
    made = models(one, events.append)
    assert models(two, events.append) == made
    assert made.model == colours.folder / "out/sweep/colours-float16.tflite"
    assert made.spec.provenance.recipe == "float16"
    assert not [text for text in notices(events) if "used again" in text]
    written = made.model.stat().st_mtime_ns

    again = ProjectModels(colours)(one, events.append)
    assert (again, again.model.stat().st_mtime_ns) == (made, written)
    assert "colours-float16.tflite: used again" in notices(events)

    made.model.write_bytes(made.model.read_bytes() + b"damaged")
    assert ProjectModels(colours)(one, events.append).model.stat().st_mtime_ns != written

    changed = dataclasses.replace(colours.file.task, score_threshold=0.9)
    other = dataclasses.replace(colours, file=dataclasses.replace(colours.file, task=changed))
    assert ProjectModels(other)(one, events.append).spec.task.score_threshold == 0.9
    assert notices(events).count("colours-float16.tflite: used again") == 1


@pytest.mark.slow
def test_a_project_is_swept_over_sizes_where_its_source_leaves_the_size_open(tmp_path, trained):
    models = ProjectModels(project(tmp_path, trained / "open-size.keras"))
    bench = Bench(lambda call: 10.0 if "24x16" in call.model.name else 5.0)
    report = run_sweep(sweep_plan(tmp_path, "size=16x16,24x16", models=models), measure=bench)
    assert {call.model.stem for call in bench.calls} == {"colours-float32-16x16", "colours-float32-24x16"}
    shapes = [models(point.setting, lambda _: None).spec.inputs[0].shape for point in report.points]
    assert shapes == [(1, 16, 16, 3), (1, 24, 16, 3)]
    assert [point.error for point in report.points] == [None, None]
    assert report.recommended.point == 1


@pytest.mark.slow
def test_a_size_that_the_source_does_not_leave_open_is_refused(colours):
    with pytest.raises(UsageError, match=r"--sweep size: .*its input is 16x16, got 40x40") as caught:
        ProjectModels(colours)(Setting(input_size=(40, 40)), lambda _: None)
    assert "leave size out" in caught.value.hint


def test_sizes_of_a_project_that_searches_need_a_recipe(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"")
    text = PROJECT.format(source="m.keras").replace('"float32"', '"auto"')
    (tmp_path / "edgekit.toml").write_text(text)
    with pytest.raises(UsageError, match="would search anew for each size"):
        ProjectModels(read_project(tmp_path / "edgekit.toml"))(Setting(input_size=(8, 8)), lambda _: None)
