"""A service manager's end of sd_notify(3): a real socket, and all that came through it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading

from device_runtime.notify import Notifier
from tests.support.waiting import wait_for


class Manager:
    """Receives datagrams at a path in ``folder``, or in the abstract namespace."""

    def __init__(self, folder, *, abstract=False):
        name = f"edgekit-test-{os.getpid()}-{id(self)}"
        self.address = f"@{name}" if abstract else str(folder / "notify")
        self.pulse_file = folder / "pulse.json"
        self.received = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}" if abstract else self.address)
        self._socket.settimeout(0.05)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def notifier(self, watchdog_s=0.03):
        return Notifier(self.address, watchdog_s)

    @contextlib.contextmanager
    def running(self, *arguments, module="device_runtime", watchdog_s=0.3):
        """Run a service under this manager; it is killed at the end."""
        environment = os.environ | {
            "NOTIFY_SOCKET": self.address,
            "WATCHDOG_USEC": str(round(watchdog_s * 1e6)),
            "EDGEKIT_PULSE_FILE": str(self.pulse_file),
        }
        command = [sys.executable, "-m", module, *map(str, arguments)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def count(self, name):
        """How often a variable was sent."""
        return sum(name in message for message in list(self.received))

    def all(self, name):
        """Every value that a variable was given."""
        return [message[name] for message in list(self.received) if name in message]

    def wait(self, name, text=""):
        """Wait until a variable was given a value with ``text`` in it, and return how many messages came before."""

        def hits():
            return [
                number
                for number, message in enumerate(list(self.received))
                if name in message and text in message[name]
            ]

        return wait_for(hits)[0]

    def _receive(self):
        while True:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                if self._ended.is_set():
                    return
            else:
                self.received.append(dict(line.split("=", 1) for line in data.decode().splitlines()))
