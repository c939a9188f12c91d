import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.manifest import INSTALLER_VERSION, BundleManifest, Compat, SystemPackage
from device_runtime.contract.oci import digest_of, index_bytes, manifest_bytes
from device_runtime.contract.session import GREETING, Apply, Blob, Command, Index, Installer
from device_runtime.errors import Interrupted
from device_runtime.install.application import CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.host import Host
from device_runtime.install.root import Root
from device_runtime.install.session import converse
from device_runtime.install.site import Site
from device_runtime.signals import interrupt_on
from edgekit.bundling.installer_pack import installer_pack
from tests.support import bundles as made
from tests.support.bundles import journal_codes, pack, release_of, tiny_bundle, tiny_contents
from tests.support.conversing import Parts, conversation, deploy, parts_of, wire
from tests.support.installing import current, install
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def installer(tmp_path_factory):
    """The installer as a host sends it."""
    path = tmp_path_factory.mktemp("installer") / "installer.pyz"
    path.write_bytes(installer_pack())
    return path


def pythons():
    """Return this Python, and 3.9 where there is one that works."""
    known = [*Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"), Path(shutil.which("python3.9") or "/nowhere")]
    works = [path for path in known if path.exists() and not subprocess.run([path, "-c", ""], check=False).returncode]
    return [sys.executable, *map(str, works[:1])]


def test_asking_a_bare_board_leaves_nothing_there(tmp_path, installer):
    with conversation(tmp_path / "board", installer=installer) as talk:
        status = talk.greeted()
        assert talk.hang_up() == 0
    assert (status["current"], status["blobs"], status["scope"]) == (None, [], "local")
    assert status["installer_digest"] == digest_of(installer.read_bytes())
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("python", pythons())
def test_a_first_deployment_and_an_update_over_one_connection_each(tmp_path, installer, first, second, python):
    root = tmp_path / "board"
    options = {"installer": installer, "python": python}
    assert deploy(root, first, **options)["result"]["outcome"] == "installed"
    assert current(root) == release_of(first)
    assert (root / "installer.pyz").read_bytes() == installer.read_bytes()
    assert not (root / "incoming").exists()
    with conversation(root, **options) as talk:
        status = talk.greeted()
        assert (status["current"]["version"], status["scope"], status["incoming"]) == ("1.0", "local", {})
        assert [entry["code"] for entry in status["journal"]] == ["installing", "trial", "committed"]
        talk.say(*parts_of(second).messages(status["blobs"]))
        result = talk.answer()["result"]
    assert (result["outcome"], result["written_bytes"]) == ("installed", len(b"model2.0"))
    assert (result["current"]["version"], result["previous"]["version"]) == ("2.0", "1.0")
    # The board itself goes on with what it got.
    words = [python, "-I", root / "installer.pyz", "verify", "--root", root]
    assert subprocess.run(words, env={}, cwd="/", check=False, capture_output=True).returncode == 0


def test_what_came_is_not_on_the_disk_twice(tmp_path, first):
    root = tmp_path / "board"
    parts = parts_of(first)
    with conversation(root) as talk:
        talk.greeted()
        *messages, apply = parts.messages()
        talk.say(*messages)
        model = root / "incoming" / "blobs" / "sha256" / next(iter(parts.blobs)).split(":")[1]
        wait_for(model.exists)
        # All of it: the last one is renamed when it is whole.
        wait_for(lambda: len([path for path in model.parent.iterdir() if len(path.name) == 64]) == len(parts.blobs))
        files = {path.stat().st_ino: path.name for path in model.parent.iterdir()}
        talk.say(apply)
        assert talk.answer()["result"]["outcome"] == "installed"
    stored = {path.name: path.stat() for path in (root / "blobs" / "sha256").iterdir()}
    assert stored
    assert {name: status.st_ino for name, status in stored.items()} == {
        name: inode for inode, name in files.items() if name in stored
    }
    assert {status.st_mode & 0o777 for status in stored.values()} == {0o444}


def test_another_installer_takes_over_without_touching_the_disk(tmp_path, installer, first):
    root = tmp_path / "board"
    content = installer.read_bytes()
    packed = zlib.compress(content)
    with conversation(root, "--check-timeout", "50") as talk:
        assert talk.greeted()["installer_digest"] == ""  # from sources
        talk.say((Installer(digest_of(content), len(content), len(packed)), packed), *parts_of(first).messages())
        assert talk.greeted()["installer_digest"] == digest_of(content)
        assert talk.answer()["result"]["outcome"] == "installed"
    assert (root / "installer.pyz").read_bytes() == content


@pytest.mark.parametrize(
    ("size", "sent", "reason"),
    [
        (4, zlib.compress(b"evil"), "altered on its way"),
        (4, b"evil", "altered on its way"),
        (4, zlib.compress(bytes(1 << 20)), "altered on its way"),
        (5, zlib.compress(b"evil"), "altered on its way"),
        (0, b"evil", "expected 1 to"),
        (1 << 40, b"evil", "expected 1 to"),
        (-1, b"evil", "expected 1 to"),
        (4, b"", "expected 1 to"),
    ],
)
def test_an_installer_that_is_not_what_was_said_is_not_run(tmp_path, size, sent, reason):
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.say((Installer("sha256:" + "0" * 64, size, len(sent)), sent))
        error = talk.answer()["error"]
        assert reason in error["message"]
        assert talk.hang_up() == error["exit_code"] == 3


def versioned(content: bytes, version: int, path: Path) -> bytes:
    """Return an installer that says it is another one."""
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"edgekit-installer %d" % version
    return path.read_bytes()


def test_an_older_installer_does_not_replace_a_newer_one(tmp_path, installer, first, second):
    root = tmp_path / "board"
    deploy(root, first, installer=installer)
    newer = versioned(installer.read_bytes(), INSTALLER_VERSION + 1, tmp_path / "newer")
    (root / "installer.pyz").write_bytes(newer)
    assert deploy(root, second, installer=installer)["result"]["outcome"] == "installed"
    assert (root / "installer.pyz").read_bytes() == newer


@pytest.mark.parametrize("damage", [b"", b"PK", b"not a zip" * 1000])
def test_a_damaged_installer_on_the_board_is_replaced(tmp_path, installer, first, second, damage):
    root = tmp_path / "board"
    deploy(root, first, installer=installer)
    (root / "installer.pyz").write_bytes(damage)
    assert deploy(root, second, installer=installer)["result"]["outcome"] == "installed"
    assert (root / "installer.pyz").read_bytes() == installer.read_bytes()


def test_a_root_of_a_newer_installer_is_left_alone(tmp_path, installer, first):
    root = tmp_path / "board"
    deploy(root, first)
    (root / "state.json").write_text('{"schema": 99}')
    with conversation(root, installer=installer) as talk:
        assert talk.line() == GREETING
        assert "written by a newer installer" in talk.answer()["error"]["message"]
        assert talk.hang_up() == 3
    assert (root / "state.json").read_text() == '{"schema": 99}'


@pytest.mark.parametrize("compat", [Compat(machine="pdp11"), Compat(memory_bytes=1 << 60)])
def test_what_does_not_fit_is_refused_before_its_blobs_come(tmp_path, compat):
    other = pack(tmp_path / "other.edgekit", tiny_contents(tmp_path), compats=[compat])
    messages = parts_of(other).messages()
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.say(*messages[:3])  # the index, the manifest and the config
        error = talk.answer()["error"]
    assert (error["code"], error["exit_code"]) == ("unfit", 6)


def test_a_bundle_for_a_newer_installer_is_refused_before_its_blobs_come(tmp_path):
    blobs = tuple(content.ref for content in tiny_contents(tmp_path))
    config = dumps(BundleManifest("app", "1.0", blobs, Compat(installer=INSTALLER_VERSION + 1))).encode()
    manifest = manifest_bytes(config, blobs)
    frame = Parts(index_bytes((manifest,)), {digest_of(content): content for content in (manifest, config)})
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.say(*frame.messages()[:3])
        error = talk.answer()["error"]
    assert (error["code"], error["exit_code"]) == ("unfit", 6)
    assert f"needs installer {INSTALLER_VERSION + 1} or newer" in error["message"]


def test_missing_packages_of_the_system_are_named_with_what_brings_them(tmp_path, installer):
    compat = Compat(system_packages=(SystemPackage("json", "python3"), SystemPackage("nowhere", "python3-nowhere")))
    other = pack(tmp_path / "other.edgekit", tiny_contents(tmp_path), compats=[compat])
    error = deploy(tmp_path / "board", other, installer=installer)["error"]
    assert (error["code"], error["exit_code"]) == ("missing-packages", 6)
    assert "lacks what the system has to bring: nowhere" in error["message"]
    assert error["hint"].endswith("sudo apt install python3-nowhere")
    assert install("apply", tmp_path / "board", other).error["code"] == "missing-packages"


def test_a_release_that_fails_says_why_over_the_connection(tmp_path, first):
    root = tmp_path / "board"
    deploy(root, first)
    bad = tiny_bundle(tmp_path, "6.6", check=made.MISMATCH)
    error = deploy(root, bad)["error"]
    assert (error["code"], error["exit_code"]) == ("golden-mismatch", 7)
    assert deploy(root, bad)["error"]["code"] == "quarantined"
    with conversation(root) as talk:
        status = talk.greeted()
        *messages, _ = parts_of(bad).messages(status["blobs"], status["incoming"])
        talk.say(*messages, Apply(retry=True))
        assert talk.answer()["error"]["code"] == "golden-mismatch"
    assert current(root) == release_of(first)


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"hello\n", "expected a line of JSON"),
        (b"\n", "expected a line of JSON"),
        (b"\xff\xfe\n", "expected UTF-8"),
        (b"[" * 200_000 + b"\n", "expected a line of JSON"),
        (b"x" * (1 << 20) + b"x", "expected a line of at most"),
        (b'{"apply": {}}\n', "expected the bundle's index before"),
        (b'{"blob": {"digest": "sha256:' + b"a" * 64 + b'", "size": 1}}\n', "expected the bundle's index before"),
        (b'{"blob": {"digest": "../../etc", "size": 1}}\n', "expected sha256:<64 hex digits>"),
        (b'{"index": {"digest": "sha256:' + b"a" * 64 + b'", "size": 99999999999}}\n', "expected at most"),
        (b'{"index": {"digest": "sha256:' + b"a" * 64 + b'", "size": -1}}\n', "expected 0 or more"),
        (b'{"index": {"digest": "sha256:' + b"a" * 64 + b'", "size": 2}}\n{}', "altered on its way"),
        (b'{"command": {"name": "format"}}\n', "expected one of logs, recover, remove, rollback, trust, verify"),
    ],
)
def test_garbage_ends_the_conversation_in_words(tmp_path, garbage, reason):
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.send(garbage)
        error = talk.answer()["error"]
        assert reason in error["message"]
        assert talk.hang_up() == error["exit_code"] in (2, 3)
    assert not (tmp_path / "board").exists()


