import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runtime.contract.events import Step
from device_runtime.errors import EdgeError, UsageError
from edgekit.project.config import read_project
from edgekit.project.samples import SAMPLES, new_project, sample_folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    told = []
    return new_project(tmp_path_factory.mktemp("new") / "my-digits", "digits", told.append), told


def test_a_project_has_all_that_its_file_names_and_bears_its_own_name(digits):
    made, _ = digits
    project = read_project(made.folder / "edgekit.toml")

    assert project.file.project.name == made.name == "my-digits"
    assert project.source == made.model
    assert project.source.read_bytes() == (sample_folder("digits") / "digits.keras").read_bytes()
    assert project.labels.is_file()
    assert len(list(project.calibration.iterdir())) == made.calibration_pictures == 150
    assert made.evaluation_pictures == 540
    assert (made.folder / "train.py").is_file()
    assert (made.folder / "README.md").is_file()


def test_a_project_folder_is_an_ordinary_folder(digits, tmp_path):
    made, _ = digits
    plain = tmp_path / "plain"
    plain.mkdir()

    assert made.folder.stat().st_mode == plain.stat().st_mode
    assert [path.name for path in made.folder.parent.iterdir()] == ["my-digits"]
    assert not list(made.folder.rglob("__pycache__"))


def test_the_steps_are_told(digits):
    assert digits[1] == [Step("copy the sample digits"), Step("make its pictures")]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()

    assert new_project(tmp_path / "empty", "digits").evaluation_pictures == 540


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(EdgeError, match="exists already") as caught:
        new_project(tmp_path / "mine", "digits")

    assert "another name" in caught.value.hint
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.parametrize("name", ["My-App", "-app", "my app", "ünï", "a" * 65, "x\n", "a;b"])
def test_a_name_that_a_bundle_could_not_bear_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="name of the project"):
        new_project(tmp_path / name, "digits")

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_sample_is_answered_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(UsageError, match='no sample "digit"') as caught:
        new_project(tmp_path / "app", "digit")

    assert "digits" in caught.value.hint


def test_a_missing_folder_above_is_named(tmp_path):
    with pytest.raises(EdgeError, match="does not exist") as caught:
        new_project(tmp_path / "no" / "app", "digits")

    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_names_its_project_after_itself(sample):
    # The name is replaced in a new project; were it written differently, the replacement would silently miss it.
    assert f'\nname = "{sample}"\n' in (sample_folder(sample) / "edgekit.toml").read_text()


def test_a_script_that_fails_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(EdgeError, match=r"make_images\.py ended with exit code 1") as caught:
        new_project(tmp_path / "app", "digits")

    assert "libGL.so.1" in str(caught.value)
    assert caught.value.hint.endswith("edgekit doctor")
    assert list(tmp_path.iterdir()) == [broken]


def test_a_full_disk_is_named_and_left_as_it_was(small_disk):
    with pytest.raises(EdgeError, match=r"[Nn]o space left"):
        new_project(small_disk / "app", "belt")

    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(tmp_path, number):
    running = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "new", "app", "--sample", "belt"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The pictures take several seconds; the first one tells that the script is at work.
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".app-*/.images-*/calibration/*.jpg")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
