"""The virtual machine is what other tests take it for: it boots from its card, loses its power, has no network."""

import time

from tests.board.rootfs import PYTHONS
from tests.machine import firmware
from tests.support.waiting import wait_for

# Writes past the page cache, until it is killed.
_WRITES = "while :; do dd if=/dev/urandom of=/root/stream bs=64k count=200 oflag=direct conv=notrunc 2>/dev/null; done"


def up(machine):
    """Wait until everything has been started."""
    state = machine.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
    failed = machine.run("systemctl", "--failed", "--quiet", "--no-legend", "--plain").stdout
    assert (state, failed) == ("running", "")


def test_it_boots_from_the_card_to_a_system_without_failures(plain, kind):
    up(plain)
    assert plain.run("uname", "-m").stdout == "aarch64\n"
    major, minor = PYTHONS[kind.suite][0]
    assert plain.run("python3", "--version").stdout.startswith(f"Python {major}.{minor}.")
    assert plain.boots == 1


def test_it_has_the_partitions_of_a_raspberry_pi(plain):
    shown = plain.run("findmnt", "--noheadings", "--raw", "--output", "TARGET,SOURCE,FSTYPE,LABEL", "--real").stdout
    assert "/ /dev/vda2 ext4 rootfs\n" in shown
    assert "/boot/firmware /dev/vda1 vfat bootfs\n" in shown


def test_it_has_no_network_and_no_clock_of_its_own(plain):
    assert plain.run("ls", "/sys/class/net").stdout == "lo\n"
    assert int(plain.run("date", "+%s").stdout) < time.time()


def test_what_is_on_the_card_says_how_it_boots_the_next_time(plain):
    line = plain.run("cat", "/boot/firmware/cmdline.txt").stdout
    plain.run("sh", "-c", "cat > /boot/firmware/cmdline.txt", stdin=f"{line.strip()} edgekit.word=1\n")
    before = plain.run("cat", "/proc/sys/kernel/random/boot_id").stdout
    plain.reboot()
    assert plain.boots == 2
    assert plain.run("cat", "/proc/sys/kernel/random/boot_id").stdout != before
    told = plain.run("cat", "/proc/cmdline").stdout.split()
    assert "edgekit.word=1" in told
    assert "console=ttyAMA0,115200" in told


def test_a_power_cut_keeps_what_was_flushed_and_loses_the_rest(plain):
    up(plain)  # after the reboot before: until then the boot partition may not be mounted
    plain.run(
        "sh", "-c", "echo kept > /root/kept; echo kept > /boot/firmware/kept.txt; sync; sync /boot/firmware/kept.txt"
    )
    plain.run("systemd-run", "--unit=stream", "sh", "-c", _WRITES)
    wait_for(lambda: plain.run("test", "-s", "/root/stream", check=False).returncode == 0)
    assert plain.power_cut() > 0
    assert not plain.is_on
    assert firmware.read(plain.card, "kept.txt") == b"kept\n"
    plain.power_on()
    plain.wait_up()
    up(plain)
    assert plain.run("cat", "/root/kept").stdout == "kept\n"
    assert "recovering journal" in plain.console


def test_it_goes_off_when_it_is_told(plain):
    plain.power_off()
    assert not plain.is_on
    assert "kept.txt" in firmware.names(plain.card)
