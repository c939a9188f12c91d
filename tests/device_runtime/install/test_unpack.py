import base64
import hashlib
import io
import subprocess
import sys
import zipfile

import pytest

from device_runtime.contract.manifest import BlobRef
from device_runtime.errors import BadFileError
from device_runtime.install.fsops import FileSystem
from device_runtime.install.unpack import LISTING, unpack_wheel, unpacked_intact

INFO = "thing-1.0.dist-info"


def record_line(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def wheel(files, *, record=None, entries=(), attributes=None, compression=zipfile.ZIP_DEFLATED):
    """Return the bytes of a wheel; ``entries`` are (ZipInfo, content) added as they are and listed in RECORD."""
    listed = "".join(record_line(name, content) for name, content in files.items())
    listed += "".join(record_line(info.filename, content) for info, content in entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (attributes or {}).get(name, 0o100644) << 16
            info.compress_type = compression
            archive.writestr(info, content)
        for info, content in entries:
            archive.writestr(info, content)
        archive.writestr(f"{INFO}/RECORD", (listed if record is None else record) + f"{INFO}/RECORD,,\n")
    return buffer.getvalue()


def record_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(f"{INFO}/RECORD")


@pytest.fixture
def unpack(tmp_path):
    """Unpack a wheel's bytes; the manifest's figures are what the archive says unless told otherwise."""

    def run(content, *, files=None, size=None):
        source = tmp_path / "thing.whl"
        source.write_bytes(content)
        try:
            with zipfile.ZipFile(source) as archive:
                infos = [info for info in archive.infolist() if not info.is_dir()]
        except zipfile.BadZipFile:
            infos = []
        blob = BlobRef(
            "wheel",
            "sha256:" + hashlib.sha256(content).hexdigest(),
            len(content),
            "thing-1.0-py3-none-any.whl",
            sum(info.file_size for info in infos) if size is None else size,
            len(infos) if files is None else files,
        )
        folder = tmp_path / "unpacked"
        unpack_wheel(FileSystem(), blob, source, folder, folder)
        return folder

    return run


def outside(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in ("thing.whl", "unpacked"))


def test_a_wheel_is_unpacked_compiled_and_listed(unpack):
    folder = unpack(wheel({"thing/__init__.py": b"ANSWER = 42\n", "thing/data.bin": b"\0\1"}))
    assert (folder / "thing" / "data.bin").read_bytes() == b"\0\1"
    assert unpacked_intact(folder) is None
    compiled = folder / "thing" / "__pycache__" / f"__init__.{sys.implementation.cache_tag}.pyc"
    assert compiled.exists()
    (folder / "thing" / "__init__.py").write_text("ANSWER = 43\n")
    done = subprocess.run(
        [sys.executable, "-c", "import thing; print(thing.ANSWER)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    # The compiled file answers, and is not checked against the source: that is what RECORD was for.
    assert done.stdout.strip() == "42"
    assert unpacked_intact(folder) == "unpacked: thing/__init__.py was altered"


def test_a_file_that_does_not_compile_is_kept_as_it_is(unpack):
    folder = unpack(wheel({"thing/template.py": b"print '{{ name }}'\n"}))
    assert not (folder / "thing" / "__pycache__").exists()
    assert unpacked_intact(folder) is None


def test_modes_are_masked(unpack):
    content = wheel({"run": b"#!/bin/sh\n", "wide": b"x"}, attributes={"run": 0o104755, "wide": 0o100666})
    folder = unpack(content)
    assert (folder / "run").stat().st_mode & 0o7777 == 0o755
    assert (folder / "wide").stat().st_mode & 0o7777 == 0o644


def test_purelib_and_platlib_go_to_the_top(unpack):
    folder = unpack(wheel({"thing-1.0.data/purelib/thing/a.py": b"A = 1\n", "thing-1.0.data/scripts/t": b"x"}))
    assert (folder / "thing" / "a.py").exists()
    assert (folder / "thing-1.0.data" / "scripts" / "t").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "/evil.py",
        "a//evil.py",
        "./evil.py",
        "a\\..\\evil.py",
        "C:evil.py",
        "a\nb.py",
        "x" * 300,
        LISTING,
        "thing/a.pyc",
    ],
)
def test_names_that_could_do_harm_are_refused(unpack, tmp_path, name):
    with pytest.raises(BadFileError, match=r"expected a|own|sources"):
        unpack(wheel({"thing.py": b"", name: b"evil"}))
    assert outside(tmp_path) == []


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o060666, 0o010666, 0o140777])
def test_links_devices_pipes_and_sockets_are_refused(unpack, kind):
    with pytest.raises(BadFileError, match="expected a regular file or a folder"):
        unpack(wheel({"thing.py": b"", "link": b"/etc/passwd"}, attributes={"link": kind}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("thing/a.py", "thing/A.py"),
        ("Thing/a.py", "thing/b.py"),
        ("caf\u00e9.py", "cafe\u0301.py"),
        ("stra\u00dfe.py", "STRASSE.py"),
        ("thing", "thing/a.py"),
        ("thing-1.0.data/purelib/a.py", "a.py"),
    ],
)
def test_names_that_collide_somewhere_are_refused(unpack, one, other):
    with pytest.raises(BadFileError, match=r"same file|in case alone|both a file and a folder"):
        unpack(wheel({one: b"1", other: b"2"}))


