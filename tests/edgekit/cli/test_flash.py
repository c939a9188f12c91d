import dataclasses
import gzip
import hashlib
import json
import lzma
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile

import pytest

from device_runtime.contract.manifest import Compat
from edgekit.flashing.boot_files import BootFiles
from edgekit.flashing.partitions import boot_partition, read_partitions
from tests.support.bundles import refitted
from tests.support.disk_images import MIB, bookworm_boot, check_fat, make_disk_image, system_root, trixie_boot
from tests.support.loop_devices import loop_device, plain_card, require_loop_devices
from tests.support.terminal import Terminal
from tests.support.waiting import wait_for

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEDo2aFJdJmQfT8xF3kJ1mPp1YpJmFfcQzVbJgQ1mGfV maker@example.org\n"
_PASSWORD = "a secret of eight or more"  # noqa: S105
_PI = Compat(machine="aarch64", python="cp311", glibc="2.31")


@pytest.fixture
def folder(in_folder, monkeypatch):
    """The current folder: an image as a Bookworm's is, a bundle for it, and a key."""
    monkeypatch.chdir(in_folder)
    monkeypatch.delenv("EDGEKIT_WIFI_PASSWORD", raising=False)
    make_disk_image(in_folder / "os.img", bookworm_boot(), system_root())
    refitted(in_folder / "bright-1.0.edgekit", in_folder / "app.edgekit", _PI)
    (in_folder / "key.pub").write_text(_KEY)
    return in_folder


@pytest.fixture
def flash(edgekit, folder):  # noqa: ARG001 - the images and bundles that it names
    """``edgekit flash`` with the image and the bundle."""

    def call(*words, image="os.img", bundle="app.edgekit"):
        return edgekit("flash", "--image", image, "--bundle", bundle, *words)

    return call


def on_card(path):
    partition = boot_partition(read_partitions(path.read_bytes()[:512], str(path)), str(path))
    return BootFiles(path, partition.start)


def test_a_card_has_the_image_and_on_its_boot_partition_the_application(flash, folder):
    answer = flash("--out", "card.img", "--hostname", "line-3", "--user", "pi", "--ssh-key", "key.pub")
    assert answer.code == 0, answer.err
    assert "bright 1.0" in answer.out
    assert "every byte was read back" in answer.out
    boot = on_card(folder / "card.img")
    assert boot.read("edgekit/application.edgekit") == (folder / "app.edgekit").read_bytes()
    assert boot.read("edgekit/installer.pyz").startswith(b"PK")
    assert b"firstrun.sh" in boot.read("cmdline.txt")
    assert b"line-3" in boot.read("firstrun.sh")
    assert boot.read("config.txt") == bookworm_boot()["config.txt"]


def test_what_is_not_of_the_boot_partition_is_the_image_byte_for_byte(flash, folder):
    image = make_disk_image(folder / "os.img", bookworm_boot(), system_root())
    assert flash("--out", "card.img").code == 0
    before, after = image.path.read_bytes(), (folder / "card.img").read_bytes()
    assert after[: image.boot_offset] == before[: image.boot_offset]
    assert after[image.root_offset :] == before[image.root_offset :]
    assert check_fat(dataclasses.replace(image, path=folder / "card.img")) == ""


