import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.errors import BadFileError, UnfitError
from edgekit.flashing.image import open_image

zstandard = pytest.importorskip("zstandard")

NOISE = random.Random(5).randbytes(300_000)  # noqa: S311 - a content
IMAGE = NOISE + bytes(3 << 20) + NOISE[::-1]
FORMS = ("raw", "xz", "gz", "zip", "zst")


def zipped(content=IMAGE, *, method=zipfile.ZIP_DEFLATED, name="os.img", others=(("info.txt", b"words"),)):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for other, text in others:
            archive.writestr(other, text)
        archive.writestr(name, content)
        archive.writestr("last.txt", b"more")
    return buffer.getvalue()


PACK = {
    "raw": bytes,
    "xz": lzma.compress,
    "gz": gzip.compress,
    "zip": zipped,
    "zst": lambda content: zstandard.ZstdCompressor(write_checksum=True).compress(content),
}


@pytest.fixture
def packed(tmp_path):
    def write(content, name="os.img.xz"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def unpacked(path, piece=1 << 20, **options):
    with open_image(path, **options) as image:
        pieces = []
        while data := image.read(piece):
            pieces.append(data)
        return b"".join(pieces), image


def refused(path, match, **options):
    with pytest.raises(BadFileError, match=match) as caught:
        unpacked(path, **options)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_told_by_its_content_and_read_to_its_end(packed, form):
    content = PACK[form](IMAGE)
    path = packed(content, "misleading.iso")
    got, image = unpacked(path, 999_983)
    assert got == IMAGE
    assert image.form == form
    assert image.size == (None if form == "gz" else len(IMAGE))
    assert image.position == image.file_size == len(content)
    assert image.digest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("form", FORMS)
def test_a_read_gives_exactly_what_was_asked_for_until_the_end(packed, form):
    with open_image(packed(PACK[form](IMAGE))) as image:
        sizes = [1, 0, 511, 1 << 20, 7, 2 << 20, 1 << 20]
        assert [len(image.read(size)) for size in sizes] == [*sizes[:-1], len(IMAGE) - sum(sizes[:-1])]
        assert image.read(1) == b""


@pytest.mark.parametrize("form", FORMS)
def test_the_position_grows_as_the_file_is_read(packed, form):
    noise = random.Random(6).randbytes(5 << 20)  # noqa: S311 - a content
    with open_image(packed(PACK[form](noise))) as image:
        first = image.position
        image.read(3 << 20)
        assert first < image.position < image.file_size
        with pytest.raises(RuntimeError, match="was not read to its end"):
            image.digest()


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (lzma.compress(IMAGE[:999_999]) + lzma.compress(IMAGE[999_999:]), len(IMAGE)),
        (lzma.compress(IMAGE) + bytes(8), len(IMAGE)),
        (lzma.compress(IMAGE) + bytes(4096 * 3 + 4), len(IMAGE)),
        (lzma.compress(IMAGE[:700]) + bytes(4) + lzma.compress(IMAGE[700:]) + bytes(4), len(IMAGE)),
        (lzma.compress(IMAGE[:700]) + lzma.compress(b"") + lzma.compress(IMAGE[700:]), len(IMAGE)),
        (lzma.compress(IMAGE, check=lzma.CHECK_SHA256), len(IMAGE)),
        (gzip.compress(IMAGE[:700]) + gzip.compress(b"") + gzip.compress(IMAGE[700:]), None),
        (gzip.compress(IMAGE) + bytes(777), None),
        (zipped(method=zipfile.ZIP_STORED), len(IMAGE)),
        (zipped(name="2025/OS.IMG"), len(IMAGE)),
        (zipped(others=[("__MACOSX/._os.img", b"x"), ("._os.img", b"x"), ("img/", b"")]), len(IMAGE)),
        (PACK["zst"](IMAGE[:700]) + PACK["zst"](IMAGE[700:]), None),
        (struct.pack("<II", 0x184D2A5E, 3) + b"abc" + PACK["zst"](IMAGE), None),
        (PACK["zst"](IMAGE) + struct.pack("<II", 0x184D2A50, 3) + b"abc", len(IMAGE)),
        (zstandard.ZstdCompressor(write_content_size=False).compress(IMAGE), None),
    ],
)
def test_what_programs_make_of_an_image_is_read(packed, content, size):
    got, image = unpacked(packed(content))
    assert got == IMAGE
    assert image.size == size
    assert image.digest() == hashlib.sha256(content).hexdigest()


