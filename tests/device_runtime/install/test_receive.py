import contextlib
import errno
import hashlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_runtime.contract.events import Notice
from device_runtime.contract.oci import BLOBS
from device_runtime.contract.session import Blob
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.install.application import CheckedApplication
from device_runtime.install.apply import apply_bundle
from device_runtime.install.commands import recover_root
from device_runtime.install.fsops import FileSystem
from device_runtime.install.host import Host, HostGoneError
from device_runtime.install.incoming import STALE_S, arrived
from device_runtime.install.layout import open_bundle
from device_runtime.install.lock import BusyError, receiving
from device_runtime.install.receive import Receiver, ResumeMismatchError
from device_runtime.install.room import DiskFullError
from device_runtime.install.root import Root
from device_runtime.install.site import Site
from tests.support import small_disks
from tests.support.bundles import pack, release_of, tiny_bundle, tiny_contents
from tests.support.conversing import Parts, parts_of, write_folder
from tests.support.faulty_files import FaultyFiles, kill_at
from tests.support.installing import current, install, leftovers


def site_of(root: Path, fs=None, events=None) -> Site:
    """Return a root to install in."""
    return Site(Root(root), CheckedApplication(), fs or FileSystem(), *([events] if events else []))


@contextlib.contextmanager
def receiver(root: Path, content: bytes, fs=None, **more):
    """A receiver whose host says these bytes and hangs up."""
    reader, writer = os.pipe()

    def tell():
        with os.fdopen(writer, "wb") as stream, contextlib.suppress(BrokenPipeError):
            stream.write(content)

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        with contextlib.closing(Receiver(site_of(root, fs), Host(reader), **more)) as taking:
            yield taking
    finally:
        os.close(reader)
        teller.join()


def receive(root: Path, messages, cut=None, fs=None) -> None:
    """Receive what a host says, of which the bytes behind the requests are cut after ``cut``."""
    content = b"".join(payload for _, payload in messages)
    with receiver(root, content[:cut], fs) as taking:
        for request, _ in messages:
            if isinstance(request, Blob):
                taking.blob(request)
            else:
                taking.index(request)


