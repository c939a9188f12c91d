import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.manifest import INSTALLER_VERSION, BundleManifest, Compat, GoldenSpec
from device_runtime.contract.oci import index_bytes, manifest_bytes
from device_runtime.install.lock import using
from edgekit.bundling.layout import content_of, write_layout
from edgekit.bundling.wheel import device_wheel
from tests.support import bundles as made
from tests.support import small_disks
from tests.support.bundles import journal_codes, pack, release_of, tiny_bundle, tiny_contents
from tests.support.installing import command_line, content, current, environment, install, leftovers


def test_a_first_installation_makes_a_root_that_verifies(tmp_path, first):
    root = tmp_path / "board"
    done = install("apply", root, first)
    assert (done.code, done.result["outcome"]) == (0, "installed")
    assert done.result["current"]["version"] == "1.0"
    assert done.result["previous"] is None
    assert current(root) == release_of(first) == done.result["current"]["release"]
    assert (root / "current" / "model.tflite").read_bytes() == b"model1.0"
    assert leftovers(root) == []
    assert journal_codes(root) == ["installing", "trial", "committed"]
    assert install("verify", root).result["outcome"] == "intact"


def test_events_are_told_while_it_works(tmp_path, first):
    events = [line["event"] for line in install("apply", tmp_path / "board", first).lines[:-1]]
    assert set(events) == {"step", "progress"}


def test_the_same_bundle_again_does_nothing_and_says_so(board, first):
    before = content(board)
    done = install("apply", board, first)
    assert (done.code, done.result["outcome"], done.result["written_bytes"]) == (0, "unchanged", 0)
    assert content(board) == before


def test_an_update_writes_only_what_the_board_lacks(board, second):
    done = install("apply", board, second)
    assert done.result["outcome"] == "installed"
    assert (done.result["previous"]["version"], done.result["current"]["version"]) == ("1.0", "2.0")
    assert done.result["written_bytes"] == len(b"model2.0")


def test_a_bundle_made_for_a_board_leaves_out_what_is_there(board, tmp_path, bundles):
    contents = tiny_contents(bundles, version="2.0")
    wheel = contents[-1].ref.name
    slim = pack(tmp_path / "slim.edgekit", contents, version="2.0", leave_out=[wheel])
    assert install("apply", board, slim).code == 0
    refused = install("apply", tmp_path / "empty", slim)
    assert (refused.code, refused.error["code"]) == (3, "bad-file")
    assert "neither in the bundle nor on the board" in refused.error["message"]


@pytest.mark.parametrize(
    ("check", "code", "reason"),
    [
        (made.MISMATCH, "golden-mismatch", "expected at most 4 steps off, got 5"),
        (made.CRASH, "check-crashed", "killed by SIGSEGV"),
        (made.SILENT, "check-failed", "no verdict: warming up"),
        (made.MISSING_IMPORT, "check-failed", "No module named 'a_package_that_is_not_there'"),
        (made.HANG, "check-timeout", "did not end within 1 s"),
        ("print('{}')\n", "check-failed", "ended with 0 and no verdict"),
        ("while True: print('x' * 100000)\n", "check-timeout", "did not end within 1 s"),
    ],
)
def test_a_release_that_fails_its_check_is_never_switched_to(board, first, tmp_path, check, code, reason):
    bad = tiny_bundle(tmp_path, "6.6", check=check)
    done = install("apply", board, bad, *(["--check-timeout", "1"] if "timeout" in code else []))
    assert (done.code, done.error["code"]) == (7, code)
    assert reason in done.error["message"]
    assert "app 1.0 still runs" in done.error["message"]
    assert current(board) == release_of(first)
    assert "trial" not in journal_codes(board)[3:]
    assert install("verify", board).code == 0
    status = install("status", board).status
    assert [(entry["release"], entry["code"]) for entry in status["bad"]] == [(release_of(bad), code)]
    assert [release["role"] for release in status["releases"]] == ["current"]
    assert len(status["blobs"]) == 6


def test_a_release_that_fails_after_the_switch_is_rolled_back(board, first, tmp_path):
    bad = tiny_bundle(tmp_path, "6.6", check=made.OFF_IN_SERVICE)
    done = install("apply", board, bad)
    assert (done.code, done.error["code"]) == (7, "golden-mismatch")
    assert "was rolled back: sample 0" in done.error["message"]
    assert current(board) == release_of(first)
    assert journal_codes(board)[-3:] == ["installing", "trial", "golden-mismatch"]


