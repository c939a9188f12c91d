"""MQTT, with a real broker: delivery, outages, refusals, and no secret anywhere."""

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from device_runtime.contract.service import MqttSpec
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.sinks.mqtt import Mqtt
from tests.support.events import event, frame, predicted
from tests.support.mosquitto import PROGRAM, Broker, Listener, free_port
from tests.support.waiting import wait_for

needs_broker = pytest.mark.skipif(PROGRAM is None, reason="mosquitto is not installed: apt-get install mosquitto")
PASSWORD = "correct horse battery"  # noqa: S105 - a password of tests


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@contextlib.contextmanager
def publishing(port, data, **more):
    sink = Mqtt(MqttSpec("127.0.0.1", "belt/1", port, **more), data, "my-app")
    try:
        yield sink
    finally:
        sink.close(failed=False)


@contextlib.contextmanager
def listening(port, **more):
    listener = Listener(port, **more)
    try:
        yield listener
    finally:
        listener.close()


def login(file):
    return {"username": "camera", "password_file": file}


def error_of(sink, prediction):
    """Return what the sink says when it is given a prediction, or None."""
    try:
        sink.take(frame(), prediction)
    except EdgeError as error:
        return str(error)
    return None


@needs_broker
def test_events_and_states_arrive(broker, tmp_path):
    broker.start()
    with listening(broker.port) as listener:
        with publishing(broker.port, tmp_path) as sink:
            wait_for(lambda: listener.of("belt/1/status") == ["online"])
            assert sink.events_only
            sink.take(frame(), predicted(event(1), event(2, "end", dwell_s=2.5)))
            wait_for(lambda: len(listener.of("belt/1/events")) == 2)
        wait_for(lambda: listener.of("belt/1/status") == ["online", "offline"])
        begin, end = listener.json("belt/1/events")
        assert (begin["id"], begin["phase"], begin["item"]["label"]) == (event(1).id, "begin", "gear")
        assert (end["id"], end["phase"], end["dwell_s"]) == (event(2).id, "end", 2.5)
        assert listener.of("belt/1/predictions") == []


@needs_broker
def test_predictions_arrive_beside_events_when_they_are_asked_for(broker, tmp_path):
    broker.start()
    with listening(broker.port) as listener, publishing(broker.port, tmp_path, what="predictions") as sink:
        assert not sink.events_only
        wait_for(lambda: listener.of("belt/1/status"))
        for index in range(20):
            sink.take(frame(), predicted(*([event(1)] if index == 3 else []), index=index))
        wait_for(lambda: len(listener.of("belt/1/predictions")) == 20)
        assert [told["frame_index"] for told in listener.json("belt/1/predictions")] == list(range(20))
        wait_for(lambda: len(listener.of("belt/1/events")) == 1)


@needs_broker
def test_the_state_is_kept_for_who_comes_later_and_a_crash_is_said_by_the_broker(broker):
    broker.start()
    code = (
        "import sys, time; from pathlib import Path\n"
        "from device_runtime.contract.service import MqttSpec; from device_runtime.sinks.mqtt import Mqtt\n"
        f"sink = Mqtt(MqttSpec('127.0.0.1', 'belt/1', {broker.port}), Path(), 'app')\n"
        "time.sleep(60)"
    )
    with listening(broker.port) as first, subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_for(lambda: first.of("belt/1/status") == ["online"])
        with listening(broker.port) as later:
            wait_for(lambda: later.of("belt/1/status") == ["online"])
            assert later.messages[0].retain
            process.kill()
            wait_for(lambda: later.of("belt/1/status") == ["online", "offline"])
    with listening(broker.port) as last:
        wait_for(lambda: last.of("belt/1/status") == ["offline"])


@needs_broker
def test_events_wait_for_a_broker_that_is_killed_and_started_again(broker, tmp_path):
    broker.start()
    with publishing(broker.port, tmp_path) as sink:
        with listening(broker.port) as listener:
            sink.take(frame(), predicted(event(1)))
            wait_for(lambda: listener.of("belt/1/events"))
        broker.kill()
        wait_for(lambda: not sink._online)
        for number in range(2, 6):
            assert error_of(sink, predicted(event(number))) is None
        broker.start()
        with listening(broker.port) as listener:
            wait_for(lambda: {told["id"] for told in listener.json("belt/1/events")} >= {event(5).id})
            # An event whose receipt the broker had no time for comes twice: once or more is what was asked for.
            later = [told["id"] for told in listener.json("belt/1/events") if told["id"] != event(1).id]
            assert later == [event(number).id for number in range(2, 6)]
            wait_for(lambda: "online" in listener.of("belt/1/status"))


def test_a_broker_that_was_never_there_costs_nothing_and_what_does_not_fit_is_counted(tmp_path):
    with publishing(free_port(), tmp_path) as sink:
        wait_for(lambda: "refused" in sink._trouble)
        errors = [error_of(sink, predicted(event(number))) for number in range(1, 131)]
        assert errors[:100] == [None] * 100
        assert all("connection refused; 100 messages wait for it already" in error for error in errors[100:])


