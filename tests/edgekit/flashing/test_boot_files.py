import os
import pty
import random
import re
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from device_runtime.errors import BadFileError, UnfitError
from edgekit.flashing.boot_files import BootFiles
from edgekit.flashing.errors import NotWrittenError
from tests.support.disk_images import MIB, bookworm_boot, check_fat, make_disk_image, make_fat
from tests.support.fat_reader import read_fat

NOISE = random.Random(3).randbytes(700_000)  # noqa: S311 - a content
FILES = {
    "edgekit/application.edgekit": NOISE,
    "edgekit/installer.pyz": b"PK",
    "edgekit/edgekit-first-boot.service": b"[Unit]\n",
    "edgekit/deeper/and a long name with spaces, äöü.txt": b"words\r\n",
    "user-data": b"#cloud-config\n",
    "ssh": b"",
    "cmdline.txt": b"console=tty1\n",
}


@pytest.fixture(params=[16, 32])
def image(request, tmp_path):
    return make_disk_image(tmp_path / "card.img", bookworm_boot(), fat=request.param)


@pytest.fixture
def boot(image):
    return BootFiles(image.path, image.boot_offset)


@contextmanager
def mounted(image, folder):
    """Have the kernel read the FAT: it is not the program that wrote it."""
    if os.geteuid() != 0:
        pytest.skip("mounting an image needs root")
    folder.mkdir(exist_ok=True)
    options = f"loop,ro,offset={image.boot_offset},sizelimit={image.boot_size},iocharset=utf8"
    done = subprocess.run(
        ["mount", "-t", "vfat", "-o", options, image.path, folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a FAT here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_names_are_listed_as_they_are_written(boot):
    assert set(boot.names()) == {"cmdline.txt", "config.txt", "issue.txt", "kernel8.img", "overlays"}
    assert set(boot.names("overlays")) == {"README", "vc4-kms-v3d.dtbo"}
    assert set(boot.names("OVERLAYS")) == {"README", "vc4-kms-v3d.dtbo"}
    assert boot.names("none") == boot.names("none/deeper") == boot.names("config.txt") == ()


def test_an_empty_fat_has_no_names(tmp_path):
    make_fat(tmp_path / "fat", fat=16, size=8 * MIB)
    assert BootFiles(tmp_path / "fat").names() == ()


def test_files_are_read_whatever_the_case(boot):
    expected = bookworm_boot()["overlays/vc4-kms-v3d.dtbo"]
    assert boot.read("overlays/vc4-kms-v3d.dtbo") == boot.read("Overlays/VC4-KMS-V3D.DTBO") == expected
    assert boot.read("kernel8.img") == bookworm_boot()["kernel8.img"]
    assert boot.read("none.txt") is boot.read("overlays") is boot.read("config.txt/x") is boot.read("none/x") is None


def test_what_was_put_is_there_for_us_for_fsck_and_for_a_reader_of_its_own(image, boot):
    boot.put(FILES)
    boot.check(FILES)
    assert {name: boot.read(name) for name in FILES} == FILES
    assert boot.read("config.txt") == bookworm_boot()["config.txt"]
    assert check_fat(image) == ""
    assert read_fat(image.path.read_bytes()[image.boot_offset :]) == bookworm_boot() | FILES


def test_what_was_put_is_there_for_the_kernel(image, boot, tmp_path):
    boot.put(FILES)
    with mounted(image, tmp_path / "mounted") as folder:
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == bookworm_boot() | FILES


def test_only_the_partition_is_changed(image, boot):
    before = image.path.read_bytes()
    boot.put(FILES)
    after = image.path.read_bytes()
    end = image.boot_offset + image.boot_size
    assert len(after) == len(before)
    assert (after[: image.boot_offset], after[end:]) == (before[: image.boot_offset], before[end:])


def test_a_file_is_put_by_its_path(boot, tmp_path):
    for name in ("-i", "::a", "with space", "a@@5"):
        source = tmp_path / name
        source.write_bytes(NOISE)
        boot.put({"edgekit/x.bin": source})
        boot.check({"edgekit/x.bin": source})
        assert boot.read("edgekit/x.bin") == NOISE


def test_an_image_is_found_by_any_path(image, tmp_path, monkeypatch):
    folder = tmp_path / "a@@1 ::b"
    folder.mkdir()
    path = image.path.rename(folder / "-i c.img")
    monkeypatch.chdir(folder)
    for boot in (BootFiles(Path("-i c.img"), image.boot_offset), BootFiles(path, image.boot_offset)):
        boot.put({"-n": b"x", "--help": b"y"})
        assert (boot.read("-n"), boot.read("--help")) == (b"x", b"y")


def test_put_replaces_whatever_the_case_and_the_attributes(image, boot):
    boot.put({"CMDLINE.TXT": b"first", "sub/Config": NOISE})
    subprocess.run(
        ["mattrib", "+r", "+h", "+s", "-i", f"{image.path}@@{image.boot_offset}", "::/cmdline.txt"], check=True
    )
    assert "cmdline.txt" in {name.lower() for name in boot.names()}
    boot.put({"cmdline.txt": b"second", "SUB/config": b""})
    assert boot.read("cmdline.txt") == b"second"
    assert boot.read("sub/Config") == b""
    assert sorted(name.lower() for name in boot.names()).count("cmdline.txt") == 1
    assert [name.lower() for name in boot.names("sub")] == ["config"]
    assert check_fat(image) == ""


def test_equal_files_give_equal_bytes_at_any_time(image, boot, monkeypatch):
    before = image.path.read_bytes()
    boot.put(FILES)
    first = image.path.read_bytes()
    time.sleep(2.1)  # a FAT counts two seconds
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    image.path.write_bytes(before)
    boot.put(FILES)
    assert image.path.read_bytes() == first


def test_settings_of_the_user_are_nothing_to_it(boot, tmp_path, monkeypatch):
    (tmp_path / ".mtoolsrc").write_text("this is no setting\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MTOOLSRC", str(tmp_path / ".mtoolsrc"))
    monkeypatch.setenv("MTOOLS_NO_VFAT", "1")
    boot.put({"a long name.text": b"x"})
    assert "a long name.text" in boot.names()


def test_what_does_not_fit_is_refused_with_the_bytes_before_anything_is_written(image, boot):
    before = image.path.read_bytes()
    with pytest.raises(UnfitError, match=r"no room in .*: (\d+) bytes needed, (\d+) free") as caught:
        boot.put({"ssh": b"", "edgekit/big": bytes(image.boot_size)})
    needed, free = map(int, re.search(r"(\d+) bytes needed, (\d+) free", str(caught.value)).groups())
    assert needed > image.boot_size - 1 >= free > image.boot_size // 2
    assert caught.value.hint == "make the bundle smaller, for one kind of board: edgekit bundle --board ID"
    assert image.path.read_bytes() == before


def test_the_last_byte_can_be_filled_and_replaced(image, boot):
    with pytest.raises(UnfitError) as caught:
        boot.put({"big": bytes(image.boot_size)})
    free = int(str(caught.value).split()[-2])
    boot.put({"big": b"x" * free})
    boot.put({"BIG": b"y" * free})
    boot.check({"big": b"y" * free})
    assert check_fat(image) == ""
    with pytest.raises(UnfitError, match=r"no room in .*: .* bytes needed, 0 free"):
        boot.put({"one more": b"x"})


def test_a_count_of_free_clusters_that_lies_is_found_when_it_is_full(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": bytes(30 * MIB)}, fat=32)
    content = bytearray(image.path.read_bytes())
    at = image.boot_offset + 512 + 488  # FSI_Free_Count, Microsoft's FAT specification 1.03, section 5
    content[at : at + 4] = (70_000).to_bytes(4, "little")
    image.path.write_bytes(content)
    with pytest.raises(UnfitError, match="no room in"):
        BootFiles(image.path, image.boot_offset).put({"b": NOISE * 10})


def test_a_file_larger_than_a_fat_can_hold_is_refused(boot, tmp_path):
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(4 << 30)
    with pytest.raises(UnfitError, match=f"huge has {4 << 30} bytes: a file on a FAT can have {(4 << 30) - 1}"):
        boot.put({"huge": tmp_path / "huge"})


def test_a_missing_source_is_told_before_anything_is_written(image, boot, tmp_path):
    before = image.path.read_bytes()
    with pytest.raises(BadFileError, match="no such file"):
        boot.put({"edgekit/a": b"x", "edgekit/b": tmp_path / "none"})
    assert image.path.read_bytes() == before


def test_a_folder_is_not_replaced_by_a_file(boot):
    with pytest.raises(UnfitError, match=r"cannot write overlays in .*: there is a folder of that name"):
        boot.put({"overlays": b"x"})
    assert "README" in boot.names("overlays")


@pytest.mark.parametrize(
    "name", ["/a", "a//b", "a/", "..", "a/./b", "a*", "::a", "a[b]", "a\nb", "a\\b", "a.", "x" * 256]
)
def test_names_that_a_fat_cannot_have_are_refused(boot, name):
    with pytest.raises(BadFileError, match="no file on a FAT can have the name"):
        boot.put({name: b"x"})


def test_no_fat_is_told(tmp_path):
    noise = tmp_path / "noise.img"
    for content in (NOISE, bytes(1 << 20), b"short", b""):
        noise.write_bytes(content)
        boot = BootFiles(noise, 512)
        for call in (boot.names, lambda boot=boot: boot.read("a"), lambda boot=boot: boot.put({"a": b"b"})):
            with pytest.raises(BadFileError, match="no FAT file system there, or it is damaged"):
                call()
    with pytest.raises(BadFileError, match="no such file"):
        BootFiles(tmp_path / "none").names()


def test_a_damaged_fat_is_refused_or_read_and_never_hangs(image):
    sound = image.path.read_bytes()
    chance = random.Random(9)  # noqa: S311 - damage
    for _ in range(25):
        damaged = bytearray(sound)
        for _ in range(chance.choice([1, 20, 500])):
            at = image.boot_offset + chance.randrange(1 << 20)
            damaged[at : at + 8] = chance.randbytes(8)
        image.path.write_bytes(damaged)
        boot = BootFiles(image.path, image.boot_offset)
        for call in (boot.names, lambda boot=boot: boot.read("kernel8.img"), lambda boot=boot: boot.put(FILES)):
            with suppress(BadFileError, UnfitError):
                call()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (0, "cannot read x in .*, or it is damaged"),
        (3, "cannot read x in .*, or it is damaged"),
        (0x00FFFF00, "cannot read x in .*, or it is damaged"),
        (0x0FFFFFF7, "x in .* is damaged: expected 700000 bytes, got 50176"),
        (0x0FFFFFFF, "x in .* is damaged: expected 700000 bytes, got 50176"),
    ],
)
def test_a_chain_of_clusters_that_breaks_is_told(tmp_path, entry, message):
    image = make_disk_image(tmp_path / "card.img", {"x": NOISE}, fat=32)
    content, at = bytearray(image.path.read_bytes()), image.boot_offset
    reserved, fat_sectors = struct.unpack_from("<H", content, at + 14)[0], struct.unpack_from("<I", content, at + 36)[0]
    for copy in range(2):  # FAT specification 1.03, section 4: an entry of 4 bytes for each cluster
        struct.pack_into("<I", content, at + (reserved + copy * fat_sectors) * 512 + 4 * 100, entry)
    image.path.write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        BootFiles(image.path, image.boot_offset).read("x")
    with pytest.raises((BadFileError, NotWrittenError)):
        BootFiles(image.path, image.boot_offset).check({"x": NOISE})


def test_at_a_terminal_nobody_is_asked(image):
    subprocess.run(["mattrib", "+r", "-i", f"{image.path}@@{image.boot_offset}", "::/cmdline.txt"], check=True)
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgekit.flashing.boot_files import BootFiles\n"
        "BootFiles(Path(sys.argv[1]), int(sys.argv[2])).put({'cmdline.txt': b'new'})"
    )
    own, theirs = pty.openpty()  # what a program asks there is never answered
    process = subprocess.Popen(
        ["setsid", "-c", sys.executable, "-c", script, image.path, str(image.boot_offset)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(own)
    assert BootFiles(image.path, image.boot_offset).read("cmdline.txt") == b"new"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ssh": None}, "expected 1 bytes in ssh, got no such file"),
        ({"ssh": b""}, "expected 1 bytes in ssh, got 0 bytes"),
        ({"edgekit/x": NOISE + b"x"}, "expected 700000 bytes in edgekit/x, got 700001 bytes"),
        ({"edgekit/x": NOISE[:-1] + b"\0"}, "edgekit/x is another from byte 699999 on"),
        ({"edgekit/x": b"\1" + NOISE[1:]}, "edgekit/x is another from byte 0 on"),
    ],
)
def test_a_file_that_is_another_is_found(boot, change, message):
    wanted = {"ssh": b"1", "edgekit/x": NOISE}
    boot.put({name: content for name, content in (wanted | change).items() if content is not None})
    with pytest.raises(NotWrittenError, match=message) as caught:
        boot.check(wanted)
    assert caught.value.code == "not-written"


def test_a_check_reads_a_device_and_not_what_memory_remembers_of_it(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    image = make_disk_image(tmp_path / "card.img", {"ssh": b"1", "x": NOISE})
    done = subprocess.run(["losetup", "-f", "--show", image.path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device here: {done.stderr.strip()}")
    device = Path(done.stdout.strip())
    try:
        boot = BootFiles(device, image.boot_offset)
        with device.open("rb") as held:  # a device that nobody has open remembers nothing
            boot.check({"x": NOISE})
            content = image.path.read_bytes()
            with image.path.open("r+b") as stream:  # below the device
                stream.seek(content.index(NOISE[:4096]))
                stream.write(b"another")
            assert boot.read("x") == NOISE
            with pytest.raises(NotWrittenError, match="x is another from byte 0 on"):
                boot.check({"x": NOISE})
            assert held
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_without_mtools_the_error_says_how_to_get_them(image, boot, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    for call in (boot.names, lambda: boot.put({"a": b""}), lambda: boot.read("config.txt")):
        with pytest.raises(
            UnfitError, match=f"cannot look into {image.path} at byte {image.boot_offset}: there is no m"
        ) as caught:
            call()
        assert caught.value.hint == "sudo apt install mtools"
