import os

import pytest

from converters.cache import cache_folder
from converters.uv import cause_of, find_uv, lacks_network, uv_variables


def test_uv_is_found_beside_this_python():
    assert os.access(find_uv("is tested"), os.X_OK)


def test_what_pip_is_told_once_uv_is_told_too(monkeypatch):
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    assert uv_variables()["UV_FIND_LINKS"] == "/one,/two"
    monkeypatch.setenv("UV_FIND_LINKS", "/three")
    assert uv_variables()["UV_FIND_LINKS"] == "/three"


@pytest.mark.parametrize(
    ("lines", "cause", "network"),
    [
        ([], "uv says nothing", False),
        (["something went wrong"], "something went wrong", False),
        (["error: Failed to fetch", "  cause: tcp connect error", "  cause: dns error"], None, True),
        (["error: No solution found", "  cause: because of this"], "No solution found; because of this", False),
    ],
)
def test_the_cause_of_a_failure_is_what_uv_says_first_and_last(lines, cause, network):
    assert cause_of(lines) == (cause or "Failed to fetch; tcp connect error; dns error")
    assert lacks_network(lines) == network


def test_the_cache_is_where_the_user_has_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgekit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "edgekit"
