import itertools
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import BadFileError
from edgekit.flashing.partitions import Partition, boot_partition, read_partitions, root_partition
from tests.support.disk_images import MIB, make_disk_image, require_disk_tools

FAT32, FAT16, LINUX, EXTENDED, GPT = 0x0C, 0x0E, 0x83, 0x05, 0xEE


def table(*entries, signature=b"\x55\xaa", status=0, code=b"\0"):
    """Return a sector with entries of (type, first sector, sectors)."""
    packed = [
        struct.pack("<B3sB3sII", status, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", *place) for kind, *place in entries
    ]
    return code.ljust(446, b"\0") + b"".join(packed).ljust(64, b"\0") + signature


def partitions(*entries):
    return read_partitions(table(*entries), "os.img")


def test_entries_are_told_in_bytes():
    assert partitions((FAT32, 8192, 1000), (LINUX, 9192, 2000)) == (
        Partition(1, 8192 * 512, 1000 * 512, FAT32),
        Partition(2, 9192 * 512, 2000 * 512, LINUX),
    )


def test_an_unused_entry_keeps_the_numbers_of_those_behind_it():
    assert [partition.number for partition in partitions((FAT32, 8192, 8), (0, 5, 5), (LINUX, 9000, 8))] == [1, 3]


def test_the_last_sector_of_two_tebibytes_is_told():
    assert partitions((LINUX, 2**32 - 1, 1))[0].end == 2**32 * 512


def test_the_table_of_a_program_that_partitions_is_understood(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": b"b"}, {"etc/x": b"y"}, fat=16, boot_offset=2 * MIB)
    read = read_partitions(image.path.read_bytes()[:512], "card.img")
    assert boot_partition(read, "card.img").start == image.boot_offset == 2 * MIB
    assert boot_partition(read, "card.img").size == image.boot_size
    assert root_partition(read).start == image.root_offset


def test_a_gpt_that_a_program_made_is_refused(tmp_path):
    require_disk_tools()
    path = tmp_path / "gpt.img"
    path.write_bytes(bytes(8 * MIB))
    subprocess.run(["/sbin/sfdisk", "-q", path], input=b"label: gpt\nsize=2MiB\n", check=True)
    with pytest.raises(BadFileError, match=r"gpt\.img has a GPT: expected an MBR alone"):
        read_partitions(path.read_bytes()[:512], "gpt.img")


@pytest.mark.parametrize(
    ("sector", "message"),
    [
        (b"", "expected 55aa at byte 510, got nothing"),
        (table((FAT32, 8192, 8))[:511], "expected 55aa at byte 510, got 55"),
        (table((FAT32, 8192, 8), signature=b"\xaa\x55"), "expected 55aa at byte 510, got aa55"),
        (table(), "its table is empty"),
        (table((FAT32, 8192, 8), status=0x41, code=b"\xeb\x58\x90"), "it is a file system alone"),
        (table((FAT32, 8192, 8), status=0x41), "it is something else"),
        (table((FAT32, 8192, 8), (GPT, 1, 8191)), "has a GPT"),
        (table((FAT32, 0, 8)), "partition 1 of os.img begins at byte 0 and has 4096 bytes"),
        (table((FAT32, 8192, 8), (LINUX, 9000, 0)), "partition 2 of os.img begins at byte 4608000 and has 0 bytes"),
        (table((FAT32, 8192, 809), (LINUX, 9000, 8)), "partitions 1 and 2 of os.img overlap"),
        (table((LINUX, 9000, 8), (FAT32, 8192, 809)), "partitions 2 and 1 of os.img overlap"),
    ],
)
def test_a_sector_without_a_sound_mbr_is_refused(sector, message):
    with pytest.raises(BadFileError, match=message) as caught:
        read_partitions(sector, "os.img")
    assert "os.img" in str(caught.value)


def test_partitions_may_touch():
    assert len(partitions((FAT32, 8192, 808), (LINUX, 9000, 8))) == 2


@pytest.mark.parametrize("kind", [0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E])
def test_the_boot_partition_is_the_first_fat(kind):
    read = partitions((kind, 8192, 8), (FAT32, 9000, 8), (LINUX, 10000, 8))
    assert boot_partition(read, "os.img") == read[0]


def test_an_extended_partition_is_left_as_it_is():
    read = partitions((FAT16, 8192, 8), (EXTENDED, 9000, 8))
    assert boot_partition(read, "os.img").number == 1
    assert root_partition(read) is None


def test_the_root_is_the_first_of_linux():
    assert root_partition(partitions((FAT32, 8192, 8), (LINUX, 9000, 8), (LINUX, 10000, 8))).number == 2


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ((LINUX, 8192, 8), (0x82, 9000, 8)),
            "no FAT partition to boot from in os.img: it has those of type 0x83, 0x82",
        ),
        (((FAT32, 2047, 8),), "partition 1 of os.img begins at byte 1048064: expected 1048576 or more"),
        (((FAT32, 9000, 8), (LINUX, 8192, 8)), "partition 2 of os.img lies before 1"),
    ],
)
def test_a_card_that_would_not_be_written_safely_is_refused(entries, message):
    with pytest.raises(BadFileError, match=message):
        boot_partition(partitions(*entries), "os.img")


def test_the_boot_partition_may_begin_at_the_first_mebibyte():
    assert boot_partition(partitions((FAT32, 2048, 8)), "os.img").start == MIB


@given(st.binary(max_size=66), st.binary(max_size=520))
def test_any_sector_is_a_table_or_refused(entries, noise):
    for sector in (noise, entries.ljust(66, b"\0").rjust(512, b"\0")[:510] + b"\x55\xaa"):
        try:
            read = read_partitions(sector, "os.img")
        except BadFileError:
            continue
        ordered = sorted(read, key=lambda partition: partition.start)
        assert all(one.end <= other.start for one, other in itertools.pairwise(ordered))
        assert all(partition.start >= 512 and partition.size >= 512 for partition in read)


@given(
    st.lists(
        st.tuples(st.sampled_from([FAT32, LINUX, EXTENDED]), st.integers(1, 2**31), st.integers(1, 2**31)), max_size=4
    )
)
def test_overlaps_are_found_wherever_they_are(entries):
    taken = [(start, start + size) for _, start, size in entries]
    overlap = any(a < d and c < b for i, (a, b) in enumerate(taken) for c, d in taken[i + 1 :])
    if not entries or overlap:
        with pytest.raises(BadFileError):
            partitions(*entries)
    else:
        assert [(p.kind, p.start // 512, p.size // 512) for p in partitions(*entries)] == entries
