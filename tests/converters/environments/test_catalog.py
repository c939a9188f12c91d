"""The environments that edgekit ships locks of, and where they are kept."""

import re
from pathlib import Path

import pytest

from converters.environments.catalog import ENVIRONMENTS, environments_folder


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_every_pin_of_a_lock_has_a_hash(environment):
    lines = environment.lock.read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(pins) > 20
    assert [pin for pin in pins if not re.search(r"--hash=sha256:[0-9a-f]{64}", pin)] == []
    assert [pin for pin in pins if "==" not in pin.split("--hash")[0]] == []


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_no_lock_has_a_package_that_talks_to_the_network(environment):
    names = {line.partition("==")[0] for line in environment.lock.read_text().splitlines() if "==" in line}
    assert not names & {"requests", "httpx", "urllib3", "huggingface-hub", "kagglehub", "aiohttp"}


def test_they_are_kept_where_the_user_says_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EDGEKIT_ENVIRONMENTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert environments_folder() == tmp_path / ".cache" / "edgekit" / "environments"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert environments_folder() == Path("/cache/edgekit/environments")
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", "/elsewhere")
    assert environments_folder() == Path("/elsewhere")
