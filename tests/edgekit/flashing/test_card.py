import contextlib
import os
import random
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_runtime.contract.events import Notice, Progress, Step, silent
from device_runtime.errors import EdgeError, Interrupted, UnfitError, UsageError
from edgekit.flashing.card import device_card, file_card
from edgekit.flashing.drives import find_drive
from edgekit.flashing.errors import NotWrittenError
from edgekit.flashing.medium import PIECE_BYTES, CardError
from edgekit.flashing.partitions import HELD_BACK
from edgekit.flashing.sparse import HOLE_BYTES
from tests.support.loop_devices import (
    PARTITION_TABLE,
    fake_card,
    loop_device,
    mounted_elsewhere,
    plain_card,
    require_loop_devices,
    require_partition_scan,
    run,
)


def random_bytes(size):
    return random.Random(size).randbytes(size)  # noqa: S311 - the same each time


MIB = 1 << 20
SIZE = 24 * MIB
OLD = b"what was on it \n"
CONTENT = random_bytes(4 * MIB) + bytes(3 * MIB) + random_bytes(3 * MIB + 512)


@pytest.fixture(autouse=True)
def _cards(request, monkeypatch):
    if "card_file" in request.fixturenames or "fake" in request.fixturenames:
        require_loop_devices(monkeypatch)


@pytest.fixture
def card_file(tmp_path):
    """The file that a card stands on; it is full of old data."""
    return plain_card(tmp_path / "card", SIZE, OLD)


@pytest.fixture
def fake(tmp_path):
    """A card that keeps what it gets until it is told otherwise."""
    with fake_card(tmp_path, SIZE) as fake:
        yield fake


def write(card, content=CONTENT, size=MIB):
    for start in range(0, len(content), size):
        card.write(content[start : start + size])


def verify(card):
    card.verify(silent)


def finish(card):
    card.finish()


def flash(device, *steps, heard=silent, needed=None):
    """Open a card, and take each of ``steps`` with it in turn."""
    with device_card(find_drive(device), needed, heard) as card:
        for step in steps:
            step(card)


def make(out, *steps, apart_from=()):
    """Open a card that is a file, and take each of ``steps`` with it in turn."""
    with file_card(out, apart_from) as card:
        for step in steps:
            step(card)


def interrupt(_card):
    raise KeyboardInterrupt


def names(folder):
    return [path.name for path in folder.iterdir()]


def holes(path):
    """Return which blocks of HOLE_BYTES are holes."""
    with path.open("rb") as stream:
        found, end = [], os.fstat(stream.fileno()).st_size
        for start in range(0, end, HOLE_BYTES):
            data = end
            with contextlib.suppress(OSError):  # nothing but a hole is left
                data = os.lseek(stream.fileno(), start, os.SEEK_DATA)
            if data >= min(start + HOLE_BYTES, end):
                found.append(start // HOLE_BYTES)
        return found


def warnings(heard):
    return [event.message for event in heard if isinstance(event, Notice)]


# A file


@st.composite
def contents(draw):
    """Some MiB of zeros and data, with ends beside the places that matter, and how they are split."""
    near = st.sampled_from([HOLE_BYTES, HELD_BACK, PIECE_BYTES, 2 * HOLE_BYTES]).flatmap(
        lambda size: st.integers(size - 2, size + 2)
    )
    content = bytearray()
    for data, size in draw(st.lists(st.tuples(st.booleans(), near | st.integers(1, 300)), min_size=1, max_size=6)):
        content += random_bytes(size) if data else bytes(size)
    cuts = draw(st.lists(st.integers(0, len(content)), max_size=12))
    return bytes(content), sorted(cuts)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents())
