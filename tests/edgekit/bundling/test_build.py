import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from device_runtime.contract.events import Notice, silent
from device_runtime.contract.service import PageSpec, ServiceSpec
from device_runtime.errors import BadFileError, EdgeError, ModelError, UnfitError, UsageError
from device_runtime.install.layout import open_bundle
from device_runtime.install.signature import UnknownSignerError, UnsignedError
from edgekit.boards.catalog import find_boards
from edgekit.bundling.build import BundleRequest, build_bundle
from edgekit.bundling.describe import describe_bundle, label_of
from edgekit.bundling.fit import RUNTIME_BYTES
from edgekit.bundling.layout import content_of
from edgekit.bundling.packages import Sources
from edgekit.bundling.verify import verify_bundle
from tests.support.bundles import pack, tiny_contents
from tests.support.package_index import as_file
from tests.support.signing import allow, make_key
from tests.support.tflite import brightness_model


@pytest.fixture
def request_for(tmp_path):
    """Make requests for bundles of a small real model."""
    model = tmp_path / "bright.tflite"
    spec = brightness_model(model)

    def make(output="bright.edgekit", **changes):
        values = {"model": model, "spec": spec, "name": "bright", "version": "1.0", "output": tmp_path / output}
        return BundleRequest(**{**values, "boards": find_boards(("local",)), **changes})

    return make


def test_a_bundle_holds_all_that_a_board_needs(request_for):
    facts = build_bundle(request_for(service=ServiceSpec(source="dir:pictures", threads=2)), silent)
    (package,) = facts.packages
    assert (facts.name, facts.version, package.platform, package.golden.count) == ("bright", "1.0", "any machine", 4)
    roles = [blob.role for blob in package.blobs]
    assert roles == ["model", "spec", "service", *["golden"] * 8, "wheel", "sbom"]
    assert package.compat.bytes_needed > sum(blob.size for blob in package.blobs)
    assert verify_bundle(request_for().output, silent) == facts


def test_equal_requests_give_equal_bytes(request_for):
    build_bundle(request_for("one.edgekit"), silent)
    build_bundle(request_for("two.edgekit"), silent)
    assert request_for("one.edgekit").output.read_bytes() == request_for("two.edgekit").output.read_bytes()


def test_another_version_is_another_release_of_the_same_blobs(request_for):
    one = build_bundle(request_for("one.edgekit"), silent).packages[0]
    two = build_bundle(request_for("two.edgekit", version="2.0"), silent).packages[0]
    assert one.release != two.release
    assert [blob for blob in one.blobs if blob.role != "sbom"] == [blob for blob in two.blobs if blob.role != "sbom"]