def test_a_first_release_that_fails_leaves_nothing_running(tmp_path):
    root = tmp_path / "board"
    bad = tiny_bundle(tmp_path, "6.6", check=made.OFF_IN_SERVICE)
    done = install("apply", root, bad)
    assert done.code == 7
    assert "nothing runs now" in done.error["message"]
    assert not os.path.lexists(root / "current")
    assert install("status", root).status["current"] is None


def test_a_quarantined_release_is_refused_until_it_is_asked_for(board, tmp_path):
    flag = tmp_path / "mended"
    check = f"if not os.path.exists({str(flag)!r}):\n    raise SystemExit('not yet')\n{made.OK}"
    shy = tiny_bundle(tmp_path, "3.0", check=check)
    assert install("apply", board, shy).code == 7
    flag.touch()
    refused = install("apply", board, shy)
    assert (refused.code, refused.error["code"]) == (7, "quarantined")
    assert "not yet" in refused.error["message"]
    assert "--retry" in refused.error["hint"]
    assert install("apply", board, shy, "--retry").result["outcome"] == "installed"
    assert install("status", board).status["bad"] == []


def test_rollback_and_rollback_again_swap_two_releases(board, first, second):
    assert install("rollback", board).error["code"] == "no-previous"
    install("apply", board, second)
    back = install("rollback", board)
    assert (back.code, back.result["outcome"], back.result["current"]["version"]) == (0, "returned", "1.0")
    assert current(board) == release_of(first)
    assert install("rollback", board).result["current"]["version"] == "2.0"
    assert current(board) == release_of(second)


def test_a_rollback_to_a_damaged_release_is_refused(board, second):
    install("apply", board, second)
    model = (board / "previous" / "model.tflite").resolve()
    model.chmod(0o644)
    model.write_bytes(b"model0.0")
    refused = install("rollback", board)
    assert (refused.code, refused.error["code"]) == (7, "install-failed")
    assert "blob app.tflite is missing or altered" in refused.error["message"]
    assert current(board) == release_of(second)


def test_only_current_previous_and_what_is_used_are_kept(board, first, second, tmp_path):
    third, fourth = (tiny_bundle(tmp_path, version) for version in ("3.0", "4.0"))
    install("apply", board, second)
    with using(board / "releases" / release_of(first)):
        install("apply", board, third)
        kept = {release["release"] for release in install("status", board).status["releases"]}
        assert kept == {release_of(bundle) for bundle in (first, second, third)}
        assert (board / "releases" / release_of(first) / "model.tflite").read_bytes() == b"model1.0"
    install("apply", board, fourth)
    status = install("status", board).status
    assert {release["release"] for release in status["releases"]} == {release_of(third), release_of(fourth)}
    assert len(status["blobs"]) == 7
    assert len(list((board / "wheels").iterdir())) == 1


def test_damaged_parts_are_replaced_by_the_same_bundle(board, first):
    model = (board / "current" / "model.tflite").resolve()
    model.chmod(0o644)
    model.write_bytes(b"model!.0")
    source = next((board / "wheels").glob("*/device_runtime/__main__.py"))
    source.write_text("raise SystemExit(3)\n")
    (board / "current" / "paths.txt").write_text("/somewhere/else\n")
    broken = install("verify", board)
    assert broken.code == 3
    assert "and 2 more" in broken.error["message"]
    done = install("apply", board, first)
    assert (done.code, done.result["outcome"]) == (0, "repaired")
    assert install("verify", board).code == 0


def test_a_damaged_bundle_leaves_the_board_as_it_was(board, second, tmp_path):
    before = content(board)
    shutil.copytree(board, tmp_path / "copy", symlinks=True)
    whole = second.read_bytes()
    spoilt = tmp_path / "spoilt.edgekit"
    # One byte in each file of the tar: its header, its middle, its end.
    for block in range(0, len(whole) - 1024, 512):
        flipped = bytearray(whole)
        flipped[block] ^= 0x20
        spoilt.write_bytes(flipped)
        refused = install("apply", board, spoilt)
        # The wheel is on the board already and is not read again: the first byte of its blob may be anything.
        if refused.code == 0:
            assert refused.result["outcome"] == "installed"
            shutil.rmtree(board)
            shutil.copytree(tmp_path / "copy", board, symlinks=True)
            continue
        assert refused.code == 3, (block, refused.error)
        assert content(board) == before


