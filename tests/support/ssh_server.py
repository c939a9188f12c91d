"""A real sshd on loopback, for the current user, with keys of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

_SSHD = "/usr/sbin/sshd"
_PRIVILEGES = Path("/run/sshd")


@dataclass
class SshServer:
    """Where it listens, and the client's configuration that reaches it."""

    port: int
    folder: Path
    config: Path
    known_hosts: Path
    log: Path

    @property
    def target(self):
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def folder_target(self, path, port=None):
        """A folder of it, as a target; through another port where something is in between."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{port or self.port}{path}"

    def know(self, port):
        """Let the client know this server at another port too."""
        with self.known_hosts.open("a") as known:
            known.write(f"[127.0.0.1]:{port} {(self.folder / 'host.pub').read_text()}")

    def new_host_key(self):
        """A line of known_hosts with a key that is not the server's."""
        _keygen(self.folder / "other")
        key = (self.folder / "other.pub").read_text().rsplit(" ", 1)[0]
        return f"[127.0.0.1]:{self.port} {key}\n"


def _keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def ssh_server(folder, *settings):
    """A server whose host is known and whose key lets in; the test is skipped where there is no sshd.

    ``settings`` are further lines of sshd_config.
    """
    if not Path(_SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server and client here; install them: apt-get install openssh-server openssh-client")
    if os.geteuid() == 0 and not _PRIVILEGES.is_dir():
        _PRIVILEGES.mkdir(mode=0o755)
    port = _free_port()
    for name in ("host", "user"):
        _keygen(folder / name)
    known, config, log = folder / "known_hosts", folder / "ssh_config", folder / "sshd.log"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config.write_text(
        f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
        "  GlobalKnownHostsFile /dev/null\n  PreferredAuthentications publickey\n"
    )
    server = folder / "sshd_config"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n" + "".join(f"{setting}\n" for setting in settings)
    )
    with log.open("wb") as said:
        process = subprocess.Popen([_SSHD, "-D", "-e", "-f", server], stdin=subprocess.DEVNULL, stderr=said)
        try:
            wait_for(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, log.read_text()
            yield SshServer(port, folder, config, known, log)
        finally:
            process.terminate()
            process.wait()


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
