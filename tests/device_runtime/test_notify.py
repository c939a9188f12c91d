"""What is said to a service manager, through real sockets."""

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.notify import Notifier, level_prefix, take_notifier
from tests.support.manager import Manager


@pytest.mark.parametrize("abstract", [False, True])
def test_assignments_arrive_in_one_datagram(tmp_path, abstract):
    with Manager(tmp_path, abstract=abstract) as manager:
        notifier = take_notifier({"NOTIFY_SOCKET": manager.address})
        notifier.send(READY=1, STATUS="29.8 fps, p95 41 ms")
        manager.wait("READY")
        notifier.close()
    assert manager.received == [{"READY": "1", "STATUS": "29.8 fps, p95 41 ms"}]


@pytest.mark.parametrize("text", ["camera: gone\nREADY=1", "a\r\nSTOPPING=1", "a\x0bb", "a\u2028WATCHDOG=1\x85b"])
def test_no_text_from_afar_becomes_another_assignment(tmp_path, text):
    with Manager(tmp_path) as manager:
        notifier = manager.notifier()
        notifier.send(STATUS=text)
        manager.wait("STATUS")
        notifier.close()
    assert list(manager.received[0]) == ["STATUS"]


@given(st.text(max_size=1000))
def test_any_text_is_one_line_that_is_not_too_long(text):
    address = f"\0edgekit-test-lines-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notifier = Notifier("@" + address[1:])
        notifier.send(STATUS=text)
        notifier.close()
        sent = manager.recv(65536).decode()
    assert len(sent.splitlines()) == 1
    assert len(sent) <= len("STATUS=") + 400


def test_without_a_manager_nothing_is_sent_and_nothing_fails(tmp_path):
    for notifier in (
        take_notifier({}),
        Notifier(str(tmp_path / "gone")),
        take_notifier({"NOTIFY_SOCKET": "vsock:2:9"}),
    ):
        notifier.send(READY=1)
        notifier.close()
        notifier.send(READY=1)


def test_a_manager_that_does_not_listen_is_not_waited_for(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        for _ in range(10_000):
            notifier.send(STATUS="x" * 300)
        notifier.close()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment, watchdog_s):
    assert take_notifier(environment, pid=7).watchdog_s == watchdog_s


def test_child_processes_do_not_speak_for_the_service(tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "HOME": "/"}
    take_notifier(environment).close()
    assert environment == {"HOME": "/"}


def test_the_journal_is_told_how_bad_a_line_is(tmp_path):
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert [level_prefix(level, stream, journal) for level in ("error", "warning", "info")] == ["<3>", "<4>", "<6>"]
        assert level_prefix("error", stream, {"JOURNAL_STREAM": "1:1"}) == ""
        assert level_prefix("error", stream, {}) == ""
    assert level_prefix("error", stream, journal) == ""  # it is closed
    assert level_prefix("error", sys.stderr, journal) == ""
