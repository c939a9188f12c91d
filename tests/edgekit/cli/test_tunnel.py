"""``edgekit tunnel``, through a real sshd."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ChildCommandLine
from tests.support.live_pages import running
from tests.support.ssh_server import ssh_server
from tests.support.waiting import wait_for


@pytest.fixture
def edgekit(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return ChildCommandLine(tmp_path)


@pytest.fixture
def application(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running() as made:
        made.run()
        yield made


@pytest.fixture
def server(tmp_path, monkeypatch):
    with ssh_server(tmp_path) as made:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(made.config))
        yield made


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "edgekit", "tunnel", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process):
    found = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in found.read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_here_until_the_command_is_told_to_stop(application, server, number):
    tunnel = start(server.target, "--page-port", application.port, "--json")
    url = json.loads(tunnel.stdout.readline())["url"]
    port = int(url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/status.json")
    assert json.loads(connection.getresponse().read())["model"] == "belt"
    connection.close()
    ssh = children(tunnel.pid)
    assert len(ssh) == 1
    command = Path(f"/proc/{ssh[0]}/cmdline").read_bytes().split(b"\0")
    assert b"--" in command
    tunnel.send_signal(number)
    _, said = tunnel.communicate(timeout=20)
    assert (tunnel.returncode, "interrupted" in said) == (130, True)
    wait_for(lambda: not Path(f"/proc/{ssh[0]}").exists())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_tunnel_that_breaks_ends_with_5(application, server):
    tunnel = start(server.target, "--page-port", application.port, "--json")
    tunnel.stdout.readline()
    os.kill(children(tunnel.pid)[0], signal.SIGKILL)
    tunnel.communicate(timeout=20)
    assert tunnel.returncode == 5


def test_a_board_without_a_page_is_said(edgekit, server):
    done = edgekit("tunnel", server.target, "--page-port", 1)
    assert done.code == 5
    assert "the board is there, and no page is on its port" in done.err


def test_a_port_in_use_is_said(edgekit, application, server):
    done = edgekit("tunnel", server.target, "--port", application.port, "--page-port", 1)
    assert done.code == 1
    assert f"port {application.port} of this machine is in use" in done.err


def test_a_host_that_is_not_known_is_refused_with_the_remedy(edgekit, application, server):
    server.known_hosts.write_text("")
    done = edgekit("tunnel", server.target, "--page-port", application.port)
    assert (done.code, "its host key is not known yet" in done.err) == (5, True)
    server.known_hosts.write_text(server.new_host_key())
    done = edgekit("tunnel", server.target, "--page-port", application.port)
    assert (done.code, "its host key is not the one that is known" in done.err) == (5, True)
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in done.err


def test_a_key_that_does_not_let_in_is_said(edgekit, server):
    (server.folder / "user.pub").write_text("")
    done = edgekit("tunnel", server.target)
    assert (done.code, "it did not let us in" in done.err) == (5, True)


def test_no_server_is_unreachable(edgekit):
    done = edgekit("tunnel", "ssh://nobody@127.0.0.1:1")
    assert (done.code, "nothing listens for SSH there" in done.err) == (5, True)


@pytest.mark.parametrize("target", ["ssh://-oProxyCommand=touch x", "pi@-oProxyCommand=x", "local:board", "board"])
def test_what_is_no_board_over_ssh_is_refused(edgekit, target, tmp_path):
    assert edgekit("tunnel", target).code == 2
    assert not (tmp_path / "x").exists()