@pytest.mark.parametrize(
    ("compat", "message"),
    [
        (Compat(machine="riscv128"), "expected machine riscv128"),
        (Compat(python="cp27"), "expected python cp27"),
        (Compat(glibc="99.1"), "expected glibc 99.1 or newer"),
        (Compat(installer=99), "needs installer 99"),
    ],
)
def test_a_bundle_for_another_board_is_refused_before_anything_is_written(board, tmp_path, compat, message):
    other = pack(tmp_path / "other.edgekit", tiny_contents(tmp_path, version="5.0"), version="5.0", compats=[compat])
    before = content(board)
    refused = install("apply", board, other)
    assert (refused.code, refused.error["code"]) == (6, "unfit")
    assert message in refused.error["message"]
    assert content(board) == before


def test_of_several_platforms_the_one_made_for_this_machine_is_taken(tmp_path):
    machine = os.uname().machine
    compats = [Compat(), Compat(machine=machine), Compat(machine="riscv128")]
    both = pack(tmp_path / "both.edgekit", tiny_contents(tmp_path), compats=compats)
    root = tmp_path / "board"
    assert install("apply", root, both).code == 0
    assert f'"machine": "{machine}"' in (root / "current" / "manifest.json").read_text()


def test_a_refused_bundle_leaves_not_even_a_folder(tmp_path):
    bad = tmp_path / "bad.edgekit"
    bad.write_bytes(b"no bundle")
    for path in (bad, tmp_path / "none.edgekit"):
        assert install("apply", tmp_path / "board", path).code == 3
        assert not (tmp_path / "board").exists()