def test_an_index_that_is_none_is_refused_although_its_digest_is_right(tmp_path):
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.say((Index(digest_of(b"{}"), 2), b"{}"))
        assert talk.answer()["error"]["exit_code"] == 3
    assert not (tmp_path / "board").exists()


def test_a_transfer_that_is_cut_anywhere_goes_on_where_it_stopped(tmp_path):
    bundle = pack(tmp_path / "app.edgekit", tiny_contents(tmp_path, model=os.urandom(40_000)))
    parts = parts_of(bundle)
    whole = wire(parts.messages())
    for cut in [1, 40, *range(700, len(whole), 4999), len(whole) - 40]:
        root = tmp_path / f"board-{cut}"
        with conversation(root) as talk:
            talk.greeted()
            talk.send(whole[:cut])
            assert talk.hang_up() in (0, 1), cut
        with conversation(root) as talk:
            status = talk.greeted()
            rest = parts.messages(status["blobs"], status["incoming"])
            # All that was sent had come, but for a request that was cut.
            assert len(wire(rest)) <= len(whole) - cut + len(parts.index) + 1500, cut
            talk.say(*rest)
            assert talk.answer()["result"]["outcome"] == "installed", cut
        assert install("verify", root).code == 0
        assert (root / "current" / "model.tflite").stat().st_size == 40_003


