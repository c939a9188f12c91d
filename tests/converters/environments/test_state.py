"""What is seen of an environment: not made, well, or changed since."""

import pytest

from converters.environments.make import PACKAGES, prepare
from converters.environments.state import State, state_of
from device_runtime.contract.events import silent
from tests.support.environments import make_wheel, tiny, write_lock


@pytest.fixture
def environment(tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return tiny(write_lock(tmp_path / "lock.txt", make_wheel(tmp_path / "wheels")))


def test_one_that_is_not_there_is_not_made(environment):
    assert state_of(environment) == State(made=False)


def test_one_that_is_as_it_was_made_is_well(environment):
    prepare(environment, silent)
    assert state_of(environment) == State(made=True)


def test_a_package_that_went_is_named(environment):
    prepare(environment, silent)
    (metadata,) = environment.folder.rglob("tiny-1.0.dist-info/METADATA")
    metadata.unlink()
    metadata.parent.rename(metadata.parent.with_name("nothing"))
    assert state_of(environment) == State(made=True, problem="tiny is gone, was 1.0")


def test_a_python_that_went_is_a_problem(environment):
    prepare(environment, silent).unlink()
    assert str(environment.python) in state_of(environment).problem


def test_a_folder_that_tells_nothing_of_its_packages_is_a_problem(environment):
    prepare(environment, silent)
    (environment.folder / PACKAGES).unlink()
    assert PACKAGES in state_of(environment).problem
