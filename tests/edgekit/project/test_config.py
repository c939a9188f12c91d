"""``edgekit.toml``."""

import pytest

from device_runtime.contract.model import BoxFormat, Colour, Resize
from device_runtime.errors import BadFileError, UsageError
from edgekit.project.config import find_project, load_project

WHOLE = """
[project]
name = "belt"
version = "1.2"
[model]
source = "belt.keras"
calibration = "images/calibration"
labels = "labels.txt"
[prep]
resize = "letterbox"
colour = "bgr"
pad = 114
normalise = "-1..1"
[task]
name = "detection"
decoder = "boxes-scores"
box_format = "yxyx"
[service]
source = "v4l2:0"
threads = 2
[demo]
source = "file:clip.mp4"
[targets]
roof = "local:board"
"""


def write(folder, text):
    (folder / "edgekit.toml").write_text(text)
    return folder


def test_everything_is_read_and_paths_are_relative_to_the_file(tmp_path):
    project = load_project(write(tmp_path, WHOLE))
    assert project.source == tmp_path / "belt.keras"
    assert project.calibration == tmp_path / "images/calibration"
    assert project.labels == tmp_path / "labels.txt"
    assert project.tflite == tmp_path / "out/belt.tflite"
    assert project.bundle == tmp_path / "out/belt-1.2.edgekit"
    assert project.file.targets == {"roof": "local:board"}
    prep = project.file.prep.options()
    assert (prep.resize, prep.colour, prep.pad) == (Resize.LETTERBOX, Colour.BGR, 114)
    assert (prep.mean, prep.std) == ((127.5,), (127.5,))
    assert project.file.task.box_format is BoxFormat.YXYX
    assert project.source_of_frames("file:clip.mp4") == f"file:{tmp_path / 'clip.mp4'}"
    assert project.source_of_frames("synthetic:belt") == "synthetic:belt"


def test_a_project_is_found_from_a_folder_inside_it(tmp_path):
    write(tmp_path, WHOLE)
    (tmp_path / "a/b").mkdir(parents=True)
    assert load_project(tmp_path / "a/b").folder == tmp_path


def test_without_a_project_the_error_says_how_to_begin(tmp_path):
    assert find_project(tmp_path) is None
    with pytest.raises(UsageError, match=r"no edgekit\.toml") as caught:
        load_project(tmp_path)
    assert "edgekit new" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[model]\nsource='x'\n", 'key "project" is missing', ""),
        ("[project]\nname='x'\n[model]\nsuorce='x'\n", 'model: unknown key "suorce"', 'did you mean "source"?'),
        (WHOLE + "[taks]\n", 'unknown key "taks"', 'did you mean "task"?'),
        (WHOLE.replace("114", "'x'"), "prep: pad: expected a whole number, got 'x'", ""),
        (WHOLE.replace("letterbox", "leterbox"), "expected one of stretch, letterbox", 'did you mean "letterbox"?'),
        ("[project\n", "not TOML", ""),
    ],
)
def test_mistakes_are_named_and_corrected(tmp_path, text, message, hint):
    with pytest.raises(BadFileError, match=r"edgekit\.toml") as caught:
        load_project(write(tmp_path, text))
    assert message in str(caught.value)
    assert caught.value.hint == hint


def test_an_unknown_normalisation_is_corrected(tmp_path):
    project = load_project(write(tmp_path, WHOLE.replace("-1..1", "imagnet")))
    with pytest.raises(UsageError, match="imagnet") as caught:
        project.file.prep.options()
    assert "imagenet" in caught.value.hint