@pytest.mark.parametrize("cut_back", [1, 7])
def test_a_request_that_is_cut_is_an_error_and_changes_nothing(tmp_path, cut_back):
    with conversation(tmp_path / "board") as talk:
        talk.greeted()
        talk.send(wire([(Command("verify"), b"")])[:-cut_back])
        assert talk.hang_up() == 1
    assert not (tmp_path / "board").exists()


def test_an_installation_goes_on_when_the_host_goes_away(tmp_path, first):
    root = tmp_path / "board"
    with conversation(root) as talk:
        talk.greeted()
        talk.say(*parts_of(first).messages())
        talk.process.stdout.close()
        talk.process.stdin.close()
        assert talk.process.wait(60) == 0
    assert current(root) == release_of(first)
    assert journal_codes(root)[-1] == "committed"


def test_two_hosts_at_once_one_waits_and_both_are_answered(tmp_path, first, second):
    root = tmp_path / "board"
    deploy(root, first)
    parts = parts_of(second)
    *messages, apply = parts.messages()
    with conversation(root) as one, conversation(root) as other:
        one.greeted()
        other.greeted()
        one.say(*messages[:2])
        wait_for((root / "incoming" / "index.json").exists)
        other.say(*parts.messages())
        assert "another host is sending" in other.line()
        one.say(*messages[2:], apply)
        assert one.answer()["result"]["outcome"] == "installed"
        assert other.answer()["result"]["outcome"] == "unchanged"
    assert current(root) == release_of(second)


