import os
import pwd
from pathlib import Path

import pytest

from device_runtime.contract.service import PageSpec, ServiceSpec
from device_runtime.errors import EdgeError, UnfitError
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.keeper import Account, Kept
from device_runtime.install.service.systemd import (
    Surroundings,
    SystemdKeeper,
    has_systemd,
    kept,
    properties_of,
    surroundings,
)
from device_runtime.install.service.units import CRASHED, RECOVER, SERVICE, SETTLE
from tests.support.systemd_commands import FakeSystemd

SPEC = ServiceSpec(source="dir:pictures", page=PageSpec())


class Owners(FileSystem):
    """Gives files away on paper: only root may do it for real."""

    def __init__(self):
        self.given = []

    def set_owner(self, descriptor, uid, gid):
        self.given.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), uid, gid))


@pytest.fixture(name="systemd")
def _systemd(tmp_path):
    return FakeSystemd(tmp_path / "units")


@pytest.fixture(name="around")
def _around(systemd, tmp_path):
    return Surroundings(
        systemd,
        systemd.folder,
        tmp_path / "run",
        systemd.find,
        tmp_path / "linger",
        tmp_path / "controllers",
        groups=("video",),
    )


@pytest.fixture(name="keeper")
def _keeper(around, tmp_path):
    return SystemdKeeper(Root(tmp_path / "root"), Owners(), "system", around=around)


@pytest.fixture(name="users")
def _users(around, tmp_path):
    return SystemdKeeper(Root(tmp_path / "root"), FileSystem(), "user", around=around)


def test_preparing_makes_account_data_and_units_that_start_with_the_machine(keeper, systemd, tmp_path):
    keeper.prepare(SPEC)
    assert keeper.account == Account("edgekit", 990, 991)
    assert (tmp_path / "root" / "data").stat().st_mode & 0o777 == 0o750
    assert sorted(systemd.read) == sorted([SERVICE, RECOVER, SETTLE, CRASHED])
    assert systemd.enabled == {SERVICE, RECOVER, SETTLE}
    assert "User=edgekit" in systemd.read[SERVICE]
    assert (systemd.folder / SERVICE).stat().st_mode & 0o777 == 0o644


def test_what_is_there_already_is_left_alone(keeper, systemd):
    keeper.prepare(SPEC)
    before, count = (systemd.folder / SERVICE).stat().st_ino, len(systemd.verbs())
    keeper.prepare(SPEC)
    assert (systemd.folder / SERVICE).stat().st_ino == before
    assert systemd.verbs()[count:] == []


def test_other_settings_are_read_anew(keeper, systemd):
    keeper.prepare(SPEC)
    count = len(systemd.verbs())
    keeper.prepare(ServiceSpec(source="dir:pictures", memory_mb=300))
    assert systemd.verbs()[count:] == ["daemon-reload"]
    assert "MemoryMax=300M" in systemd.read[SERVICE]


def test_units_that_a_killed_run_wrote_are_read_by_the_next(keeper, systemd):
    keeper.prepare(SPEC)
    changed = ServiceSpec(source="dir:pictures", memory_mb=300)
    systemd.refused["daemon-reload"] = "killed"
    with pytest.raises(EdgeError, match="killed"):
        keeper.prepare(changed)
    systemd.refused.clear()
    keeper.prepare(changed)
    assert "MemoryMax=300M" in systemd.read[SERVICE]


def test_a_link_in_a_units_place_is_replaced(keeper, systemd, tmp_path):
    keeper.prepare(SPEC)
    theirs = (systemd.folder / SERVICE).rename(tmp_path / "elsewhere")
    (systemd.folder / SERVICE).symlink_to(theirs)  # whoever may write there decides what root runs
    keeper.prepare(SPEC)
    assert not (systemd.folder / SERVICE).is_symlink()
    assert (systemd.folder / SERVICE).read_text() == theirs.read_text()


def test_a_restart_forgets_failures_and_is_not_waited_for(keeper, systemd):
    keeper.prepare(SPEC)
    systemd.properties.update(ActiveState="failed", Result="exit-code", NRestarts="5")
    keeper.restart()
    assert systemd.verbs()[-2:] == ["reset-failed", "restart"]
    assert keeper.look() == Kept("starting", 4711)


def test_a_restart_needs_nothing_to_forget(keeper, systemd):
    keeper.prepare(SPEC)
    systemd.refused["reset-failed"] = "Unit edgekit.service not loaded."
    keeper.restart()
    assert systemd.properties["ActiveState"] == "activating"


def test_removing_stops_it_and_leaves_no_unit_and_is_repeatable(keeper, systemd):
    keeper.prepare(SPEC)
    (systemd.folder / "theirs.service").write_text("theirs")
    keeper.remove()
    assert [path.name for path in systemd.folder.iterdir()] == ["theirs.service"]
    assert systemd.enabled == set()
    assert SERVICE not in systemd.read
    assert systemd.entry is not None, "the account stays"
    calls = len(systemd.calls)
    keeper.remove()
    keeper.stop()
    assert len(systemd.calls) == calls
    assert keeper.look() == Kept("stopped", detail=f"{SERVICE}: not-found")


