import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_runtime.contract.manifest import Compat
from device_runtime.contract.oci import CHECKSUM_ANNOTATION, canonical, index_bytes
from device_runtime.errors import BadFileError, EdgeError, UnfitError
from device_runtime.install.layout import MAX_JSON_BYTES, open_bundle
from device_runtime.install.members import MAX_FILES
from edgekit.bundling.layout import content_of
from tests.support.bundles import pack, tiny_contents


def read_all(path: Path) -> dict:
    """Read every blob of every package, checked."""
    with open_bundle(path) as bundle:
        blobs = [blob for package in bundle.packages for blob in package.manifest.blobs]
        return {blob.name: b"".join(bundle.read(blob)) for blob in blobs}


def repack(source: Path, target: Path, change) -> Path:
    """Copy a bundle's tar through ``change(member, content)``, which returns a list of (TarInfo, bytes)."""
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old.getmembers():
            for info, content in change(member, old.extractfile(member).read()):
                info.size = len(content) if info.isreg() else 0
                new.addfile(info, io.BytesIO(content))
    return target


@pytest.fixture
def bundle(tmp_path):
    return pack(tmp_path / "app.edgekit", tiny_contents(tmp_path))


def test_what_was_packed_is_read_back(bundle, tmp_path):
    contents = {content.ref.name: content.source for content in tiny_contents(tmp_path)}
    assert read_all(bundle) == contents


def test_a_bundle_is_a_tar_that_other_tools_read(bundle):
    with tarfile.open(bundle) as archive:
        members = archive.getmembers()
        assert [member.name for member in members[:2]] == ["oci-layout", "index.json"]
        for member in members[2:]:
            assert hashlib.sha256(archive.extractfile(member).read()).hexdigest() == Path(member.name).name
        assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o644)}


def test_a_tar_that_another_tool_wrote_is_read(bundle, tmp_path):
    def other_habits(member, content):
        member.mtime, member.uid, member.gid, member.mode, member.uname = 1_700_000_000, 1000, 1000, 0o755, "me"
        return [(member, content)]

    assert read_all(repack(bundle, tmp_path / "other.edgekit", other_habits)) == read_all(bundle)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text("abcdefgh.-", min_size=1, max_size=20).filter(lambda name: name not in (".", "..")),
        st.binary(max_size=1500),
        max_size=5,
    )
)
def test_any_contents_come_back_and_equal_contents_give_equal_bytes(tmp_path_factory, extra):
    folder = tmp_path_factory.mktemp("any")
    contents = [content_of(role, f"_{role}", b"x") for role in ("model", "spec", "service")]
    contents += [content_of("golden", name, value) for name, value in extra.items()]
    one, other = pack(folder / "one", contents), pack(folder / "other", list(contents))
    assert read_all(one) == {content.ref.name: content.source for content in contents}
    assert one.read_bytes() == other.read_bytes()


def test_any_flipped_byte_is_found(bundle):
    whole = bundle.read_bytes()
    # Every seventh byte, in a changing bit: 7 shares no factor with 512, so all places of the tar headers come up.
    for position in range(0, len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << (position % 8)
        bundle.write_bytes(spoilt)
        with pytest.raises(EdgeError) as caught:
            read_all(bundle)
        assert caught.value.exit_code == 3, (position, str(caught.value))


def test_a_bundle_cut_anywhere_is_refused(bundle):
    whole = bundle.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1, len(whole) - 512]:
        bundle.write_bytes(whole[:length])
        with pytest.raises(BadFileError):
            read_all(bundle)


@pytest.mark.parametrize("tail", [b"x", bytes(511) + b"x", b"PK\x03\x04" * 300, bytes(20_000)])
def test_a_bundle_with_something_behind_it_is_refused(bundle, tail):
    bundle.write_bytes(bundle.read_bytes() + tail)
    with pytest.raises(BadFileError, match=r"end mark|expected"):
        read_all(bundle)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "blobs/sha256/../../x", "blobs/sha256/ABC", "blobs/sha256", "extra.txt", "OCI-LAYOUT"],
)
def test_names_that_do_not_belong_there_are_refused(bundle, tmp_path, name):
    def add(member, content):
        evil = tarfile.TarInfo(name)
        return [(member, content), (evil, b"evil")] if member.name == "index.json" else [(member, content)]

    with pytest.raises(BadFileError, match=r"expected oci-layout, index.json or blobs"):
        read_all(repack(bundle, tmp_path / "evil.edgekit", add))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_refused(bundle, tmp_path, kind):
    def add(member, content):
        evil = tarfile.TarInfo("blobs/sha256/" + "a" * 64)
        evil.type, evil.linkname = kind, "/etc/passwd"
        return [(member, content), (evil, b"")] if member.name == "index.json" else [(member, content)]

    with pytest.raises(BadFileError, match="expected a regular file"):
        read_all(repack(bundle, tmp_path / "evil.edgekit", add))


