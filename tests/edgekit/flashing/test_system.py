import random
import subprocess
import sys

import pytest

from edgekit.flashing.system import SystemFacts, system_facts
from tests.support.disk_images import Link, make_disk_image, system_root

BOOKWORM = SystemFacts("Debian GNU/Linux 12", "aarch64", "cp311", "2.36")


def facts(folder, root):
    image = make_disk_image(folder / "card.img", {"a": b""}, root, fat=16)
    return system_facts(image.path, image.root_offset)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, BOOKWORM),
        (
            {"python": "3.13", "glibc": "2.41-12+rpt1+deb13u1", "name": "Debian GNU/Linux 13 (trixie)"},
            SystemFacts("Debian GNU/Linux 13 (trixie)", "aarch64", "cp313", "2.41"),
        ),
        ({"machine": "armv7l"}, SystemFacts("Debian GNU/Linux 12", "armv7l", "cp311", "2.36")),
        ({"machine": "x86_64"}, SystemFacts("Debian GNU/Linux 12", "x86_64", "cp311", "2.36")),
    ],
)
def test_a_system_tells_what_it_is(tmp_path, said, told):
    assert facts(tmp_path, system_root(**said)) == told


def test_a_path_with_signs_that_debugfs_reads_as_options_is_none_to_it(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": b""}, system_root(), fat=16)
    odd = image.path.rename(tmp_path / "a?offset=0 @@1")
    assert system_facts(odd, image.root_offset) == BOOKWORM


def test_links_are_followed_over_folders_that_are_links(tmp_path):
    root = system_root()
    root |= {"usr/bin/python3": Link("/bin/python3.11"), "bin": Link("usr/bin")}
    root["etc/os-release"] = Link("/usr/share/../lib/os-release")
    root["usr/share/x"] = b""
    assert facts(tmp_path, root) == BOOKWORM


def test_a_long_status_is_read_to_where_the_library_is(tmp_path):
    root = system_root()
    others = "".join(
        f"Package: p{number}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1.{number}\n\n"
        for number in range(50_000)
    )
    root["var/lib/dpkg/status"] = others.encode() + root["var/lib/dpkg/status"]
    assert facts(tmp_path, root) == BOOKWORM


def status(*entries):
    return "\n".join("".join(f"{key}: {value}\n" for key, value in entry.items()) for entry in entries).encode()


def libc(version, architecture="arm64", state="install ok installed", package="libc6"):
    return {"Package": package, "Status": state, "Architecture": architecture, "Version": version}


@pytest.mark.parametrize(
    ("entries", "glibc"),
    [
        ([libc("2.31-1", "armhf"), libc("2.36-9")], "2.36"),
        ([libc("2.31-1", state="deinstall ok config-files"), libc("2.36-9")], "2.36"),
        ([libc("2.31-1", package="libc6-dev"), libc("2.36-9")], "2.36"),
        ([libc("1:2.36-9")], "2.36"),
        ([libc("2.36")], "2.36"),
    ],
)
def test_the_c_library_is_the_installed_one_for_the_same_machine(tmp_path, entries, glibc):
    assert facts(tmp_path, system_root() | {"var/lib/dpkg/status": status(*entries)}).glibc == glibc


ODD = {
    "no Python": {"usr/bin/python3": Link("nowhere")},
    "a Python of another name": {"usr/bin/python3": Link("pypy"), "usr/bin/pypy": b"\x7fELF" + bytes(60)},
    "a script for a Python": {"usr/bin/python3.11": b"#!/bin/sh\n"},
    "an empty Python": {"usr/bin/python3.11": b""},
    "a Python for a machine of another kind": {"usr/bin/python3.11": b"\x7fELF\x02\x01" + bytes(60)},
    "a Python of the other byte order": {
        "usr/bin/python3.11": b"\x7fELF\x02\x02\x01".ljust(18, b"\0") + b"\xb7\x00" * 4
    },
    "links in a circle": {"usr/bin/python3": Link("python3.11"), "usr/bin/python3.11": Link("python3")},
    "a link with a quote": {"usr/bin/python3": Link('python3.11"')},
    "a link with a request in it": {"usr/bin/python3": Link("python3.11 /etc")},
    "a link with a line break": {"usr/bin/python3": Link("python3.11\nstat /")},
    "a link with a space at its end": {"etc/os-release": Link("../usr/lib/os-release ")},
    "a long link": {"usr/bin/python3": Link("./" * 120 + "python3.11")},
    "no C library": {"var/lib/dpkg/status": status(libc("2.36-9", "armhf"))},
    "a version that is none": {"var/lib/dpkg/status": status(libc("experimental"))},
    "an empty status": {"var/lib/dpkg/status": b""},
    "a status without an end of a line": {"var/lib/dpkg/status": b"P" * (1 << 20)},
}


@pytest.mark.parametrize("changed", ODD.values(), ids=ODD)
def test_what_is_odd_is_not_told(tmp_path, changed):
    assert facts(tmp_path, system_root() | changed) is None


def test_a_status_that_never_ends_is_given_up_in_little_memory(tmp_path):
    root = system_root()
    root["var/lib/dpkg/status"] = bytes(300 << 20) + b"\n\n" + root["var/lib/dpkg/status"]
    image = make_disk_image(tmp_path / "card.img", {"a": b""}, root, fat=16)
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom edgekit.flashing.system import system_facts\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(system_facts(Path(sys.argv[1]), int(sys.argv[2])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    words = [sys.executable, "-c", script, image.path, str(image.root_offset)]
    told, grown_kb = subprocess.run(words, capture_output=True, check=True, text=True).stdout.split()
    assert told == "None"
    assert int(grown_kb) < 50 << 10


def test_a_name_is_fit_for_a_terminal(tmp_path):
    told = facts(tmp_path, system_root(name="Evil \x1b[31m" + "x" * 500))
    assert told.name.startswith("Evil [31mxxx")
    assert len(told.name) == 80


def test_a_file_that_is_missing_or_no_ext4_tells_nothing(tmp_path):
    assert system_facts(tmp_path / "none", 0) is None
    (tmp_path / "noise").write_bytes(random.Random(1).randbytes(1 << 20))  # noqa: S311 - noise
    assert system_facts(tmp_path / "noise", 4096) is None
    assert system_facts(tmp_path / "noise", 1 << 40) is None
    assert system_facts(tmp_path, 0) is None


def test_without_debugfs_nothing_is_told(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": b""}, system_root(), fat=16)
    assert system_facts(image.path, image.root_offset, "no-such-debugfs") is None


def test_a_damaged_file_system_tells_nothing_or_the_truth_and_never_crashes(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": b""}, system_root(), fat=16)
    sound = image.path.read_bytes()
    chance = random.Random(7)  # noqa: S311 - damage
    told = []
    for _ in range(40):
        damaged = bytearray(sound)
        for _ in range(chance.choice([1, 10, 200])):
            at = image.root_offset + chance.randrange(2 << 20)
            damaged[at : at + 16] = chance.randbytes(16)
        image.path.write_bytes(damaged)
        told.append(system_facts(image.path, image.root_offset))
    assert {type(one) for one in told} <= {SystemFacts, type(None)}


def test_nothing_is_written_to_the_file_system(tmp_path):
    image = make_disk_image(tmp_path / "card.img", {"a": b""}, system_root(), fat=16)
    before = image.path.read_bytes()
    image.path.chmod(0o444)
    assert system_facts(image.path, image.root_offset) == BOOKWORM
    assert image.path.read_bytes() == before
