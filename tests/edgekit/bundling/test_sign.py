import subprocess

import pytest

from device_runtime.contract.events import Step, silent
from device_runtime.contract.oci import index_bytes, signed_bytes
from device_runtime.errors import EdgeError, UsageError
from device_runtime.install.signature import BadSignatureError, verify_signature
from edgekit.bundling.sign import sign
from tests.support.signing import MANIFESTS, allow, make_key

CONTENT = signed_bytes(index_bytes(MANIFESTS), "index")


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path)


def signer(signature, key, tmp_path):
    return verify_signature(index_bytes(MANIFESTS, signature), allow(tmp_path / "allowed", ("me", key)), "x")


def test_what_is_signed_verifies(key, tmp_path):
    heard = []
    assert signer(sign(CONTENT, key, heard.append), key, tmp_path) == "me"
    assert heard == [Step(f"sign with {key}")]
    with pytest.raises(BadSignatureError):
        signer(sign(CONTENT + b" ", key, silent), key, tmp_path)


@pytest.fixture
def agent(monkeypatch):
    """An agent without keys."""
    started = subprocess.run(["ssh-agent", "-c"], capture_output=True, text=True, check=True).stdout.split()
    monkeypatch.setenv("SSH_AUTH_SOCK", started[2].rstrip(";"))
    monkeypatch.setenv("SSH_AGENT_PID", started[5].rstrip(";"))
    yield
    subprocess.run(["ssh-agent", "-k"], capture_output=True, check=True)


@pytest.mark.usefixtures("agent")
def test_a_public_key_is_enough_where_an_agent_has_the_private_one(key, tmp_path):
    subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
    key.unlink()
    public = key.with_suffix(".pub")
    assert signer(sign(CONTENT, public, silent), key, tmp_path) == "me"


def test_a_public_key_without_its_private_half_is_refused(key, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key.unlink()
    with pytest.raises(EdgeError, match="cannot sign with") as caught:
        sign(CONTENT, key.with_suffix(".pub"), silent)
    assert "ssh-add" in caught.value.hint


def test_no_key_and_what_is_none_are_named(tmp_path):
    with pytest.raises(UsageError, match="there is no key") as caught:
        sign(CONTENT, tmp_path / "none", silent)
    assert caught.value.hint == "make one: ssh-keygen -t ed25519"
    (tmp_path / "text").write_text("no key\n")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(EdgeError, match="cannot sign"):
        sign(CONTENT, tmp_path / "text", silent)


def test_a_machine_without_ssh_keygen_is_told_what_to_install(key, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeError, match="no ssh-keygen") as caught:
        sign(CONTENT, key, silent)
    assert caught.value.hint == "sudo apt install openssh-client"


def test_a_key_that_others_can_read_is_refused_with_the_reason(key):
    key.chmod(0o644)
    with pytest.raises(EdgeError, match="cannot sign"):
        sign(CONTENT, key, silent)
