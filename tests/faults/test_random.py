"""Random commands with random faults (number 3): ``EDGEKIT_FAULT_RUNS`` of them, from ``EDGEKIT_FAULT_SEED`` on."""

from tests.support.random_runs import play_at_random


def test_any_commands_with_any_faults_leave_a_whole_release_and_a_board_that_takes_another(boards, memory):
    outcomes = play_at_random(memory, 2000, boards)
    print(dict(outcomes))  # noqa: T201 - shown by -rP


def test_a_machine_with_any_faults_serves_again_and_takes_another_release(memory):
    outcomes = play_at_random(memory, 2000)
    print(dict(outcomes))  # noqa: T201 - shown by -rP