def test_predictions_do_not_wait_for_a_broker(tmp_path):
    with publishing(free_port(), tmp_path, what="predictions") as sink:
        wait_for(lambda: "refused" in sink._trouble)
        assert error_of(sink, predicted()).endswith("cannot connect: connection refused; predictions are lost")


def test_a_server_that_never_answers_costs_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with publishing(server.getsockname()[1], tmp_path, what="predictions") as sink:
            connection = server.accept()[0]
            assert "it has not answered yet; predictions are lost" in error_of(sink, predicted())
        connection.close()


def stuck_broker(server, gate):
    """Let one client in, and then read nothing more."""
    connection = server.accept()[0]
    connection.recv(1 << 16)
    connection.sendall(b"\x20\x02\x00\x00")  # CONNACK, accepted
    gate.wait()
    connection.close()


def test_a_broker_that_reads_nothing_more_is_not_waited_for_and_memory_is_bounded(tmp_path):
    gate = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=stuck_broker, args=(server, gate))
        thread.start()
        try:
            with publishing(server.getsockname()[1], tmp_path, what="predictions") as sink:
                wait_for(lambda: sink._online)
                errors = [error_of(sink, BULKY) for _ in range(400)]
                assert "100 messages wait for it already; predictions are lost" in errors[-1]
                assert len(sink._client._out_packet) <= 110
        finally:
            gate.set()
            thread.join()


BULKY = predicted(index=1)
BULKY.timings_ms.update({f"stage {number}": 1.0 for number in range(3000)})


@needs_broker
def test_a_user_with_the_right_password_comes_in_and_others_are_told_so(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    broker = Broker(tmp_path, users={"camera": PASSWORD}).start()
    (tmp_path / "right").write_text(PASSWORD + "\n")
    (tmp_path / "wrong").write_text("wrong battery")
    for name in ("right", "wrong"):
        (tmp_path / name).chmod(0o600)
    try:
        with (
            listening(broker.port, login=("camera", PASSWORD)) as listener,
            publishing(broker.port, tmp_path, **login("right")) as sink,
        ):
            wait_for(lambda: listener.of("belt/1/status") == ["online"])
            assert error_of(sink, predicted(event(1))) is None
            wait_for(lambda: listener.of("belt/1/events"))
        with publishing(broker.port, tmp_path, **login("wrong")) as sink:
            said = wait_for(lambda: error_of(sink, predicted(event(2))))
        assert "it refuses the connection: not authorized; events are lost" in said
        for text in (said, caplog.text, broker.log):
            assert PASSWORD not in text
            assert "wrong battery" not in text
    finally:
        broker.kill()


@needs_broker
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho drops sockets without closing them
def test_tls_needs_a_certificate_that_is_trusted(tmp_path):
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*make.split(), "-keyout", tmp_path / "server.key", "-out", tmp_path / "server.pem"],
        check=True,
        capture_output=True,
    )
    broker = Broker(tmp_path, certificates=tmp_path).start()
    try:
        with (
            listening(broker.port, ca_file=tmp_path / "server.pem") as listener,
            publishing(broker.port, tmp_path, tls=True, ca_file="server.pem"),
        ):
            wait_for(lambda: listener.of("belt/1/status") == ["online"])
        with publishing(broker.port, tmp_path, tls=True, what="predictions") as sink:
            wait_for(lambda: "certificate verify failed" in error_of(sink, predicted()))
    finally:
        broker.kill()


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "expected a password of 1–4096"), ("two\nlines", "on one line"), (None, "no such file")],
)
def test_a_password_file_without_a_password_is_an_error_before_anything_runs(tmp_path, content, message):
    if content is not None:
        (tmp_path / "password").write_text(content)
        (tmp_path / "password").chmod(0o600)
    with pytest.raises(BadFileError, match=message):
        Mqtt(MqttSpec("127.0.0.1", "a", **login("password")), tmp_path, "app")


def test_certificates_that_are_none_are_an_error(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BadFileError, match="expected PEM certificates"):
        Mqtt(MqttSpec("127.0.0.1", "a", tls=True, ca_file="ca.pem"), tmp_path, "app")


def test_a_missing_package_is_named_with_what_installs_it():
    code = (
        "import sys; sys.modules['paho'] = None\n"
        "from pathlib import Path; from device_runtime.errors import UnfitError\n"
        "from device_runtime.contract.service import MqttSpec, ServiceSpec\n"
        "from device_runtime.sinks.registry import open_sinks\n"
        "try: open_sinks(ServiceSpec(mqtt=MqttSpec('h', 't')), Path(), 'app')\n"
        "except UnfitError as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'mqtt: paho-mqtt 2 is not installed | pip install "edgekit[mqtt]"\n'
