import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.project.config import read_project

SAMPLE = Path(__file__).parents[2] / "samples" / "digits"
TILE = 8


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, SAMPLE / script, *arguments], capture_output=True, text=True, check=False, cwd=SAMPLE.parent
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits") / "images"
    done = run("make_images.py", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_atlas_holds_the_data_set_of_scikit_learn():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    digits = (SAMPLE / "scans.txt").read_text().replace("\n", "")
    atlas = np.array(Image.open(SAMPLE / "scans.png"))

    assert digits == "".join(str(digit) for digit in data.target)
    for index, scan in enumerate(data.images):
        row, column = divmod(index, 64)
        tile = atlas[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        assert np.array_equal(tile, scan * 15)


def test_the_atlas_is_what_its_script_makes(tmp_path):
    pytest.importorskip("sklearn.datasets")
    done = run("make_scans.py", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scans.txt").read_bytes() == (SAMPLE / "scans.txt").read_bytes()
    assert np.array_equal(np.array(Image.open(tmp_path / "scans.png")), np.array(Image.open(SAMPLE / "scans.png")))


def test_every_held_out_scan_is_a_picture_in_the_folder_of_its_digit(images):
    digits = (SAMPLE / "scans.txt").read_text().replace("\n", "")
    found = {path.name: path.parent.name for path in (images / "evaluation").rglob("*.png")}

    assert found == {f"scan-{index:04}.png": digits[index] for index in range(len(digits) - 540, len(digits))}
    assert min(Counter(found.values()).values()) > 40


def test_calibration_sees_no_held_out_scan(images):
    numbers = {int(path.stem.removeprefix("scan-")) for path in (images / "calibration").iterdir()}

    assert len(numbers) == 150
    assert max(numbers) < 1797 - 540


def test_a_picture_shows_dark_ink_on_light_paper(images):
    for path in sorted((images / "evaluation").rglob("*.png"))[::60]:
        picture = Image.open(path)
        pixels = np.array(picture)

        assert (picture.mode, picture.size) == ("L", (64, 64))
        assert pixels[0, 0] == pixels.max() > 200
        assert pixels.min() < 60
        assert 0.5 < (pixels > 200).mean() < 0.95


def test_the_pictures_are_the_same_each_time(images, tmp_path):
    again = tmp_path / "again"
    assert run("make_images.py", "--out", again).returncode == 0
    for path in sorted(images.rglob("*.png"))[::97]:
        assert (again / path.relative_to(images)).read_bytes() == path.read_bytes()


def test_pictures_do_not_go_where_something_is(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.txt").write_text("mine")
    done = run("make_images.py", "--out", tmp_path / "images")

    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "mine.txt"]


def test_the_project_file_names_what_is_there_and_fits_the_model():
    project = read_project(SAMPLE / "edgekit.toml")
    with zipfile.ZipFile(project.source) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]

    assert project.source.stat().st_size <= 1_000_000
    assert layers[0]["config"]["batch_shape"] == [None, 32, 32, 1]
    assert layers[-1]["config"]["units"] == len(project.labels.read_text().splitlines()) == 10
    assert layers[-1]["config"]["activation"] == "softmax"
    assert project.file.prep.colour.value == "gray"


def test_the_readme_tells_the_source_and_the_licence_of_the_scans():
    readme = (SAMPLE / "README.md").read_text()

    assert "Alpaydin" in readme
    assert "CC BY 4.0" in readme
    assert "Optical Recognition of Handwritten Digits" in (SAMPLE.parents[1] / "NOTICE").read_text()
