"""A package index that needs no network, and caches that are empty."""

import pytest

from tests.support.package_index import PackageIndex, usual_packages


@pytest.fixture
def empty_caches(tmp_path, monkeypatch):
    """Let edgekit and uv keep what they fetch in this test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    for variable in ("PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache" / "edgekit"


@pytest.fixture
def index(tmp_path, monkeypatch, empty_caches):  # noqa: ARG001 - its variables are what is wanted
    """What boards need, in a folder that uv looks into, and into no other."""
    made = usual_packages(PackageIndex(tmp_path / "index"))
    monkeypatch.setenv("UV_FIND_LINKS", str(made.files))
    monkeypatch.setenv("UV_OFFLINE", "1")
    return made
