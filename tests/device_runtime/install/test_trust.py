import dataclasses
import json

import pytest

from device_runtime.contract.manifest import Compat
from device_runtime.contract.oci import SIGNATURE_ANNOTATION, index_bytes
from device_runtime.contract.session import Command
from device_runtime.contract.status import InstallState
from device_runtime.errors import BadFileError
from device_runtime.install.layout import open_bundle
from device_runtime.install.trust import check_signers, with_sequence
from edgekit.bundling.installer_pack import installer_pack
from edgekit.bundling.layout import content_of, write_layout
from tests.support.bundles import journal_codes, pack, release_of, tiny_bundle, tiny_contents
from tests.support.conversing import conversation, deploy, parts_of, signed_bundle
from tests.support.installing import content, current, install
from tests.support.signing import allow, make_key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """The key of who may sign."""
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The key of somebody else."""
    return make_key(tmp_path_factory.mktemp("keys"), "stranger")


@pytest.fixture(scope="module")
def signers(tmp_path_factory, key):
    """The file of who may sign."""
    return allow(tmp_path_factory.mktemp("signers") / "allowed", ("me@example.org", key))


def numbered(folder, version, sequence, key):
    """Return a signed bundle with a sequence."""
    bundle = pack(
        folder / f"plain-{version}.edgekit",
        tiny_contents(folder, version=version),
        version=version,
        compats=[Compat(sequence=sequence)],
    )
    return signed_bundle(bundle, key, folder / f"signed-{version}.edgekit")


def tell(root, *messages):
    """Say something to an installer and return its answer."""
    with conversation(root) as talk:
        talk.greeted()
        talk.say(*messages)
        return talk.answer()


def test_a_board_that_trusts_signers_takes_what_they_signed_and_nothing_else(tmp_path, board, key, stranger, signers):
    assert tell(board, Command("trust", text=signers.read_text()))["result"]["outcome"] == "unchanged"
    assert (board / "allowed_signers").stat().st_mode & 0o777 == 0o644
    plain = tiny_bundle(tmp_path, "2.0")
    before = current(board)
    evil = signed_bundle(plain, stranger, tmp_path / "evil.edgekit")
    for bundle, code in ((plain, "unsigned"), (evil, "unknown-signer")):
        assert (install("apply", board, bundle).code, install("apply", board, bundle).error["code"]) == (3, code)
        assert deploy(board, bundle)["error"]["code"] == code
        # Not even a manifest is asked for.
        assert not (board / "incoming").exists()
    assert current(board) == before
    assert journal_codes(board)[-1] == "refused-signature"
    good = signed_bundle(plain, key, tmp_path / "good.edgekit")
    assert deploy(board, good)["result"]["current"]["version"] == "2.0"
    assert install("status", board).status["signed_only"] is True


def test_a_signature_of_another_index_is_refused(tmp_path, board, key, signers):
    install("trust", board, signers)
    one = parts_of(signed_bundle(tiny_bundle(tmp_path, "2.0"), key, tmp_path / "one.edgekit"))
    other = tiny_bundle(tmp_path, "3.0")
    signature = json.loads(one.index)["annotations"][SIGNATURE_ANNOTATION]
    parts = parts_of(other)
    manifests = tuple(parts.blobs[each["digest"]] for each in json.loads(parts.index)["manifests"])
    forged = tmp_path / "forged.edgekit"
    contents = [content_of("blob", "blob", blob) for blob in parts.blobs.values()]
    write_layout(forged, index_bytes(manifests, signature), contents)
    refused = install("apply", board, forged)
    assert (refused.code, refused.error["code"]) == (3, "bad-signature")


def test_signers_that_cannot_be_read_let_nothing_in(tmp_path, board, signers):
    (board / "allowed_signers").symlink_to("nowhere")
    assert install("apply", board, tiny_bundle(tmp_path, "2.0")).code != 0
    assert install("status", board).status["signed_only"] is True
    assert install("trust", board, signers).error["code"] == "trusted-already"


def test_an_older_sequence_is_refused_where_signers_are_trusted(tmp_path, key, signers):
    root = tmp_path / "board"
    three, three_again = numbered(tmp_path, "1.3", 3, key), numbered(tmp_path, "1.3.1", 3, key)
    two = numbered(tmp_path, "1.2", 2, key)
    install("apply", root, three)
    # Without signers anyone may go back: there is nobody to say what is newer.
    assert install("apply", root, two).result["current"]["version"] == "1.2"
    assert install("status", root).status["sequences"] == {"app": 3}
    install("trust", root, signers)
    assert install("apply", root, three_again).result["current"]["version"] == "1.3.1"
    refused = install("apply", root, two, "--retry")
    assert (refused.code, refused.error["code"]) == (7, "older-sequence")
    assert "expected sequence 3 or higher, got 2" in refused.error["message"]
    assert journal_codes(root)[-1] == "refused-sequence"
    messages = parts_of(two).messages()
    assert tell(root, *messages[:3])["error"]["code"] == "older-sequence"
    assert current(root) == release_of(three_again)


def test_a_return_by_hand_stays_possible_and_does_not_lower_the_sequence(tmp_path, key, signers):
    root = tmp_path / "board"
    install("trust", root, signers)
    install("apply", root, numbered(tmp_path, "1.2", 2, key))
    install("apply", root, numbered(tmp_path, "1.3", 3, key))
    assert install("rollback", root).result["current"]["version"] == "1.2"
    assert install("status", root).status["sequences"] == {"app": 3}


def test_a_lost_state_does_not_let_older_bundles_in(tmp_path, key, signers):
    root = tmp_path / "board"
    install("trust", root, signers)
    install("apply", root, numbered(tmp_path, "1.3", 3, key))
    (root / "state.json").unlink()
    assert install("apply", root, numbered(tmp_path, "1.2", 2, key)).error["code"] == "older-sequence"


def test_sequences_are_of_each_application_for_itself(tmp_path):
    with open_bundle(pack(tmp_path / "b", tiny_contents(tmp_path), name="b", compats=[Compat(sequence=5)])) as bundle:
        manifest = bundle.packages[0].manifest
    state = with_sequence(InstallState(committed="a" * 64, sequences={"a": 9}), manifest)
    assert state == InstallState(committed="a" * 64, sequences={"a": 9, "b": 5})
    lower = dataclasses.replace(manifest, compat=Compat(sequence=4))
    assert with_sequence(state, lower) == state


def test_a_host_cannot_replace_whom_a_board_trusts(tmp_path, board, signers, stranger):
    install("trust", board, signers)
    others = allow(tmp_path / "others", ("you@example.org", stranger))
    refused = tell(board, Command("trust", text=others.read_text()))["error"]
    assert (refused["code"], refused["exit_code"]) == ("trusted-already", 1)
    assert "trust FILE --replace" in refused["hint"]
    assert (board / "allowed_signers").read_text() == signers.read_text()
    # The same once more is fine, and changes nothing.
    before = content(board)
    assert tell(board, Command("trust", text=signers.read_text()))["result"]["outcome"] == "unchanged"
    assert content(board) == before
    # Who stands at the board may.
    assert install("trust", board, others).error["code"] == "trusted-already"
    assert install("trust", board, others, "--replace").code == 0
    assert (board / "allowed_signers").read_text() == others.read_text()
    assert journal_codes(board)[-2:] == ["trust", "trust"]


def test_a_bare_board_can_be_given_signers_first(tmp_path, signers):
    installer = tmp_path / "installer.pyz"
    installer.write_bytes(installer_pack())
    root = tmp_path / "board"
    with conversation(root, installer=installer) as talk:
        talk.greeted()
        talk.say(Command("trust", text=signers.read_text()))
        assert talk.answer()["result"]["current"] is None
    assert (root / "installer.pyz").exists()
    assert install("apply", root, tiny_bundle(tmp_path, "1.0")).error["code"] == "unsigned"


def test_removal_leaves_whom_a_board_trusts_and_what_it_had(tmp_path, key, signers):
    root = tmp_path / "board"
    install("trust", root, signers)
    install("apply", root, numbered(tmp_path, "1.3", 3, key))
    done = install("remove", root)
    assert done.result["outcome"] == "removed"
    assert "allowed_signers was left" in done.lines[-2]["message"]
    assert sorted(path.name for path in root.iterdir()) == ["allowed_signers", "state.json"]
    assert install("apply", root, tiny_bundle(tmp_path, "9.0")).error["code"] == "unsigned"
    assert install("apply", root, numbered(tmp_path, "1.2", 2, key)).error["code"] == "older-sequence"
    assert install("apply", root, numbered(tmp_path, "1.4", 4, key)).code == 0


@pytest.mark.parametrize(
    "text",
    [
        f"me@example.org {KEY}\n",
        f"# who\n\nme@example.org {KEY} a comment of mine\n",
        f'*@example.org,!evil@example.org namespaces="edgekit-bundle" {KEY}\n',
        f'me namespaces="file,edgekit-*",valid-before="20300101" {KEY}\n',
        f'me cert-authority,namespaces="edgekit-bundl?" {KEY}\n',
        f'"me and you" {KEY}\r\n',
    ],
)
def test_files_of_signers_are_taken_as_ssh_keygen_takes_them(text):
    check_signers(text, "signers")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a line for each signer, got none"),
        ("# nobody\n \n", "expected a line for each signer, got none"),
        (KEY, "line 1: expected NAME"),
        (f"me@example.org {KEY}\nyou {KEY[:-60]}", "line 2: expected"),
        ("me ssh-ed25519 AAAA", "expected a key of type ssh-ed25519 in base64"),
        (f"me {KEY.replace('ssh-ed25519', 'ssh-rsa', 1)}", "expected a key of type ssh-rsa"),
        ("me ssh-ed25519 !!!!", "expected a key of type ssh-ed25519 in base64"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n", "line 1: expected NAME"),
        (f'me namespaces="git" {KEY}', "expected edgekit-bundle among its namespaces, got 'git'"),
        (f'me namespaces="*,!edgekit-bundle" {KEY}', "expected edgekit-bundle among its namespaces"),
        (f"me no;such {KEY}", "expected NAME"),
        (f"me {KEY}\n" * 2000, "expected at most 65536 bytes"),
        ("\ud800", "half a character"),
        ("<html>", "expected NAME"),
    ],
)
def test_what_is_no_file_of_signers_is_refused(text, reason):
    with pytest.raises(BadFileError, match=reason):
        check_signers(text, "signers")


def test_a_file_of_signers_that_is_none_changes_nothing(tmp_path, board):
    before = content(board)
    (tmp_path / "odd").write_bytes(b"\xff")
    (tmp_path / "none").write_text("")
    for name in ("odd", "none", "missing"):
        assert install("trust", board, tmp_path / name).code == 3
    assert tell(board, Command("trust", text=""))["error"]["exit_code"] == 3
    assert content(board) == before