@pytest.mark.parametrize("form", ["xz", "gz", "zip", "zst"])
def test_a_compressed_image_gives_the_same_card(flash, folder, form):
    content = (folder / "os.img").read_bytes()
    packed = folder / f"os.img.{form}"
    if form == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / "os.img", "2024-11-19-raspios.img")
    elif form == "zst":
        packed.write_bytes(pytest.importorskip("zstandard").compress(content))
    else:
        packed.write_bytes({"xz": lzma, "gz": gzip}[form].compress(content))
    assert flash("--out", "raw.img").code == 0
    answer = flash("--out", "card.img", "--json", image=packed.name)
    assert answer.code == 0, answer.err
    assert (folder / "card.img").read_bytes() == (folder / "raw.img").read_bytes()
    assert answer.json["image_sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert answer.json["plan"]["form"] == form
    assert answer.json["system"]["python"] == "cp311"


def test_an_image_with_cloud_init_is_told_its_way(flash, folder):
    make_disk_image(folder / "os.img", trixie_boot(), system_root(python="3.13", glibc="2.41-12", name="Trixie"))
    refitted(folder / "bright-1.0.edgekit", folder / "app.edgekit", Compat("aarch64", "cp313", "2.31"))
    answer = flash("--out", "card.img", "--hostname", "line-3", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["plan"]["dialect"] == "cloud-init"
    assert b"line-3" in on_card(folder / "card.img").read("user-data")


@pytest.mark.parametrize(
    ("compat", "expected"),
    [
        (Compat("aarch64", "cp313", "2.31"), "expected python cp313, got cp311"),
        (Compat("armv7l", "cp311", "2.31"), "expected machine armv7l, got aarch64"),
        (Compat("aarch64", "cp311", "2.41"), "expected glibc 2.41 or newer, got 2.36"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_bundle_that_the_image_cannot_run_gives_no_card(flash, folder, compat, expected, packed):
    refitted(folder / "bright-1.0.edgekit", folder / "app.edgekit", compat)
    if packed:
        (folder / "os.img.gz").write_bytes(gzip.compress((folder / "os.img").read_bytes(), 1))
    answer = flash("--out", "card.img", image="os.img.gz" if packed else "os.img")
    assert answer.code == 6
    assert expected in answer.err
    assert "Debian GNU/Linux 12" in answer.err
    assert left(folder) == set()


def test_a_bundle_that_brings_no_packages_is_for_no_card(flash):
    answer = flash("--out", "card.img", bundle="bright-1.0.edgekit")
    assert answer.code == 6
    assert "edgekit bundle --board" in answer.err


def test_an_image_that_was_cut_gives_no_card(flash, folder):
    content = (folder / "os.img").read_bytes()
    for size in (100, MIB, 5 * MIB, 45 * MIB, len(content) - 1):
        (folder / "cut.img").write_bytes(content[:size])
        answer = flash("--out", "card.img", image="cut.img")
        assert answer.code == 3, (size, answer.err)
        assert left(folder) == set()


def test_an_image_that_is_another_one_gives_no_card(flash, folder):
    right = hashlib.sha256((folder / "os.img").read_bytes()).hexdigest()
    answer = flash("--out", "card.img", "--sha256", "0" * 64)
    assert answer.code == 3
    assert right in answer.err
    assert left(folder) == set()
    assert flash("--out", "card.img", "--sha256", right.upper()).code == 0


def test_a_boot_partition_without_room_is_refused_with_both_numbers(flash, folder):
    full = {**bookworm_boot(), "kernel8.img": bytes(34 * MIB + 900_000)}
    make_disk_image(folder / "os.img", full, system_root())
    answer = flash("--out", "card.img")
    assert answer.code == 6
    assert "free" in answer.err
    assert left(folder) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk takes root")
@pytest.mark.parametrize("room", ["1m", "8m"])
def test_a_temporary_folder_without_room_is_told_of(flash, folder, monkeypatch, room):
    (folder / "tmp").mkdir()
    make_disk_image(folder / "os.img", {**bookworm_boot(), "kernel8.img": os.urandom(8 * MIB)}, system_root())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder / "tmp"], check=True)
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        answer = flash("--out", "card.img")
    finally:
        subprocess.run(["umount", folder / "tmp"], check=True)
    assert answer.code == 1
    assert "no space left on the disk" in answer.err
    assert str(folder / "tmp") in answer.err
    assert left(folder) == set()


def test_a_dry_run_writes_nothing_and_tells_what_it_would_write(flash, folder):
    before = {path.name for path in folder.iterdir()}
    answer = flash("--out", "card.img", "--hostname", "line-3", "--dry-run")
    assert answer.code == 0, answer.err
    assert all(word in answer.out for word in ("would write", "application.edgekit", "firstrun.sh", "line-3", "cp311"))
    assert {path.name for path in folder.iterdir()} == before


def test_equal_inputs_give_equal_bytes(flash, folder):
    for name in ("one.img", "two.img"):
        assert flash("--out", name, "--hostname", "line-3").code == 0
        time.sleep(2.1)  # a FAT's times are even seconds
    assert (folder / "one.img").read_bytes() == (folder / "two.img").read_bytes()


@pytest.mark.parametrize("source", ["file", "variable"])
def test_the_wifi_password_is_nowhere_and_its_key_on_the_card_alone(flash, folder, monkeypatch, source):
    words = ["--wifi", 'caf\u00e9 "$(id)" \N{HOT BEVERAGE}', "--wifi-country", "DE"]
    if source == "file":
        (folder / "password").write_text(_PASSWORD + "\n")
        words += ["--wifi-password-file", "password"]
    else:
        monkeypatch.setenv("EDGEKIT_WIFI_PASSWORD", _PASSWORD)
    key = hashlib.pbkdf2_hmac("sha1", _PASSWORD.encode(), words[1].encode(), 4096, 32).hex()
    said = [
        flash("--out", "card.img", *words, *more) for more in (("--dry-run",), ("--dry-run", "--json"), ("--json",))
    ]
    assert [answer.code for answer in said] == [0, 0, 0], said[0].err
    for answer in said:
        assert _PASSWORD not in answer.out + answer.err
        assert key not in answer.out + answer.err
    content = (folder / "card.img").read_bytes()
    assert key.encode() in content
    assert _PASSWORD.encode() not in content
    assert stat.S_IMODE((folder / "card.img").stat().st_mode) == 0o600


def test_without_a_terminal_a_missing_password_is_not_waited_for(flash):
    answer = flash("--out", "card.img", "--wifi", "home", "--wifi-country", "DE")
    assert answer.code == 2
    assert "--wifi-password-file" in answer.err


def test_the_project_says_what_the_command_line_leaves_open(edgekit, folder):
    (folder / "edgekit.toml").write_text(
        '[project]\nname = "bright"\nversion = "1.0"\n[model]\nsource = "bright.tflite"\n'
        '[bundle]\noutput = "app.edgekit"\n[flash]\nimage = "os.img"\nhostname = "from-project"\n'
        'user = "pi"\nssh_keys = ["key.pub"]\ntimezone = "Europe/Berlin"\n'
    )
    answer = edgekit("flash", "--out", "card.img", "--hostname", "from-words", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    settings = answer.json["settings"]
    assert settings["hostname"] == "from-words"
    assert settings["timezone"] == "Europe/Berlin"
    assert settings["user"].startswith("pi")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--out FILE and --device DEVICE"),
        (("--out", "card.img", "--device", "/dev/sdz"), "--out FILE and --device DEVICE"),
        (("--out", "card.img", "--user", "pi"), "--ssh-key"),
        (("--out", "card.img", "--ssh-key", "key.pub"), "--user"),
        (("--out", "card.img", "--wifi", "home"), "--wifi-country"),
        (("--out", "card.img", "--wifi-country", "DE"), "--wifi"),
        (("--out", "card.img", "--hostname", "no_such_name!"), "hostname"),
        (("--device", "os.img"), "os.img"),
        (("--out", "os.img"), "os.img"),
        (("--out", "app.edgekit"), "app.edgekit"),
    ],
)
def test_what_does_not_fit_together_is_a_usage_error_and_changes_nothing(flash, folder, words, expected):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
    answer = flash(*words)
    assert answer.code == 2, answer.err
    assert expected in answer.err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()} == before


def test_signers_go_onto_the_card_and_the_bundle_has_to_be_signed_by_them(flash, folder):
    (folder / "allowed_signers").write_text(f"me@example.org {_KEY.rsplit(' ', 1)[0]}\n")
    answer = flash("--out", "card.img", "--trust", "allowed_signers", "--json")
    assert answer.code == 3
    assert answer.json["error"]["code"] == "unsigned"
    assert left(folder) == set()


def test_a_command_that_is_stopped_leaves_nothing(folder):
    words = [sys.executable, "-m", "edgekit", "flash", "--image", "os.img", "--bundle", "app.edgekit"]
    with subprocess.Popen([*words, "--out", "card.img"], stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if "write the card" in line:
                running.send_signal(signal.SIGINT)
                break
        assert running.wait(60) == 130
    assert left(folder) == set()


def test_the_list_is_one_document(edgekit):
    answer = edgekit.ok("flash", "--list", "--json")
    assert isinstance(json.loads(answer.out)["drives"], list)


def left(folder):
    """Return what a command left of a card."""
    return {path.name for path in folder.iterdir() if "card" in path.name}


# Onto a card


@pytest.fixture
def device(folder, monkeypatch):
    """A loop device that stands in for a card, with an older system on it."""
    require_loop_devices(monkeypatch)
    with loop_device(plain_card(folder / "medium", 128 * MIB, b"an older system ")) as path:
        yield path


def test_a_card_becomes_the_same_as_an_image_and_nothing_behind_it_is_touched(flash, folder, device):
    assert flash("--out", "expected.img").code == 0
    answer = flash("--device", device, "--yes", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["target"] == str(device)
    expected, got = (folder / "expected.img").read_bytes(), device.read_bytes()
    assert got[: len(expected)] == expected
    # But for the last MiB, where an older partition table would be, and marks of the check.
    assert got.count(b"an older system ") > 10_000


def test_a_card_is_not_erased_without_its_name(flash, folder, device):
    before = device.read_bytes()
    answer = flash("--device", device)
    assert answer.code == 2
    assert "--yes" in answer.err
    words = [
        sys.executable,
        "-m",
        "edgekit",
        "flash",
        "--image",
        "os.img",
        "--bundle",
        "app.edgekit",
        "--device",
        device,
    ]
    terminal = Terminal([str(word) for word in words], dict(os.environ))
    terminal.answer("Type its name", "sda\n")
    wait_for(lambda: "nothing was written" in terminal.text)
    assert terminal.end() == 2
    assert device.read_bytes() == before
    terminal = Terminal([str(word) for word in words], dict(os.environ))
    terminal.answer("Type its name", f"{device.name}\n")
    assert terminal.end() == 0
    assert on_card(device).read("edgekit/application.edgekit") == (folder / "app.edgekit").read_bytes()


def test_a_card_that_turned_out_not_to_fit_does_not_boot(flash, folder, device):
    refitted(folder / "bright-1.0.edgekit", folder / "app.edgekit", Compat("aarch64", "cp313", "2.31"))
    (folder / "os.img.gz").write_bytes(gzip.compress((folder / "os.img").read_bytes(), 1))
    answer = flash("--device", device, "--yes", image="os.img.gz")
    assert answer.code == 6
    assert "does not boot" in answer.err
    assert device.read_bytes()[:MIB] == bytes(MIB)


def test_a_card_that_is_too_small_is_refused_before_anything_is_written(flash, folder, device):
    del device
    with loop_device(plain_card(folder / "small", 32 * MIB, b"an older system ")) as small:
        before = small.read_bytes()
        answer = flash("--device", small, "--yes")
        assert answer.code == 6
        assert "too small" in answer.err
        assert small.read_bytes() == before
