"""Fixtures of the whole suite."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from device_runtime.engine.litert import ENGINES, installed_engines
from tests.support.cli import CommandLine

_REPOSITORY = Path(__file__).parent.parent

# A shell without job control has its background jobs ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test looks at time. On CI a property is tried with the same examples each time, so that a change is judged by
# what it changes; everywhere else with new ones.
settings.register_profile("edgekit", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("edgekit")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with third-party models and photos."""
    folder = Path(os.environ.get("EDGEKIT_SHARED_DATA") or _REPOSITORY.parent / "shared" / "data")
    if not (folder / "models").is_dir():
        pytest.skip(f"no third-party models and photos in {folder}; set EDGEKIT_SHARED_DATA")
    return folder


@pytest.fixture(params=list(ENGINES))
def engine(request) -> str:
    """Each engine in turn; one that is not installed is skipped."""
    if request.param not in installed_engines():
        pytest.skip(f"engine {request.param} is not installed (it needs Python 3.11)")
    return request.param


@pytest.fixture
def edgekit(capfd, tmp_path, monkeypatch) -> CommandLine:
    """The command line, in this process, in an empty folder and with an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return CommandLine(capfd)


def pytest_collection_modifyitems(items):
    """Tests that use the third-party data carry its marker, so that they can be chosen or left out."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("shared"):
            pytest.fail(f"{item.nodeid} uses shared_data without the marker shared", pytrace=False)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB; it needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
