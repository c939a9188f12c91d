import os
from dataclasses import replace

import pytest

from device_runtime.contract.events import Progress, Step, silent
from device_runtime.errors import BadFileError, EdgeError
from edgekit.bundling.fetch import cached, fetch, missing
from tests.support.package_index import PackageIndex, as_file, serving


@pytest.fixture
def index(tmp_path, empty_caches):  # noqa: ARG001 - its variables are what is wanted
    made = PackageIndex(tmp_path / "index")
    made.add("thing", "1.0")
    return made


@pytest.fixture
def wheel(index):
    return index.files / "thing-1.0-py3-none-any.whl"


def leftovers(folder):
    return [name for _, _, names in os.walk(folder) for name in names]


def test_a_wheel_is_kept_as_it_was_published_and_fetched_once(index, wheel, empty_caches):
    heard = []
    with serving(index) as server:
        file = as_file(wheel, server.file_url(wheel))
        assert missing([file, file]) == (file,)
        first = fetch(file, heard.append)
        assert fetch(file, heard.append) == first
        assert server.asked == ["/files/thing-1.0-py3-none-any.whl"]
    assert first == empty_caches / "wheels" / file.sha256 / file.file
    assert first.read_bytes() == wheel.read_bytes()
    assert missing([file]) == ()
    assert heard == [Step("download thing-1.0-py3-none-any.whl"), Progress(file.size, file.size, "bytes")]


def test_another_file_than_the_one_that_was_locked_is_refused_and_not_kept(index, wheel, empty_caches):
    with serving(index) as server:
        server.damage = wheel.read_bytes().replace(b"thing", b"thinG", 1)
        file = as_file(wheel, server.file_url(wheel))
        with pytest.raises(BadFileError, match=r"expected sha256 .*, got") as caught:
            fetch(file, silent)
    assert "proxy" in caught.value.hint
    assert leftovers(empty_caches) == []


def test_more_bytes_than_the_index_says_are_not_taken(index, wheel, empty_caches):
    with serving(index) as server:
        server.damage = wheel.read_bytes() + bytes(10_000_000)
        with pytest.raises(BadFileError, match="got more"):
            fetch(as_file(wheel, server.file_url(wheel)), silent)
    assert leftovers(empty_caches) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(wheel):
    file = as_file(wheel)
    fetch(file, silent).write_bytes(b"damaged")
    assert fetch(file, silent).read_bytes() == wheel.read_bytes()


def test_a_server_that_refuses_or_is_gone_is_named(index, wheel, empty_caches):
    with serving(index) as server:
        gone = as_file(wheel, server.file_url(wheel))
        with pytest.raises(EdgeError, match=r"from 127\.0\.0\.1: the server answers 404"):
            fetch(replace(gone, url=gone.url + ".none"), silent)
    with pytest.raises(EdgeError, match=r"cannot download thing-1\.0-py3-none-any\.whl from 127\.0\.0\.1") as caught:
        fetch(gone, silent)
    assert "connect to the network" in caught.value.hint
    assert leftovers(empty_caches) == []


@pytest.mark.parametrize("url", ["ftp://example.org/a.whl", "data:,x", "a.whl", ""])
def test_other_ways_than_https_http_and_files_are_not_taken(wheel, url):
    with pytest.raises(EdgeError, match="expected a URL"):
        fetch(replace(as_file(wheel), url=url), silent)


@pytest.mark.parametrize("form", ["//me:s%40cret@", "named"])
def test_the_password_of_an_index_is_for_its_files_too(index, wheel, monkeypatch, form):
    with serving(index, user="me:s@cret") as server:
        url = server.url.replace("//", "//me:s%40cret@")
        monkeypatch.setenv(
            "UV_INDEX" if form == "named" else "UV_DEFAULT_INDEX", f"mine={url}" if form == "named" else url
        )
        assert fetch(as_file(wheel, server.file_url(wheel)), silent).read_bytes() == wheel.read_bytes()


def test_a_password_may_be_in_netrc_and_is_in_no_message(index, wheel, monkeypatch, tmp_path):
    with serving(index, user="me:secret") as server:
        file = as_file(wheel, server.file_url(wheel))
        with pytest.raises(EdgeError, match="the server answers 401"):
            fetch(file, silent)
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert fetch(file, silent) == cached(file)


def test_a_full_disk_is_said_and_leaves_nothing(index, small_disk, monkeypatch):
    index.add("large", "1.0", code="X = '" + "x" * 2_000_000 + "'\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    with pytest.raises(EdgeError, match="no space left"):
        fetch(as_file(index.files / "large-1.0-py3-none-any.whl"), silent)
    assert leftovers(small_disk) == []
