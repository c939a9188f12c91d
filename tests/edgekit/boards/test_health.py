import dataclasses

import pytest

from device_runtime.contract.pulse import Pulse
from device_runtime.contract.status import BoardStatus, MachineFacts, ReleaseInfo, SafeMode, ServiceStatus
from edgekit.boards.health import Health, health_of

CURRENT = ReleaseInfo("a" * 64, "app", "1.0", "current")
BOARD = BoardStatus("/board", 1, MachineFacts("aarch64", "cp311", "2.36"), 10**9, current=CURRENT)
PULSE = Pulse(1, 2.0, 3.0, "ok")
FAILING = dataclasses.replace(PULSE, health="failing", reasons=("no frames",))


@pytest.mark.parametrize(
    ("service", "health"),
    [
        (None, Health(ok=True, word="installed")),
        (ServiceStatus("none", "stopped"), Health(ok=True, word="installed")),
        (ServiceStatus("systemd", "running", pulse=PULSE), Health(ok=True, word="healthy")),
        (ServiceStatus("systemd", "running"), Health(ok=True, word="starting")),
        (ServiceStatus("process", "starting", pulse=PULSE), Health(ok=True, word="starting")),
        (ServiceStatus("systemd", "running", pulse=FAILING), Health(ok=False, word="failing", reasons=("no frames",))),
        (ServiceStatus("systemd", "failed"), Health(ok=False, word="failing", reasons=("its service failed",))),
        (
            ServiceStatus("systemd", "failed", detail="oom-kill"),
            Health(ok=False, word="failing", reasons=("oom-kill",)),
        ),
        (ServiceStatus("systemd-user", "stopped"), Health(ok=False, word="stopped")),
    ],
)
def test_a_board_is_as_well_as_what_runs_on_it(service, health):
    assert health_of(dataclasses.replace(BOARD, service=service)) == health


def test_a_board_on_which_nothing_runs_does_not_do_its_work():
    assert health_of(dataclasses.replace(BOARD, current=None)).ok is False
    safe = dataclasses.replace(BOARD, safe_mode=SafeMode("crash-loop", "it crashed", "2026-01-01T00:00:00Z"))
    assert health_of(safe) == Health(ok=False, word="safe mode", reasons=("it crashed (crash-loop)",))