def going_on(parts: Parts, root: Path) -> list:
    """Return what a host says next."""
    came = {f"sha256:{digest}": size for digest, size in arrived(Root(root)).items()}
    return parts.messages(came=came)[:-1]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A bundle in its parts."""
    folder = tmp_path_factory.mktemp("bundle")
    return parts_of(pack(folder / "app", tiny_contents(folder, model=bytes(range(256)) * 40)))


def part_of(root: Path, digest: str) -> Path:
    """Return where a blob that is on its way lies."""
    return root / "incoming" / BLOBS / (digest.split(":")[1] + ".part")


def whole_of(root: Path, digest: str) -> Path:
    """Return where a blob that came lies."""
    return root / "incoming" / BLOBS / digest.split(":")[1]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1), max_size=6))
def test_a_transfer_cut_at_any_bytes_becomes_the_whole_in_the_end(tmp_path_factory, parts, cuts):
    root = tmp_path_factory.mktemp("cut") / "board"
    for share in cuts:
        messages = going_on(parts, root)
        total = sum(len(payload) for _, payload in messages)
        cut = int(share * total)
        before = sum(arrived(Root(root)).values())
        with contextlib.suppress(HostGoneError):
            receive(root, messages, cut)
        assert sum(arrived(Root(root)).values()) - before >= cut - len(parts.index)
    receive(root, going_on(parts, root))
    assert {path.name for path in (root / "incoming" / BLOBS).iterdir()} == {d.split(":")[1] for d in parts.blobs}
    for digest in parts.blobs:
        assert hashlib.sha256(whole_of(root, digest).read_bytes()).hexdigest() == digest.split(":")[1]
    with open_bundle(root / "incoming") as bundle:
        assert bundle.index_content == parts.index


def test_a_blob_that_was_altered_is_named_and_nothing_of_it_is_kept(tmp_path, parts):
    messages = parts.messages()[:-1]
    request, content = messages[-1]
    spoilt = [*messages[:-1], (request, content[:-1] + bytes([content[-1] ^ 1]))]
    with pytest.raises(BadFileError, match=f"{request.digest}: altered on its way"):
        receive(tmp_path / "board", spoilt)
    assert not part_of(tmp_path / "board", request.digest).exists()
    assert not whole_of(tmp_path / "board", request.digest).exists()


def test_a_beginning_that_was_spoilt_on_the_disk_is_found_at_the_end_and_comes_anew(tmp_path, parts):
    root = tmp_path / "board"
    digest = parts.messages()[-2][0].digest
    total = sum(len(payload) for _, payload in parts.messages())
    with pytest.raises(HostGoneError):
        receive(root, parts.messages()[:-1], total - 10)
    part = part_of(root, digest)
    part.write_bytes(bytes(part.stat().st_size))  # as a power cut leaves it
    with pytest.raises(BadFileError, match="altered on its way"):
        receive(root, going_on(parts, root))
    receive(root, going_on(parts, root))
    assert whole_of(root, digest).read_bytes() == parts.blobs[digest]


def test_a_whole_blob_that_was_spoilt_on_the_disk_is_found_by_the_installation_and_comes_anew(tmp_path, parts):
    root = tmp_path / "board"
    receive(root, parts.messages()[:-1])
    digest = parts.messages()[-2][0].digest
    whole_of(root, digest).write_bytes(bytes(len(parts.blobs[digest])))
    with pytest.raises(BadFileError, match="expected sha256:"):
        apply_bundle(site_of(root), root / "incoming")
    assert not whole_of(root, digest).exists()
    receive(root, going_on(parts, root))
    assert apply_bundle(site_of(root), root / "incoming").current.version == "1.0"


@pytest.mark.parametrize("offset", [1, 99, 101])
def test_a_rest_that_begins_elsewhere_is_refused_and_told_where_to_begin(tmp_path, parts, offset):
    root = tmp_path / "board"
    *frame, (request, content) = parts.messages()[:-1]
    with pytest.raises(HostGoneError):
        receive(root, [*frame, (request, content[:100])])
    again = Blob(request.digest, request.size, offset)
    with pytest.raises(ResumeMismatchError, match=f"expected it to go on at byte 100, got byte {offset}"):
        receive(root, [*frame, (again, content[offset:])])
    assert part_of(root, request.digest).read_bytes() == content[:100]
    # From the beginning is always possible.
    receive(root, [*frame, (request, content)])
    assert whole_of(root, request.digest).read_bytes() == content


@pytest.mark.parametrize("suffix", ["", ".part"])
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_what_has_an_impossible_size_is_no_obstacle(tmp_path, parts, suffix, size):
    root = tmp_path / "board"
    receive(root, parts.messages()[:-1])
    whole = whole_of(root, parts.messages()[-2][0].digest)
    whole.unlink()
    whole.with_name(whole.name + suffix).write_bytes(bytes(size))
    for _ in range(2):  # once it may be told where to begin, or that it was spoilt
        with contextlib.suppress(ResumeMismatchError, BadFileError):
            receive(root, going_on(parts, root))
    assert apply_bundle(site_of(root), root / "incoming").current.version == "1.0"


def test_a_receiver_killed_at_any_call_is_gone_on_with(tmp_path, parts):
    root = tmp_path / "board"
    kept = 0
    for point in range(1000):
        shutil.rmtree(root, ignore_errors=True)
        child = os.fork()
        if child == 0:
            receive(root, parts.messages()[:-1], fs=FaultyFiles(kill_at(point)))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kept = max(kept, len(arrived(Root(root))))
        receive(root, going_on(parts, root))
        with open_bundle(root / "incoming") as bundle:
            assert b"".join(bundle.read(bundle.packages[0].manifest.blobs[0]))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert (point > 30, kept) == (True, len(parts.blobs))


def test_only_what_the_index_names_is_taken_with_the_size_that_it_says(tmp_path, parts):
    messages = parts.messages()[:-1]
    digest = "sha256:" + "a" * 64
    with pytest.raises(BadFileError, match=f"{digest}: nothing of the bundle that came before names it"):
        receive(tmp_path / "board", [*messages, (Blob(digest, 4), b"evil")])
    manifest = messages[1][0]
    with pytest.raises(BadFileError, match=f"expected {manifest.size} bytes, got {1 << 50}"):
        receive(tmp_path / "board", [messages[0], (Blob(manifest.digest, 1 << 50), b"")])
    # A blob before the manifest that names it might be anything.
    with pytest.raises(BadFileError, match="nothing of the bundle that came before names it"):
        receive(tmp_path / "other", [messages[0], messages[-1]])


def test_what_came_for_another_bundle_is_no_obstacle(tmp_path, parts):
    root = tmp_path / "board"
    other = tiny_bundle(tmp_path, "2.0")
    receive(root, parts.messages()[:-1])
    receive(root, parts_of(other).messages()[:-1])
    assert apply_bundle(site_of(root), root / "incoming").current.version == "2.0"
    assert current(root) == release_of(other)


def test_one_host_sends_at_a_time(tmp_path, parts):
    root = tmp_path / "board"
    told = []
    messages = parts.messages()
    receive(root, messages[:1])
    with receiving(FileSystem(), Root(root)):
        reader, writer = os.pipe()
        os.write(writer, messages[0][1])
        taking = Receiver(site_of(root, events=told.append), Host(reader), wait_s=0.1)
        with pytest.raises(BusyError, match="another host is sending"):
            taking.index(messages[0][0])
        os.close(reader)
        os.close(writer)
    assert told == [Notice("another host is sending to this board; waiting for it")]
    receive(root, messages[:1])


def test_too_little_space_is_said_before_the_blobs_come(small_disk, tmp_path):
    root = small_disk / "board"
    big = parts_of(pack(tmp_path / "big", tiny_contents(tmp_path, model=bytes(3_000_000))))
    with pytest.raises(DiskFullError, match=r"needs 4\d{6} bytes, \d+ bytes free"):
        receive(root, big.messages()[:3])
    assert sum(path.stat().st_size for path in root.rglob("*")) < 100_000


def test_what_came_takes_its_room_once(tmp_path):
    reason = small_disks.why_not()
    if reason:
        pytest.skip(reason)
    heavy = parts_of(pack(tmp_path / "heavy", tiny_contents(tmp_path, model=os.urandom(9_000_000))))
    small_disks.make_disk(tmp_path / "image")
    with small_disks.mounted(tmp_path / "image", tmp_path / "disk") as disk:
        root = disk / "board"
        with pytest.raises(HostGoneError):
            receive(root, heavy.messages()[:-1], 8_500_000)
        # Less than the whole model is free now.
        receive(root, going_on(heavy, root))
        assert apply_bundle(site_of(root), root / "incoming").current.version == "1.0"


class FullFiles(FaultyFiles):
    """No space for the data of what comes."""

    def __init__(self):
        super().__init__(kill_at(None))

    def write(self, descriptor, data):
        if len(data) > 9000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)


def test_a_disk_that_fills_up_meanwhile_is_said_with_the_bytes_and_freed(tmp_path, parts):
    root = tmp_path / "board"
    with pytest.raises(DiskFullError, match=r"needs \d+ bytes"):
        receive(root, parts.messages()[:-1], fs=FullFiles())
    assert leftovers(root) == []


def test_what_came_long_ago_is_removed_unless_a_host_is_sending(tmp_path, parts):
    root = tmp_path / "board"
    receive(root, parts.messages()[:3])
    recover_root(site_of(root))
    assert (root / "incoming").exists()
    old = time.time() - STALE_S - 60
    for path in [*(root / "incoming").rglob("*"), root / "incoming"]:
        os.utime(path, (old, old))
    with receiving(FileSystem(), Root(root)):
        recover_root(site_of(root))
        assert (root / "incoming").exists()
    recover_root(site_of(root))
    assert not (root / "incoming").exists()


def test_a_folder_is_installed_as_a_tar_is_and_stays_as_it_was(tmp_path, first):
    folder = write_folder(parts_of(first), tmp_path / "folder")
    root = tmp_path / "board"
    assert install("apply", root, folder).result["outcome"] == "installed"
    assert current(root) == release_of(first)
    assert install("apply", tmp_path / "other", folder).result["outcome"] == "installed"


def test_the_folder_of_what_came_is_installed_by_hand_too(tmp_path, first):
    root = tmp_path / "board"
    receive(root, parts_of(first).messages()[:-1])
    assert install("apply", root, root / "incoming").result["outcome"] == "installed"
    assert not (root / "incoming").exists()


def spoil_link(folder, blob):
    (folder / BLOBS / blob).rename(folder.parent / "elsewhere")
    (folder / BLOBS / blob).symlink_to(folder.parent / "elsewhere")


def spoil_folder_link(folder, _blob):
    shutil.move(folder / "blobs", folder.parent / "elsewhere")
    (folder / "blobs").symlink_to(folder.parent / "elsewhere")


def spoil_pipe(folder, blob):
    (folder / BLOBS / blob).unlink()
    os.mkfifo(folder / BLOBS / blob)


def spoil_stranger(folder, _blob):
    (folder / "setup.sh").write_text("rm -rf /")


def spoil_name(folder, _blob):
    (folder / BLOBS / "A").write_text("")


def spoil_nothing(folder, blob):
    (folder / BLOBS / blob).unlink()


def spoil_index(folder, _blob):
    (folder / "index.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_link, "expected a regular file"),
        (spoil_folder_link, "expected a folder, got a link"),
        (spoil_pipe, "expected a regular file"),
        (spoil_stranger, "expected oci-layout, index.json or blobs"),
        (spoil_name, "expected oci-layout, index.json or blobs"),
        (spoil_nothing, "is missing"),
        (spoil_index, "not a bundle: index.json is missing"),
    ],
)
def test_a_folder_with_anything_else_in_it_is_refused(tmp_path, first, spoil, reason):
    taken_apart = parts_of(first)
    folder = write_folder(taken_apart, tmp_path / "folder")
    spoil(folder, next(iter(taken_apart.blobs)).split(":")[1])
    with pytest.raises(EdgeError, match=reason) as caught, open_bundle(folder):
        pass
    assert caught.value.exit_code == 3


def test_any_flipped_byte_in_a_folder_is_found(tmp_path, first):
    taken_apart = parts_of(first)
    folder = write_folder(taken_apart, tmp_path / "folder")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for position in range(0, len(whole), 41):
            spoilt = bytearray(whole)
            spoilt[position] ^= 1 << (position % 8)
            path.write_bytes(spoilt)
            with pytest.raises(EdgeError) as caught:
                parts_of(folder)
            assert caught.value.exit_code == 3, (path, position)
        path.write_bytes(whole)
