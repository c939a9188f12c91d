"""What a machine asks for by itself, at each of its mutating calls: the power is cut (number 2); it needs root."""

import pytest

from tests.support.fault_points import in_own_process


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("boot", {"2.0"}),
        ("settle", {"2.0"}),
        ("settle bad", {"1.0"}),
        ("crashed bad", {"1.0"}),
        ("crashed both", {None, "1.0"}),
        ("crashed alone", {"1.0"}),
        ("apply bad", {"1.0"}),
    ],
)
def test_the_power_cut_at_any_call_is_settled_by_the_next_boot(memory, name, may):
    ended = in_own_process("service_faults", {"name": name, "folder": str(memory), "fault": "power"})
    assert len(ended) > 3
    assert {version for each in ended for version in each} <= may, ended
    print(f"{name}: cut at {len(ended)} calls")  # noqa: T201 - shown by -rP
