"""Saved runs: their files, which one is the last of its kind, and what a word for one means."""

import dataclasses

import pytest

from device_runtime.contract.bench import EngineFacts, ModelFacts
from device_runtime.errors import BadFileError, EdgeError, UsageError
from edgekit.benching.compare import read_report
from edgekit.benching.history import History, find_baseline, kind_of
from tests.support.bench_reports import bench_report


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "bench")


def at(day, **changes):
    return bench_report(frames=70, created=f"2026-03-{day:02d}T09:30:00+00:00", **changes)


def test_a_run_is_a_file_named_by_time_model_and_target(history):
    assert history.save(at(1)).name == "20260301-093000-belt.json"
    path = history.save(at(1, target="ssh://pi@board.local"))
    assert path.name == "20260301-093000-belt-ssh-pi-board.local.json"
    assert read_report(path) == at(1, target="ssh://pi@board.local")


def test_a_run_of_the_same_second_replaces_none(history):
    assert [history.save(at(1)).name for _ in range(3)] == [
        "20260301-093000-belt.json",
        "20260301-093000-belt-2.json",
        "20260301-093000-belt-3.json",
    ]
    assert [path.name for path in sorted(history.folder.iterdir()) if path.name.startswith(".")] == []


def test_a_run_with_a_name_replaces_the_one_that_had_it(history):
    history.save(at(1), "baseline")
    assert history.save(at(2), "baseline.json").name == "baseline.json"
    assert [run.report.created for run in history.runs()] == [at(2).created]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "last", "a b", "x" * 200])
def test_a_name_that_is_none_is_refused(history, name):
    with pytest.raises(UsageError, match="expected a name of letters") as caught:
        history.path_of(name)
    assert caught.value.hint == "--save baseline"


def test_a_strange_model_name_makes_a_plain_file_name(history):
    report = at(1, model=ModelFacts("../Große Modelle/x", "ab" * 32, 1, "1x1 uint8"))
    assert history.save(report).name == "20260301-093000-Gro-e-Modelle-x.json"
    assert history.last(kind_of(report)).report == report


def test_the_last_run_is_the_newest_of_its_kind(history):
    for day in (1, 3, 2):
        history.save(at(day))
    history.save(at(4, target="pi"))
    history.save(at(5, engine=EngineFacts("litert", "2.3.0", 4, "xnnpack")))
    history.save(at(6, engine=EngineFacts("tflite-runtime", "2.14.0", 2, "xnnpack")))
    history.save(at(7, model=ModelFacts("other", "ab" * 32, 1, "1x1 uint8")))
    assert history.last(kind_of(at(9))).report.created == at(3).created
    assert history.last(kind_of(at(9, target="pi"))).report.created == at(4).created
    assert history.last(kind_of(at(9, target="nowhere"))) is None


def test_a_model_with_another_digest_is_of_the_same_kind(history):
    history.save(at(1, model=ModelFacts("belt", "cd" * 32, 1, "1x1 uint8")))
    assert history.last(kind_of(at(2))) is not None


def test_a_named_run_may_be_the_last(history):
    history.save(at(1))
    history.save(at(2), "baseline")
    assert history.last(kind_of(at(9))).path.name == "baseline.json"


def test_a_disturbed_run_is_the_last_only_where_there_is_no_other(history):
    history.save(at(2, disturbed=("busy",)))
    assert history.last(kind_of(at(9))).report.created == at(2).created
    history.save(at(1))
    assert history.last(kind_of(at(9))).report.created == at(1).created


def test_files_that_are_no_runs_are_left_out(history):
    history.save(at(1))
    (history.folder / "20260401-093000-belt.json").write_text("{")
    (history.folder / "notes.json").write_text("[]")
    (history.folder / "readme.txt").write_text("hello")
    assert history.last(kind_of(at(9))).report == at(1)
    assert len(history.runs()) == 1


def test_an_empty_history_has_nothing(history):
    assert (history.has_any(), history.runs(), history.last(kind_of(at(1)))) == (False, [], None)
    history.check("")
    assert not history.folder.exists()


def test_a_history_that_cannot_be_written_is_an_error_before_anything_is_measured(tmp_path):
    with pytest.raises(EdgeError, match="cannot write"):
        History(tmp_path / "missing" / "bench").check("")
    with pytest.raises(EdgeError, match="cannot make"):
        History(tmp_path / "missing" / "bench").save(at(1))


def test_a_baseline_is_a_file_a_name_or_the_last(history, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history.save(at(1), "baseline")
    (tmp_path / "run.json").write_text((history.folder / "baseline.json").read_text())
    for word in ("run.json", "baseline", "bench/baseline.json"):
        assert find_baseline(word, history).of(at(9, target="anywhere")) == at(1)
    assert find_baseline("last", history).of(at(9)) == at(1)
    assert find_baseline("last", history).of(at(9, target="anywhere")) is None


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("last", UsageError, "no saved run in"),
        ("none.json", BadFileError, "no saved run none.json"),
        ("none", BadFileError, "no saved run"),
        ("a b", UsageError, "--compare: expected a name"),
    ],
)
def test_a_word_that_means_no_run_is_an_error_with_a_way_out(history, word, kind, message):
    with pytest.raises(kind, match=message) as caught:
        find_baseline(word, history)
    assert caught.value.hint


def test_without_a_project_there_is_no_last_run():
    with pytest.raises(UsageError, match=r"no edgekit\.toml here or above"):
        find_baseline("last", None)


def test_a_saved_run_survives_whole(history):
    report = dataclasses.replace(at(1), warnings=("“quoted” & <odd>",))
    assert read_report(history.save(report)) == report
