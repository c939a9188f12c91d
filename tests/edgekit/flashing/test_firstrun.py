"""firstrun.sh as a board's shells run it: what it sets, hostile values, and cuts anywhere."""

import configparser
import itertools
import re
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekit.flashing.dialects import first_boot_files
from edgekit.flashing.firstrun import firstrun_script, firstrun_words
from edgekit.flashing.settings import Login, Settings, Wifi, uncarried
from tests.edgekit.flashing.test_arm import is_armed
from tests.edgekit.flashing.test_dialects import FIRST, LINE, partition
from tests.edgekit.flashing.test_settings import PSK, public_key
from tests.support.first_boots import MOUNT, FirstBoot, shells

KEYS = (public_key(), public_key("ecdsa-sha2-nistp256", 'it\'s $(reboot) `x` \\ "q"', 65))
ALL = Settings("camera-1", Login("vision", KEYS), Wifi("net", PSK, "DE"), "Europe/Berlin", "de_DE.UTF-8")
CONNECTION = "etc/NetworkManager/system-connections/edgekit-wifi.nmconnection"
SUPPLICANT = "etc/wpa_supplicant/wpa_supplicant.conf"
TIDIER = "etc/systemd/system/edgekit-firstrun-tidy.service"
SECTOR = 512


@pytest.fixture(params=shells())
def shell(request):
    return request.param


def flashed(folder, asked=ALL, line=LINE, **options):
    board = FirstBoot(folder, **options)
    card = partition()
    card.files["cmdline.txt"] = line
    board.put(first_boot_files(FIRST, asked, card, "card-1"))
    return board


def boot(board, shell="sh", **options):
    return board.run([shell, board.boot / "firstrun.sh"], **options)


def words(board):
    return (board.boot / "cmdline.txt").read_bytes().split()


def is_over(board):
    return (
        words(board) == [*LINE.split(), b"cfg80211.ieee80211_regdom=DE"] and not (board.boot / "firstrun.sh").exists()
    )


