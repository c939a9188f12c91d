"""Which way of a first boot an image has, and the files for it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import BadFileError, UnfitError
from edgekit.flashing.dialects import Told, first_boot_files, tell_dialect
from edgekit.flashing.settings import Dialect, Login, Settings, Wifi
from tests.edgekit.flashing.test_settings import PSK, public_key

LINE = b"console=serial0,115200 console=tty1 root=PARTUUID=4d8fd085-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"
RUN = (
    "systemd.run={0}/firstrun.sh systemd.run_success_action=reboot systemd.run_failure_action=reboot "
    "systemd.unit=kernel-command-line.target"
)
FIRMWARE = "/boot/firmware"
CLOUD = Told(Dialect.CLOUD_INIT, "", FIRMWARE)
FIRST = Told(Dialect.FIRSTRUN, "", FIRMWARE)
WIFI = Settings(wifi=Wifi("net", PSK, "DE"))


@dataclasses.dataclass
class Partition:
    """A boot partition as a dictionary."""

    files: dict[str, bytes]

    def names(self, folder=""):
        assert folder == ""
        return tuple(self.files)

    def read(self, name):
        return self.files.get(name)


def partition(**others):
    files = {"cmdline.txt": LINE, "config.txt": b"# http://rptl.io/configtxt\n"}
    return Partition(files | {name.replace("_", "-").replace("-txt", ".txt"): text for name, text in others.items()})


def issue(date):
    return (
        f"Raspberry Pi reference {date}\nGenerated using pi-gen, https://github.com/RPi-Distro/pi-gen, 891\n".encode()
    )


def trixie():
    return partition(
        user_data=b"#cloud-config\n", meta_data=b"dsmode: local\n", network_config=b"", issue_txt=issue("2025-12-04")
    )


def test_templates_of_cloud_init_are_taken_for_it():
    told = tell_dialect(trixie(), None)
    assert (told.dialect, told.mount) == (Dialect.CLOUD_INIT, FIRMWARE)
    assert told.why == (
        "the boot partition has cloud-init's user-data, meta-data, network-config and issue.txt of 2025-12-04"
    )
    ubuntu = tell_dialect(partition(user_data=b"", meta_data=b""), None)
    assert (ubuntu.dialect, ubuntu.mount) == (Dialect.CLOUD_INIT, FIRMWARE)


@pytest.mark.parametrize(
    ("date", "mount"),
    [
        ("2021-05-07", "/boot"),
        ("2023-10-09", "/boot"),
        ("2023-10-10", FIRMWARE),
        ("2024-11-19", FIRMWARE),
        ("2026-06-01", FIRMWARE),
    ],
)
def test_raspberry_pi_os_without_them_runs_a_script(date, mount):
    told = tell_dialect(partition(issue_txt=issue(date)), None)
    assert (told.dialect, told.mount) == (Dialect.FIRSTRUN, mount)
    assert told.why == f"the boot partition has issue.txt of {date}, and no user-data of cloud-init"


def test_a_legacy_image_that_was_made_later_mounts_where_its_system_does():
    legacy = partition(issue_txt=issue("2024-10-22"))
    legacy.files["config.txt"] = b"# For more options and information see\n# http://rpf.io/configtxt\n"
    assert tell_dialect(legacy, None).mount == "/boot"


@pytest.mark.parametrize(
    ("boot", "said"),
    [
        (partition(), "neither cloud-init's user-data nor a date in issue.txt"),
        (partition(issue_txt=b"hello"), "neither cloud-init's user-data nor a date in issue.txt"),
        (partition(issue_txt=issue("2024-13-45")), "neither cloud-init's user-data nor a date in issue.txt"),
        (partition(user_data=b"", issue_txt=issue("2024-07-04")), "cloud-init's user-data and issue.txt of 2024-07-04"),
        (
            partition(user_data=b"", issue_txt=issue("2025-12-04"), **{"firstrun.sh": b""}),
            "cloud-init's user-data and issue.txt of 2025-12-04 and firstrun.sh",
        ),
    ],
)
def test_in_doubt_it_does_not_guess(boot, said):
    with pytest.raises(UnfitError) as caught:
        tell_dialect(boot, None)
    assert said in str(caught.value)
    assert caught.value.hint == "say which the image has: --first-boot cloud-init, or --first-boot firstrun"


def test_a_wish_is_honoured_and_said_where_it_is_against_what_is_there():
    assert tell_dialect(trixie(), Dialect.CLOUD_INIT).why == "--first-boot cloud-init"
    told = tell_dialect(trixie(), Dialect.FIRSTRUN)
    assert told.dialect is Dialect.FIRSTRUN
    assert told.why.startswith("--first-boot firstrun, although the boot partition has cloud-init's user-data")
    told = tell_dialect(partition(), Dialect.FIRSTRUN)
    assert told == Told(
        Dialect.FIRSTRUN,
        "--first-boot firstrun, although the boot partition has neither cloud-init's user-data nor a date in issue.txt",
        FIRMWARE,
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no cmdline.txt"),
        (b"", "expected exactly one line of text, got 0"),
        (b" \n", "expected exactly one line of text, got 0"),
        (b"a\nb\n", "expected exactly one line of text, got 2"),
        (b"\na\n", "expected exactly one line of text, got 2"),
        (b"a\rb\n", "expected exactly one line of text, got 1"),
        (b"a" * 4097, "expected at most 4096 bytes, got 4097"),
    ],
)
@pytest.mark.parametrize("wanted", [None, Dialect.FIRSTRUN])
def test_a_command_line_that_is_none_is_refused(content, said, wanted):
    boot = trixie()
    boot.files["cmdline.txt"] = content
    with pytest.raises(BadFileError) as caught:
        tell_dialect(boot, wanted)
    assert said in str(caught.value)
    with pytest.raises(BadFileError):
        first_boot_files(CLOUD, Settings(), boot, "i")


def test_what_cloud_init_needs_is_put_there():
    files = first_boot_files(CLOUD, WIFI, trixie(), "card-1")
    assert sorted(files) == ["cmdline.txt", "edgekit/arm.sh", "meta-data", "network-config", "user-data"]
    assert files["cmdline.txt"] == LINE.rstrip() + b" cfg80211.ieee80211_regdom=DE ds=nocloud;i=card-1\n"
    assert files["edgekit/arm.sh"].startswith(b"#!/bin/sh\n")


@pytest.mark.parametrize("mount", ["/boot", FIRMWARE])
def test_what_a_script_needs_is_put_there(mount):
    told = Told(Dialect.FIRSTRUN, "", mount)
    files = first_boot_files(told, Settings(login=Login("vision", (public_key(),))), trixie(), "card-1")
    assert sorted(files) == ["cmdline.txt", "edgekit/arm.sh", "firstrun.sh", "ssh"]
    assert files["cmdline.txt"] == f"{LINE.decode().rstrip()} {RUN.format(mount)}\n".encode()
    assert files["firstrun.sh"].startswith(b"#!/bin/sh\n")
    assert files["ssh"] == b""


def test_ssh_stays_as_the_image_has_it_without_a_login():
    for told in (CLOUD, FIRST):
        assert "ssh" not in first_boot_files(told, WIFI, trixie(), "i")


@pytest.mark.parametrize("first", [CLOUD, FIRST])
@pytest.mark.parametrize("second", [CLOUD, FIRST])
def test_flashed_twice_the_words_are_there_once(first, second):
    boot = partition()
    boot.files |= first_boot_files(first, WIFI, boot, "card-1")
    again = first_boot_files(second, WIFI, boot, "card-2")["cmdline.txt"].decode()
    assert again.count("ieee80211_regdom=") == 1
    assert again.count("systemd.run=") == (second is FIRST)
    assert again.count("systemd.unit=") == (second is FIRST)
    if second is CLOUD:
        assert again.count("ds=nocloud") == 1
        assert again.rstrip().endswith("ds=nocloud;i=card-2")
    if first is second:
        same = first_boot_files(second, WIFI, partition(), "card-2")["cmdline.txt"].decode()
        assert again == same


def test_an_id_that_imager_wrote_goes():
    boot = partition()
    boot.files["cmdline.txt"] = b"quiet ds=nocloud;i=rpi-imager-1 cfg80211.ieee80211_regdom=GB splash"
    line = first_boot_files(CLOUD, WIFI, boot, "card-1")["cmdline.txt"]
    assert line.split() == [b"quiet", b"splash", b"cfg80211.ieee80211_regdom=DE", b"ds=nocloud;i=card-1"]
    line = first_boot_files(CLOUD, Settings(), boot, "card-1")["cmdline.txt"]
    assert line.split() == [b"quiet", b"cfg80211.ieee80211_regdom=GB", b"splash", b"ds=nocloud;i=card-1"]


@pytest.mark.parametrize("told", [CLOUD, FIRST])
def test_somebody_elses_program_at_boot_is_refused(told):
    boot = partition()
    boot.files["cmdline.txt"] = b"quiet systemd.run=/boot/install.sh\n"
    with pytest.raises(BadFileError, match=r"starts a program of its own at boot \(systemd\.run=/boot/install\.sh\)"):
        first_boot_files(told, Settings(), boot, "i")


def test_a_line_that_becomes_too_long_is_refused():
    boot = partition()
    boot.files["cmdline.txt"] = b"a" * 4090
    with pytest.raises(BadFileError, match="expected at most 4096 bytes with our words"):
        first_boot_files(CLOUD, Settings(), boot, "i")


_WORDS = st.binary(min_size=1, max_size=20).filter(lambda word: not set(word) & set(b" \t\r\n\v\f\0"))


@given(st.lists(_WORDS, min_size=1, max_size=20), st.sampled_from([b"", b"\n", b"\r\n", b" \n"]))
def test_other_words_stay_as_they_are(words, end):
    boot = partition()
    boot.files["cmdline.txt"] = b" ".join(words) + end
    for told in (CLOUD, FIRST):
        line = first_boot_files(told, WIFI, boot, "i")["cmdline.txt"]
        assert line.startswith(b" ".join(words) + b" cfg80211")
        assert line.count(b"\n") == 1
