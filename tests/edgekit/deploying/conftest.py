"""A real sshd on loopback, and a folder of its machine as a target."""

import pytest

from tests.support.ssh_server import ssh_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def configured(server, monkeypatch):
    """What runs in this test reaches the server."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))


@pytest.fixture
def board(server, tmp_path):
    """A folder of the far machine, as a target."""
    return server.folder_target(tmp_path / "far" / "board")
