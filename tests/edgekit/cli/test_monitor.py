"""``edgekit monitor``."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.service import PageSpec, ServiceSpec
from tests.support.cli import ChildCommandLine
from tests.support.live_pages import TOKEN, running
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
        wait_for(lambda: made.index > 2)
        yield made


def test_each_answer_is_a_line_of_json(edgekit, application):
    done = edgekit.ok("monitor", "--url", application.page.url, "--json", "--count", "3", "--interval", "0.5")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert len(lines) == 3
    assert lines[0]["model"] == "belt"
    assert lines[2]["frames"]["predicted"] > lines[0]["frames"]["predicted"]


def test_without_a_terminal_each_answer_is_a_line(edgekit, application):
    done = edgekit.ok("monitor", application.page.url, "--count", "2", "--interval", "0.1")
    assert len(done.out.splitlines()) == 2
    assert "bolt 0.93" in done.out


def test_nothing_there_is_exit_code_5(edgekit):
    done = edgekit("monitor", "--url", "http://127.0.0.1:1")
    assert done.code == 5
    assert "no page answers: connection refused" in done.err
    assert edgekit("monitor", "--url", "http://127.0.0.1:1", "--json").json["error"]["code"] == "unreachable"


def test_a_folders_page_is_found_by_its_release(edgekit, application, tmp_path):
    release = tmp_path / "board" / "releases" / ("0" * 64)
    release.mkdir(parents=True)
    spec = ServiceSpec(page=PageSpec(port=application.port))
    (release / "service.json").write_text(dumps(spec))
    (tmp_path / "board" / "current").symlink_to(f"releases/{'0' * 64}")
    done = edgekit.ok("monitor", "local:board", "--json", "--count", "1")
    assert json.loads(done.out)["model"] == "belt"


def test_the_token_comes_from_a_file_or_the_environment(edgekit, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", TOKEN)
    with running() as application:
        application.step()
        words = ("monitor", application.page.url, "--json", "--count", "1")
        edgekit.ok(*words)
        monkeypatch.delenv("EDGEKIT_PAGE_TOKEN")
        assert edgekit(*words).code == 2
        file = tmp_path / "token"
        file.write_text(TOKEN)
        file.chmod(0o600)
        edgekit.ok(*words, "--token-file", file)


def test_a_terminal_shows_a_live_screen_until_ctrl_c(application):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "monitor", application.page.url, "--interval", "0.1"],
        stdin=follower,
        stdout=follower,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "LINES": "50", "TERM": "xterm-256color"},
    )
    os.close(follower)
    shown, end = "", time.monotonic() + 30
    while not ("last prediction" in shown and "bolt" in shown) and time.monotonic() < end:
        if select.select([leader], [], [], 0.1)[0]:
            shown += os.read(leader, 65536).decode("utf-8", "replace")
    process.send_signal(signal.SIGINT)
    while select.select([leader], [], [], 0.5)[0]:
        try:
            if not os.read(leader, 65536):
                break
        except OSError:
            break
    _, said = process.communicate(timeout=20)
    os.close(leader)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "belt 0.1.0  ok" in plain
    assert "latency, ms" in plain
    assert (process.returncode, b"interrupted" in said) == (130, True)


def test_a_board_is_looked_at_through_ssh(edgekit, application, monkeypatch, tmp_path):
    with ssh_server(tmp_path) as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        done = edgekit.ok(
            "monitor", "--target", server.target, "--page-port", application.port, "--json", "--count", "2"
        )
        assert len(done.out.splitlines()) == 2
