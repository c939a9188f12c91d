"""Events and predictions to an MQTT broker."""

from __future__ import annotations

import secrets
import ssl
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import MqttSpec
from device_runtime.errors import BadFileError, EdgeError, UnfitError
from device_runtime.secret import read_secret
from device_runtime.sinks.jsonl import What, lines_of
from device_runtime.vision.raw import AnyFrame

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

_WAITING = 100
"""Messages that may wait for the broker; more are refused, and counted by the loop."""

_KEEP_ALIVE_S = 30
_LONGEST_PAUSE_S = 60
_GOODBYE_S = 1.0


class Mqtt:
    """Publishes in the background: ``take`` never waits for the broker.

    ``TOPIC/status`` is ``online`` while it is connected, and ``offline`` otherwise: the broker says so when the
    connection breaks.
    """

    name = "mqtt"
    vital = False
    depth = 0

    def __init__(self, spec: MqttSpec, data: Path, name: str) -> None:
        """Begin to connect; a broker that is not there is tried again and again.

        Args:
            spec: the broker.
            data: the folder that relative paths lie in.
            name: a part of the client's id, for the broker's log.

        Raises:
            UnfitError: paho-mqtt is not installed.
            EdgeError: the password's or the certificates' file cannot be read.
        """
        self.events_only = spec.what == "events"
        self._topic = spec.topic
        self._qos = int(spec.qos)
        self._port = spec.port or (8883 if spec.tls else 1883)
        self._where = f"MQTT broker {spec.host}:{self._port}"
        self._trouble = "it has not answered yet"
        self._refused = False
        self._online = False
        self._closing = False
        self._last_words: MQTTMessageInfo | None = None
        # What was handed over and has not left yet, of the messages that nobody else counts.
        self._leaving: deque[MQTTMessageInfo] = deque()
        self._client = self._make_client(spec, data, name)
        self._client.connect_async(spec.host, self._port, keepalive=_KEEP_ALIVE_S)
        self._client.loop_start()

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Hand over what there is to say of ``prediction``.

        Events with QoS 1 wait for a broker that is away, as many as there is room for.

        Raises:
            EdgeError: something was lost: the broker refuses the client, is away, or is too slow.
        """
        del frame
        self._publish(prediction, "events", self._qos)
        if not self.events_only:
            self._publish(prediction, "predictions", 0)

    def close(self, *, failed: bool) -> None:
        """Say goodbye, if the broker listens, and leave."""
        del failed
        self._closing = True
        if self._online:
            self._last_words = self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True)
            _wait_for(self._last_words)
        self._client.disconnect()
        # The thread may hang in a connection attempt for seconds; it is a daemon, and need not be waited for.
        stopper = threading.Thread(target=self._client.loop_stop, name="mqtt stop", daemon=True)
        stopper.start()
        stopper.join(_GOODBYE_S)

    def _publish(self, prediction: Prediction, what: What, qos: int) -> None:
        for line in lines_of(prediction, what):
            if self._refused or (qos == 0 and not self._online):
                raise EdgeError(f"{self._where}: {self._trouble}; {what} are lost")
            while self._leaving and _has_left(self._leaving[0]):
                self._leaving.popleft()
            if len(self._leaving) >= _WAITING:
                raise EdgeError(f"{self._where}: {_WAITING} messages wait for it already; {what} are lost")
            sent = self._client.publish(f"{self._topic}/{what}", line, qos=qos)
            if sent.rc == _QUEUE_FULL:
                raise EdgeError(
                    f"{self._where}: {self._trouble or 'it is too slow'}; {_WAITING} messages wait for it already"
                )
            if qos == 0:
                if sent.rc:
                    raise EdgeError(f"{self._where}: the connection broke; {what} are lost")
                self._leaving.append(sent)

    def _make_client(self, spec: MqttSpec, data: Path, name: str) -> Client:
        try:
            from paho.mqtt.client import Client  # noqa: PLC0415 - an optional package
            from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
        except ImportError as error:
            raise UnfitError("mqtt: paho-mqtt 2 is not installed", hint='pip install "edgekit[mqtt]"') from error
        # Two boards with one name must not throw each other out: MQTT 3.1.1, section 3.1.4, rule 2.
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-{secrets.token_hex(4)}")
        client.max_queued_messages_set(_WAITING)
        client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        client.will_set(f"{spec.topic}/status", "offline", qos=1, retain=True)
        if spec.username is not None:
            password = read_secret(data / spec.password_file, "password") if spec.password_file else None
            client.username_pw_set(spec.username, password)
        if spec.tls:
            client.tls_set_context(_trust(None if spec.ca_file is None else data / spec.ca_file))
        client.on_connect = self._connected
        client.on_connect_fail = self._not_connected
        client.on_disconnect = self._disconnected
        return client

    def _connected(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused, self._trouble = True, f"it refuses the connection: {str(reason).lower()}"
        elif self._closing:
            client.disconnect()
        else:
            self._online, self._refused, self._trouble = True, False, ""
            client.publish(f"{self._topic}/status", "online", qos=1, retain=True)

    def _not_connected(self, _client: Client, _data: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it handles the error, and does not hand it over
        reason = getattr(error, "strerror", None) or str(error or "nobody answers")
        self._online, self._refused, self._trouble = False, False, f"cannot connect: {reason.lower()}"

    def _disconnected(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._online = False
        if not self._refused:
            self._trouble = f"the connection broke: {str(reason).lower()}"


_QUEUE_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE, which is not imported before there is a client


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise BadFileError(f"{ca_file}: expected PEM certificates: {error.strerror or error}") from error


def _has_left(sent: MQTTMessageInfo) -> bool:
    try:
        return sent.is_published()
    except (ValueError, RuntimeError):  # it never will: the connection broke
        return True


def _wait_for(sent: MQTTMessageInfo) -> None:
    try:
        sent.wait_for_publish(_GOODBYE_S)
    except (ValueError, RuntimeError):
        return
