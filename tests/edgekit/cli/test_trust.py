import json

import pytest

from device_runtime.contract.status import InstallResult, Outcome, encode_line
from tests.support.scripted_board import GREETS, put_ssh

SIGNERS = "me ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8e1f0u0Q1rZfYkOQ1n8X9x0B4Vt3b3r7mE5v2q8cQ1\n"


@pytest.fixture
def board(tmp_path, monkeypatch):
    put_ssh(tmp_path, GREETS + f"hear(); say({encode_line(InstallResult(Outcome.INTACT))!r})\n", monkeypatch)


@pytest.mark.usefixtures("board")
def test_a_board_gets_the_file_as_it_is(edgekit, tmp_path):
    (tmp_path / "signers").write_text(SIGNERS)
    assert "nothing but what was signed" in edgekit.ok("trust", "signers", "pi@line-3").out
    assert json.loads((tmp_path / "heard").read_text())["command"]["text"] == SIGNERS


@pytest.mark.usefixtures("board")
def test_a_file_that_is_none_goes_nowhere(edgekit, tmp_path):
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    refused = edgekit("trust", "key", "pi@line-3", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "bad-file")
    assert not (tmp_path / "heard").exists()
