"""``--recipe auto`` on a small trained model: what it tries, chooses, confirms and reports."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from converters import convert
from converters.errors import BudgetMissedError
from converters.interface import ConvertRequest, PrepOptions, SearchOptions
from converters.recipe import recipe_named
from device_runtime.contract.events import Notice, silent
from device_runtime.engine.litert import ENGINES, installed_engines
from device_runtime.errors import BadFileError, UsageError
from tests.support.colours import LABELS, colour_pictures

SIGNED = PrepOptions(mean=(127.5,), std=(127.5,))


def write_labelled(folder, seed, count=40):
    """Write pictures that no other seed has, a folder for each class."""
    pictures, classes = colour_pictures(count, seed=seed)
    for index, (pixels, number) in enumerate(zip(pictures, classes, strict=True)):
        (folder / LABELS[number]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / LABELS[number] / f"{index}.png")
    return folder


@pytest.fixture
def search_for(fake, tmp_path):
    """Convert with ``recipe="auto"``: ``search_for(max_drop=2.0)`` gives the result."""
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS))
    pictures = write_labelled(tmp_path / "pictures", seed=11)

    def search(events=silent, runtimes=("litert",), samples=16, **options):
        request = ConvertRequest(
            fake(), tmp_path / "out.tflite", "auto", pictures, labels, SIGNED, samples=samples, runtimes=runtimes,
            search=SearchOptions(**options),
        )  # fmt: skip
        return convert(request, events)

    return search


def test_the_winner_keeps_the_budget_on_every_declared_runtime(search_for, tmp_path):
    runtimes = tuple(name for name in ENGINES if name in installed_engines())
    labelled = write_labelled(tmp_path / "labelled", seed=12, count=60)
    result = search_for(runtimes=runtimes, evaluation=labelled, optimize="size")
    report = result.search
    chosen = next(each for each in report.candidates if each.name == report.chosen)
    tried = {each.name: each for each in report.candidates}
    assert result.spec.provenance.recipe == result.recipe == chosen.name
    assert recipe_named(result.recipe) == chosen.recipe
    assert set(result.parity) == set(runtimes) == set(chosen.latency_ms)
    assert (report.metric, report.baseline) == ("top1", pytest.approx(1.0, abs=0.05))
    assert chosen.status == "ok"
    assert chosen.on_frontier
    assert chosen.size_bytes == min(each.size_bytes for each in tried.values() if each.status == "ok")
    assert dataclasses.astuple(report.pictures) == (16, 30, 30)
    assert report.confirmation.pictures == 30
    assert not report.confirmation.enough
    assert "30 held-out samples cannot tell" in report.advice[-1]
    assert {"float32", "float16", "dynamic-int8", "static-int8", "static-int8+equalise"} <= set(tried)
    assert {layer.operator for layer in report.layers} >= {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    if "tflite-runtime" in runtimes:
        assert tried["weight-only-int4"].status == "refused"


def test_without_labels_pictures_are_split_and_answers_compared(search_for):
    report = search_for(candidates=("float16", "static-int8")).search
    assert report.metric == "agreement"
    assert dataclasses.astuple(report.pictures) == (16, 12, 12)
    assert [each.name for each in report.candidates] == ["float16", "static-int8"]
    assert all(each.partitions["litert"] >= 1 for each in report.candidates)


def test_a_budget_that_nothing_keeps_is_an_error_with_all_that_was_tried(search_for, tmp_path):
    with pytest.raises(BudgetMissedError, match="no candidate of 1 keeps the budget") as caught:
        search_for(candidates=("static-int8",), max_bytes=100)
    assert caught.value.exit_code == 8
    assert "in at most 100 bytes" in str(caught.value)
    (candidate,) = caught.value.report.candidates
    assert (candidate.status, candidate.drop.value) == ("missed", 0.0)
    assert caught.value.report.chosen is None
    assert not (tmp_path / "out.tflite").exists()


def test_pictures_that_were_calibrated_with_prove_nothing(search_for, tmp_path):
    labelled = write_labelled(tmp_path / "labelled", seed=12)
    shutil.copytree(tmp_path / "pictures", tmp_path / "copied")
    with pytest.raises(BadFileError, match="in the calibration set too"):
        search_for(samples=99, evaluation=tmp_path / "copied", candidates=("float16",))
    heard = []
    shutil.copy(next((tmp_path / "pictures" / "red").iterdir()), labelled / "red" / "copy.png")
    for path in (tmp_path / "pictures" / "blue").iterdir():
        shutil.copy(path, labelled / "blue" / f"copy-{path.name}")
    search_for(heard.append, samples=99, evaluation=labelled, candidates=("float16",))
    left_out = [event.message for event in heard if isinstance(event, Notice) and "left out" in event.message]
    assert left_out


def test_what_cannot_be_searched_is_refused(search_for, tmp_path):
    with pytest.raises(UsageError, match="needs pictures with labels"):
        search_for(metric="top1")
    write_labelled(tmp_path / "odd", seed=1)
    (tmp_path / "odd" / "red").rename(tmp_path / "odd" / "rod")
    with pytest.raises(UsageError, match='label "rod" is none of the model'):
        search_for(evaluation=tmp_path / "odd")
    for value in ({"max_drop": -1.0}, {"metric": "f1"}, {"optimize": "power"}):
        with pytest.raises(ValueError, match="expected"):
            SearchOptions(**value)


def test_few_pictures_cannot_be_split(fake, tmp_path):
    pictures = write_labelled(tmp_path / "few", seed=3, count=8)
    request = ConvertRequest(fake(), tmp_path / "out.tflite", "auto", pictures, None, SIGNED)
    with pytest.raises(BadFileError, match="expected 12 or more, got 8"):
        convert(request, silent)
    assert np.all([path.suffix != ".tflite" for path in tmp_path.iterdir()])


def test_a_variant_is_called_by_the_formula_that_makes_it_again(search_for):
    result = search_for(candidates=("static-int8", "static-int8+float(SOFTMAX)"), optimize="latency")
    variant = search_for(candidates=("static-int8+equalise",))
    assert variant.search.chosen == "static-int8+equalise"
    assert variant.recipe == variant.spec.provenance.recipe == "wi8c-ai8+equalise"
    assert recipe_named(variant.recipe).equalise
    assert result.recipe in ("static-int8", "wi8c-ai8+keep:SOFTMAX")
