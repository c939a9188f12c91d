"""A disk that is full, or has no inodes left, at every size (number 4); it needs root."""

import contextlib
import os

import pytest

from tests.support.fault_points import look
from tests.support.installing import install
from tests.support.small_disks import BLOCK_BYTES, make_disk, mounted

pytestmark = pytest.mark.usefixtures("small_disks")


def fill(disk, free_blocks):
    """Take all blocks of a disk but some."""
    with (disk / "ballast").open("wb") as stream:
        for piece_blocks in (256, 16, 1):
            with contextlib.suppress(OSError):  # full
                while os.statvfs(disk).f_bavail > free_blocks + piece_blocks - 1:
                    os.posix_fallocate(stream.fileno(), stream.seek(0, os.SEEK_END), piece_blocks * BLOCK_BYTES)


def take_inodes(disk, free_inodes):
    """Take all inodes of a disk but some."""
    folder = disk / "many"
    folder.mkdir()
    number = 0
    while os.statvfs(disk).f_favail > free_inodes:
        (folder / str(number)).touch()
        number += 1


def assert_refused_or_done(boards, root, done, what):
    found = look(root)
    assert found["damage"] == found["fallback_damage"] == found["left"] == [], found
    assert (found["trial"], found["way_back"]) == (False, False), found
    if done.code == 0:
        assert boards.name(found["current"]) == "third"
        return
    assert boards.name(found["current"]) == "update"
    assert done.code in (1, 6), done.lines
    if done.code == 6:
        assert done.error["code"] == "disk-full"
        assert "needs" in done.error["message"]
        assert what in done.error["message"]
        assert "what ran before still runs" in done.error["message"]


def test_with_any_number_of_blocks_free_the_old_release_stays_or_the_new_one_is_whole(boards, tmp_path):
    codes = []
    for free in (*range(0, 60, 6), *range(60, 480, 40)):
        make_disk(tmp_path / "image", 16 << 20)
        with mounted(tmp_path / "image", tmp_path / "disk") as disk:
            root = boards.copy("two wheels", disk / "root")
            fill(disk, free)
            done = install("apply", root, boards.bundles["third"])
            codes.append(done.code)
            assert_refused_or_done(boards, root, done, "bytes free")
            (disk / "ballast").unlink()
            assert install("apply", root, boards.bundles["third"]).code == 0
            assert install("verify", root).code == 0
    assert codes[0] == 6
    assert codes[-1] == 0
    print(f"{len(codes)} sizes: {codes}")  # noqa: T201 - shown by -rP


def test_with_any_number_of_inodes_free_the_old_release_stays_or_the_new_one_is_whole(boards, tmp_path):
    codes = []
    for free in range(0, 90, 4):
        make_disk(tmp_path / "image", 16 << 20, "-N", "256")
        with mounted(tmp_path / "image", tmp_path / "disk") as disk:
            root = boards.copy("two wheels", disk / "root")
            take_inodes(disk, free)
            done = install("apply", root, boards.bundles["third"])
            codes.append(done.code)
            assert_refused_or_done(boards, root, done, "inodes free")
            for path in (disk / "many").iterdir():
                path.unlink()
            assert install("apply", root, boards.bundles["third"]).code == 0
            assert install("verify", root).code == 0
    assert codes[0] == 6
    assert codes[-1] == 0
    print(f"{len(codes)} numbers of inodes: {codes}")  # noqa: T201 - shown by -rP


@pytest.mark.parametrize("command", ["status", "recover", "rollback", "verify"])
def test_a_full_disk_keeps_no_command_from_what_needs_no_space(boards, tmp_path, command):
    make_disk(tmp_path / "image", 16 << 20)
    with mounted(tmp_path / "image", tmp_path / "disk") as disk:
        root = boards.copy("two wheels", disk / "root")
        fill(disk, 0)
        done = install(command, root)
        found = look(root)
        assert found["damage"] == found["fallback_damage"] == []
        # Another release takes a decision, which takes a block.
        assert (done.code, boards.name(found["current"])) in ((0, "update"), (1, "update"))
        assert done.code == 0 or command == "rollback"


def test_a_root_on_a_read_only_disk_says_so_and_changes_nothing(boards, tmp_path):
    make_disk(tmp_path / "image", 16 << 20)
    with mounted(tmp_path / "image", tmp_path / "disk") as disk:
        boards.copy("two wheels", disk / "root")
    with mounted(tmp_path / "image", tmp_path / "disk", "ro") as disk:
        refused = install("apply", disk / "root", boards.bundles["third"])
        assert refused.code == 1
        assert "Read-only" in refused.error["message"] or "read-only" in refused.error["message"]
        assert boards.name(look(disk / "root")["current"]) == "update"