def test_recovery_that_goes_on_with_a_removal_does_not_stop_itself(keeper, systemd):
    keeper.prepare(SPEC)
    keeper.remove()
    told = [words for words in systemd.calls if words[:2] in (["systemctl", "stop"], ["systemctl", "disable"])]
    assert [words for words in told if words[1] == "stop"] == [["systemctl", "stop", SERVICE]]
    assert not any("--now" in words for words in told)


def test_a_removal_that_was_killed_goes_on(keeper, systemd):
    keeper.prepare(SPEC)
    (systemd.folder / CRASHED).unlink()
    (systemd.folder / SETTLE).unlink()
    keeper.remove()
    assert not list(systemd.folder.iterdir())


def test_an_account_that_can_log_in_is_not_taken(keeper, systemd):
    systemd.entry = pwd.struct_passwd(("edgekit", "x", 1000, 1000, "", "/home/edgekit", "/bin/bash"))
    with pytest.raises(UnfitError, match="cannot log in"):
        keeper.prepare(SPEC)
    assert not systemd.folder.exists()


def test_an_account_is_made_by_systemd_where_there_is_no_useradd(keeper, systemd):
    systemd.missing.add("useradd")
    assert keeper.account == Account("edgekit", 990, 991)
    assert systemd.calls[-1][0] == "systemd-sysusers"


def test_an_account_that_cannot_be_made_says_how(keeper, systemd):
    systemd.missing |= {"useradd", "systemd-sysusers"}
    with pytest.raises(EdgeError, match="cannot make the account") as caught:
        keeper.prepare(SPEC)
    assert caught.value.hint.startswith("sudo useradd --system")


def test_data_of_another_account_is_given_with_all_that_is_in_it(around, tmp_path):
    data = tmp_path / "root" / "data"
    (data / "clips").mkdir(parents=True)
    (data / "clips" / "a.mp4").touch()
    (tmp_path / "theirs").touch()
    (data / "link").symlink_to(tmp_path / "theirs")
    (data / "second name").hardlink_to(tmp_path / "theirs")
    os.mkfifo(data / "pipe")
    files = Owners()
    keeper = SystemdKeeper(Root(tmp_path / "root"), files, "system", around=around)
    keeper.prepare(SPEC)
    assert [path for path, _, _ in files.given] == [str(data / "clips/a.mp4"), str(data / "clips"), str(data)]
    assert {(uid, gid) for _, uid, gid in files.given} == {(990, 991)}


def test_a_users_services_are_that_users(users, systemd, tmp_path):
    users.prepare(SPEC)
    users.restart()
    assert users.account is None
    assert users.kind == "systemd-user"
    assert users.pulse == tmp_path / "run" / "edgekit" / "pulse.json"
    assert all("--user" in words for words in systemd.calls)
    assert "WantedBy=default.target" in systemd.read[SERVICE]


def test_who_logs_out_and_takes_the_application_along_is_told(users, around):
    name = pwd.getpwuid(os.getuid()).pw_name
    assert any("enable-linger" in text for text in users.notices(SPEC))
    around.lingering.mkdir()
    (around.lingering / name).touch()
    assert users.notices(SPEC) == ()


def test_a_limit_of_memory_that_the_kernel_does_not_keep_is_told(keeper, around):
    limited = ServiceSpec(memory_mb=300)
    assert any("cgroup_enable=memory" in text for text in keeper.notices(limited))
    around.controllers.write_text("cpuset cpu io memory pids\n")
    assert keeper.notices(limited) == ()


@pytest.mark.parametrize("manager", ["running", "degraded", "starting"])
def test_a_systemd_that_runs_is_one(systemd, manager):
    systemd.manager = manager
    assert has_systemd("system", systemd)


@pytest.mark.parametrize("manager", ["offline", "unknown", ""])
def test_one_that_does_not_run_is_none(systemd, manager):
    systemd.manager = manager
    assert not has_systemd("user", systemd)


@pytest.mark.parametrize(
    ("manager", "stops"), [("stopping", True), ("running", False), ("degraded", False), ("", False)]
)
def test_a_machine_that_goes_down_is_told_by_its_own_systemd(keeper, users, systemd, manager, stops):
    systemd.manager = manager
    assert (keeper.machine_stops(), users.machine_stops()) == (stops, stops)
    assert systemd.calls[-1] == ["systemctl", "is-system-running"]


def test_no_systemctl_is_no_systemd(systemd):
    systemd.missing.add("systemctl")
    assert not has_systemd("system", systemd)


def test_a_systemd_that_went_away_is_told_as_such(keeper, systemd):
    keeper.prepare(SPEC)
    systemd.missing.add("systemctl")
    with pytest.raises(UnfitError, match="no systemd answers"):
        keeper.restart()


def test_what_systemd_says_of_a_failure_is_told(keeper, systemd):
    systemd.refused["enable"] = "Failed to enable unit: Unit file edgekit.service is masked."
    with pytest.raises(EdgeError, match=r"is masked\.") as caught:
        keeper.prepare(SPEC)
    assert caught.value.hint == f"see: sudo systemctl status {SERVICE}"