def test_a_second_installer_is_refused_or_waits(board, second, tmp_path):
    go = tmp_path / "go"
    slow = tiny_bundle(tmp_path, "3.0", check=f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n{made.OK}")
    with subprocess.Popen(
        command_line("apply", board, slow), stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        for line in process.stdout:
            if "before the switch" in line:
                break
        refused = install("apply", board, second)
        assert (refused.code, refused.error["code"]) == (1, "busy")
        assert install("rollback", board).error["code"] == "busy"
        seen = install("status", board)
        assert (seen.code, seen.status["busy"], seen.status["current"]["version"]) == (0, True, "1.0")
        go.touch()
        waited = install("apply", board, second, "--wait", "60")
        process.stdout.read()
    assert process.returncode == 0
    assert (waited.code, waited.result["current"]["version"], waited.result["previous"]["version"]) == (0, "2.0", "3.0")
    assert install("verify", board).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_installer_told_to_stop_in_a_check_ends_it_and_goes_back(board, first, tmp_path, number):
    pid = tmp_path / "pid"
    told = f"open({str(pid)!r}, 'w').write(str(os.getpid()))"
    check = f"if sys.argv[3].endswith('current'):\n    {told}\n    time.sleep(600)\n"
    hanging = tiny_bundle(tmp_path, "3.0", check=check + made.OK)
    with subprocess.Popen(command_line("apply", board, hanging), stdout=subprocess.PIPE, env=environment()) as process:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.02)
        process.send_signal(number)
        process.stdout.read()
    assert process.returncode == 130
    assert not Path("/proc", pid.read_text()).exists()
    assert current(board) == release_of(first)
    assert leftovers(board) == []
    assert install("status", board).status["bad"] == []


def test_an_installer_whose_listener_goes_away_finishes_its_work(board, second):
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(command_line("apply", board, second), stdout=writer, env=environment()) as process:
        os.close(writer)
    assert process.returncode == 0
    assert current(board) == release_of(second)


def test_too_little_space_is_said_before_anything_is_written(tmp_path, small_disk, bundles):
    big = tiny_contents(bundles, version="9.0", model=bytes(3_000_000))
    bundle = pack(tmp_path / "big.edgekit", big, version="9.0")
    root = small_disk / "board"
    refused = install("apply", root, bundle)
    assert (refused.code, refused.error["code"]) == (6, "disk-full")
    assert "needs 4" in refused.error["message"]
    assert "bytes free" in refused.error["message"]
    assert leftovers(root) == []
    assert install("status", root).status["releases"] == []


def written_by_another(folder, change):
    """Write a bundle whose config ``change`` turned into one of another edgekit."""
    contents = tiny_contents(folder)
    blobs = tuple(content.ref for content in contents)
    data = json.loads(dumps(BundleManifest("app", "1.0", blobs, golden=GoldenSpec(count=1))))
    change(data)
    config = json.dumps(data).encode()
    manifest = manifest_bytes(config, blobs)
    frame = [content_of("config", "config", config), content_of("manifest", "manifest", manifest)]
    write_layout(folder / "other.edgekit", index_bytes((manifest,)), [*contents, *frame])
    return folder / "other.edgekit"


def test_a_bundle_of_an_older_edgekit_is_installed(tmp_path):
    def older(config):
        config["compat"] = {"machine": "any", "python": "any"}
        del config["golden"], config["schema"]

    assert install("apply", tmp_path / "board", written_by_another(tmp_path, older)).code == 0


def test_what_a_newer_edgekit_adds_to_a_bundle_is_ignored_until_it_says_that_it_matters(tmp_path):
    def newer(config):
        config["colour"] = "red"
        config["compat"]["camera"] = {"wanted": True}

    assert install("apply", tmp_path / "board", written_by_another(tmp_path, newer)).code == 0

    def matters(config):
        config["blobs"] = "of another form"
        config["compat"] = {"installer": INSTALLER_VERSION + 1}

    refused = install("apply", tmp_path / "board", written_by_another(tmp_path, matters))
    assert (refused.code, refused.error["code"]) == (6, "unfit")
    assert f"needs installer {INSTALLER_VERSION + 1} or newer" in refused.error["message"]


def test_the_state_of_an_older_installer_is_read(board, first):
    state = json.loads((board / "state.json").read_text())
    del state["checksum"]
    for name in ("sequences", "safe_mode", "checksum"):
        state.pop(name, None)
    (board / "state.json").write_text(json.dumps(state))
    assert install("status", board).status["current"]["release"] == release_of(first)


def test_a_stray_blob_that_is_needed_after_all_is_written_again_when_room_was_made(tmp_path):
    reason = small_disks.why_not()
    if reason:
        pytest.skip(reason)
    contents = tiny_contents(tmp_path, model=bytes(1_000_000))
    bundle = pack(tmp_path / "app.edgekit", contents)
    small_disks.make_disk(tmp_path / "image")
    with small_disks.mounted(tmp_path / "image", tmp_path / "disk") as disk:
        store = disk / "board" / "blobs" / "sha256"
        store.mkdir(parents=True)
        (store / contents[0].ref.hex).write_bytes(contents[0].source)
        stray = store / ("c" * 64)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        stray.write_bytes(bytes(free - 500_000))
        assert install("apply", disk / "board", bundle).result["outcome"] == "installed"
        assert not stray.exists()
        assert install("verify", disk / "board").code == 0


def test_a_file_size_limit_leaves_the_old_release_and_no_leftovers(board, first, tmp_path):
    big = pack(tmp_path / "big.edgekit", tiny_contents(tmp_path, version="9.0", model=bytes(200_000)), version="9.0")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    refused = install("apply", board, big, preexec_fn=limit)
    assert refused.code == 1
    assert "cannot write" in refused.error["message"]
    assert current(board) == release_of(first)
    assert leftovers(board) == []


def test_a_root_that_cannot_be_written_is_an_error_in_words(tmp_path, first):
    (tmp_path / "file").write_text("")
    refused = install("apply", tmp_path / "file" / "board", first)
    assert refused.code == 1
    assert "cannot write" in refused.error["message"]


def test_the_installer_runs_under_python_3_9(tmp_path):
    python = shutil.which("python3.9")
    works = python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    if not works:
        known = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))
        if not known:
            pytest.skip("python3.9 is not installed")
        python = str(known[0])
    root = tmp_path / "board"
    one, two = tiny_bundle(tmp_path, "1.0"), tiny_bundle(tmp_path, "2.0")
    assert install("apply", root, one, python=python).code == 0
    assert install("apply", root, two, python=python).result["previous"]["version"] == "1.0"
    assert install("rollback", root, python=python).result["current"]["version"] == "1.0"
    assert install("verify", root, python=python).code == 0
    assert install("status", root, python=python).status["facts"]["python"] == "cp39"


def test_the_installer_runs_from_a_wheel_that_is_not_unpacked(tmp_path, first):
    wheel = device_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    # With no site-packages, so that nothing else of ours can be imported.
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-m", "device_runtime.install", "apply", "--root", tmp_path / "board", first],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path / wheel.name)},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert current(tmp_path / "board") == release_of(first)
