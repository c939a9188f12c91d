"""A card's first boot at each of its mutating calls (numbers 1 and 2); power cuts need root."""

import pytest

from tests.support.fault_points import KILLED, in_own_process


@pytest.mark.parametrize(("fault", "codes"), [("kill", {KILLED}), ("refuse", {0, 1}), ("full", {0, 1, 6})])
def test_failed_at_any_call_it_is_done_by_the_next_boot(memory, fault, codes):
    ended = in_own_process("card_boards", {"folder": str(memory), "fault": fault})
    assert len(ended) > 60
    assert set(ended) <= codes
    print(f"a first boot: {fault} at {len(ended)} calls")  # noqa: T201 - shown by -rP


@pytest.mark.usefixtures("small_disks")
def test_the_power_cut_at_any_call_it_is_done_by_the_next_boot(memory):
    ended = in_own_process("card_boards", {"folder": str(memory), "fault": "power"})
    assert len(ended) > 60
    assert ended[-1] == 0
    print(f"a first boot: the power cut at {len(ended)} calls")  # noqa: T201 - shown by -rP