def test_the_log_is_the_journal_of_the_unit(keeper, users, systemd):
    systemd.journal = ["one", "two"]
    assert list(keeper.logs(20, follow=True)) == ["one", "two"]
    assert systemd.calls[-1][:3] == ["journalctl", "--unit", SERVICE]
    assert systemd.calls[-1][-2:] == ["--lines=20", "--follow"]
    list(users.logs(5, follow=False))
    assert "--user-unit" in systemd.calls[-1]
    assert "--follow" not in systemd.calls[-1]


def test_its_last_words_are_those_of_its_last_process_alone(keeper, users, systemd):
    systemd.journal = ["one", "two"]
    systemd.properties["InvocationID"] = "0123abcd"
    assert keeper.last_words(2) == ["one", "two"]
    asked = systemd.calls[-1]
    assert asked[:3] == ["journalctl", f"_SYSTEMD_UNIT={SERVICE}", "_SYSTEMD_INVOCATION_ID=0123abcd"]
    assert {"--output=cat", "--lines=2"} <= set(asked)
    users.last_words(1)
    assert f"_SYSTEMD_USER_UNIT={SERVICE}" in systemd.calls[-1]


def test_a_journal_that_cannot_be_read_says_what_helps(keeper, systemd):
    systemd.missing.add("journalctl")
    with pytest.raises(EdgeError, match="cannot read the journal") as caught:
        list(keeper.logs(5, follow=False))
    assert "systemd-journal" in caught.value.hint


def test_a_users_runtime_folder_is_found_without_a_session():
    around = surroundings("user", {})
    assert str(around.runtime) == f"/run/user/{os.getuid()}"


_TOO_OFTEN = "it was started by hand too often; to start it: systemctl reset-failed edgekit, and start it then"


# As systemd 252 and 257 said them on the virtual boards.
@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            "ActiveState=active\nSubState=running\nMainPID=435\nStatusText=2.0 fps",
            Kept("running", 435, detail="2.0 fps"),
        ),
        ("ActiveState=active\nSubState=running\nMainPID=435\nJob=77", Kept("starting", 435)),
        ("ActiveState=active\nMainPID=7\nNRestarts=2\nJob=", Kept("running", 7, 2)),
        ("ActiveState=activating\nSubState=start\nMainPID=435", Kept("starting", 435)),
        (
            "ActiveState=activating\nSubState=auto-restart\nNRestarts=1\nResult=exit-code\nExecMainCode=1\nExecMainStatus=3",
            Kept("starting", 0, 1, "exit 3", "systemd: exit-code"),
        ),
        (
            "ActiveState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=3\nStatusText=failed: gone",
            Kept("failed", 0, 0, "exit 3", "failed: gone; systemd: exit-code"),
        ),
        (
            "ActiveState=failed\nResult=protocol\nExecMainCode=1\nExecMainStatus=78\nStatusText=",
            Kept("stopped", ended="exit 78", detail="nothing to run"),
        ),
        (
            "ActiveState=failed\nResult=signal\nExecMainCode=2\nExecMainStatus=11",
            Kept("failed", ended="SIGSEGV", detail="systemd: signal"),
        ),
        (
            "ActiveState=failed\nResult=watchdog\nExecMainCode=2\nExecMainStatus=6",
            Kept("failed", ended="watchdog", detail="systemd: watchdog"),
        ),
        (
            "ActiveState=deactivating\nSubState=stop-watchdog\nMainPID=9\nResult=watchdog",
            Kept("starting", 9, ended="watchdog", detail="systemd: watchdog"),
        ),
        ("ActiveState=failed\nResult=oom-kill", Kept("failed", ended="out-of-memory", detail="systemd: oom-kill")),
        ("ActiveState=failed\nResult=timeout", Kept("failed", ended="start-timeout", detail="systemd: timeout")),
        ("ActiveState=failed\nResult=resources", Kept("failed", ended="resources", detail="systemd: resources")),
        (
            "ActiveState=failed\nResult=start-limit-hit\nNRestarts=0\nExecMainCode=1\nExecMainStatus=130",
            Kept("stopped", detail=_TOO_OFTEN),
        ),
        (
            "ActiveState=failed\nResult=timeout\nNRestarts=5\nExecMainCode=1\nExecMainStatus=130",
            Kept("failed", 0, 5, "start-timeout", "systemd: timeout"),
        ),
        ("ActiveState=inactive\nResult=success\nExecMainCode=1\nExecMainStatus=130", Kept("stopped")),
        ("ActiveState=deactivating\nResult=success\nMainPID=5\nJob=", Kept("stopped", 5)),
        ("LoadState=masked\nActiveState=inactive", Kept("stopped", detail=f"{SERVICE}: masked")),
        ("", Kept("stopped")),
    ],
)
def test_properties_are_understood(shown, expected):
    assert kept(properties_of(shown)) == expected


def test_a_value_of_several_lines_is_one():
    assert properties_of("A=1\nStatusText=two\nlines: a=b\nB=2") == {
        "A": "1",
        "StatusText": "two\nlines: a=b",
        "B": "2",
    }
