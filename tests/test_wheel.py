"""The distribution as users install it: complete, with nothing that does not belong in it, and able to work."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The built wheel's contents, in a folder of their own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=_REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def tracked(*folders):
    listed = subprocess.run(["git", "ls-files", *folders], cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing to compare the wheel with")
    return listed.stdout.split()


def test_it_holds_exactly_what_is_in_the_repository(installed):
    expected = set(tracked("edgekit", "converters", "device_runtime"))
    expected |= {f"edgekit/{name}" for name in tracked("samples/belt", "samples/digits")}
    found = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {name for name in found if ".dist-info/" not in name} == expected
    assert {name.rpartition("/")[2] for name in found if ".dist-info/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_it_works_without_the_repository(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "edgekit", "new", "app", "--sample", "digits", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app/digits.keras").is_file()
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import edgekit; print(edgekit.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(installed)
