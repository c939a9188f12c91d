import dataclasses
import os

import pytest

from device_runtime.contract.manifest import Compat, SystemPackage
from device_runtime.contract.status import MachineFacts
from device_runtime.install.compat import (
    MissingPackagesError,
    describe,
    machine_facts,
    machine_of,
    misfit,
    require_packages,
)

PI = MachineFacts("aarch64", "cp311", "2.36")


@pytest.mark.parametrize(
    ("compat", "reason"),
    [
        (Compat(), None),
        (Compat("aarch64", "cp311", "2.28"), None),
        (Compat("aarch64", "cp311", "2.36"), None),
        (Compat("aarch64", "cp311", "2.4"), None),
        (Compat("armv7l"), "expected machine armv7l, got aarch64"),
        (Compat("aarch64", "cp313"), "expected python cp313, got cp311"),
        (Compat(glibc="2.41"), "expected glibc 2.41 or newer, got 2.36"),
    ],
)
def test_a_board_fits_or_the_reason_is_said(compat, reason):
    assert misfit(compat, PI) == reason


def test_another_c_library_does_not_fit_what_needs_glibc():
    musl = MachineFacts("aarch64", "cp311", "")
    assert misfit(Compat(glibc="2.17"), musl) == "expected glibc 2.17 or newer, got another C library"
    assert misfit(Compat(), musl) is None


def test_this_machine_tells_what_it_is():
    facts = machine_facts()
    assert facts.python.startswith("cp3")
    assert misfit(Compat(facts.machine, facts.python, facts.glibc), facts) is None


def test_a_package_is_described_in_words():
    assert describe(Compat()) == "any machine"
    assert describe(Compat("aarch64", "cp311", "2.28")) == "aarch64 cp311 glibc 2.28"


def test_memory_that_is_known_has_to_be_enough():
    small = dataclasses.replace(PI, memory_bytes=450 << 20)
    assert misfit(Compat(memory_bytes=450 << 20), small) is None
    assert misfit(Compat(memory_bytes=1 << 30), small) == "expected 1073741824 bytes of memory or more, got 471859200"
    assert misfit(Compat(memory_bytes=1 << 30), PI) is None


def test_this_machine_tells_its_memory():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(machine_facts().memory_bytes - total) < 1 << 20


def test_modules_of_the_system_are_looked_for():
    require_packages(Compat(system_packages=(SystemPackage("json", "python3"),)))
    nowhere = Compat(system_packages=(SystemPackage("nowhere", "python3-nowhere"), SystemPackage("not_here", "aa")))
    with pytest.raises(MissingPackagesError, match="nowhere, not_here") as caught:
        require_packages(nowhere)
    assert caught.value.hint == "on the board: sudo apt install aa python3-nowhere"


@pytest.mark.parametrize(
    ("kernel", "largest", "machine"),
    [
        ("aarch64", 2**63 - 1, "aarch64"),
        ("aarch64", 2**31 - 1, "armv7l"),
        ("armv7l", 2**31 - 1, "armv7l"),
        ("x86_64", 2**63 - 1, "x86_64"),
    ],
)
def test_a_32_bit_system_on_a_64_bit_kernel_is_a_32_bit_machine(kernel, largest, machine):
    assert machine_of(kernel, largest) == machine