def test_an_installer_at_work_is_waited_for_as_long_as_was_asked(tmp_path, first, second):
    root = tmp_path / "board"
    deploy(root, first)
    with (root / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with conversation(root) as talk:
            status = talk.greeted()
            assert status["busy"]
            talk.say(*parts_of(second).messages(status["blobs"]))
            assert talk.answer()["error"]["code"] == "busy"
    # What came is kept: nothing is sent once more.
    with conversation(root) as talk:
        status = talk.greeted()
        assert set(status["incoming"]) >= set(parts_of(second).blobs) - set(status["blobs"])
        talk.say(*parts_of(second).messages(status["blobs"], status["incoming"]))
        assert talk.answer()["result"]["outcome"] == "installed"


def test_other_commands_are_run_for_a_host(tmp_path, first, second):
    root = tmp_path / "board"
    deploy(root, first)
    deploy(root, second)
    expected = {"verify": "intact", "rollback": "returned", "recover": "recovered", "logs": "unchanged"}
    for name, outcome in [*expected.items(), ("remove", "removed")]:
        with conversation(root) as talk:
            talk.greeted()
            talk.say(Command(name))
            assert talk.answer()["result"]["outcome"] == outcome
            assert talk.hang_up() == 0
    assert not root.exists()


def test_blobs_that_no_release_names_are_not_told_unless_they_are_whole(tmp_path, first):
    root = tmp_path / "board"
    deploy(root, first)
    store = root / "blobs" / "sha256"
    content = b"left by a power cut"
    whole = digest_of(content)
    (store / whole.split(":")[1]).write_bytes(content)
    (store / ("b" * 64)).write_bytes(b"")
    (root / "current" / "model.tflite").resolve().unlink()
    with conversation(root) as talk:
        told = talk.greeted()["blobs"]
    assert whole in told
    assert "sha256:" + "b" * 64 not in told
    # One blob that the current release names is gone: it would be sent.
    assert len(told) == 6
    assert deploy(root, first)["result"]["outcome"] == "repaired"


def test_a_blob_of_an_odd_offset_is_refused(tmp_path, first):
    parts = parts_of(first)
    index, *blobs, _ = parts.messages()
    for offset in (-1, 1, 10**9):
        with conversation(tmp_path / "board") as talk:
            talk.greeted()
            talk.say(index, Blob(blobs[0][0].digest, blobs[0][0].size, offset))
            assert talk.answer()["error"]["code"] in ("bad-file", "resume-mismatch")


class Talkative(CheckedApplication):
    """An application whose log never ends."""

    def logs(self, lines, follow):
        yield f"the last {lines}"
        while follow:
            time.sleep(0.01)
            yield "and one more"


def test_a_log_that_is_followed_ends_when_the_host_hangs_up(tmp_path):
    heard, said = os.pipe()
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        os.close(told)
        interrupt_on(signal.SIGTERM)
        with os.fdopen(tells, "w", buffering=1) as out:

            def say(line):
                out.write(line + "\n")

            site = Site(
                Root(tmp_path), Talkative(), FileSystem(), lambda event: say(f"{type(event).__name__}: {event.text}")
            )
            try:
                converse(site, Host(heard), say, [])
            except Interrupted:
                os._exit(130)
            os._exit(1)
    os.close(heard)
    os.close(tells)
    with os.fdopen(told) as lines:
        os.write(said, wire([(Command("logs", lines=7, follow=True), b"")]))
        while "and one more" not in (line := lines.readline()):
            assert line
        os.close(said)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
