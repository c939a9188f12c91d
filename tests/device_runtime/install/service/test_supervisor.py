import pytest

from device_runtime.contract.service import HealthSpec
from device_runtime.install.service.supervisor import PATIENT, Timings, crash_window_s


@pytest.mark.parametrize(
    "health",
    [HealthSpec(), HealthSpec(start_s=1, watchdog_s=5), HealthSpec(start_s=3600), HealthSpec(watchdog_s=3600)],
)
def test_failures_that_hang_are_a_crash_loop_like_those_that_end_at_once(health):
    hang_s = max(health.start_s, health.watchdog_s) + PATIENT.stop_s + PATIENT.longest_pause_s
    assert crash_window_s(PATIENT, health) >= (PATIENT.burst - 1) * hang_s


def test_the_window_is_at_least_as_long_as_told():
    assert crash_window_s(Timings(interval_s=86400), HealthSpec()) == 86400
