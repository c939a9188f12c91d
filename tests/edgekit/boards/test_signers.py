import pytest

from device_runtime.errors import BadFileError
from edgekit.boards.signers import read_signers

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"


@pytest.mark.parametrize(
    "line",
    [
        f"me@example.org {KEY}",
        f'me@example.org,you namespaces="edgekit-bundle",valid-after="20260101" {KEY} a comment',
        f"* cert-authority {KEY}",
        "me sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC==",
        "me ecdsa-sha2-nistp256 AAAAE2VjZHNh",
    ],
)
def test_what_ssh_keygen_reads_is_taken_as_it_is(tmp_path, line):
    file = tmp_path / "signers"
    file.write_text(f"# who may\n\n{line}\n")
    assert read_signers(file) == file.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{KEY} me@example.org\n", "line 1: expected a name before the key"),
        ("# ok\n-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key"),
        ("hello\n", "expected a name and a public key, got 'hello'"),
        ("x" * 70_000, "at most 65536 bytes"),
    ],
)
def test_another_file_is_refused_before_a_board_gets_it(tmp_path, text, message):
    file = tmp_path / "signers"
    file.write_text(text)
    with pytest.raises(BadFileError, match=message):
        read_signers(file)


def test_what_is_no_text_or_not_there_is_said(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFileError, match="byte 0xff"):
        read_signers(tmp_path / "bytes")
    with pytest.raises(BadFileError, match="no such file"):
        read_signers(tmp_path / "none")
