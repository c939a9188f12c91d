"""An installed release, as the runtime reads it."""

from device_runtime.release import read_release
from tests.device_runtime.test_check import install


def test_a_release_that_is_read_through_a_link_stays_that_release(tmp_path):
    first = tmp_path / "root" / "releases" / ("ab" * 32)
    first.mkdir(parents=True)
    install(first)
    current = tmp_path / "root" / "current"
    current.symlink_to(first)
    release = read_release(current)
    current.unlink()
    assert release.model.is_file()
    assert release.golden_input(0).is_file()


def test_what_an_application_makes_lies_beside_the_releases_also_through_a_link(tmp_path):
    first = tmp_path / "root" / "releases" / ("ab" * 32)
    first.mkdir(parents=True)
    install(first)
    (tmp_path / "root" / "current").symlink_to(first)
    assert read_release(first).data == tmp_path / "root" / "data"
    assert read_release(tmp_path / "root" / "current").data == tmp_path / "root" / "data"
