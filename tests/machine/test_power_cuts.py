"""The power goes in the middle of a first boot, with all that the card had not written: the next boot completes it."""

import os

import pytest

from tests.machine.looks import DONE, FIRST_BOOT_LIMIT_S, ROOT, assert_set_up, assert_works, report_on
from tests.machine.machine import machine_with

_SHORT = os.environ.get("EDGEKIT_FLASH_SHORT") == "1"

MOMENTS = {
    "while it is set up": (["/etc/hostname"], "belt-7"),
    "when it is armed": (["/etc/systemd/system/edgekit-first-boot.service"], ""),
    "while the application is unpacked": ([f"{ROOT}/wheels/.tmp-*"], ""),
    "in the trial": ([f"{ROOT}/state.json"], '"trial": {'),
}
"""What is on the card at that moment: a path, and a text in it."""


# None: all that was not flushed is lost; a number: a die loses half of it, in any order.
@pytest.mark.parametrize("seed", [None] if _SHORT else [None, 1, 2])
def test_four_power_cuts_in_a_first_boot(flash, bundle, tmp_path, seed):
    card = tmp_path / "card.img"
    answer = flash(bundle, card)
    assert answer.code == 0, answer.err
    with machine_with(card) as machine:
        for patterns, text in MOMENTS.values():
            machine.power_on()
            machine.wait_for_file(*patterns, text=text, limit_s=FIRST_BOOT_LIMIT_S)
            machine.power_cut(seed)
        machine.power_on()
        machine.wait_for_file(DONE, limit_s=FIRST_BOOT_LIMIT_S)
        assert_works(machine, bundle)
        assert_set_up(machine)
        machine.power_off()
    assert report_on(card).startswith("edgekit: bright 1.0 is READY")
