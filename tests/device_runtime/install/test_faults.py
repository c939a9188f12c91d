"""The installer's fault suite in its shorter form: some calls of each command; the long form has all of them.

The releases are real wheels whose ``device_runtime check`` is a few lines, because the real runtime takes a second to
start and there are some hundred points; ``tests/edgekit/cli/test_deploy.py`` installs the real one. The long form is in
``tests/faults``; docs/explain/faults.md says which promise is tested where.
"""

import os

import pytest

from tests.support.fault_points import in_own_process
from tests.support.fault_scenarios import (
    SCENARIOS,
    assert_safe,
    assert_safe_without_power,
    before,
    cut_power,
    fail,
    recovery_of,
)
from tests.support.random_runs import play_at_random

pytestmark = pytest.mark.timeout(600)

# One call in so many: all of them are in the long form.
_KILLED = {
    "a first installation": 5,
    "an update": 5,
    "a failed check": 9,
    "a failed trial": 7,
    "a rollback": 3,
    "a repair": 7,
    "a removal": 4,
    "a first deployment": 9,
    "a deployment": 7,
}


@pytest.mark.parametrize(("name", "step"), _KILLED.items())
def test_a_command_killed_at_any_call_leaves_a_whole_release(boards, memory, name, step):
    records = fail(boards, SCENARIOS[name], "kill", memory, step=step)
    assert_safe(boards, SCENARIOS[name], records)
    assert len(records) > 8


def test_a_recovery_killed_at_each_of_its_calls_ends_well(boards, memory):
    records = fail(boards, SCENARIOS["an update"], "kill", memory, step=11, in_recovery=1)
    assert_safe(boards, SCENARIOS["an update"], records)
    assert sum(record["in_recovery"] for record in records) > 30


@pytest.mark.parametrize("name", ["an update", "a removal"])
def test_a_command_told_to_stop_at_any_call_stops_with_nothing_half_written(boards, memory, name):
    records = fail(boards, SCENARIOS[name], "stop", memory, step=5)
    assert_safe(boards, SCENARIOS[name], records)
    for record in records:
        assert record["code"] in (130, 0), record
        if name == "an update":
            left = [record["at_once"][each] for each in ("left", "trial", "way_back")]
            assert left == [[], False, False], record
            # Stopped after the decision it is an interrupted command, but the new release is committed and whole.
            assert record["settled"]["current"] == record["at_once"]["current"], record


@pytest.mark.parametrize("fault", ["refuse", "full"])
def test_an_update_refused_by_the_disk_at_any_call_leaves_a_whole_release(boards, memory, fault):
    scenario = SCENARIOS["an update"]
    records = fail(boards, scenario, fault, memory, step=7)
    assert_safe(boards, scenario, records)
    for record in records:
        if record["code"]:
            assert record["said"]["error"]["exit_code"] == record["code"] in (1, 6), record
        else:
            assert boards.name(record["at_once"]["current"]) == "third"
    # Whoever was not committed does not stay: to return takes no space.
    assert {boards.name(record["at_once"]["current"]) for record in records if record["code"]} == {"update"}
    if fault == "full":
        full = [record["said"]["error"] for record in records if record["code"] == 6]
        assert full
        assert all("needs" in error["message"] and "bytes free" in error["message"] for error in full)


def test_a_failed_trial_on_a_disk_that_fills_up_at_any_call_returns_at_once(boards, memory):
    scenario = SCENARIOS["a failed trial"]
    records = fail(boards, scenario, "full", memory, step=5)
    assert {boards.name(record["at_once"]["current"]) for record in records} == {"second"}
    assert {boards.name(record["settled"]["current"]) for record in records} == {"second"}
    assert {record["code"] for record in records} <= {1, 6, 7}


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("a first installation", 6),
        ("an update", 11),
        ("a failed trial", 19),
        ("a rollback", 9),
        ("a removal", 23),
        ("a deployment", 31),
    ],
)
def test_the_power_cut_at_a_call_leaves_a_whole_release(boards, memory, name, step):
    records = cut_power(boards, SCENARIOS[name], memory, step=step)
    assert_safe_without_power(boards, SCENARIOS[name], records)
    assert len(records) > 3


@pytest.mark.usefixtures("small_disks")
def test_the_power_cut_in_a_recovery_leaves_a_whole_release(boards, memory):
    options = {"before": before(boards, "an update", 60), "step": 6}
    records = cut_power(boards, recovery_of("an update"), memory, **options)
    assert_safe_without_power(boards, recovery_of("an update"), records)


def test_any_commands_with_any_faults_leave_a_whole_release_and_a_board_that_takes_another(boards, memory):
    outcomes = play_at_random(memory, 200 if os.environ.get("CI") == "true" else 60, boards)
    assert outcomes["apply -9"]
    assert outcomes["apply 0"]


def test_a_flipped_bit_in_the_state_is_found(boards, memory):
    size = (boards.path("two") / "state.json").stat().st_size
    flips = [["state.json", "flip", bit] for bit in range(0, 8 * size, 61)]
    plan = {"base": str(boards.path("two")), "root": str(memory / "root"), "damages": flips, "commands": [["status"]]}
    for record in in_own_process("damages", plan):
        (said,) = record["said"]
        assert (said["code"], said["damage"]) == (0, []), record
        assert (boards.name(said["current"]), boards.name(said["fallback"])) == ("second", "first"), record
