"""What cloud-init reads says what was asked for, and is YAML as well as JSON."""

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.flashing.cloud_init import DONE, GROUPS, HEADER, cloud_init_files
from edgekit.flashing.settings import Login, Settings, Wifi, uncarried
from tests.edgekit.flashing.test_settings import PSK, public_key
from tests.support.first_boots import FirstBoot

MOUNT = "/boot/firmware"
ALL = Settings("camera-1", Login("vision", (public_key(),)), Wifi("net", PSK, "DE"), "UTC", "de_DE.UTF-8")

# What a YAML 1.1 reader takes inside double quotes, as JSON writes them: printable (5.1) and no line break (4.1.4).
_YAML_LINE = re.compile("[\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


def read(content):
    """Read one of the files as strictly as both languages do."""
    text = content.decode()
    for line in text.split("\n"):
        assert _YAML_LINE.fullmatch(line)
    assert "\t" not in text
    assert not re.search(r"\\u[dD][89a-fA-F]", text)  # a pair of halves is one letter in JSON alone
    assert "\\/" not in text
    return json.loads(text)


def files(settings=ALL, mount=MOUNT):
    made = cloud_init_files(settings, mount, "card-1")
    assert made["user-data"].startswith(HEADER)
    return read(made["user-data"][len(HEADER) :]), read(made["meta-data"]), read(made["network-config"])


def test_everything_that_was_asked_for_is_said():
    user, meta, network = files()
    assert user["hostname"] == "camera-1"
    assert user["manage_etc_hosts"] is True
    assert user["users"] == [
        {
            "name": "vision",
            "gecos": "vision",
            "groups": GROUPS,
            "shell": "/bin/bash",
            "lock_passwd": True,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [public_key()],
        }
    ]
    assert user["ssh_pwauth"] is False
    assert user["timezone"] == "UTC"
    assert user["locale"] == "de_DE.UTF-8"
    assert meta == {"instance-id": "card-1", "dsmode": "local"}
    assert network == {
        "network": {
            "version": 2,
            "ethernets": {"eth0": {"dhcp4": True, "optional": True}},
            "wifis": {
                "wlan0": {
                    "dhcp4": True,
                    "optional": True,
                    "regulatory-domain": "DE",
                    "access-points": {"net": {"password": PSK}},
                }
            },
        }
    }


def test_nothing_is_said_of_what_was_not_asked_for():
    user, meta, network = files(Settings())
    assert sorted(user) == ["apt", "bootcmd", "package_update", "package_upgrade"]
    assert meta == {"instance-id": "card-1", "dsmode": "local"}
    assert network == {"network": {"version": 2, "ethernets": {"eth0": {"dhcp4": True, "optional": True}}}}


def test_no_board_waits_for_a_network():
    user, _, network = files()
    assert user["package_update"] is user["package_upgrade"] is False
    assert user["apt"] == {"preserve_sources_list": True}
    assert not {"packages", "ntp", "snap", "phone_home", "ssh_import_id"} & set(user)
    for kind in ("ethernets", "wifis"):
        assert all(device["optional"] for device in network["network"][kind].values())


def test_the_key_of_the_network_is_in_its_file_alone():
    made = cloud_init_files(ALL, MOUNT, "card-1")
    assert [name for name, content in made.items() if PSK.encode() in content] == ["network-config"]


@pytest.fixture
def board(tmp_path):
    return FirstBoot(tmp_path)


def test_the_board_is_armed_first_of_all_and_mounts_what_is_not_mounted(board):
    command = files(mount=str(board.boot))[0]["bootcmd"][0]
    assert command[:2] == ["sh", "-c"]
    board.program("mount", 'mkdir -p "$1/edgekit"; echo "echo armed \\$1" >"$1/edgekit/arm.sh"')
    assert board.run(command).stdout == "armed start\n"
    assert board.calls() == [f"mount {board.boot}"]
    board.put({"edgekit/arm.sh": b"echo there; exit 3\n"})
    done = board.run(command)
    assert (done.stdout, done.returncode) == ("there\n", 3)
    assert board.calls() == [f"mount {board.boot}"]


def test_ssh_is_enabled_unless_a_socket_does_that_or_all_is_done(board):
    command = files()[0]["bootcmd"][1]
    assert DONE in command[2]
    board.program("systemctl", "case $* in *socket*) exit 1;; esac")
    assert board.run(command).returncode == 0
    assert board.calls() == ["systemctl --quiet is-enabled ssh.socket", "systemctl enable ssh"]
    board.log.unlink()
    board.program("systemctl", "")
    assert board.run(command).returncode == 0
    assert board.calls() == ["systemctl --quiet is-enabled ssh.socket"]


def test_the_radio_is_switched_on_where_raspberry_pi_os_left_it_off(board):
    script = files()[0]["bootcmd"][2][2]
    script = script.replace("/var/lib", f"{board.root}/var/lib")
    assert board.run(["sh", "-c", script]).returncode == 0
    assert board.read("var/lib/NetworkManager/NetworkManager.state") == "[main]\nWirelessEnabled=true\n"
    assert board.read("var/lib/systemd/rfkill/platform-1:wlan") == "0\n"
    assert board.calls() == ["rfkill unblock wifi"]
    board.write("var/lib/edgekit-first-boot/done", "")
    board.write("var/lib/systemd/rfkill/platform-1:wlan", "1\n")
    assert board.run(["sh", "-c", script]).returncode == 0
    assert board.read("var/lib/systemd/rfkill/platform-1:wlan") == "1\n"


_NAMES = st.text(min_size=1, max_size=32).filter(lambda name: not uncarried(name) and len(name.encode()) <= 32)


@example("\ufeffa\ufeff", "\ufeff🙂")
@given(_NAMES, st.text(max_size=20).filter(lambda text: not uncarried(text)))
def test_any_name_and_comment_come_back_as_they_were(ssid, comment):
    key = public_key(comment=comment)
    user, _, network = files(Settings(login=Login("vision", (key,)), wifi=Wifi(ssid, PSK, "DE")))
    assert user["users"][0]["ssh_authorized_keys"] == [key]
    assert list(network["network"]["wifis"]["wlan0"]["access-points"]) == [ssid]


@given(_NAMES)
def test_a_reader_of_yaml_reads_the_same(ssid):
    yaml = pytest.importorskip("yaml", reason="no PyYAML here")
    content = cloud_init_files(Settings(wifi=Wifi(ssid, PSK, "DE")), MOUNT, "card-1")["network-config"]
    assert yaml.safe_load(content) == json.loads(content)


@pytest.mark.parametrize("settings", [ALL, Settings()])
def test_cloud_inits_own_schema_knows_every_key(tmp_path, settings):
    program = shutil.which("cloud-init")
    if program is None:
        pytest.skip("no cloud-init here; install it: apt-get install cloud-init")
    path = tmp_path / "user-data"
    path.write_bytes(cloud_init_files(settings, MOUNT, "card-1")["user-data"])
    done = subprocess.run(
        [program, "schema", "--config-file", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
