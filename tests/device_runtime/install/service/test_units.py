import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.service import (
    ClipSpec,
    HealthSpec,
    JsonLinesSpec,
    MqttSpec,
    PageSpec,
    ServiceSpec,
    SnapshotSpec,
    WebhookSpec,
)
from device_runtime.errors import BadFileError, UsageError
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.units import CRASHED, RECOVER, SERVICE, SETTLE, Setting, needs_network, units

ROOT = Path("/var/lib/edgekit")
BOARD = Setting(ROOT, "/usr/bin/python3", "system", Account("edgekit", 990, 991), ("video", "render"))
USER = Setting(Path("/home/maker/edgekit"), "/usr/bin/python3", "user")
PAGE = PageSpec()
NETWORKED = (
    ServiceSpec(source="dir:x", page=PageSpec(host="0.0.0.0")),  # noqa: S104 - that is what is tested
    ServiceSpec(source="rtsp://camera.lan/stream"),
    ServiceSpec(source="dir:x", mqtt=MqttSpec("broker.lan", "cats")),
    ServiceSpec(source="dir:x", webhook=WebhookSpec("https://example.org/hook")),
)
LOCAL = (
    ServiceSpec(source="dir:x", page=PAGE),
    ServiceSpec(source="rtsp://127.0.0.1/stream"),
    ServiceSpec(source="dir:x", mqtt=MqttSpec("localhost", "cats")),
    ServiceSpec(source="dir:x", webhook=WebhookSpec("http://[::1]:9000/hook"), page=PageSpec(host="::1")),
)


def lines(service=None, setting=BOARD, unit=SERVICE):
    return units(service or ServiceSpec(page=PAGE), setting)[unit].splitlines()


def values(name, *arguments, **options):
    return [line.partition("=")[2] for line in lines(*arguments, **options) if line.startswith(f"{name}=")]


def written(folder, service, setting=BOARD):
    for name, text in units(service, setting).items():
        (folder / name).write_text(text)
    return folder


def analyze(*words):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "service",
    [
        ServiceSpec(source="v4l2:0", page=PAGE, memory_mb=512),
        ServiceSpec(source="picamera2:0", page=PAGE),
        ServiceSpec(source="file:/srv/clip.mp4"),
        ServiceSpec(source="dir:/home/pi/pictures", page=PAGE),
        *NETWORKED,
    ],
    ids=lambda service: service.source,
)
def test_the_walls_are_thick(tmp_path, service):
    told = analyze("security", "--offline=true", "--no-pager", written(tmp_path, service) / SERVICE).stdout
    found = re.search(r"exposure level for edgekit.service: ([0-9.]+)", told)
    assert found, told
    assert float(found.group(1)) <= 2.0, told