def test_a_zip_that_was_written_to_a_pipe_is_read(packed):
    script = (
        "import sys, zipfile\nwith zipfile.ZipFile(sys.stdout.buffer, 'w', zipfile.ZIP_DEFLATED) as archive:\n"
        " with archive.open('os.img', 'w', force_zip64=True) as member: member.write(b'x' * 5000)"
    )
    content = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert content[6] & 8  # sizes follow the content
    assert unpacked(packed(content))[0] == b"x" * 5000


def test_what_a_decompressor_still_has_when_all_is_read_is_not_lost(packed):
    for over in range(1, 260, 7):
        content = bytes((1 << 20) + over)
        assert unpacked(packed(zipped(content)))[0] == content


def test_several_blocks_of_xz_are_counted(packed, tmp_path):
    (tmp_path / "os.img").write_bytes(IMAGE)
    done = subprocess.run(
        ["xz", "-c", "-T2", "--block-size=262144", tmp_path / "os.img"], capture_output=True, check=True
    )
    got, image = unpacked(packed(done.stdout))
    assert (got == IMAGE, image.size) == (True, len(IMAGE))


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_truncated_file_is_refused(packed, form):
    content = PACK[form](IMAGE)
    for size in (len(content) - 1, len(content) - 5, len(content) // 2, 600):
        refused(packed(content[:size]), "is damaged")


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_flipped_bit_is_refused(packed, form):
    content = bytearray(PACK[form](NOISE))
    content[len(content) // 2] ^= 0x10
    refused(packed(content), "is damaged.*")


@pytest.mark.parametrize("form", ["xz", "gz", "zst"])
@pytest.mark.parametrize("tail", [b"x", b"\0\0\0\0more", b"<html>" * 9])
def test_what_follows_an_image_is_refused(packed, form, tail):
    refused(
        packed(PACK[form](IMAGE) + tail), f"something else follows its .* at byte {len(PACK[form](IMAGE))}|at byte "
    )


def test_a_second_part_is_known_though_a_read_ends_in_its_first_bytes(packed):
    first = gzip.compress(NOISE)  # with a name in its header so long that the second part begins at the end of a read
    name = b"n" * ((1 << 20) - 1 - len(first) - 1) + b"\0"
    named = first[:3] + b"\x08" + first[4:10] + name + first[10:]
    assert len(named) == (1 << 20) - 1
    assert unpacked(packed(named + gzip.compress(IMAGE)))[0] == NOISE + IMAGE


def test_no_more_comes_out_of_a_zip_than_its_directory_says(packed):
    content = bytearray(zipped(others=[]))
    at = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 1 << 20)
    with open_image(packed(content)) as image:
        with pytest.raises(BadFileError, match=r"expected 1048576 bytes in os.img, got more"):
            image.read(len(IMAGE))
        assert image.position < image.file_size


def test_padding_of_xz_comes_in_fours(packed):
    refused(packed(lzma.compress(IMAGE) + bytes(5)), "expected padding in multiples of 4 bytes, got 5 bytes")


def test_zstd_has_no_padding(packed):
    refused(packed(PACK["zst"](IMAGE) + bytes(4)), "something else follows its zstd stream")


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("os.img")
        entry.size = len(IMAGE)
        archive.addfile(entry, io.BytesIO(IMAGE))
    return buffer.getvalue()


def _short(value):
    """Name a case by its words alone: bytes that were packed tell the time, and processes have to agree on names."""
    return value if isinstance(value, str) else "of"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"x" * 511, "expected 512 bytes or more in it, got 511"),
        (lzma.compress(b""), "expected 512 bytes or more in it, got 0"),
        (gzip.compress(b"words"), "expected 512 bytes or more in it, got 5"),
        (tar(), "is a tar archive"),
        (lzma.compress(tar()), "is a tar archive"),
        (zipped(tar()), "is a tar archive"),
        (gzip.compress(lzma.compress(IMAGE)), "is packed twice, with xz inside"),
        (bz2.compress(IMAGE), "is packed with bzip2"),
        (b"QFI\xfb" + bytes(1024), "is a QCOW image"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(1024), "is a 7z archive"),
        (zipped(name="os.iso"), "expected one .*img in .*, got none"),
        (zipped(others=[("other.img", b"x")]), "got other.img, os.img"),
        (zipped(method=zipfile.ZIP_LZMA), "is packed with method lzma, expected deflate or store"),
    ],
    ids=_short,
)
def test_what_is_no_image_is_refused_with_words(packed, content, message):
    refused(packed(content), message)


def test_an_encrypted_image_in_a_zip_is_refused(packed):
    content = bytearray(zipped(others=[], method=zipfile.ZIP_STORED))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(packed(content), "os.img in .* is encrypted")