def test_however_content_is_split_the_file_and_its_holes_are_the_same(tmp_path, written):
    content, cuts = written
    out = tmp_path / "card.img"
    out.unlink(missing_ok=True)
    with file_card(out) as card:
        for start, end in pairwise([0, *cuts, len(content)]):
            card.write(content[start:end])
        card.verify(silent)
        assert not out.exists()
        assert card.path.read_bytes() == bytes(min(HELD_BACK, len(content))) + content[HELD_BACK:]
        card.finish()
        assert card.path == out
    assert out.read_bytes() == content
    blocks = [content[start : start + HOLE_BYTES] for start in range(0, len(content), HOLE_BYTES)]
    assert holes(out) == [number for number, block in enumerate(blocks) if not any(block)]
    assert names(tmp_path) == ["card.img"]


def test_what_is_not_finished_leaves_nothing_and_what_was_there(tmp_path):
    out = tmp_path / "card.img"
    out.write_bytes(OLD)
    make(out, write, verify)
    with pytest.raises(KeyboardInterrupt):
        make(out, write, interrupt)
    assert (names(tmp_path), out.read_bytes()) == (["card.img"], OLD)


def test_a_bit_that_flips_on_the_disk_is_found_and_the_file_is_not_kept(tmp_path):
    def flip(card):
        with card.path.open("r+b") as stream:
            stream.seek(5 * MIB)
            stream.write(b"\1")

    with pytest.raises(NotWrittenError, match="bytes 4194304 to 8388607 are not what was written") as error:
        make(tmp_path / "card.img", write, verify, flip, verify)
    assert "write to another one" in error.value.hint
    assert names(tmp_path) == []


def test_a_full_disk_is_said_and_nothing_is_left(small_disk):
    with pytest.raises(EdgeError, match=r"cannot write .*card.img: no space left"):
        make(small_disk / "card.img", write, verify)
    assert names(small_disk) == []


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(EdgeError, match="does not exist"):
        make(tmp_path / "none" / "card.img")


def test_what_is_read_and_what_is_no_file_is_not_replaced(tmp_path):
    image = tmp_path / "os.img"
    image.write_bytes(OLD)
    link = tmp_path / "link.img"
    link.symlink_to(image)
    with pytest.raises(UsageError, match=r"link.img would replace .*os.img"):
        make(link, apart_from=(tmp_path / "none", image))
    with pytest.raises(UsageError, match="is a folder") as error:
        make(tmp_path)
    assert error.value.hint == f"name a file in it: --out {tmp_path / 'card.img'}"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no regular file"):
        make(tmp_path / "pipe")


def test_progress_of_reading_back_is_told(tmp_path):
    heard = []
    make(tmp_path / "card.img", write, lambda card: card.verify(heard.append))
    total = len(CONTENT) - HELD_BACK
    assert heard == [
        Step("read the card back"),
        *(Progress(done, total, "bytes") for done in (3 * MIB, 7 * MIB, total)),
    ]


# A device


def test_a_device_is_no_file(card_file):
    with loop_device(card_file) as device, pytest.raises(UsageError, match="is a device, not a file") as error:
        make(device)
    assert error.value.hint == f"to write a card: --device {device}"


def test_a_card_gets_the_image_and_boots_only_when_it_is_finished(card_file):
    heard = []
    with loop_device(card_file) as device, device_card(find_drive(device), len(CONTENT), heard.append) as card:
        assert card.path == device
        write(card)
        card.verify(heard.append)
        with device.open("rb") as stream:
            assert stream.read(len(CONTENT)) == bytes(HELD_BACK) + CONTENT[HELD_BACK:]
        card.finish()
    assert card_file.read_bytes()[: len(CONTENT)] == CONTENT
    assert warnings(heard) == []
    assert [event.title for event in heard if isinstance(event, Step)] == ["check the card", "read the card back"]


def test_an_old_partition_table_is_gone_at_both_ends(card_file):
    with loop_device(card_file) as device:
        flash(device)
    written = card_file.read_bytes()
    assert written[:HELD_BACK] == written[-HELD_BACK:] == bytes(HELD_BACK)


def test_a_loop_device_with_sectors_of_4096_bytes_is_written_too(card_file):
    with loop_device(card_file, "--sector-size", "4096") as device:
        flash(device, lambda card: write(card, size=1_000_001), verify, finish)
    assert card_file.read_bytes()[: len(CONTENT)] == CONTENT


