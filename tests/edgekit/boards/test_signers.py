import pytest

from device_runtime.errors import BadFileError
from edgekit.boards.signers import read_signers

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8e1f0u0Q1rZfYkOQ1n8X9x0B4Vt3b3r7mE5v2q8cQ1"


def test_a_file_of_signers_is_taken_as_it_is(tmp_path):
    file = tmp_path / "signers"
    file.write_text(f'# who may\n\nme@example.org namespaces="edgekit-bundle" {KEY} a comment\n')
    assert read_signers(file) == file.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{KEY} me@example.org\n", "signers: line 1: expected"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key"),
        ("", "expected a line for each signer, got none"),
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
