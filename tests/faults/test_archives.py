"""Bundles and wheels with millions of entries, or of bombs: refused with little memory and time (number 15).

``tests/device_runtime/install/test_unpack.py`` and ``test_layout.py`` have the evil names, links, devices, duplicates
and collisions, each by itself.
"""

import hashlib
import resource
import struct
import zipfile

import pytest

from edgekit.bundling.layout import content_of
from tests.support.bundles import pack, tiny_contents
from tests.support.installing import install

_MEMORY_BYTES = 400 << 20
_MILLION = 1_000_000


def limit():
    """Let a process have no more memory than a small board's installer should need."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def refused(root, bundle, *reasons):
    done = install("apply", root, bundle, preexec_fn=limit)
    assert (done.code, done.error["code"]) == (3, "bad-file"), done.error
    assert any(reason in done.error["message"] for reason in reasons), done.error
    assert not root.exists() or not list((root / "releases").glob("*") if (root / "releases").exists() else [])


def test_a_tar_of_a_million_files_is_refused(tmp_path):
    with (tmp_path / "many.edgekit").open("wb") as stream:
        for number in range(_MILLION):
            name = b"blobs/sha256/" + hashlib.sha256(number.to_bytes(4, "big")).hexdigest().encode()
            header = bytearray(512)
            header[: len(name)] = name
            header[100:108], header[124:136], header[156:157] = b"0000644\0", b"00000000000\0", b"0"
            header[257:265] = b"ustar\x0000"
            header[148:156] = b"%06o\0 " % (sum(header) + 8 * 0x20)
            stream.write(header)
        stream.write(bytes(1024))
    refused(tmp_path / "root", tmp_path / "many.edgekit", "at most 4096 files")


def test_a_folder_of_very_many_files_is_refused(tmp_path):
    blobs = tmp_path / "many" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for number in range(20_000):
        (blobs / hashlib.sha256(number.to_bytes(4, "big")).hexdigest()).touch()
    refused(tmp_path / "root", tmp_path / "many", "at most 4096 files")


@pytest.mark.parametrize("claimed", [3, 65_535, None])
def test_a_wheel_of_a_million_entries_is_refused(tmp_path, claimed):
    path = tmp_path / "many.whl"
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    with path.open("wb") as stream:
        stream.write(local)
        for number in range(_MILLION):
            stream.write(entry + b"%07d" % number)
        # The number of entries takes two bytes: 10^6 is told modulo 65,536 where it is told at all.
        told = _MILLION % 65_536 if claimed is None else claimed
        size = _MILLION * (len(entry) + 7)
        stream.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, told, told, size, len(local), 0))
    contents = _with_wheel(tmp_path, path.read_bytes(), files=claimed or 100_000)
    refused(tmp_path / "root", pack(tmp_path / "many.edgekit", contents), "directory of at most", "no zip64")


def test_a_wheel_within_the_limits_of_a_directory_has_no_more_entries_than_the_manifest_says(tmp_path):
    path = tmp_path / "many.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"f{number}"), b"")
    refused(
        tmp_path / "root", pack(tmp_path / "many.edgekit", _with_wheel(tmp_path, path.read_bytes(), files=2)), "files"
    )


def test_a_bomb_of_two_gigabytes_is_stopped_at_what_it_said(tmp_path):
    path = tmp_path / "bomb.whl"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=False) as out,
    ):
        for _ in range(2000):
            out.write(bytes(1 << 20))
    contents = _with_wheel(tmp_path, path.read_bytes(), files=1, unpacked_size=1000)
    refused(tmp_path / "root", pack(tmp_path / "bomb.edgekit", contents), "at most 1000 bytes", "one RECORD")


def _with_wheel(folder, content, files, unpacked_size=1000):
    others = [each for each in tiny_contents(folder) if each.ref.role != "wheel"]
    wheel = content_of("wheel", "many-1.0-py3-none-any.whl", content, unpacked_size=unpacked_size, files=files)
    return [*others, wheel]