def test_an_image_smaller_than_what_is_held_back_is_written_too(card_file):
    with loop_device(card_file) as device:
        flash(device, lambda card: write(card, CONTENT[:1000]), verify, finish)
    assert card_file.read_bytes()[:1000] == CONTENT[:1000]


def test_the_kernel_sees_the_new_partitions(card_file, tmp_path):
    require_partition_scan(tmp_path)
    image = bytearray(CONTENT)
    image[446:512] = PARTITION_TABLE
    with loop_device(card_file, "--partscan") as device:
        flash(device, lambda card: write(card, bytes(image)), verify)
        assert not Path(f"{device}p1").exists()
        flash(device, lambda card: write(card, bytes(image)), verify, finish)
        assert Path(f"{device}p1").is_block_device()


def test_a_card_that_is_too_small_is_not_touched(card_file):
    said = f"the image needs {SIZE + 1} bytes, the card has {SIZE} bytes"
    with loop_device(card_file) as device, pytest.raises(UnfitError, match=said):
        flash(device, needed=SIZE + 1)
    assert card_file.read_bytes() == OLD * (SIZE // len(OLD))


def test_an_image_of_unknown_size_that_grows_too_large_is_refused(card_file):
    heard = []
    with loop_device(card_file) as device, pytest.raises(UnfitError, match=f"more than {SIZE} bytes"):
        flash(device, lambda card: write(card, bytes(SIZE + 1)), verify, heard=heard.append)
    assert "does not boot" in warnings(heard)[0]


def test_another_card_in_its_place_is_not_written(card_file):
    with loop_device(card_file) as device:
        drive = find_drive(device)
        run("losetup", "--detach", str(device))
        refused = pytest.raises(CardError, match=r"is another card by now: expected .*, got .*; nothing was written")
        with loop_device(card_file, device=device), refused, device_card(drive, None, silent):
            pytest.fail("it was opened")
    assert card_file.read_bytes() == OLD * (SIZE // len(OLD))


def test_a_card_that_was_mounted_meanwhile_is_not_written(card_file, tmp_path):
    run("mkfs.ext4", "-q", str(card_file))
    (folder := tmp_path / "mount").mkdir()
    with loop_device(card_file) as device:
        drive = find_drive(device)
        run("mount", str(device), str(folder))
        try:
            with pytest.raises(UnfitError, match=f"mounted at {folder}"), device_card(drive, None, silent):
                pytest.fail("it was opened")
        finally:
            run("umount", str(folder))
        refused = pytest.raises(UnfitError, match="mounted, or in use by another program")
        with mounted_elsewhere(device, folder), refused, device_card(drive, None, silent):
            pytest.fail("it was opened")
        run("fsck.ext4", "-fn", str(device))


def test_nothing_mounts_a_card_that_is_being_written(card_file, tmp_path):
    with loop_device(card_file) as device, device_card(find_drive(device), None, silent):
        run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", str(card_file))
        done = subprocess.run(["mount", str(device), str(tmp_path)], capture_output=True, text=True, check=False)
        assert "busy" in done.stderr or "already mounted" in done.stderr


def test_who_may_not_write_a_card_is_told_how(card_file):
    with loop_device(card_file) as device:
        os.seteuid(65534)
        try:
            with pytest.raises(EdgeError, match="not permitted; it takes root") as error:
                flash(device)
        finally:
            os.seteuid(0)
    assert error.value.hint.startswith(f'sudo "$(command -v edgekit)" flash --device {device}')


def test_ctrl_c_leaves_a_card_that_does_not_boot_and_says_so(card_file):
    heard = []
    said = "interrupted; /dev/loop.* does not boot: it was not written to its end"
    with loop_device(card_file) as device, pytest.raises(Interrupted, match=said):
        flash(device, write, interrupt, heard=heard.append)
    assert len(warnings(heard)) == 1
    assert card_file.read_bytes()[:HELD_BACK] == bytes(HELD_BACK)


def test_a_bit_that_flips_on_the_card_is_found(fake):
    heard = []
    with pytest.raises(NotWrittenError, match=f"{fake.device}: bytes 8388608 to 10486271 are not what was written"):
        flash(fake.device, write, verify, lambda _: fake.flip(9 * MIB), verify, heard=heard.append)
    assert "does not boot" in warnings(heard)[0]
    assert fake.device.read_bytes()[:HELD_BACK] == bytes(HELD_BACK)


def test_what_is_read_back_comes_from_the_medium_not_from_the_page_cache(fake):
    with device_card(find_drive(fake.device), len(CONTENT), silent) as card, fake.device.open("rb") as stream:
        write(card)
        stream.read()  # now its pages are in the cache
        fake.flip(2 * MIB)
        with pytest.raises(NotWrittenError, match="bytes 1048576 to 4194303"):
            card.verify(silent)


def test_what_programs_read_by_its_path_comes_from_the_medium_too(fake):
    with device_card(find_drive(fake.device), len(CONTENT), silent) as card, fake.device.open("rb") as stream:
        write(card)
        cached = stream.read()
        fake.flip(12 * MIB)  # behind the image, so that nothing but forgetting takes it out of the cache
        card.verify(silent)
        with fake.device.open("rb") as other:
            other.seek(12 * MIB)
            assert other.read(1)[0] == cached[12 * MIB] ^ 1


def test_a_first_block_that_does_not_hold_is_found_and_erased(fake):
    heard = []
    with pytest.raises(NotWrittenError, match="bytes 0 to 1048575 are not what was written"):
        flash(fake.device, write, verify, lambda _: fake.tell("rot", 5000), finish, heard=heard.append)
    assert "does not boot" in warnings(heard)[0]
    assert fake.device.read_bytes()[:4096] == bytes(4096)


# Where a piece begins: a loop device takes a write for whole whose first part alone came through.
@pytest.mark.parametrize("at", [HELD_BACK, 2 * PIECE_BYTES])
def test_a_place_that_cannot_be_written_is_told(fake, at):
    heard = []
    with pytest.raises(
        CardError, match=f"cannot write {fake.device} at byte .*: input/output error; the card"
    ) as error:
        flash(fake.device, lambda _: fake.tell("fail", at, at + 4096), write, verify, heard=heard.append)
    assert "dmesg" in error.value.hint
    assert "does not boot" in warnings(heard)[0]


def test_a_first_block_that_cannot_be_written_whole_stays_without_a_boot_sector(fake):
    with pytest.raises(CardError, match="cannot write"):
        flash(fake.device, write, verify, lambda _: fake.tell("fail", MIB // 2, MIB), finish)
    fake.tell("fail", 0, 0)
    assert fake.device.read_bytes()[:4096] == bytes(4096)


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_card_that_is_pulled_out_is_told_whenever_that_is(fake, moment):
    heard, steps = [], [write, verify, finish]
    steps.insert(moment, lambda _: fake.pull_out())
    with pytest.raises(CardError, match=f"{fake.device}.*the card was pulled out"):
        flash(fake.device, *steps, heard=heard.append)
    assert "does not boot" in warnings(heard)[0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wraps", f"it says {SIZE} bytes and keeps {8 * MIB} bytes at most: what is written beyond them comes out"),
        ("loses", f"it says {SIZE} bytes and keeps only the first"),
        ("ones", f"it says {SIZE} bytes and keeps only the first"),
    ],
)
def test_a_fake_is_found_before_the_image_is_written(tmp_path, monkeypatch, kind, said):
    require_loop_devices(monkeypatch)
    heard = []
    refused = pytest.raises(CardError, match=f"/dev/loop.* is a fake or broken: {said}")
    with fake_card(tmp_path, SIZE, kind, 8 * MIB) as fake, refused as error:
        flash(fake.device, lambda _: pytest.fail("it was believed"), heard=heard.append)
    assert f"f3probe --destructive {fake.device}" in error.value.hint
    assert "does not boot" in warnings(heard)[0]