def test_a_zip_whose_directory_lies_is_refused(packed):
    content = zipped()
    at = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)  # info.txt is the first
    sound = struct.unpack_from("<III", content, at + 16)
    for place, message in ((0, "expected CRC-32"), (2, "expected .* bytes in os.img"), (1, "is damaged")):
        for change in (1, -1):
            changed = list(sound)
            changed[place] += change
            if place == 1 and change == 1:
                continue  # one byte after a complete deflate stream is another's
            lying = bytearray(content)
            struct.pack_into("<III", lying, at + 16, *changed)
            refused(packed(lying), message)


def test_an_image_larger_than_any_card_is_refused(tmp_path):
    sparse = tmp_path / "sparse.img"
    with sparse.open("wb") as stream:
        stream.truncate((2 << 40) + 512)
    refused(sparse, f"unpacks to more than {2 << 40} bytes")


@pytest.mark.parametrize("form", FORMS)
def test_no_more_is_unpacked_than_an_image_may_have(packed, form):
    path = packed(PACK[form](IMAGE))
    assert unpacked(path, most=len(IMAGE))[0] == IMAGE
    refused(path, f"unpacks to more than {len(IMAGE) - 1} bytes", most=len(IMAGE) - 1)


@pytest.mark.parametrize("form", ["xz", "gz", "zst"])
def test_a_bomb_takes_little_memory(packed, form):
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom edgekit.flashing.image import open_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_image(Path(sys.argv[1])) as image:\n while image.read(1 << 20): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    path = packed(PACK[form](bytes(400 << 20)))
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 200 << 10


def test_a_dictionary_of_gigabytes_is_refused(packed):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    compressor = lzma.LZMACompressor(
        lzma.FORMAT_XZ, filters=[{**filters[0], "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    )
    content = compressor.compress(bytes(4096)) + compressor.flush()
    refused(packed(content), "no valid xz before byte .*: memory usage limit exceeded")


def test_a_file_that_grows_is_refused(packed):
    path = packed(IMAGE, "os.img")
    with open_image(path) as image, path.open("ab") as stream:
        stream.write(b"x" * 512)
        stream.flush()
        with pytest.raises(BadFileError, match=f"changed while it was read: expected {len(IMAGE)} bytes"):
            image.read(len(IMAGE) + 4096)


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path / "none.img", "no such file")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(Exception, match=r"cannot read|is no file"):
            unpacked(type(tmp_path)(path))


def test_without_zstandard_the_error_says_how_to_get_it(packed, monkeypatch):
    path = packed(PACK["zst"](IMAGE))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UnfitError, match="zstandard is not installed") as caught:
        unpacked(path)
    assert caught.value.hint == "uv pip install zstandard"


parts = st.lists(
    st.builds(
        lambda size, seed: random.Random(seed).randbytes(size) + bytes(size * 3),  # noqa: S311 - a content
        st.integers(200, 3000),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60)
@given(parts, st.sampled_from(["xz", "gz", "zst"]), st.integers(1, 5000), st.integers(0, 3))
def test_any_parts_come_out_as_they_went_in(tmp_path_factory, contents, form, piece, fours):
    path = tmp_path_factory.mktemp("parts") / "os.img"
    padding = bytes(4 * fours) if form != "zst" else b""
    path.write_bytes(b"".join(PACK[form](part) + (padding if form == "xz" else b"") for part in contents) + padding)
    got, image = unpacked(path, piece)
    assert got == b"".join(contents)
    assert image.size in ((len(got),) if form == "xz" else (None, len(got)))


@settings(max_examples=150)
@given(st.sampled_from(FORMS[1:]), st.data())
def test_a_changed_file_is_refused_or_gives_what_it_should(tmp_path_factory, form, data):
    path = tmp_path_factory.mktemp("changed") / "os.img"
    content = bytearray(PACK[form](NOISE[:3000]))
    at = data.draw(st.integers(0, len(content) - 1))
    cut = data.draw(st.booleans())
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        got, image = unpacked(path)
    except BadFileError:
        return
    # Where no checksum is: in a header's time and name, or in what makes it another kind of file at once.
    assert got == NOISE[:3000] or image.form == "raw"


@given(st.binary(max_size=2000))
def test_noise_with_a_magic_in_front_is_refused_in_our_words(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "os.img"
    for magic in (b"\xfd7zXZ\x00", b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PK\x05\x06"):
        path.write_bytes(magic + noise)
        with pytest.raises(BadFileError):
            unpacked(path)
