"""The power is cut at each mutating call of each command (number 2); it needs root."""

import pytest

from tests.support.fault_scenarios import SCENARIOS, assert_safe_without_power, before, cut_power, outcomes, recovery_of
from tests.support.small_disks import QUIET

pytestmark = pytest.mark.usefixtures("small_disks")

KILLED_AT = range(3, 90, 9)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_power_cut_at_any_call_leaves_a_whole_release(boards, memory, name):
    records = cut_power(boards, SCENARIOS[name], memory)
    assert_safe_without_power(boards, SCENARIOS[name], records)
    assert len(records) > 10
    print(f"{name}: cut at {len(records)} calls: {dict(outcomes(boards, records))}")  # noqa: T201 - shown by -rP


@pytest.mark.parametrize("name", ["an update", "a failed trial", "a deployment"])
def test_the_power_cut_at_any_call_of_a_recovery_leaves_a_whole_release(boards, memory, name):
    scenario = recovery_of(name)
    points = 0
    for point in KILLED_AT:
        records = cut_power(boards, scenario, memory, before=before(boards, name, point))
        assert_safe_without_power(boards, scenario, records)
        points += len(records)
    print(f"recover after {name}: cut at {points} calls")  # noqa: T201 - shown by -rP


@pytest.mark.parametrize("options", ["data=writeback", "noauto_da_alloc", "noauto_da_alloc,nodelalloc,data=writeback"])
@pytest.mark.parametrize("name", ["an update", "a failed trial"])
def test_a_disk_that_promises_less_changes_nothing(boards, memory, name, options):
    # ext4(5): without auto_da_alloc a file that replaces another one may be empty after a cut, unless it was flushed.
    records = cut_power(boards, SCENARIOS[name], memory, options=f"{QUIET},{options}")
    assert_safe_without_power(boards, SCENARIOS[name], records)
