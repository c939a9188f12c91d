"""``edgekit doctor`` on this machine, well and ill."""

import pytest


@pytest.fixture
def ill(tmp_path, monkeypatch):
    """A machine on which NumPy cannot be imported by new processes."""
    (tmp_path / "broken" / "numpy").mkdir(parents=True)
    (tmp_path / "broken" / "numpy" / "__init__.py").write_text("raise ImportError('numpy is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))


def test_a_quick_look_says_what_is_well_and_how_much(edgekit):
    answer = edgekit.ok("doctor", "--quick")
    lines = answer.out.splitlines()
    assert lines[0].startswith("ok    Python ")
    assert any(line.startswith("ok    Engine litert ") and "answers right" in line for line in lines)
    assert ": 0 failed, " in lines[-1]
    assert "TensorFlow" not in answer.out


def test_json_is_one_document_with_the_same_facts(edgekit):
    answer = edgekit.ok("doctor", "--quick", "--json")
    assert answer.json["ok"] is True
    python = answer.json["checks"][0]
    assert (python["name"], python["status"], python["remedy"]) == ("python", "ok", "")
    assert {check["status"] for check in answer.json["checks"]} <= {"ok", "warn"}


@pytest.mark.usefixtures("ill")
def test_a_failure_says_what_was_expected_and_what_mends_it_and_exits_with_1(edgekit):
    answer = edgekit("doctor", "--quick")
    assert answer.code == 1
    assert "fail  Engine litert          ended with exit code 1: ImportError: numpy is broken" in answer.out
    assert "expected: a model that runs\n" in answer.out
    assert " -m pip install --force-reinstall 'ai-edge-litert>=" in answer.out
    assert "Traceback" not in answer.out + answer.err


@pytest.mark.usefixtures("ill")
def test_a_failure_is_still_one_json_document(edgekit):
    answer = edgekit("doctor", "--quick", "--json")
    assert (answer.code, answer.json["ok"]) == (1, False)
    assert {check["status"] for check in answer.json["checks"]} >= {"ok", "fail"}


def test_unknown_options_are_refused(edgekit):
    assert edgekit("doctor", "--fast").code == 2


def test_environments_are_listed_and_none_need_be_made(edgekit, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))
    answer = edgekit.ok("doctor", "--quick")
    lines = [line for line in answer.out.splitlines() if "  Environment " in line]
    assert [line.split()[:3] for line in lines] == [["ok", "Environment", "onnx"], ["ok", "Environment", "torch"]]
    assert all("not made yet" in line for line in lines)
    assert list((tmp_path).glob("environments*")) == []


def test_an_environment_that_nobody_knows_cannot_be_prepared(edgekit):
    answer = edgekit("doctor", "--prepare", "caffe")
    assert answer.code == 2
    assert "onnx" in answer.err