def test_a_name_that_is_there_twice_is_refused(unpack):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = wheel({"a.py": b"1"}, entries=[(zipfile.ZipInfo("a.py"), b"2")])
    with pytest.raises(BadFileError, match="same file"):
        unpack(content)


def test_a_bomb_is_stopped_at_the_size_that_the_manifest_has(unpack, tmp_path):
    bomb = wheel({"zeros": bytes(50_000_000)})
    assert len(bomb) < 100_000
    with pytest.raises(BadFileError, match="expected at most 1000 bytes"):
        unpack(bomb, size=1000)
    written = sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*") if path.is_file())
    assert written <= 1000


def test_many_small_files_are_stopped_at_the_size_that_the_manifest_has(unpack):
    with pytest.raises(BadFileError, match=r"more|at most"):
        unpack(wheel({f"f{number}": bytes(400) for number in range(10)}), size=1500)


def test_more_files_than_the_manifest_has_are_refused(unpack):
    with pytest.raises(BadFileError, match="expected 2 files"):
        unpack(wheel({f"f{number}": b"" for number in range(10)}), files=2)


def test_folders_that_are_entries_are_no_files(unpack):
    content = {"a/b.py": b"1", f"{INFO}/METADATA": b"Name: thing"}
    buffer = io.BytesIO(wheel(content))
    with zipfile.ZipFile(buffer, "a") as archive:
        for name in ("a/", f"{INFO}/"):
            archive.mkdir(name)
    assert (unpack(buffer.getvalue()) / "a" / "b.py").read_bytes() == b"1"


def test_more_folders_than_files_are_refused(unpack):
    buffer = io.BytesIO(wheel({"a.py": b"1"}))
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(3):
            archive.mkdir(f"f{number}")
    with pytest.raises(BadFileError, match="expected 2 files, got 5 entries"):
        unpack(buffer.getvalue())


def test_compiled_files_of_a_wheel_are_made_anew(unpack):
    made = f"__pycache__/a.{sys.implementation.cache_tag}.pyc"
    content = wheel({"a.py": b"A = 1\n", made: b"another program", "gone/__pycache__/b.cpython-38.pyc": b"another"})
    folder = unpack(content, files=2, size=sum(map(len, [b"A = 1\n", record_of(content)])))
    assert (folder / made).read_bytes() != b"another program"
    assert not (folder / "gone").exists()
    assert unpacked_intact(folder) is None


def test_fewer_bytes_than_the_manifest_has_are_refused(unpack):
    with pytest.raises(BadFileError, match="of 5000 bytes, got"):
        unpack(wheel({"a.py": b"1"}), size=5000)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("", "a.py is not in RECORD"),
        (record_line("a.py", b"another"), "a.py was altered"),
        (record_line("a.py", b"1") + record_line("b.py", b"2"), "b.py is in RECORD and missing"),
        ("a.py,md5=abc,1\n", "expected sha256="),
        ("a.py,sha256=!,1\n", "expected sha256="),
        ("a.py\n", "expected 3 columns"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(unpack, record, message):
    with pytest.raises(BadFileError, match=message):
        unpack(wheel({"a.py": b"1"}, record=record))


def test_a_wheel_without_a_record_is_refused(unpack):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.py", "1")
    with pytest.raises(BadFileError, match="expected one RECORD, got 0"):
        unpack(buffer.getvalue())


def test_other_compressions_are_refused(unpack):
    with pytest.raises(BadFileError, match="expected stored or deflated"):
        unpack(wheel({"a.py": b"1"}, compression=zipfile.ZIP_LZMA))


def test_encryption_is_refused(unpack):
    content = bytearray(wheel({"a.py": b"1"}, compression=zipfile.ZIP_STORED))
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x01\x02"))
    content[at + 8] |= 1
    with pytest.raises(BadFileError, match="encrypted"):
        unpack(bytes(content))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"not a zip" * 100])
def test_other_files_are_not_wheels(unpack, content):
    with pytest.raises(BadFileError, match=r"not a wheel|not a readable wheel"):
        unpack(content)


def test_a_directory_of_excessive_size_is_refused_before_it_is_read(unpack):
    content = bytearray(wheel({"a.py": b"1"}))
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(BadFileError, match="directory of at most"):
        unpack(bytes(content), files=5)


def test_damage_after_unpacking_is_found(unpack):
    folder = unpack(wheel({"a.py": b"A = 1\n", "b.py": b"B = 1\n"}))
    (folder / "extra.py").write_text("")
    assert unpacked_intact(folder) == "unpacked: extra.py does not belong there"
    (folder / "extra.py").unlink()
    compiled = next((folder / "__pycache__").glob("a.*"))
    content = bytearray(compiled.read_bytes())
    content[-1] ^= 1
    compiled.write_bytes(content)
    assert unpacked_intact(folder) == f"unpacked: __pycache__/{compiled.name} was altered"
    (folder / "b.py").unlink()
    assert unpacked_intact(folder) is not None
    (folder / LISTING).unlink()
    assert unpacked_intact(folder) == f"unpacked: {LISTING} is missing or damaged"
