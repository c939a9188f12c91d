"""The first boot of an arm64 board with a card that came with a bundle, with a power cut in its trial and without."""

import json
import shutil

import pytest

from device_runtime.install.service.units import FIRST_BOOT, first_boot_unit
from edgekit.bundling.installer_pack import installer_pack
from tests.support.bundles import journal_codes, release_of
from tests.support.waiting import wait_for

_MOUNT = "boot/firmware"
_ROOT = "var/lib/edgekit"
_LIMIT_S = 400


@pytest.fixture
def armed(new_board, first):
    """A board that is off, with the card's files where it has them, and armed as an image's first boot does it."""
    root = new_board.root
    card = root / _MOUNT / "edgekit"
    card.mkdir(parents=True)
    shutil.copy(first, card / "application.edgekit")
    (card / "installer.pyz").write_bytes(installer_pack())
    units = root / "etc/systemd/system"
    (units / FIRST_BOOT).write_text(first_boot_unit(f"/{_MOUNT}"))
    (units / "multi-user.target.wants" / FIRST_BOOT).symlink_to(f"../{FIRST_BOOT}")
    return new_board


def shown(board, unit, *names):
    told = board.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
    figures = dict(line.split("=", 1) for line in told.splitlines())
    return [figures[name] for name in names]


def wait_until_done(board):
    done = board.root / "var/lib/edgekit-first-boot/done"
    wait_for(lambda: done.exists() or shown(board, FIRST_BOOT, "Result") != ["success"], _LIMIT_S)
    assert done.exists(), board.log[-4000:]
    wait_for(lambda: shown(board, FIRST_BOOT, "ActiveState") == ["inactive"])
    return done.read_text().strip()


def assert_serves(board, release):
    wait_for(lambda: shown(board, "edgekit", "ActiveState") == ["active"], 120)
    pulse = json.loads(board.run("cat", "/run/edgekit/pulse.json").stdout)
    assert (pulse["release"], pulse["predictions"] > 0) == (release, True)
    (report,) = (board.root / _MOUNT).glob("*.txt")
    headline = report.read_text().splitlines()[0]
    assert headline.startswith(f"edgekit: bright 1.0 is READY (release {release[:12]}), "), report.read_text()
    assert not (board.root / "etc/systemd/system/multi-user.target.wants" / FIRST_BOOT).is_symlink()
    assert board.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "edgekit*").stdout == ""


def test_a_card_becomes_a_service_and_nobody_waits_for_it(armed, first):
    armed.power_on()
    release = wait_until_done(armed)
    assert release == release_of(first)
    assert_serves(armed, release)
    (reached,) = shown(armed, "multi-user.target", "ActiveEnterTimestampMonotonic")
    (ended,) = shown(armed, FIRST_BOOT, "ExecMainExitTimestampMonotonic")
    assert 0 < int(reached) < int(ended)
    assert f"edgekit: bright 1.0 is READY (release {release[:12]})" in armed.log


def test_the_power_cut_in_its_trial_is_gone_on_from_and_a_reboot_changes_nothing(armed, first):
    armed.data_disk(1 << 30)
    armed.power_on()
    state = armed.root / _ROOT / "state.json"
    wait_for(lambda: state.exists() and '"trial": {' in state.read_text(), _LIMIT_S)
    wait_for((armed.root / "etc/systemd/system/edgekit-settle.service").exists, _LIMIT_S)
    wait_for(lambda: shown(armed, "edgekit", "ActiveState") == ["activating"], _LIMIT_S)
    armed.power_cut()
    assert "has begun" in (armed.root / _MOUNT / "edgekit-report.txt").read_text()
    armed.boot_again()
    release = wait_until_done(armed)
    assert release == release_of(first)
    assert_serves(armed, release)
    codes = journal_codes(armed.root / _ROOT)
    assert (codes.count("trial"), codes.count("committed")) == (1, 1), codes
    assert "trial-continued" in codes
    armed.reboot()
    assert_serves(armed, release)
    assert shown(armed, FIRST_BOOT, "ExecMainStartTimestampMonotonic") == ["0"]
    assert journal_codes(armed.root / _ROOT) == codes
