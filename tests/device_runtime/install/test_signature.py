import json

import pytest

from device_runtime.contract.oci import (
    CHECKSUM_ANNOTATION,
    SIGNATURE_ANNOTATION,
    canonical,
    digest_of,
    index_bytes,
    signed_bytes,
)
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.install.signature import (
    BadSignatureError,
    UnknownSignerError,
    UnsignedError,
    verify_signature,
)
from tests.support.signing import MANIFESTS, allow, make_key, sign, signed_index


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path)


@pytest.fixture
def signers(tmp_path, key):
    return allow(tmp_path / "allowed", ("other@example.org", make_key(tmp_path, "other")), ("me@example.org", key))


def resealed(index, **annotations):
    """Return an index with other annotations and a checksum that is right: what an attacker would write."""
    data = json.loads(index)
    del data["annotations"][CHECKSUM_ANNOTATION]
    data["annotations"].update(annotations)
    data["annotations"][CHECKSUM_ANNOTATION] = digest_of(canonical(data))
    return canonical(data)


def test_a_signature_tells_who_signed(key, signers):
    assert verify_signature(signed_index(key), signers, "x.edgekit") == "me@example.org"


def test_nothing_but_the_signature_and_the_checksum_is_outside_of_what_is_signed(key):
    assert signed_bytes(signed_index(key), "x") == signed_bytes(index_bytes(MANIFESTS), "x")
    noted = resealed(index_bytes(MANIFESTS), **{"org.example.note": "x"})
    assert signed_bytes(noted, "x") != signed_bytes(index_bytes(MANIFESTS), "x")
    assert json.loads(signed_bytes(noted, "x"))["annotations"] == {"org.example.note": "x"}


def test_an_unsigned_index_is_refused_by_its_own_code(signers):
    with pytest.raises(UnsignedError, match="not signed") as caught:
        verify_signature(index_bytes(MANIFESTS), signers, "x.edgekit")
    assert (caught.value.code, caught.value.exit_code) == ("unsigned", 3)
    assert "edgekit bundle --sign" in caught.value.hint


def test_a_signature_of_something_else_is_refused(key, signers):
    other = sign(signed_bytes(index_bytes(MANIFESTS[:1]), "x"), key)
    with pytest.raises(BadSignatureError, match=r"x\.edgekit: altered") as caught:
        verify_signature(index_bytes(MANIFESTS, other), signers, "x.edgekit")
    assert caught.value.code == "bad-signature"


def test_annotations_that_were_added_after_signing_are_refused(key, signers):
    with pytest.raises(BadSignatureError):
        verify_signature(resealed(signed_index(key), **{"org.example.note": "x"}), signers, "x")


def test_a_signature_for_another_purpose_is_refused(key, signers):
    with pytest.raises(BadSignatureError):
        verify_signature(signed_index(key, namespace="file"), signers, "x")


@pytest.mark.parametrize("damage", ["no signature", "-----BEGIN SSH SIGNATURE-----\nAAAA\n", "é", "A" * 70_000])
def test_a_damaged_signature_is_refused(key, signers, damage):
    with pytest.raises(BadSignatureError):
        verify_signature(resealed(signed_index(key), **{SIGNATURE_ANNOTATION: damage}), signers, "x")


def test_a_stranger_is_refused_with_the_fingerprint(tmp_path, signers):
    with pytest.raises(UnknownSignerError, match="SHA256:") as caught:
        verify_signature(signed_index(make_key(tmp_path, "stranger")), signers, "x")
    assert caught.value.code == "unknown-signer"


@pytest.mark.parametrize("option", ['namespaces="file"', 'valid-before="20200101"'])
def test_a_key_that_is_not_allowed_for_bundles_or_not_any_more_is_refused(tmp_path, key, option):
    with pytest.raises(UnknownSignerError):
        verify_signature(signed_index(key), allow(tmp_path / "allowed", ("me", key, option)), "x")


def test_a_signer_may_have_several_names_and_patterns(tmp_path, key):
    allowed = allow(tmp_path / "allowed", ("me@example.org,*@example.com", key, 'namespaces="edgekit-bundle"'))
    assert "me@example.org" in verify_signature(signed_index(key), allowed, "x")


def test_without_signers_nobody_may_sign(tmp_path, key):
    (tmp_path / "empty").write_text("")
    with pytest.raises(UnknownSignerError):
        verify_signature(signed_index(key), tmp_path / "empty", "x")


def test_a_missing_file_of_signers_is_named(tmp_path, key):
    with pytest.raises(BadFileError, match="no such file"):
        verify_signature(signed_index(key), tmp_path / "none", "x")


def test_a_machine_without_ssh_keygen_is_told_what_to_install(key, signers, monkeypatch, tmp_path):
    index = signed_index(key)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeError, match="no ssh-keygen") as caught:
        verify_signature(index, signers, "x")
    assert caught.value.hint == "sudo apt install openssh-client"


def test_nothing_stays_in_the_folder_for_temporary_files(key, signers, monkeypatch, tmp_path):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    verify_signature(signed_index(key), signers, "x")
    with pytest.raises(BadSignatureError):
        verify_signature(signed_index(key, namespace="file"), signers, "x")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"annotations": 1}'])
def test_what_is_no_index_is_a_bad_file(content, signers):
    with pytest.raises(BadFileError):
        signed_bytes(content, "x")
    with pytest.raises(BadFileError):
        verify_signature(content, signers, "x")