def test_goldens_come_from_pictures_where_there_are_some(request_for, tmp_path):
    pictures = []
    for number, colour in enumerate(["red", "green", "blue", "white", "black", "red"]):
        pictures.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 20), colour).save(pictures[-1])
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    heard = []
    facts = build_bundle(request_for(pictures=[tmp_path / "damaged.png", *pictures[:2]]), heard.append)
    assert facts.packages[0].golden.count == 2
    assert next(event.message for event in heard if isinstance(event, Notice)).startswith("left out of the goldens")
    with open_bundle(request_for().output) as bundle:
        golden = {blob.name: blob for blob in bundle.packages[0].manifest.of_role("golden")}
        tensor = np.load(io.BytesIO(b"".join(bundle.read(golden["input-0.npy"]))))
    assert tensor.shape == (1, 8, 8, 3)
    assert tensor[0, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("content", [b"", b"no model", b"\0\0\0\0TFL3" + bytes(100)])
def test_what_is_no_model_is_refused_and_nothing_is_written(request_for, tmp_path, content):
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(ModelError):
        build_bundle(request_for(model=tmp_path / "bad.tflite"), silent)
    assert not request_for().output.exists()


@pytest.mark.parametrize("change", [{"name": "Not A Name"}, {"version": "1 0"}, {"name": ""}])
def test_a_name_that_cannot_be_one_is_a_usage_error(request_for, change):
    with pytest.raises(UsageError, match="expected"):
        build_bundle(request_for(**change), silent)
    assert not request_for().output.exists()


def test_a_full_disk_leaves_no_half_bundle(request_for, small_disk):
    (small_disk / "filler").write_bytes(bytes(900_000))
    with pytest.raises(EdgeError, match="no space left"):
        build_bundle(request_for(output=small_disk / "bright.edgekit"), silent)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_folder_that_is_missing_is_named(request_for, tmp_path):
    with pytest.raises(EdgeError, match="does not exist"):
        build_bundle(request_for(output=tmp_path / "none" / "x.edgekit"), silent)


@pytest.fixture
def for_boards(request_for, index):
    """Make requests for bundles for boards, from an index of tiny wheels."""

    def make(output, *boards, **changes):
        return request_for(output, boards=find_boards(boards), sources=Sources(index.locks), **changes)

    return make


BOARDS = ("pi5-trixie", "pi4-bookworm", "pi-bookworm-32", "local")


def test_a_bundle_for_boards_brings_the_wheels_of_each_and_the_device_runtime_first(for_boards, index):
    facts = build_bundle(for_boards("boards.edgekit", *BOARDS), silent)
    assert [package.platform for package in facts.packages] == [
        "aarch64 cp311 glibc 2.36",
        "aarch64 cp313 glibc 2.41",
        "any machine",
        "armv7l cp311 glibc 2.36",
    ]
    wheels = [[label_of(blob) for blob in package.blobs if blob.role == "wheel"] for package in facts.packages]
    assert all(names[0].startswith("edgekit-device-runtime") for names in wheels)
    assert wheels[1][1:] == [
        "ai-edge-litert 2.3.0",
        "flatbuffers 25.1",
        "numpy 1.26.4",
        "opencv-python-headless 4.11.0.86",
        "pillow 11.0.0",
    ]
    assert (wheels[2][1:], wheels[3][1:]) == ([], ["tflite-runtime 2.14.0"])
    published = {as_file(path).sha256 for path in index.files.iterdir()}
    brought = {blob.hex for package in facts.packages for blob in package.blobs if blob.role == "wheel"}
    assert brought - {facts.packages[0].blobs[11].hex} <= published
    assert verify_bundle(for_boards("boards.edgekit").output, silent) == facts


def test_a_package_says_what_its_board_must_have(for_boards):
    facts = build_bundle(for_boards("boards.edgekit", *BOARDS), silent)
    bookworm, _, local, small = (package.compat for package in facts.packages)
    assert [item.package for item in small.system_packages] == ["python3-numpy", "python3-opencv", "python3-pil"]
    assert bookworm.system_packages == local.system_packages == ()
    assert bookworm.bytes_needed > small.bytes_needed
    assert bookworm.memory_bytes == local.memory_bytes > RUNTIME_BYTES


def test_equal_requests_for_boards_give_equal_bytes_whatever_their_order_and_the_cache(for_boards, empty_caches):
    build_bundle(for_boards("one.edgekit", *BOARDS), silent)
    build_bundle(for_boards("two.edgekit", *reversed(BOARDS)), silent)
    shutil.rmtree(empty_caches)
    build_bundle(for_boards("three.edgekit", *BOARDS), silent)
    contents = {for_boards(f"{name}.edgekit").output.read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1


def test_every_package_has_a_bill_of_what_is_in_it(for_boards):
    facts = build_bundle(for_boards("boards.edgekit", *BOARDS), silent)
    with open_bundle(for_boards("boards.edgekit").output) as bundle:
        for package in facts.packages:
            (listed,) = [blob for blob in package.blobs if blob.role == "sbom"]
            bill = json.loads(b"".join(bundle.read(listed)))
            hashes = {item["hashes"][0]["content"] for item in bill["components"] if "hashes" in item}
            assert hashes == {blob.hex for blob in package.blobs if blob.role in ("wheel", "model")}


def test_a_board_that_cannot_run_it_is_refused_before_anything_is_done(for_boards, index):
    heard = []
    request = for_boards("x.edgekit", "pi5-trixie", "pi-bookworm-32", service=ServiceSpec(engine="litert"))
    with pytest.raises(UnfitError, match="pi-bookworm-32 cannot run this"):
        build_bundle(request, heard.append)
    assert [event.title.split()[0] for event in heard] == ["look"]
    large = for_boards("x.edgekit", "zero2w-bookworm", service=ServiceSpec(page=PageSpec(), workers=64))
    for file in index.files.iterdir():
        file.unlink()
    request.model.write_bytes(request.model.read_bytes() + bytes(3_000_000))
    with pytest.raises(UnfitError, match="too little memory"):
        build_bundle(large, heard.append)
    assert len(heard) == 1
    assert not request.output.exists()


def test_a_signed_bundle_tells_who_signed_it_and_an_altered_one_does_not_pass(request_for, tmp_path):
    key = make_key(tmp_path)
    signers = allow(tmp_path / "allowed", ("me@example.org", key))
    request = request_for(sign=key, sequence=7)
    facts = build_bundle(request, silent)
    assert (facts.signed, facts.packages[0].compat.sequence) == (True, 7)
    assert verify_bundle(request.output, silent, signers).signer == "me@example.org"
    with pytest.raises(UnknownSignerError):
        verify_bundle(request.output, silent, allow(tmp_path / "other", ("me", make_key(tmp_path, "stranger"))))
    build_bundle(request_for("plain.edgekit"), silent)
    with pytest.raises(UnsignedError):
        verify_bundle(request_for("plain.edgekit").output, silent, signers)


def test_a_key_that_is_not_there_is_said_before_anything_is_done(request_for, tmp_path):
    heard = []
    with pytest.raises(UsageError, match="there is no key"):
        build_bundle(request_for(sign=tmp_path / "none"), heard.append)
    assert heard == []


def test_signing_twice_with_an_ed25519_key_gives_equal_bytes(request_for, tmp_path):
    key = make_key(tmp_path)
    for name in ("one", "two"):
        build_bundle(request_for(f"{name}.edgekit", sign=key), silent)
    assert (tmp_path / "one.edgekit").read_bytes() == (tmp_path / "two.edgekit").read_bytes()


def changed(bundle, tmp_path, **replaced):
    """Pack a bundle's contents again, with other bytes for some roles: all digests are right, the contents are not."""
    with open_bundle(bundle) as opened:
        manifest = opened.packages[0].manifest
        contents = []
        for blob in manifest.blobs:
            content = replaced.get(blob.role, b"".join(opened.read(blob)))
            figures = {"unpacked_size": blob.unpacked_size, "files": blob.files}
            contents.append(content_of(blob.role, blob.name, content, **figures))
    return pack(tmp_path / "changed.edgekit", contents)


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("model", b"no model", "expected a TFLite model"),
        ("spec", b"{}", "is missing"),
        ("spec", b"\xff", "UTF-8"),
        ("service", b"[]", "expected a table"),
        ("golden", b"no tensor", "not a golden tensor"),
        ("wheel", b"no wheel", "not a wheel"),
    ],
)
def test_contents_that_are_not_what_they_are_said_to_be_are_refused(request_for, tmp_path, role, content, message):
    build_bundle(request_for(), silent)
    path = changed(request_for().output, tmp_path, **{role: content})
    with pytest.raises(BadFileError, match=message):
        verify_bundle(path, silent)


def test_goldens_that_are_too_few_are_refused(request_for, tmp_path):
    build_bundle(request_for(), silent)
    # ``pack`` says one sample; there are four.
    with pytest.raises(BadFileError, match="expected goldens for 1 samples"):
        verify_bundle(changed(request_for().output, tmp_path), silent)


def test_describing_reads_no_blob_and_verifying_reads_all(request_for):
    build_bundle(request_for(), silent)
    path = request_for().output
    model = request_for().model.read_bytes()
    content = bytearray(path.read_bytes())
    content[content.index(model) + 100] ^= 1
    path.write_bytes(content)
    assert describe_bundle(path).name == "bright"
    with pytest.raises(BadFileError, match=r"bright\.tflite: altered"):
        verify_bundle(path, silent)


def test_a_bundle_made_for_a_board_does_not_verify_as_a_whole_one(tmp_path):
    slim = pack(tmp_path / "slim.edgekit", tiny_contents(tmp_path), leave_out=["app.tflite"])
    with pytest.raises(BadFileError, match="missing"):
        verify_bundle(slim, silent)
