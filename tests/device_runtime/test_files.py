"""Whole files or none."""

import os
import resource
import subprocess
import sys

import pytest

from device_runtime.errors import EdgeError
from device_runtime.files import making_folder, replacing, sha256_of, write_text


def test_a_file_is_replaced_as_a_whole_with_an_ordinary_mode(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_text(path, "new")
    assert path.read_text() == "new"
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


def test_a_reader_of_the_old_file_goes_on_reading_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:  # noqa: PT012 - what happens inside is the test
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(EdgeError, match="does not exist") as caught:
        write_text(tmp_path / "no" / "a.txt", "x")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EdgeError, match="permission denied"):
        write_text(tmp_path / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_named_and_leaves_the_old_file(small_disk):
    path = small_disk / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(EdgeError, match="no space left on the disk") as caught, replacing(path) as temporary:
        temporary.write_bytes(bytes(4 << 20))
    assert "df -h" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_a_write_that_the_system_cuts_leaves_the_old_file(tmp_path):
    # A file size limit cuts writes for everyone, root or not.
    script = (
        "import sys, signal; from pathlib import Path; from device_runtime.files import write_bytes\n"
        "from device_runtime.errors import EdgeError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_bytes(Path(sys.argv[1]), bytes(1 << 20))\n"
        "except EdgeError as error: print(error)\n"
    )
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert "file too large" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_digest_is_that_of_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_is_made_as_a_whole_with_an_ordinary_mode(tmp_path):
    path = tmp_path / "made"
    with making_folder(path) as temporary:
        (temporary / "a.txt").write_text("a")
        assert not path.exists()
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (path / "a.txt").read_text() == "a"
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


def test_an_exception_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), making_folder(tmp_path / "made") as temporary:  # noqa: PT012 - what happens inside is the test
        (temporary / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_taken_and_one_with_something_in_it_not(tmp_path):
    (tmp_path / "empty").mkdir()
    with making_folder(tmp_path / "empty") as temporary:
        (temporary / "a.txt").write_text("a")
    for taken in (tmp_path / "empty", tmp_path / "empty" / "a.txt"):
        with pytest.raises(EdgeError, match="exists already"), making_folder(taken):
            pytest.fail("it began the work")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty", "a.txt"]


def test_a_folder_that_something_came_into_meanwhile_is_left_alone(tmp_path):
    path = tmp_path / "made"
    with pytest.raises(EdgeError, match="exists already"), making_folder(path) as temporary:  # noqa: PT012 - what happens inside is the test
        (temporary / "a.txt").write_text("a")
        path.mkdir()
        (path / "other.txt").write_text("other")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["made", "other.txt"]
