"""The virtual board is what other tests take it for: an arm64 Debian that boots, answers, fails and recovers."""

import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.board.link import slow_link
from tests.board.rootfs import PYTHONS
from tests.board.wheels import site_packages
from tests.support.tiny_tflite import classifier
from tests.support.waiting import wait_for

_INVOKE = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
engine = Interpreter(sys.argv[1])
engine.allocate_tensors()
taken = engine.get_input_details()[0]
engine.set_tensor(taken["index"], np.full(taken["shape"], 0.25, np.float32))
engine.invoke()
print(json.dumps(engine.get_tensor(engine.get_output_details()[0]["index"]).tolist()))
"""


def _send(config, data, alive_s=30):
    """Send bytes to the file ``sent`` in pi's home, over SSH, which gives up after twice ``alive_s`` of silence."""
    words = ["ssh", "-F", config, "-o", f"ServerAliveInterval={alive_s}", "-o", "ServerAliveCountMax=2", "board"]
    return subprocess.run([*words, "cat > sent; wc -c < sent"], input=data, capture_output=True, check=False)


@pytest.fixture
def noise():
    return np.random.default_rng(1).bytes(60_000)


def test_it_is_an_arm64_debian_with_its_own_python(board, suite):
    assert board.run("uname", "-m").stdout == "aarch64\n"
    major, minor = PYTHONS[suite][0]
    assert board.run("python3", "--version").stdout.startswith(f"Python {major}.{minor}.")


def test_it_looks_like_a_raspberry_pi(board):
    assert board.run("cat", "/sys/firmware/devicetree/base/model").stdout.startswith("Raspberry Pi 4 Model B")
    assert board.run("cat", "/sys/class/thermal/thermal_zone0/temp").stdout == "48312\n"
    assert "0xd08" in board.run("cat", "/proc/cpuinfo").stdout


def test_systemd_runs_and_nothing_failed(board):
    assert board.run("systemctl", "is-system-running", "--wait", check=False).stdout == "running\n"
    assert board.run("systemctl", "--failed", "--quiet", "--no-legend").stdout == ""


def test_pi_may_sudo_and_maker_may_not(board):
    assert board.run("sudo", "-n", "id", "-u").stdout == "0\n"
    assert board.run("sudo", "-n", "id", "-u", user="maker", check=False).returncode != 0


def test_a_user_without_sudo_has_services_that_outlive_the_login(board):
    board.run("systemd-run", "--user", "--unit=lasting", "sleep", "600", user="maker")
    assert board.run("systemctl", "--user", "is-active", "lasting", user="maker").stdout == "active\n"
    board.run("systemctl", "--user", "stop", "lasting", user="maker")


def test_arguments_arrive_as_they_are(board):
    assert board.run("printf", "%s|", "a b", "$HOME", "it's", "").stdout == "a b|$HOME|it's||"


def test_it_reboots_with_the_same_files(board):
    boots, before = board.boots, board.run("cat", "/proc/sys/kernel/random/boot_id").stdout
    board.run("touch", "/home/pi/kept")
    board.reboot()
    assert board.boots == boots + 1
    assert board.run("cat", "/proc/sys/kernel/random/boot_id").stdout != before
    assert (board.root / "home/pi/kept").exists()


def test_a_power_cut_loses_what_was_not_synced_and_keeps_the_rest(new_board):
    board = new_board
    board.data_disk(32 << 20)
    board.power_on()
    board.run("sudo", "sh", "-c", "cd /var/lib/edgekit; echo kept > kept; sync; echo lost > lost")
    board.power_cut()
    assert (board.root / "var/lib/edgekit/kept").read_text() == "kept\n"
    lost = board.root / "var/lib/edgekit/lost"
    assert not lost.exists() or lost.read_bytes() == b""  # ext4 may have written the name, which it does every 5 s
    board.boot_again()
    assert board.run("cat", "/var/lib/edgekit/kept").stdout == "kept\n"


def test_a_disk_of_its_own_can_be_full(new_board):
    new_board.data_disk(4 << 20)
    new_board.power_on()
    ended = new_board.run("sudo", "dd", "if=/dev/zero", "of=/var/lib/edgekit/big", "bs=1M", "count=8", check=False)
    assert ended.returncode != 0
    assert "No space left on device" in ended.stderr


def test_two_boards_run_side_by_side(board, new_board):
    new_board.power_on()
    new_board.run("touch", "/home/pi/mine")
    assert board.run("test", "-e", "/home/pi/mine", check=False).returncode == 1
    new_board.power_off()
    assert not new_board.is_running


def test_a_host_key_that_changed_is_noticed(new_board):
    new_board.make_host_key()
    new_board.power_on(wait=False)
    wait_for(new_board.answers, 120)
    ended = new_board.run("true", check=False)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in ended.stderr


def test_a_slow_line_takes_the_time_that_its_rate_implies(board, noise):
    rate_bits_s = 64_000
    with slow_link(board, rate_bits_s=rate_bits_s, delay_ms=20) as line:
        start_s = time.monotonic()
        sent = _send(line.ssh_config, noise)
        took_s = time.monotonic() - start_s
        counts = line.counts()
    assert sent.stdout.strip() == str(len(noise)).encode(), sent.stderr
    assert counts["to_board"]["payload_bytes"] >= len(noise)
    assert counts["to_board"]["lost"] == 0
    assert took_s >= len(noise) * 8 / rate_bits_s


def test_what_a_lossy_line_loses_is_sent_again(board, noise):
    with slow_link(board, rate_bits_s=4_000_000, delay_ms=5, loss=0.05, seed=3) as line:
        sent = _send(line.ssh_config, noise)
        counts = line.counts()
    assert sent.stdout.strip() == str(len(noise)).encode(), sent.stderr
    assert (board.root / "home/pi/sent").read_bytes() == noise
    assert counts["to_board"]["lost"] > 0


@pytest.mark.parametrize("resets", [True, False], ids=["with resets", "in silence"])
def test_a_line_is_cut_where_it_is_told_and_can_be_mended(board, noise, resets):
    with slow_link(board, rate_bits_s=4_000_000, delay_ms=5) as line:
        line.cut_after(20_000, resets=resets)
        assert _send(line.ssh_config, noise, alive_s=2).returncode == 255
        assert line.is_cut
        assert line.counts()["to_board"]["payload_bytes"] <= 20_000
        line.mend()
        assert _send(line.ssh_config, noise).stdout.strip() == str(len(noise)).encode()


def test_litert_computes_on_it_what_it_computes_here(board, suite, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(classifier())
    shutil.copytree(site_packages(suite, "ai-edge-litert", "numpy"), board.root / "opt/site")
    shutil.copy(model, board.root / "opt/model.tflite")
    (board.root / "opt/invoke.py").write_text(_INVOKE)
    said = board.run("env", "PYTHONPATH=/opt/site", "python3", "/opt/invoke.py", "/opt/model.tflite").stdout
    engine = Interpreter(str(model))
    engine.allocate_tensors()
    np.testing.assert_allclose(json.loads(said), _computed(engine), atol=1e-6)


def _computed(engine):
    taken = engine.get_input_details()[0]
    engine.set_tensor(taken["index"], np.full(taken["shape"], 0.25, np.float32))
    engine.invoke()
    return engine.get_tensor(engine.get_output_details()[0]["index"])
