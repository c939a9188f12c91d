"""What a machine asks for by itself, at each of its mutating calls (numbers 1 and 2); power cuts need root."""

import pytest

from tests.support.fault_points import in_own_process

_ENDS = {
    "boot": {"2.0"},
    "settle": {"2.0"},
    "settle bad": {"1.0"},
    "crashed bad": {"1.0"},
    "crashed both": {None, "1.0"},
    "crashed alone": {"1.0"},
    "apply bad": {"1.0"},
}
# A disk that refuses to write that a release is committed has it taken back, and nothing is held against it.
_ENDS_REFUSED = {**_ENDS, "settle": {"1.0", "2.0"}}


@pytest.mark.parametrize("fault", ["kill", "refuse", "full"])
@pytest.mark.parametrize("name", _ENDS)
def test_failed_at_any_call_it_is_settled_by_the_next_boot(memory, name, fault):
    assert_settled(memory, name, fault, _ENDS[name] if fault == "kill" else _ENDS_REFUSED[name])


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize("name", _ENDS)
def test_the_power_cut_at_any_call_is_settled_by_the_next_boot(memory, name):
    assert_settled(memory, name, "power", _ENDS[name])


def assert_settled(memory, name, fault, may):
    ended = in_own_process("service_faults", {"name": name, "folder": str(memory), "fault": fault})
    assert len(ended) > 3
    assert {version for each in ended for version in each} <= may, ended
    print(f"{name}: {fault} at {len(ended)} calls")  # noqa: T201 - shown by -rP
