"""A bundle for another board is refused before there is a card, and one that was damaged on it is reported there."""

import os

import pytest

from tests.board.releases import Shelf
from tests.machine import firmware
from tests.machine.looks import DONE, FIRST_BOOT_LIMIT_S, REPORT, assert_set_up, assert_works, report_on
from tests.machine.machine import machine_with
from tests.support.waiting import wait_for

_APPLICATION = "edgekit/application.edgekit"


def test_a_bundle_for_another_system_is_refused_and_no_card_is_left(flash, kind, tmp_path):
    other = {"bookworm": "trixie", "trixie": "bookworm"}[kind.suite]
    bundle = Shelf(tmp_path, other).well("1.0")
    card = tmp_path / "card.img"
    answer = flash(bundle, card)
    assert answer.code == 6, answer.err
    assert "Python" in answer.json["error"]["message"] or "python" in answer.json["error"]["message"]
    assert not list(tmp_path.glob("*card*"))


@pytest.mark.skipif(os.environ.get("EDGEKIT_FLASH_SHORT") == "1", reason="the short form has no ill boards")
def test_an_application_that_was_damaged_on_the_card_is_reported_and_can_be_replaced(flash, bundle, tmp_path):
    card = tmp_path / "card.img"
    answer = flash(bundle, card)
    assert answer.code == 0, answer.err
    sound = firmware.read(card, _APPLICATION)
    middle = len(sound) // 2
    damaged = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    firmware.put(card, {_APPLICATION: damaged})
    with machine_with(card) as machine:
        machine.power_on()
        wait_for(lambda: "FIRST BOOT FAILED" in machine.console, FIRST_BOOT_LIMIT_S)
        machine.wait_for_file(f"/boot/firmware/{REPORT}", text="What went wrong")
        assert_set_up(machine)
        assert machine.run("systemctl", "is-active", "edgekit", check=False).stdout != "active\n"
        machine.power_off()
        report = report_on(card)
        assert report.startswith("edgekit: FIRST BOOT FAILED")
        assert "application.edgekit" in report
        firmware.put(card, {_APPLICATION: sound})  # as the report says
        machine.power_on()
        machine.wait_for_file(DONE, limit_s=FIRST_BOOT_LIMIT_S)
        assert_works(machine, bundle)
        machine.power_off()
    assert report_on(card).startswith("edgekit: bright 1.0 is READY")