def ssid_of(board):
    """Read the name as NetworkManager does: a list of bytes (nm-settings-keyfile(5))."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", strict=True)
    parser.read_string(board.read(CONNECTION))
    assert parser["wifi-security"]["psk"] == PSK
    assert parser["connection"]["type"] == "wifi"
    return bytes(int(byte) for byte in parser["wifi"]["ssid"].rstrip(";").split(";"))


def test_everything_that_was_asked_for_is_set(tmp_path, shell):
    board = flashed(tmp_path)
    done = boot(board, shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (board.boot / "edgekit-firstrun.log").exists()
    assert board.read("etc/hostname") == "camera-1\n"
    assert board.read("etc/hosts") == "127.0.0.1\tlocalhost\n127.0.1.1\tcamera-1\n"
    assert board.read("home/vision/.ssh/authorized_keys") == "".join(f"{key}\n" for key in KEYS)
    assert board.mode("home/vision/.ssh/authorized_keys") == 0o600
    assert board.mode("home/vision/.ssh") == 0o700
    assert board.read("etc/sudoers.d/010_edgekit-login") == "vision ALL=(ALL) NOPASSWD: ALL\n"
    assert board.mode("etc/sudoers.d/010_edgekit-login") == 0o440
    assert board.read("etc/ssh/sshd_config.d/10-edgekit.conf") == "PasswordAuthentication no\n"
    assert ssid_of(board) == b"net"
    assert board.mode(CONNECTION) == 0o600
    assert not (board.root / SUPPLICANT).exists()
    assert board.read("var/lib/NetworkManager/NetworkManager.state") == "[main]\nWirelessEnabled=true\n"
    assert board.read("var/lib/systemd/rfkill/platform-1:wlan") == "0\n"
    assert board.read("etc/timezone") == "Europe/Berlin\n"
    assert (board.root / "etc/localtime").readlink().as_posix() == "/usr/share/zoneinfo/Europe/Berlin"
    assert board.read("etc/locale.gen").splitlines() == [
        "# en_GB.UTF-8 UTF-8",
        "en_GB.UTF-8 UTF-8",
        "de_DE.UTF-8 UTF-8",
    ]
    assert board.read("etc/default/locale") == "LANG=de_DE.UTF-8\n"
    assert is_armed(board)
    assert is_over(board)
    calls = board.calls()
    for call in (
        "useradd -m -s /bin/bash vision",
        "usermod -p * -s /bin/bash vision",
        "usermod -a -G sudo vision",
        "usermod -a -G gpio vision",
        f"chown -R 1001:1001 {board.root}/home/vision/.ssh",
        "systemctl enable ssh",
        "rfkill unblock wifi",
        "locale-gen",
    ):
        assert call in calls
    assert "usermod -a -G spi vision" not in calls
    assert not [path for path in board.root.rglob("*") if path.name.endswith("edgekit-new")]


def test_nothing_secret_is_readable_for_a_moment(tmp_path, shell):
    board = flashed(tmp_path)
    board.program("chmod", 'stat -c "%a %n" "$2" >>"$EDGEKIT_CALLS"; exec chmod "$@"')
    assert boot(board, shell).returncode == 0
    seen = [call for call in board.calls() if call.endswith(".edgekit-new") and not call.startswith(("chmod", "chown"))]
    assert len(seen) > 5
    assert [call for call in seen if not call.startswith("600 ")] == []


def test_nothing_is_set_that_was_not_asked_for(tmp_path, shell):
    board = flashed(tmp_path, Settings())
    assert boot(board, shell).returncode == 0
    assert board.read("etc/hostname") == "raspberrypi\n"
    flushed = [call for call in board.calls() if call.split()[0] == "sync"]
    assert [call for call in board.calls() if call not in flushed] == ["systemctl daemon-reload"]
    # Each of the four words by itself, before the next one, and once more when all are blanks.
    assert flushed.count(f"sync {board.boot / 'cmdline.txt'}") == 5
    assert is_armed(board)
    assert words(board) == LINE.split()


def test_a_second_time_changes_nothing(tmp_path, shell):
    board = flashed(tmp_path)
    kept = {name: (board.boot / name).read_bytes() for name in ("cmdline.txt", "firstrun.sh")}
    boot(board, shell)
    before = {path: path.read_bytes() for path in board.root.rglob("*") if path.is_file() and not path.is_symlink()}
    board.put(kept)
    done = boot(board, shell)
    assert (done.returncode, done.stderr) == (0, "")
    after = {path: path.read_bytes() for path in board.root.rglob("*") if path.is_file() and not path.is_symlink()}
    assert after == before


def test_the_images_own_way_makes_the_user_where_it_has_one(tmp_path, shell):
    board = flashed(tmp_path)
    board.write(
        "usr/lib/userconf-pi/userconf",
        '#!/bin/sh\necho "userconf $*" >>"$EDGEKIT_CALLS"\nsed -i s/pi/$1/g "$EDGEKIT_ARM_ROOT/etc/passwd"\n',
    )
    (board.root / "usr/lib/userconf-pi/userconf").chmod(0o755)
    assert boot(board, shell).returncode == 0
    assert "userconf vision *" in board.calls()
    assert not [call for call in board.calls() if call.startswith("useradd")]
    assert board.read("home/vision/.ssh/authorized_keys").splitlines() == list(KEYS)


def test_keys_that_are_there_stay(tmp_path, shell):
    board = flashed(tmp_path)
    board.write("home/vision/.ssh/authorized_keys", f"ssh-rsa theirs\n{KEYS[1]}\n")
    assert boot(board, shell).returncode == 0
    assert board.read("home/vision/.ssh/authorized_keys").splitlines() == ["ssh-rsa theirs", KEYS[1], KEYS[0]]


def test_without_network_manager_the_name_is_written_in_hex(tmp_path, shell):
    board = flashed(tmp_path, Settings(wifi=Wifi('"#$(x)\\', PSK, "DE")), network_manager=False)
    assert boot(board, shell).returncode == 0
    text = board.read(SUPPLICANT)
    assert "country=DE\n" in text
    assert bytes.fromhex(re.search(r"^\tssid=([0-9a-f]+)$", text, re.MULTILINE)[1]) == b'"#$(x)\\'
    assert f"\n\tpsk={PSK}\n" in text
    assert board.mode(SUPPLICANT) == 0o600
    assert not (board.root / CONNECTION).exists()


def test_a_network_manager_that_is_there_and_not_used_is_no_reason(tmp_path, shell):
    board = flashed(tmp_path)
    (board.root / "etc/systemd/system/multi-user.target.wants/NetworkManager.service").unlink()
    assert boot(board, shell).returncode == 0
    assert (board.root / SUPPLICANT).exists()
    assert ssid_of(board) == b"net"


def test_raspi_config_sets_the_locale_where_it_is(tmp_path, shell):
    board = flashed(tmp_path)
    board.program("raspi-config", "")
    assert boot(board, shell).returncode == 0
    assert "raspi-config nonint do_change_locale de_DE.UTF-8" in board.calls()
    assert "locale-gen" not in board.calls()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("useradd", "user: "),
        ("usermod", "user: "),
        ("chown", "authorized keys: "),
        ("rfkill", "Wi-Fi: "),
        ("locale-gen", "locale: "),
    ],
)
def test_a_setting_that_fails_stops_nothing_and_is_noted(tmp_path, shell, program, said):
    board = flashed(tmp_path)
    board.program(program, "echo a secret; echo a secret >&2; exit 9")
    done = boot(board, shell)
    assert done.returncode == 0
    note = (board.boot / "edgekit-firstrun.log").read_text()
    assert said in note
    assert "secret" not in note + done.stdout + done.stderr
    assert PSK not in note + done.stdout + done.stderr
    assert board.read("etc/hostname") == "camera-1\n"
    assert is_armed(board)
    assert is_over(board)


def test_a_zone_that_the_image_lacks_is_noted(tmp_path, shell):
    board = flashed(tmp_path, Settings(timezone="Europe/Paris"))
    assert boot(board, shell).returncode == 0
    assert (board.boot / "edgekit-firstrun.log").read_text() == "time zone: not set as asked (exit code 1)\n"
    assert not (board.root / "etc/localtime").is_symlink()


def test_what_cannot_be_armed_starts_the_system_and_is_tried_again(tmp_path, shell):
    board = flashed(tmp_path)
    (board.boot / "edgekit/edgekit-first-boot.service").unlink()
    board.program("sleep", "")
    before = (board.boot / "cmdline.txt").read_bytes()
    boot(board, shell)
    assert board.calls()[-2:] == ["systemctl start --no-block multi-user.target", "sleep infinity"]
    assert (board.boot / "cmdline.txt").read_bytes() == before
    assert (board.boot / "firstrun.sh").exists()
    assert "tried again at the next boot" in (board.boot / "edgekit-firstrun.log").read_text()


def test_words_that_do_not_go_do_not_make_it_reboot_forever(tmp_path, shell):
    board = flashed(tmp_path)
    # A partition that takes nothing, for root also: the line cannot be opened to be written.
    line = board.boot / "cmdline.txt"
    content = line.read_bytes()
    line.unlink()
    board.program(
        "cat", f'case "$1" in *cmdline.txt) echo "{content.decode().strip()}" ;; *) exec /bin/cat "$@" ;; esac'
    )
    line.mkdir()
    boot(board, shell)
    assert f"mount -o remount,rw {board.boot}" in board.calls()
    assert board.calls()[-1] == "sleep infinity"
    assert (board.boot / "firstrun.sh").exists()
    assert "cmdline.txt cannot be written" in (board.boot / "edgekit-firstrun.log").read_text()


def test_what_a_cut_left_is_removed_by_a_boot_without_the_words(tmp_path):
    board = flashed(tmp_path)
    boot(board)
    unit = board.read(TIDIER)
    assert (board.root / "etc/systemd/system/multi-user.target.wants/edgekit-firstrun-tidy.service").is_symlink()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    assert command.startswith(f"/bin/rm -f {MOUNT}/firstrun.sh ")
    (board.boot / "firstrun.sh").write_text("left")
    subprocess.run(command.replace(f" {MOUNT}", f" {board.boot}").split(), check=True)
    assert not (board.boot / "firstrun.sh").exists()
    assert not (board.root / TIDIER).exists()
    assert not (board.root / "etc/systemd/system/multi-user.target.wants/edgekit-firstrun-tidy.service").is_symlink()


def test_cut_anywhere_the_next_boot_ends_it(tmp_path):
    whole = flashed(tmp_path / "whole")
    boot(whole)
    expected = {
        path.relative_to(whole.root): path.read_bytes()
        for path in whole.root.rglob("*")
        if path.is_file() and not path.is_symlink() and path.relative_to(whole.root).as_posix() != TIDIER
    }
    assert whole.points() > 60
    # Settings are all made one way, and a few cuts tell; from the last of them on, each point counts.
    late = whole.points() - 45
    for point in [*range(1, late, 8), *range(late, whole.points() + 1)]:
        board = flashed(tmp_path / str(point))
        assert boot(board, cut_at=point).returncode < 0
        active = state_of((board.boot / "cmdline.txt").read_bytes())
        there = (board.boot / "firstrun.sh").exists()
        if active == "script":
            # The script and its words; nothing of it was lost.
            assert (board.boot / "firstrun.sh").read_bytes() == firstrun_script(ALL, MOUNT)
            done = boot(board)
            assert (done.returncode, done.stderr) == (0, "")
        else:
            assert active == "system"
            assert not there or (board.root / TIDIER).exists()
            (board.boot / "firstrun.sh").unlink(missing_ok=True)
        assert is_armed(board)
        assert state_of((board.boot / "cmdline.txt").read_bytes()) == "system"
        for name, content in expected.items():
            if name.name != "cmdline.txt":
                assert (board.root / name).read_bytes() == content, name


def state_of(content):
    """Return what a boot with this line does: start the ``script``, the ``system``, or ``nothing``, forever."""
    said = content.decode("ascii", "replace").split()
    if f"systemd.run={MOUNT}/firstrun.sh" in said:
        # Its actions must be there, or the board is powered off at the end.
        return (
            "script"
            if {"systemd.run_success_action=reboot", "systemd.run_failure_action=reboot"} <= set(said)
            else "off"
        )
    if any(word.startswith(("systemd.run=", "systemd.unit=")) for word in said):
        return "nothing"
    return "system"


@pytest.mark.parametrize("length", [*range(300, 560, 7), 1000, 1020])
def test_no_half_of_a_write_leaves_a_line_that_starts_nothing(tmp_path, length):
    # Of what changed since the last flush to the disk, any sectors may be on the card when the power goes: in any
    # order, and the words may lie across two of them.
    line = b"console=tty1 " + b"a" * (length - 13)
    board = flashed(tmp_path, Settings(), line=line)
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    first = (board.boot / "cmdline.txt").read_bytes()
    place = (board.boot / "cmdline.txt").stat().st_ino
    assert boot(board, snapshots=snapshots).returncode == 0
    assert (board.boot / "cmdline.txt").stat().st_ino == place
    states = [first, *((snapshots / str(number)).read_bytes() for number in range(len(list(snapshots.iterdir()))))]
    assert states[-1].split() == line.split()
    assert {len(state) for state in states} == {len(first)}
    for before, after in itertools.pairwise(states):
        sectors = [(before[at : at + SECTOR], after[at : at + SECTOR]) for at in range(0, len(first), SECTOR)]
        for chosen in itertools.product(*sectors):
            assert state_of(b"".join(chosen)) in ("script", "system")


_NAMES = st.text(min_size=1, max_size=32).filter(lambda name: not uncarried(name) and len(name.encode()) <= 32)
_COMMENTS = st.text(st.sampled_from("'\"`$(){}\\;&|<>*?[]~# !\n😀ä") | st.characters(), max_size=30).filter(
    lambda text: not uncarried(text) and text == text.strip()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@example("'; reboot; '", "it's $(reboot) `reboot` \\ \"")
@example(" a;b\\c# ", "%s !! *")
@given(_NAMES, _COMMENTS)
def test_no_value_is_taken_for_anything_else(tmp_path_factory, shell, ssid, comment):
    board = flashed(
        tmp_path_factory.mktemp("board"),
        Settings(login=Login("vision", (public_key(comment=comment),)), wifi=Wifi(ssid, PSK, "DE")),
    )
    done = boot(board, shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ssid_of(board) == ssid.encode()
    assert board.read("home/vision/.ssh/authorized_keys") == public_key(comment=comment) + "\n"
    assert is_over(board)


def test_sudo_takes_the_file(tmp_path):
    program = shutil.which("visudo") or shutil.which("visudo", path="/usr/sbin")
    if program is None:
        pytest.skip("no visudo here; install it: apt-get install sudo")
    board = flashed(tmp_path)
    boot(board)
    subprocess.run([program, "-cf", board.root / "etc/sudoers.d/010_edgekit-login"], check=True, capture_output=True)


def test_the_words_say_where_the_script_lies():
    assert firstrun_words("/boot")[0] == "systemd.run=/boot/firstrun.sh"
    assert firstrun_script(Settings(), "/boot").startswith(b"#!/bin/sh\nmount=/boot\n")
