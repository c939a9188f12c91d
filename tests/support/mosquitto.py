"""A real MQTT broker, started and killed as tests need it, and a client that listens."""

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.waiting import wait_for

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PASSWORDS = shutil.which("mosquitto_passwd")


def free_port():
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Broker:
    """A mosquitto on a port of its own; it may be started again on the same port."""

    def __init__(self, folder: Path, *, users=None, certificates=None):
        self.port = free_port()
        self.folder = folder
        self._process = None
        settings = ["per_listener_settings false", f"listener {self.port} 127.0.0.1"]
        if users:
            passwords = folder / "passwords"
            passwords.write_text("")
            passwords.chmod(0o600)
            for name, password in users.items():
                subprocess.run([PASSWORDS, "-b", passwords, name, password], check=True, capture_output=True)
            settings += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            settings.append("allow_anonymous true")
        if certificates:
            settings += [f"certfile {certificates / 'server.pem'}", f"keyfile {certificates / 'server.key'}"]
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text("\n".join([*settings, "user root", ""]))

    def start(self):
        log = (self.folder / "mosquitto.log").open("ab")
        with log:
            self._process = subprocess.Popen([PROGRAM, "-c", self._settings, "-v"], stdout=log, stderr=log)
        wait_for(self._answers)
        return self

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self):
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def _answers(self):
        assert self._process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """Keeps what is published."""

    def __init__(self, port, topic="#", *, login=None, ca_file=None):
        self.messages = []
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        if login:
            self._client.username_pw_set(*login)
        if ca_file:
            self._client.tls_set(str(ca_file))
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def of(self, topic):
        """Return the texts of a topic, so far."""
        return [message.payload.decode() for message in list(self.messages) if message.topic == topic]

    def json(self, topic):
        return [json.loads(text) for text in self.of(topic)]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
