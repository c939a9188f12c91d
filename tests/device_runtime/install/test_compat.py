import pytest

from device_runtime.contract.manifest import Compat
from device_runtime.contract.status import MachineFacts
from device_runtime.install.compat import describe, machine_facts, misfit

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
