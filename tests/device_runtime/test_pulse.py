"""Ready, beats and silence of a service: real processes, and a manager's real socket."""

import json
import os
import signal
import socket
import time

import pytest

from device_runtime.contract.decode import loads
from device_runtime.contract.pulse import Pulse
from tests.device_runtime.test_check import install
from tests.support.manager import Manager
from tests.support.rtsp_server import RtspServer, missing
from tests.support.tflite import brightness_model
from tests.support.waiting import wait_for

HANGING = "tests.support.hanging_service"


@pytest.fixture(name="manager")
def _manager(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with Manager(folder) as manager:
        yield manager


def service(tmp_path, source, *more):
    brightness_model(tmp_path / "m.tflite")
    return ("run", "--service", "--model", tmp_path / "m.tflite", "--source", source, *more)


def pulse_of(manager):
    """The pulse as it is now; None while there is none."""
    try:
        return loads(Pulse, manager.pulse_file.read_text(), "pulse")
    except FileNotFoundError:
        return None


def pulse_when(manager, holds):
    """Wait for a pulse that is as wanted."""

    def found():
        pulse = pulse_of(manager)
        return pulse if pulse is not None and holds(pulse) else None

    return wait_for(found)


def test_a_service_is_ready_after_its_first_prediction_and_then_beats(tmp_path, manager):
    with manager.running(*service(tmp_path, "synthetic:belt?live")) as process:
        ready = manager.wait("READY")
        pulse = pulse_when(manager, lambda pulse: pulse.health == "ok")
        assert pulse.pid == process.pid
        assert pulse.predictions >= 1
        later = pulse_when(manager, lambda later: later.beat_s > pulse.beat_s and later.p95_ms and later.fps)
        assert later.beat_s <= time.monotonic()
        manager.wait("STATUS", "fps, p95")
        wait_for(lambda: manager.count("WATCHDOG") > 3)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""  # predictions are not for the journal
    assert "frames" in err
    manager.wait("STOPPING")
    names = [set(message) for message in manager.received]
    assert not any({"WATCHDOG", "READY"} & earlier for earlier in names[:ready])
    assert manager.count("READY") == 1
    assert not list(manager.pulse_file.parent.glob("*pulse*"))


def test_the_first_pulse_says_starting_and_a_release_its_id(tmp_path, manager):
    release = install_as(tmp_path, "ab" * 32)
    current = tmp_path / "current"
    current.symlink_to(release)
    with manager.running("run", "--service", "--release", current, "--source", "synthetic:belt?live") as process:
        first = pulse_when(manager, lambda _: True)
        assert (first.health, first.predictions, first.release) == ("starting", 0, "ab" * 32)
        assert pulse_when(manager, lambda pulse: pulse.health == "ok").release == "ab" * 32
        process.kill()


def install_as(tmp_path, digest):
    folder = tmp_path / digest
    folder.mkdir()
    return install(folder)


def test_a_source_of_a_few_frames_was_ready_and_its_end_is_no_failure(tmp_path, manager):
    with manager.running(*service(tmp_path, "synthetic:belt", "--frames", 2)) as process:
        assert process.wait(60) == 0
    manager.wait("STOPPING")
    names = [name for message in manager.received for name in message if name != "STATUS"]
    assert [name for name in names if name in ("READY", "STOPPING")] == ["READY", "STOPPING"]
    assert manager.all("STATUS")[-1] == "synthetic:belt has ended after 2 predictions"
    assert not manager.pulse_file.exists()


def test_a_camera_that_is_missing_is_waited_for_and_taken_when_it_is_there(tmp_path, manager):
    if missing():
        pytest.skip(f"no RTSP server here: {missing()}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"rtsp://127.0.0.1:{port}/camera"
    with manager.running(*service(tmp_path, address)) as process:
        pulse = pulse_when(manager, lambda pulse: pulse.health == "failing")
        assert pulse.reasons[0].startswith(f"camera: {address}: cannot reach 127.0.0.1 port {port}")
        manager.wait("STATUS", f"waiting for the camera: {address}: cannot reach")
        wait_for(lambda: manager.count("EXTEND_TIMEOUT_USEC") >= 3)
        assert not manager.count("READY")
        assert not manager.count("WATCHDOG")
        with RtspServer(port=port):
            manager.wait("READY")
            assert pulse_when(manager, lambda pulse: pulse.health == "ok").reasons == ()
            process.terminate()
            assert "is there now" in process.communicate(timeout=30)[1]


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("file:none.mp4", 1, "no such video: none.mp4"),
        ("dir:nowhere", 1, "nowhere"),
        ("v4l2:first", 2, "expected a number"),
        ("v4l2:0?fps=x", 2, "fps"),
    ],
)
def test_what_can_never_be_ends_a_service_at_once(tmp_path, manager, source, code, words):
    with manager.running(*service(tmp_path, source)) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert words in err
    assert "Traceback" not in err
    manager.wait("STATUS", "failed: ")
    assert words in manager.all("STATUS")[-1]
    assert not manager.count("READY")
    assert not manager.pulse_file.exists()


def test_a_model_that_cannot_be_read_ends_a_service_at_once(tmp_path, manager):
    arguments = service(tmp_path, "v4l2:0")
    (tmp_path / "m.tflite").write_bytes(b"no model")
    with manager.running(*arguments) as process:
        assert process.wait(60) == 3
    manager.wait("STATUS", "failed: ")


@pytest.mark.parametrize(
    ("part", "words", "ready"),
    [
        ("first", "the model gives no answer", 0),
        ("model", "the model gives no answer", 1),
        ("sink", "list takes no more", 1),
    ],
)
def test_a_part_that_hangs_silences_the_watchdog_and_the_pulse(manager, part, words, ready):
    with manager.running(part, module=HANGING) as process:
        first = manager.wait("STATUS", words)
        old = pulse_of(manager)
        wait_for(lambda: len([text for text in manager.all("STATUS") if words in text]) >= 10)
        assert not any({"WATCHDOG", "EXTEND_TIMEOUT_USEC"} & set(message) for message in manager.received[first:])
        assert manager.count("READY") == ready
        assert pulse_of(manager) == old
        assert words in process.stdout.readline()  # the journal is told once, before the service is started anew
        process.terminate()
        assert process.wait(30) == 0  # what hangs is left behind


def test_a_process_that_stands_still_is_silent(manager):
    with manager.running("never", module=HANGING) as process:
        wait_for(lambda: manager.count("WATCHDOG") > 2)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        before = wait_for(lambda: manager.count("WATCHDOG"))
        old = pulse_of(manager)
        wait_for(lambda: time.monotonic() > old.beat_s + 1.0)
        assert manager.count("WATCHDOG") <= before + 1  # one may have been on its way
        assert pulse_of(manager) == old
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: manager.count("WATCHDOG") > before + 1)


def test_a_pulse_that_cannot_be_written_is_told_once_and_the_service_goes_on(tmp_path, manager):
    manager.pulse_file = tmp_path / "nowhere" / "pulse.json"
    with manager.running(*service(tmp_path, "synthetic:belt?live")) as process:
        wait_for(lambda: manager.count("WATCHDOG") > 3)
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert err.count("cannot write") == 1


def test_without_a_manager_a_service_runs_all_the_same(tmp_path):
    with Manager(tmp_path) as manager:
        manager.address = ""
        with manager.running(*service(tmp_path, "synthetic:belt", "--frames", 1, "--json")) as process:
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["frames"] == 1