@pytest.mark.parametrize("source", ["v4l2:0", "camera:0", 'dir:/home/pi/it\'s "mine" 100%', "rtsp://camera/x"])
@pytest.mark.parametrize("name", ["plain", "a b %n $HOME \"q\" 's' [x]* \\y"])
def test_systemd_takes_every_line(tmp_path, source, name):
    setting = Setting(tmp_path / name, "/usr/bin/python3", "system", Account("root", 0, 0), ("video",))
    clips = ClipSpec("/home/pi/my clips")
    done = analyze("verify", *written(tmp_path, ServiceSpec(source=source, clips=clips), setting).glob("*.service"))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_takes_every_line_of_a_users_units(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = analyze("verify", "--user", *written(tmp_path, ServiceSpec(page=PAGE), USER).glob("*.service"))
    ours = [line for line in done.stderr.splitlines() if "edgekit" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_installer_launches_what_is_current():
    command = f"/usr/bin/python3 -I {ROOT}/installer.pyz launch --root {ROOT} --scope system"
    assert values("ExecStart") == [command]
    assert values("WorkingDirectory") == [f"{ROOT}/data"]
    assert "EDGEKIT_PULSE_FILE=%t/edgekit/pulse.json" in values("Environment")


def test_a_root_is_said_so_that_systemd_reads_it_back():
    setting = Setting(Path('/srv/a b"c%d$e\\f'), "/usr/bin/python3", "system")
    assert values("ExecStart", setting=setting)[0].split(" launch ")[0] == (
        '/usr/bin/python3 -I "/srv/a b\\"c%%d$$e\\\\f/installer.pyz"'
    )
    assert values("WorkingDirectory", setting=setting) == ['/srv/a b"c%%d$e\\f/data']
    assert values("EnvironmentFile", setting=setting) == ['-/srv/a b"c%%d$e\\\\f/environment']


@given(st.text(min_size=1).filter(lambda name: "/" not in name))
def test_no_path_adds_a_line_or_a_specifier(name):
    try:
        text = units(
            ServiceSpec(source=f"dir:/home/x{name}"), Setting(Path("/srv/x" + name), "/usr/bin/python3", "user")
        )
    except (BadFileError, UsageError):
        assert not name.isprintable()
        return
    except ValueError as error:
        assert "password" in str(error)  # noqa: PT017 - what ServiceSpec refuses is no matter of units
        return
    plain = units(ServiceSpec(source="dir:/home/x"), Setting(Path("/srv/x"), "/usr/bin/python3", "user"))
    assert len(text[SERVICE].splitlines()) == len(plain[SERVICE].splitlines())
    said = text[SERVICE].replace("%%", "").replace("%t/edgekit", "")
    assert "%" not in said


@pytest.mark.parametrize("name", ["a\nUser=root", "a\tb", "a\x1bb", "relative\u2028"])
def test_paths_that_a_unit_cannot_say_are_refused(name):
    with pytest.raises(UsageError, match="printable"):
        units(ServiceSpec(), Setting(Path("/srv", name), "/usr/bin/python3", "system"))
    with pytest.raises(BadFileError, match="printable"):
        units(ServiceSpec(source=f"dir:/home/{name}"), BOARD)


def test_an_account_is_no_place_for_more_lines():
    with pytest.raises(UsageError, match="account"):
        units(ServiceSpec(), Setting(ROOT, "/usr/bin/python3", "system", Account("a\nUser=root", 1, 1)))


def test_health_says_how_long_systemd_waits():
    service = ServiceSpec(health=HealthSpec(start_s=40, watchdog_s=7.5))
    assert values("TimeoutStartSec", service) == ["40"]
    assert values("WatchdogSec", service) == ["7.5"]
    # Five that hang until each limit are within it.
    assert float(values("StartLimitIntervalSec", service)[0]) > 5 * (40 + 7.5)


@pytest.mark.parametrize("service", NETWORKED)
def test_the_network_is_open_for_what_is_asked_to_reach_it(service):
    assert needs_network(service)
    assert values("IPAddressDeny", service) == []


@pytest.mark.parametrize("service", LOCAL)
def test_else_there_is_this_machine_alone(service):
    assert not needs_network(service)
    assert values("IPAddressDeny", service) == ["any"]
    assert values("IPAddressAllow", service) == ["localhost"]
    assert "AF_INET" in values("RestrictAddressFamilies", service)[0].split()


def test_what_serves_nothing_has_no_sockets_of_the_internet():
    assert values("RestrictAddressFamilies", ServiceSpec(source="file:a.mp4")) == ["AF_UNIX"]


def test_only_cameras_get_devices():
    assert values("DeviceAllow", ServiceSpec(source="v4l2:0")) == ["char-video4linux rw"]
    assert values("DeviceAllow", ServiceSpec(source="picamera2:0")) == [
        "char-video4linux rw",
        "char-media rw",
        "char-dma_heap rw",
    ]
    assert values("SupplementaryGroups", ServiceSpec(source="camera:0")) == ["video render"]
    without = ServiceSpec(source="synthetic:belt")
    assert values("DeviceAllow", without) == values("SupplementaryGroups", without) == []
    assert values("PrivateDevices", without) == ["yes"]


def test_groups_that_do_not_exist_are_not_named():
    setting = Setting(ROOT, "/usr/bin/python3", "system", Account("edgekit", 990, 991))
    assert values("SupplementaryGroups", ServiceSpec(source="v4l2:0"), setting=setting) == []


def test_homes_are_hidden_but_for_what_is_asked_for():
    assert values("ProtectHome") == ["yes"]
    service = ServiceSpec(
        source="file:/home/pi/a clip.mp4?live",
        page=PageSpec(token_file="/root/token"),  # noqa: S106 - a path
        jsonl=JsonLinesSpec("/home/pi/log/all.jsonl"),
        snapshots=SnapshotSpec("/srv/snapshots"),
        clips=ClipSpec("clips"),
    )
    assert values("ProtectHome", service) == ["tmpfs"]
    assert values("BindReadOnlyPaths", service) == ['"-/home/pi/a clip.mp4"', "-/root/token"]
    assert values("BindPaths", service) == ["-/home/pi/log"]
    assert values("ReadWritePaths", service) == [f"{ROOT}/data", "-/srv/snapshots"]


def test_a_root_below_a_home_is_seen_and_only_its_data_is_written_to():
    setting = Setting(Path("/home/pi/edgekit"), "/usr/bin/python3", "system", BOARD.account)
    assert values("BindReadOnlyPaths", setting=setting) == ["/home/pi/edgekit"]
    assert values("BindPaths", setting=setting) == ["/home/pi/edgekit/data"]


def test_memory_has_the_limit_that_the_release_says():
    assert values("MemoryMax", ServiceSpec(memory_mb=300)) == ["300M"]
    assert values("MemoryMax", ServiceSpec()) == []


def test_recovery_comes_before_and_settling_does_not_wait_for_a_service_that_waits_for_its_camera():
    assert values("Before", unit=RECOVER) == [SERVICE]
    assert values("After", unit=SETTLE) == [RECOVER]
    assert RECOVER in values("After")
    assert not any(RECOVER in value for name in ("Wants", "Requires") for value in values(name))
    assert values("WantedBy", unit=RECOVER) == values("WantedBy", unit=SETTLE) == ["multi-user.target"]


def test_a_release_that_was_taken_back_is_no_failure_of_the_machine():
    assert values("SuccessExitStatus", unit=SETTLE) == values("SuccessExitStatus", unit=CRASHED) == ["7"]


def test_what_watches_a_release_has_as_long_as_that_takes():
    assert values("TimeoutStartSec", unit=SETTLE) == values("TimeoutStartSec", unit=CRASHED) == ["infinity"]


def test_a_crash_loop_calls_for_a_decision_once():
    assert values("OnFailure") == [CRASHED]
    assert values("ExecCondition", unit=CRASHED) == [f"systemctl is-failed --quiet {SERVICE}"]
    assert values("ExecCondition", setting=USER, unit=CRASHED) == [f"systemctl --user is-failed --quiet {SERVICE}"]
    assert values("StartLimitIntervalSec", unit=CRASHED) == ["0"]  # it is asked at each crash, and must hear the last
    assert values("WantedBy", unit=CRASHED) == []


def test_a_users_unit_asks_for_nothing_that_takes_root():
    text = "\n".join(lines(setting=USER))
    for name in ("User=", "Group", "Protect", "Private", "Device", "IPAddress", "ReadWrite", "Bind", "Capability"):
        assert name not in text
    assert values("WantedBy", setting=USER) == ["default.target"]
    assert values("NoNewPrivileges", setting=USER) == ["yes"]
