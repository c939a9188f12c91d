"""Making an environment: whole or not at all, by one process at a time, and with words for what goes wrong."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from converters.environments.make import packages_in, prepare, remake
from converters.errors import ConversionError
from device_runtime.contract.events import Notice, Step, silent
from device_runtime.errors import EdgeError
from tests.support.environments import PAUSING, ROOT, make_wheel, start_maker, tiny, write_lock


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder for environments, and one of wheels in place of a package index."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return tmp_path / "environments"


@pytest.fixture
def lock(root, tmp_path):  # noqa: ARG001 - its variables are what is wanted
    return write_lock(tmp_path / "lock.txt", make_wheel(tmp_path / "wheels"))


@pytest.fixture
def pausing(root, tmp_path, monkeypatch):  # noqa: ARG001 - as above
    """A lock whose package waits, when it is tried, for the file ``go`` after it made the file ``started``."""
    monkeypatch.setenv("TINY_STARTED", str(tmp_path / "started"))
    monkeypatch.setenv("TINY_GO", str(tmp_path / "go"))
    return write_lock(tmp_path / "lock.txt", make_wheel(tmp_path / "wheels", PAUSING))


def unfinished(root):
    return list(root.glob(".making-*"))


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.01)


def test_it_has_the_packages_of_its_lock_and_no_others(lock, root):
    environment = tiny(lock)
    python = prepare(environment, silent)
    assert packages_in(python) == {"tiny": "1.0"}
    assert environment.folder.parent == root
    assert environment.folder.name == f"tiny-{environment.digest}"
    assert unfinished(root) == []


def test_it_is_made_once_and_said_so(lock):
    first, second = [], []
    assert prepare(tiny(lock), first.append) == prepare(tiny(lock), second.append)
    assert first == [Step("make the environment that is tiny (1 MB, once)"), Step("try the tiny environment")]
    assert second == []


def test_another_lock_is_another_environment(lock, root):
    prepare(tiny(lock), silent)
    lock.write_text(lock.read_text() + "\n")
    prepare(tiny(lock), silent)
    assert len(list(root.glob("tiny-*"))) == 2


def test_a_killed_maker_leaves_nothing_that_looks_complete_and_the_next_cleans_up(pausing, root, tmp_path):
    maker = start_maker(pausing, dict(os.environ))
    wait_for(tmp_path / "started")
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    assert len(unfinished(root)) == 1
    assert list(root.glob("tiny-*")) == []
    (tmp_path / "go").touch()
    assert packages_in(prepare(tiny(pausing), silent)) == {"tiny": "1.0"}
    assert unfinished(root) == []


def test_an_interrupted_maker_leaves_nothing(pausing, root, tmp_path):
    maker = start_maker(pausing, dict(os.environ))
    wait_for(tmp_path / "started")
    maker.send_signal(signal.SIGINT)
    maker.communicate()
    assert maker.returncode != 0
    assert unfinished(root) == []
    assert list(root.glob("tiny-*")) == []


def test_a_second_maker_waits_and_takes_what_the_first_made(pausing, root, tmp_path):
    first = start_maker(pausing, dict(os.environ))
    wait_for(tmp_path / "started")
    second = start_maker(pausing, dict(os.environ))
    told = second.stdout.readline()
    (tmp_path / "go").touch()
    last = [maker.communicate()[0].splitlines()[-1] for maker in (first, second)]
    assert last == [str(tiny(pausing).python)] * 2
    assert told.strip() == str(Notice("another process makes the tiny environment; waiting for it"))
    assert len(list(root.glob("tiny-*"))) == 1


def test_one_whose_python_is_gone_is_made_again(lock):
    environment = tiny(lock)
    prepare(environment, silent).unlink()
    assert packages_in(prepare(environment, silent)) == {"tiny": "1.0"}


def test_remaking_brings_back_what_was_changed_in_it(lock, root):
    environment = tiny(lock)
    python = prepare(environment, silent)
    (module,) = environment.folder.rglob("tiny.py")
    module.unlink()
    remake(environment, silent)
    subprocess.run([python, "-c", "import tiny"], check=True)
    assert [path.name for path in root.iterdir() if path.is_dir()] == [environment.folder.name]


def test_a_package_that_is_not_the_pinned_one_is_refused(lock, root):
    write_lock(lock, "0" * 64)
    with pytest.raises(ConversionError, match="not the one that was pinned"):
        prepare(tiny(lock), silent)
    assert unfinished(root) == []


def test_a_lock_without_hashes_is_refused(lock):
    lock.write_text("tiny==1.0\n")
    with pytest.raises(ConversionError, match="hash"):
        prepare(tiny(lock), silent)


def test_without_a_network_the_message_says_what_is_needed(lock, monkeypatch, tmp_path):
    shutil.rmtree(tmp_path / "wheels")
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_INDEX_URL", "http://localhost:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ConversionError, match="packages cannot be downloaded") as caught:
        prepare(tiny(lock), silent)
    assert "edgekit doctor --prepare tiny" in caught.value.hint


def test_a_package_that_is_nowhere_is_named(lock, tmp_path):
    shutil.rmtree(tmp_path / "wheels")
    (tmp_path / "wheels").mkdir()
    with pytest.raises(ConversionError, match=r"no version of tiny==1\.0"):
        prepare(tiny(lock), silent)


def test_an_index_of_its_own_is_asked_when_a_package_is_nowhere_else(lock, tmp_path, monkeypatch):
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "empty").as_uri())
    (tmp_path / "empty" / "tiny").mkdir(parents=True)
    (tmp_path / "empty" / "tiny" / "index.html").touch()
    own = tmp_path / "own" / "tiny"
    own.mkdir(parents=True)
    (wheel,) = (tmp_path / "wheels").iterdir()
    wheel.rename(own / wheel.name)
    (own / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    environment = tiny(lock, index=own.parent.as_uri())
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(ConversionError, match="no version of tiny") as caught:
        prepare(environment, silent)
    assert environment.index in caught.value.hint
    monkeypatch.delenv("UV_NO_INDEX")
    assert packages_in(prepare(environment, silent)) == {"tiny": "1.0"}


def test_folders_that_pip_is_told_of_are_looked_into(lock, monkeypatch, tmp_path):
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'wheels'} {tmp_path}")
    assert packages_in(prepare(tiny(lock), silent)) == {"tiny": "1.0"}


def test_a_package_that_cannot_be_imported_is_no_environment(lock, root, tmp_path):
    write_lock(lock, make_wheel(tmp_path / "wheels", "raise ImportError('libfoo.so.1: not found')"))
    with pytest.raises(ConversionError, match=r"cannot be imported: ImportError: libfoo\.so\.1: not found"):
        prepare(tiny(lock), silent)
    assert [path for path in root.iterdir() if path.is_dir()] == []


def test_a_python_that_nobody_has_is_asked_for(lock, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(ConversionError, match=r"needs Python 3\.90 to 3\.91, found none") as caught:
        prepare(tiny(lock, oldest=90, newest=91), silent)
    assert "uv python install 3.91" in caught.value.hint


def test_too_small_a_disk_is_refused_before_anything_is_made(lock, root):
    with pytest.raises(EdgeError, match=r"needs 9000000000 MB in .* MB are free") as caught:
        prepare(tiny(lock, disk_mb=9_000_000_000), silent)
    assert "EDGEKIT_ENVIRONMENTS=" in caught.value.hint
    assert [path for path in root.iterdir() if path.is_dir()] == []


def test_a_full_disk_is_told_and_nothing_is_left(lock, small_disk, monkeypatch, tmp_path):
    write_lock(lock, make_wheel(tmp_path / "wheels", f"TEXT = {'x' * 2_000_000!r}"))
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(small_disk))
    with pytest.raises(EdgeError, match="no space left on the disk"):
        prepare(tiny(lock, disk_mb=0), silent)
    assert [path for path in small_disk.iterdir() if path.is_dir()] == []


def test_without_uv_the_message_says_how_to_get_it(lock):
    code = f"""
import sys
sys.modules["uv"] = None
from pathlib import Path
from tests.support.environments import tiny
from converters.environments.make import prepare
try:
    prepare(tiny(Path({str(lock)!r})), print)
except Exception as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "uv, which makes environments for ONNX and PyTorch models, is not installed | "
        f"{sys.executable} -m pip install uv"
    )
