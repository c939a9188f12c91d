import os
import stat
from pathlib import Path

import pytest

from device_runtime.errors import UnfitError, UsageError
from edgekit.flashing.drives import Drive, Places, find_drive, identity_of, list_drives
from tests.support.loop_devices import (
    PARTITION_TABLE,
    loop_device,
    mounted_elsewhere,
    plain_card,
    require_loop_devices,
    run,
)

USB = (("pci0000:00", ""), ("usb2", "usb"), ("2-1", "usb"), ("6:0:0:0", "scsi"))
SATA = (("pci0000:00", ""), ("ata1", ""), ("0:0:0:0", "scsi"))
SLOT = (("platform", ""), ("mmc0", "mmc_host"), ("mmc0:aaaa", "mmc"))
NVME = (("pci0000:00", "pci"), ("nvme0", "nvme"))
VIRTUAL = (("virtual", ""),)


class Kernel:
    """What a kernel tells of its disks, in a folder."""

    def __init__(self, root: Path):
        self.places = Places(root / "sys", root / "proc", root / "dev")
        (root / "sys" / "class" / "block").mkdir(parents=True)
        (root / "proc" / "self").mkdir(parents=True)
        (root / "dev").mkdir()
        self.mounted()
        self.swapped()

    def disk(self, name, number, on, *, size=62_333_952, **facts):
        """Add a disk; ``facts`` are files: ``device__model`` is device/model."""
        above = self.places.sys / "devices"
        for folder, subsystem in on:
            above /= folder
            above.mkdir(parents=True, exist_ok=True)
            if subsystem and not (above / "subsystem").is_symlink():
                (above / "subsystem").symlink_to(self.places.sys / "bus" / subsystem)
        folder = above / "block" / name
        self._block(folder, number, size)
        if on != VIRTUAL:
            (folder / "device").symlink_to(above)
        for key, text in {"removable": 0, "ro": 0, "diskseq": 7, **facts}.items():
            file = folder / key.replace("__", "/")
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{text}\n")
        return folder

    def partition(self, disk, name, number):
        folder = disk / name
        self._block(folder, number, 2048)
        (folder / "partition").write_text("1\n")
        return folder

    def hold(self, below, above):
        (below / "holders" / above).symlink_to(self.places.sys / "class" / "block" / above)

    def mounted(self, *mounts):
        lines = [
            f"{30 + n} 1 {number} / {folder} rw - {kind} {source} rw"
            for n, (number, folder, kind, source) in enumerate(mounts)
        ]
        (self.places.proc / "self" / "mountinfo").write_text("\n".join([*lines, ""]))

    def swapped(self, *devices):
        lines = ["Filename Type Size Used Priority", *(f"{each} partition 1024 0 -2" for each in devices)]
        (self.places.proc / "swaps").write_text("\n".join([*lines, ""]))

    def node(self, name, number):
        """Make the device's node, which takes root."""
        if os.geteuid() != 0:
            pytest.skip("a device's node needs root")
        major, minor = map(int, number.split(":"))
        os.mknod(self.places.dev / name, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        return self.places.dev / name

    def listed(self):
        return [drive.path.name for drive in list_drives(self.places)]

    def _block(self, folder, number, size):
        (folder / "holders").mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (folder / "size").write_text(f"{size}\n")
        (self.places.sys / "class" / "block" / folder.name).symlink_to(folder)


@pytest.fixture
def kernel(tmp_path):
    return Kernel(tmp_path)


@pytest.fixture
def stick(kernel):
    """A card in a USB reader, with one partition."""
    disk = kernel.disk("sdb", "8:16", USB, removable=1, device__vendor="Generic ", device__model="STORAGE DEVICE")
    (disk.parents[2] / "serial").write_text("000000001206\n")
    kernel.partition(disk, "sdb1", "8:17")
    return disk


@pytest.mark.usefixtures("stick")
def test_a_card_in_a_usb_reader_is_found_with_its_facts(kernel):
    assert list_drives(kernel.places) == (
        Drive(
            path=kernel.places.dev / "sdb",
            name="Generic STORAGE DEVICE",
            size=62_333_952 * 512,
            bus="usb",
            serial="000000001206",
            mounted=(),
            identity="8:16, 31914983424 bytes, sequence 7, serial 000000001206",
        ),
    )


def test_a_card_in_the_slot_and_a_usb_disk_without_the_flag_are_found_and_disks_are_not(kernel):
    kernel.disk("mmcblk0", "179:0", SLOT, device__type="SD", device__name="SC32G", device__serial="0x1b3e")
    kernel.disk("sda", "8:0", SATA)
    kernel.disk("sdc", "8:32", USB)
    kernel.disk("nvme0n1", "259:0", NVME)
    kernel.disk("sr0", "11:0", SATA, removable=1)
    kernel.disk("dm-0", "253:0", VIRTUAL)
    kernel.disk("zram0", "254:0", VIRTUAL, removable=1)
    kernel.disk("loop0", "7:0", VIRTUAL)
    assert [(each.path.name, each.bus, each.name) for each in list_drives(kernel.places)] == [
        ("mmcblk0", "mmc", "SD card SC32G"),
        ("sdc", "usb", ""),
    ]


def test_soldered_emmc_and_its_areas_are_no_cards(kernel):
    disk = kernel.disk("mmcblk0", "179:0", SLOT, device__type="MMC")
    kernel.disk("mmcblk0boot0", "179:8", (*SLOT, ("block", ""), ("mmcblk0", "")), removable=1)
    assert kernel.listed() == []
    with pytest.raises(UsageError, match=r"cannot be taken out .eMMC, which is soldered"):
        find_drive(kernel.node("mmcblk0", "179:0"), kernel.places)
    with pytest.raises(UsageError, match="a special area of an eMMC"):
        find_drive(kernel.node("mmcblk0boot0", "179:8"), kernel.places)
    (disk / "device" / "type").write_text("SD\n")
    assert kernel.listed() == ["mmcblk0"]


@pytest.mark.parametrize("folder", ["/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/home", "/run/live/medium"])
@pytest.mark.usefixtures("stick")
def test_a_disk_of_the_system_is_neither_listed_nor_written(kernel, folder):
    kernel.mounted(("8:17", folder, "ext4", "/dev/sdb1"))
    assert kernel.listed() == []
    with pytest.raises(UsageError, match=f"a disk of this system: {folder} is on it; it is never written"):
        find_drive(kernel.node("sdb", "8:16"), kernel.places)


@pytest.mark.usefixtures("stick")
def test_swap_makes_a_disk_one_of_the_system(kernel):
    kernel.swapped("/dev/sdb1")
    assert kernel.listed() == []
    with pytest.raises(UsageError, match=r"it holds swap .sdb1"):
        find_drive(kernel.node("sdb", "8:16"), kernel.places)


@pytest.mark.parametrize("swap", [False, True])
def test_a_system_on_lvm_on_dm_crypt_on_raid_is_followed_down_to_its_disk(kernel, stick, swap):
    kernel.hold(stick / "sdb1", "md0")
    raid = kernel.disk("md0", "9:0", VIRTUAL)
    kernel.hold(kernel.partition(raid, "md0p1", "259:9"), "dm-0")
    kernel.hold(kernel.disk("dm-0", "253:0", VIRTUAL, dm__name="crypt"), "dm-1")
    kernel.disk("dm-1", "253:1", VIRTUAL, dm__name="vg-root")
    assert kernel.listed() == ["sdb"]
    kernel.swapped(*["/dev/dm-1"] * swap)
    kernel.mounted(*[("253:1", "/", "ext4", "/dev/mapper/vg-root")] * (not swap))
    assert kernel.listed() == []


def test_a_system_on_btrfs_is_found_on_each_of_its_disks(kernel, stick):
    kernel.partition(kernel.disk("sdc", "8:32", USB, diskseq=8), "sdc1", "8:33")
    kernel.mounted(("0:31", "/", "btrfs", "/dev/sdc1"))
    assert kernel.listed() == ["sdb"]
    members = kernel.places.sys / "fs" / "btrfs" / "3f2c" / "devices"
    members.mkdir(parents=True)
    (members / "sdb1").symlink_to(stick / "sdb1")
    (members / "sdc1").symlink_to(stick / "sdb1")
    assert kernel.listed() == []


def test_what_cannot_be_written_is_listed_and_refused_with_the_reason(kernel, stick):
    node = kernel.node("sdb", "8:16")

    def obstacle():
        (drive,) = list_drives(kernel.places)
        with pytest.raises(UnfitError) as error:
            find_drive(node, kernel.places)
        assert str(error.value) == f"{node}: {drive.obstacle}"
        return drive.obstacle, error.value.hint, drive.mounted

    kernel.mounted(("8:17", "/media/me/my\\040card", "vfat", "/dev/sdb1"))
    dev = kernel.places.dev
    assert obstacle() == ("mounted at /media/me/my card", f"sudo umount {dev / 'sdb1'}", ("/media/me/my card",))
    kernel.mounted()
    (stick / "ro").write_text("1\n")
    assert obstacle()[0] == "read-only"
    kernel.hold(stick / "sdb1", "dm-3")
    kernel.disk("dm-3", "253:3", VIRTUAL, dm__name="backup")
    assert obstacle()[:2] == ("in use by dm-3 (backup)", f"close it; see: lsblk {dev / 'sdb'}")
    (stick / "size").write_text("0\n")
    assert obstacle()[0] == "no card in the reader"


@pytest.mark.usefixtures("stick")
def test_a_link_leads_to_its_drive_and_a_partition_to_the_whole(kernel):
    node, link = kernel.node("sdb", "8:16"), kernel.places.dev / "by-id"
    link.symlink_to(node)
    assert find_drive(link, kernel.places) == find_drive(node, kernel.places) == list_drives(kernel.places)[0]
    with pytest.raises(UsageError, match="sdb1 is a partition") as error:
        find_drive(kernel.node("sdb1", "8:17"), kernel.places)
    assert error.value.hint == f"--device {node}"


def test_what_is_no_device_is_refused(kernel, tmp_path):
    with pytest.raises(UsageError, match=r"no such device: .*/sdz"):
        find_drive(tmp_path / "sdz", kernel.places)
    with pytest.raises(UsageError, match="is a folder, not a block device"):
        find_drive(tmp_path, kernel.places)
    file = tmp_path / "card.img"
    file.touch()
    with pytest.raises(UsageError, match="is a file, not a block device") as error:
        find_drive(file, kernel.places)
    assert f"--out {file}" in error.value.hint


def test_a_disk_that_is_built_in_is_refused(kernel):
    kernel.disk("sda", "8:0", SATA)
    with pytest.raises(UsageError, match=r"cannot be taken out .built in, scsi.; only cards"):
        find_drive(kernel.node("sda", "8:0"), kernel.places)


def test_a_drive_that_tells_nonsense_is_shown_without_control_letters(kernel):
    kernel.disk("sdb", "8:16", USB, size="no number", device__model="\x1b[2JCard")
    assert [(each.name, each.size) for each in list_drives(kernel.places)] == [("[2JCard", 0)]


def test_without_sysfs_it_is_said(tmp_path):
    with pytest.raises(UnfitError, match=r"cannot look for cards: .*no such file") as error:
        list_drives(Places(sys=tmp_path))
    assert "--out" in error.value.hint


def test_this_machine_lists_no_disk_that_it_runs_from():
    device = Path("/").stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    assert not [drive for drive in list_drives() if drive.identity.startswith(f"{number},")]


def test_a_loop_device_is_a_card_only_when_that_is_asked_for(tmp_path, monkeypatch):
    require_loop_devices(monkeypatch)
    with loop_device(plain_card(tmp_path / "card", 8 << 20)) as device:
        found = find_drive(device)
        assert (found.size, found.bus, found.obstacle) == (8 << 20, "loop", "")
        assert found in list_drives()
        descriptor = os.open(device, os.O_RDONLY)
        try:
            assert identity_of(descriptor, found.serial) == found.identity
        finally:
            os.close(descriptor)
        monkeypatch.delenv("EDGEKIT_FLASH_LOOP")
        assert found not in list_drives()
        with pytest.raises(UsageError, match="a loop device; in tests, EDGEKIT_FLASH_LOOP=1"):
            find_drive(device)


def test_a_partition_of_a_real_device_names_the_whole(tmp_path, monkeypatch):
    require_loop_devices(monkeypatch)
    card = plain_card(tmp_path / "card", 8 << 20)
    with card.open("r+b") as stream:
        stream.write(bytes(446) + PARTITION_TABLE)
    with loop_device(card) as device:
        run("partx", "--add", str(device))
        with pytest.raises(UsageError, match="is a partition") as error:
            find_drive(Path(f"{device}p1"))
        assert error.value.hint == f"--device {device}"


def test_a_mounted_device_and_a_read_only_one_are_told(tmp_path, monkeypatch):
    require_loop_devices(monkeypatch)
    card, folder = plain_card(tmp_path / "card", 8 << 20), tmp_path / "mount"
    folder.mkdir()
    run("mkfs.ext4", "-q", str(card))
    with loop_device(card) as device:
        run("mount", str(device), str(folder))
        try:
            with pytest.raises(UnfitError, match=f"mounted at {folder}") as error:
                find_drive(device)
        finally:
            run("umount", str(folder))
        assert error.value.hint == f"sudo umount {device}"
        with mounted_elsewhere(device, folder):
            assert find_drive(device).mounted == ()  # who opens it is told
    with loop_device(card, "--read-only") as device, pytest.raises(UnfitError, match="read-only"):
        find_drive(device)
