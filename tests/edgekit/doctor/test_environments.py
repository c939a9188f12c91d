"""The doctor on environments that are not made, and on ones that are broken."""

import pytest

from converters.environments.catalog import ENVIRONMENTS
from edgekit.doctor.environments import environment_checks, environment_finding
from edgekit.doctor.interface import Status


@pytest.fixture(autouse=True)
def _nothing_made(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_one_that_is_not_made_is_no_failure(name):
    finding = environment_finding(ENVIRONMENTS[name])
    assert finding.status is Status.OK
    assert finding.found.startswith("not made yet; it reads ")


def test_one_that_is_broken_fails_with_the_command_that_makes_it_anew():
    environment = ENVIRONMENTS["onnx"]
    environment.folder.mkdir(parents=True)
    finding = environment_finding(environment)
    assert (finding.status, finding.remedy) == (Status.FAIL, "edgekit doctor --prepare onnx")
    assert str(environment.folder) in finding.found


def test_each_environment_has_a_check_of_its_own():
    names = [check.name for check in environment_checks()]
    assert names == [f"environment-{name}" for name in ENVIRONMENTS]
    assert [check.examine().status for check in environment_checks()] == [Status.OK] * len(names)
    assert [check.name for check in environment_checks(("torch",))] == ["environment-torch"]
