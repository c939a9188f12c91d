import re

import pytest

from device_runtime.contract.events import silent
from device_runtime.contract.service import MqttSpec, PageSpec, ServiceSpec
from device_runtime.errors import EdgeError
from edgekit.bundling.needs import ENGINE_PACKAGES, packages_for
from edgekit.bundling.resolve import LOCKS, Resolver, _hashes
from tests.support.package_index import serving

EVERYTHING = ServiceSpec(page=PageSpec(), mqtt=MqttSpec("broker", "topic"))


def resolve(index, *packages, fresh=False, heard=silent):
    return Resolver(index.locks, heard).resolve(
        "litert", packages or packages_for("litert", ServiceSpec()), fresh=fresh
    )


def names(resolution):
    return [package.name for package in resolution.packages]


def test_what_packages_need_comes_with_its_wheels_for_all_platforms(index):
    found = resolve(index)
    assert names(found) == ["ai-edge-litert", "flatbuffers", "numpy", "opencv-python-headless", "pillow"]
    litert = found.packages[0]
    assert (litert.version, len(litert.wheels)) == ("2.3.0", 4)
    assert all(len(wheel.sha256) == 64 and wheel.url.endswith(wheel.file) for wheel in litert.wheels)


def test_only_what_the_service_asks_for_is_taken():
    plain, page = packages_for("litert", ServiceSpec()), packages_for("litert", ServiceSpec(page=PageSpec()))
    assert set(page) - set(plain) == {"prometheus-client", "starlette", "uvicorn"}
    mqtt = packages_for("tflite-runtime", ServiceSpec(mqtt=MqttSpec("broker", "topic")))
    assert set(mqtt) - set(plain) == {"tflite-runtime", "paho-mqtt"}


def test_a_newer_version_than_the_lock_has_is_not_taken(index):
    locked = index.locks / "litert.txt"
    before = locked.read_text()
    index.add("numpy", "9.0")
    locked.write_text(before)
    assert [package.version for package in resolve(index).packages if package.name == "numpy"] == ["1.26.4"]


def test_a_file_that_the_lock_has_no_hash_of_does_not_count(index):
    locked = index.locks / "litert.txt"
    locked.write_text(
        re.sub(r"(pillow==11.0.0(?: \\\n    --hash=sha256:\w+)*) \\\n    --hash=sha256:\w+", r"\1", locked.read_text())
    )
    pillow = next(package for package in resolve(index).packages if package.name == "pillow")
    assert len(pillow.wheels) == 3


def test_what_was_asked_once_needs_no_index_again(index, monkeypatch):
    heard = []
    first = resolve(index, heard=heard.append)
    monkeypatch.delenv("UV_FIND_LINKS")
    assert resolve(index, heard=heard.append) == first
    assert len(heard) == 1
    with pytest.raises(EdgeError):
        resolve(index, fresh=True)


def test_another_lock_is_another_question(index, monkeypatch):
    resolve(index)
    (index.locks / "litert.txt").write_text((index.locks / "litert.txt").read_text() + "\n")
    monkeypatch.delenv("UV_FIND_LINKS")
    with pytest.raises(EdgeError):
        resolve(index)


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"packages": [1]}'])
def test_a_damaged_cache_is_asked_anew(index, empty_caches, damage):
    first = resolve(index)
    for kept in (empty_caches / "resolutions").iterdir():
        kept.write_text(damage)
    assert resolve(index) == first


@pytest.fixture
def over_http(index, monkeypatch):
    """The same index, asked over HTTP."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with serving(index) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.url)
        yield server


@pytest.mark.usefixtures("over_http")
def test_a_package_that_is_in_no_index_is_named(index):
    with pytest.raises(EdgeError, match=r"cannot look up no-such-package: .*not found") as caught:
        resolve(index, "no-such-package")
    assert "locked versions" in caught.value.hint


def test_without_a_network_the_packages_are_named_and_what_would_do(index, over_http):
    over_http.stop()
    with pytest.raises(EdgeError, match=r"ai-edge-litert, .*no package index can be reached") as caught:
        resolve(index)
    assert "UV_FIND_LINKS=/folder" in caught.value.hint


def test_an_index_over_http_is_asked_and_no_password_is_kept(index, monkeypatch, empty_caches):
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with serving(index, user="me:secret") as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.url.replace("//", "//me:secret@"))
        found = resolve(index)
        assert found.packages[0].wheels[0].url.startswith(f"http://127.0.0.1:{server.port}/files/")
    assert all("secret" not in kept.read_text() for kept in (empty_caches / "resolutions").iterdir())


@pytest.mark.parametrize("engine", ENGINE_PACKAGES)
def test_every_pin_of_a_lock_has_hashes_and_is_what_the_tests_run_with(engine):
    text = (LOCKS / f"{engine}.txt").read_text().replace("\\\n", " ")
    pins = {line.split("--hash")[0].strip() for line in text.splitlines() if line.strip()}
    assert all("--hash=sha256:" in line for line in text.splitlines() if line.strip())
    tested = (LOCKS.parents[2] / "requirements" / "dev.txt").read_text()
    tested_pins = {line.rstrip("\\ ").partition(" ;")[0] for line in tested.splitlines() if "==" in line}
    assert {pin.partition(" ;")[0] for pin in pins} <= tested_pins
    assert set(packages_for(engine, EVERYTHING)) <= {pin.partition("==")[0] for pin in pins}


def test_hashes_are_those_of_the_package_above_them(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        f"a==1 ; python_version < '3' \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}\n"
        f"a==2 \\\n    --hash=sha256:{'3' * 64}\nb==1 \\\n    --hash=sha256:{'4' * 64}\n"
    )
    assert _hashes(lock) == {"a": {digit * 64 for digit in "123"}, "b": {"4" * 64}}