def test_a_file_that_is_there_twice_is_refused(bundle, tmp_path):
    twice = repack(bundle, tmp_path / "twice.edgekit", lambda member, content: [(member, content), (member, content)])
    with pytest.raises(BadFileError, match="oci-layout is there twice"):
        read_all(twice)


def test_a_blob_that_nobody_names_is_refused(tmp_path):
    stray = content_of("model", "stray", b"stray")
    path = pack(tmp_path / "stray.edgekit", tiny_contents(tmp_path), extra=[stray])
    with pytest.raises(BadFileError, match=f"{stray.ref.hex}: no manifest names it"):
        read_all(path)


def test_a_blob_that_is_missing_is_named(tmp_path):
    path = pack(tmp_path / "poor.edgekit", tiny_contents(tmp_path), leave_out=["app.tflite"])
    with pytest.raises(BadFileError, match=r"app\.tflite: blob sha256:[0-9a-f]{64} is missing"):
        read_all(path)


def test_an_index_with_another_meaning_needs_another_checksum(bundle, tmp_path):
    def annotate(member, content):
        if member.name == "index.json":
            data = json.loads(content)
            data["annotations"]["note"] = "hello"
            content = canonical(data)
        return [(member, content)]

    with pytest.raises(BadFileError, match=r"index\.json: altered: expected checksum"):
        read_all(repack(bundle, tmp_path / "noted.edgekit", annotate))


def test_an_index_that_a_newer_writer_annotated_is_read(bundle, tmp_path):
    def annotate(member, content):
        if member.name == "index.json":
            data = json.loads(content)
            data["annotations"] = {"note": "hello"}
            data["annotations"][CHECKSUM_ANNOTATION] = "sha256:" + hashlib.sha256(canonical(data)).hexdigest()
            content = canonical(data)
        return [(member, content)]

    assert read_all(repack(bundle, tmp_path / "noted.edgekit", annotate)) == read_all(bundle)


def test_an_index_without_manifests_is_refused(bundle, tmp_path):
    def empty(member, content):
        return [(member, index_bytes(()) if member.name == "index.json" else content)]

    with pytest.raises(BadFileError, match=r"expected one manifest or more, got none|key .manifests. is missing"):
        read_all(repack(bundle, tmp_path / "empty.edgekit", empty))


def test_a_bundle_for_a_newer_installer_says_so_first(tmp_path):
    path = pack(tmp_path / "new.edgekit", tiny_contents(tmp_path), compats=[Compat(installer=99)])
    with pytest.raises(UnfitError, match="needs installer 99 or newer") as caught:
        read_all(path)
    assert caught.value.exit_code == 6


def test_a_manifest_of_excessive_size_is_refused(bundle, tmp_path):
    def huge(member, content):
        return [(member, content + b" " * MAX_JSON_BYTES if member.name == "index.json" else content)]

    with pytest.raises(BadFileError, match=f"expected at most {MAX_JSON_BYTES} bytes"):
        read_all(repack(bundle, tmp_path / "huge.edgekit", huge))


def test_a_million_entries_are_refused_early(bundle, tmp_path):
    def many(member, content):
        if member.name != "index.json":
            return [(member, content)]
        names = (f"blobs/sha256/{number:064x}" for number in range(MAX_FILES + 10))
        return [(member, content), *((tarfile.TarInfo(name), b"") for name in names)]

    with pytest.raises(BadFileError, match=f"expected at most {MAX_FILES} files"):
        read_all(repack(bundle, tmp_path / "many.edgekit", many))


@pytest.mark.parametrize("content", [b"", b"\0" * 10240, b"not a tar at all" * 100, b"PK\x03\x04" + bytes(2000)])
def test_other_files_are_not_bundles(tmp_path, content):
    path = tmp_path / "other.edgekit"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=r"not a bundle|cut|empty|end mark"):
        read_all(path)


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BadFileError, match="no such bundle"):
        read_all(tmp_path / "none.edgekit")
