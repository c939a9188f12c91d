"""The page's socket."""

import os
import socket

import pytest

from device_runtime.errors import EdgeError
from device_runtime.web.listener import find_holder, open_listener


def test_a_free_port_is_picked_and_can_be_had_again_at_once():
    listener = open_listener("127.0.0.1", 0, 10.0)
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = listener.accept()
        accepted.close()
    listener.close()
    open_listener("127.0.0.1", port, 10.0).close()


def test_who_has_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert find_holder(server.getsockname()[1]).endswith(f"(process {os.getpid()})")
    assert find_holder(1) == ""


def test_a_viewer_cannot_make_the_system_hold_back_seconds_of_video():
    listener = open_listener("127.0.0.1", 0, 10.0)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 131072
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10000


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_what_is_not_this_machine_is_refused_with_the_better_way(host):
    with pytest.raises(EdgeError) as caught:
        open_listener(host, 0, 10.0)
    assert "edgekit tunnel" in caught.value.hint
