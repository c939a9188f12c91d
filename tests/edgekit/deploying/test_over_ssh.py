"""Deployments over a real sshd on loopback, into a folder of its machine."""

import os
import signal
import subprocess
import sys
import zlib

import pytest

from device_runtime.install.layout import open_bundle
from edgekit.bundling.installer_pack import installer_pack
from tests.support.bundles import MISMATCH, OK, pack, tiny_bundle, tiny_contents
from tests.support.cut_line import CutLine
from tests.support.installing import current, environment, leftovers
from tests.support.ssh_server import ssh_server
from tests.support.waiting import wait_for

MODEL_BYTES = 3_000_000
pytestmark = pytest.mark.usefixtures("configured")


def sizes(bundle, *roles):
    """Return the bytes of a bundle's blobs of some roles."""
    with open_bundle(bundle) as opened:
        blobs = {blob.digest: blob for blob in opened.packages[0].manifest.blobs}.values()
    return sum(blob.size for blob in blobs if not roles or blob.role in roles)


def heavy(folder, version="1.0", **options):
    """Write a bundle with a model of some size."""
    return pack(
        folder / f"app-{version}.edgekit",
        tiny_contents(folder, version=version, model=os.urandom(MODEL_BYTES)),
        version=version,
        **options,
    )


def test_first_deploy_unchanged_redeploy_and_a_new_model(edgekit, board, tmp_path):
    bundle = tiny_bundle(tmp_path, "1.0")
    first = edgekit.ok("deploy", bundle, board, "--json").json
    assert (first["result"]["outcome"], first["exchanges"]) == ("installed", 3)
    # The installer went there because the board asked for it, before there was a plan.
    assert first["plan"]["installer_bytes"] == 0
    assert first["sent_bytes"] > sizes(bundle) + len(zlib.compress(installer_pack(), 9))
    again = edgekit.ok("deploy", bundle, board, "--json").json
    assert (again["result"]["outcome"], again["exchanges"], again["sent_bytes"]) == ("unchanged", 1, 0)
    assert "unchanged" in edgekit.ok("deploy", bundle, board).out
    model = heavy(tmp_path, "2.0")
    update = edgekit.ok("deploy", model, board, "--json").json
    assert (update["result"]["outcome"], update["exchanges"]) == ("installed", 2)
    assert [upload["blob"]["role"] for upload in update["plan"]["uploads"]] == ["model"]
    assert sizes(model, "model") < update["sent_bytes"] < sizes(model, "model") + 10_000
    status = edgekit.ok("releases", board, "--json").json
    assert (status["current"]["version"], status["previous"]["version"]) == ("2.0", "1.0")
    assert "app 1.0 runs now" in edgekit.ok("rollback", board).out


def test_asking_a_bare_board_leaves_nothing_there(edgekit, board, tmp_path):
    planned = edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), board, "--dry-run")
    assert "would install app 1.0" in planned.out
    assert "device_runtime-" in planned.out
    assert edgekit("status", board).code == 1
    assert "no release installed" in edgekit.ok("releases", board).out
    assert not (tmp_path / "far").exists()


def test_the_users_scope_is_where_the_login_keeps_its_data(edgekit, tmp_path, tmp_path_factory, monkeypatch):
    with ssh_server(tmp_path_factory.mktemp("user"), f"SetEnv XDG_DATA_HOME={tmp_path}/data") as machine:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(machine.config))
        status = edgekit("status", machine.target, "--scope", "user", "--json").json["status"]
    assert (status["root"], status["scope"]) == (f"{tmp_path}/data/edgekit", "user")
    assert not (tmp_path / "data").exists()


def test_a_release_that_fails_there_is_told_with_its_reason_and_what_runs_still(edgekit, board, tmp_path):
    edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), board)
    bad = tiny_bundle(tmp_path, "2.0", check=MISMATCH)
    refused = edgekit("deploy", bad, board, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (7, "golden-mismatch")
    assert "expected at most 4 steps off, got 5" in refused.json["error"]["message"]
    assert "app 1.0 still runs" in refused.json["error"]["message"]
    again = edgekit("deploy", bad, board)
    assert (again.code, "failed on this board" in again.err, "--retry" in again.err) == (7, True, True)
    assert "(golden-mismatch)" in edgekit("status", board).out
    assert edgekit("deploy", bad, board, "--retry").code == 7


def test_a_noisy_login_shell_in_another_language_is_no_hindrance(edgekit, tmp_path, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("noisy")
    noise = folder / "noise"
    noise.write_text(
        "#!/bin/sh\nprintf 'Willkommen \\303\\244\\033[1m\\n{}\\n'; echo 'sag was' >&2\n"
        "printf 'eine halbe Zeile'\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n"
    )
    noise.chmod(0o755)
    with ssh_server(folder, f"ForceCommand {noise}", "SetEnv LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8") as loud:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(loud.config))
        target = loud.folder_target(tmp_path / "far")
        done = edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), target, "--json").json
        assert (done["result"]["outcome"], done["exchanges"]) == ("installed", 3)
        assert edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), target, "--json").json["exchanges"] == 1


def test_a_login_without_a_shell_is_told_with_what_it_said(edgekit, tmp_path_factory, monkeypatch):
    with ssh_server(
        tmp_path_factory.mktemp("closed"), "ForceCommand echo 'This account is not available.' >&2; exit 1"
    ) as shut:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(shut.config))
        refused = edgekit("status", shut.target)
    assert (refused.code, "This account is not available." in refused.err) == (5, True)


def test_a_transfer_that_is_cut_goes_on_where_it_stopped(edgekit, server, tmp_path):
    bundle = heavy(tmp_path)
    size = sizes(bundle)
    with CutLine(server.port) as line:
        server.know(line.port)
        target = server.folder_target(tmp_path / "far", line.port)
        direct = server.folder_target(tmp_path / "far")
        came = 0
        for line.limit in (300, 20_000, 300_000, 700_000, 1_500_000, 900_000):
            cut = edgekit("deploy", bundle, target)
            assert cut.code == 5, cut.err
            assert current(tmp_path / "far") is None
            before, came = came, sum(edgekit("status", direct, "--json").json["status"]["incoming"].values())
            assert came >= before
        assert came > MODEL_BYTES / 2
        line.limit = None
        done = edgekit.ok("deploy", bundle, target, "--json").json
    assert done["result"]["outcome"] == "installed"
    assert done["plan"]["upload_bytes"] < size - came + 10_000
    # All that went over the line in seven connections, with an installer in each.
    assert line.carried < size + 7 * (len(installer_pack()) + 100_000)
    assert leftovers(tmp_path / "far") == []


@pytest.mark.parametrize("before_end", [1, 2_000])
def test_a_line_that_is_cut_near_the_end_leaves_the_old_release_or_the_new_one(edgekit, server, tmp_path, before_end):
    old, new = tiny_bundle(tmp_path, "1.0"), heavy(tmp_path, "2.0")
    with CutLine(server.port) as line:
        server.know(line.port)
        target = server.folder_target(tmp_path / "far", line.port)
        edgekit.ok("deploy", old, target)
        line.carried = 0
        edgekit.ok("deploy", new, target)
        whole = line.carried
        edgekit.ok("rollback", target)
        edgekit.ok("remove", target, "--yes")
        edgekit.ok("deploy", old, target)
        line.limit = whole - before_end
        edgekit("deploy", new, target)
        line.limit = None
        direct = server.folder_target(tmp_path / "far")
        status = wait_for(lambda: idle(edgekit, direct))
        assert status["current"]["version"] in ("1.0", "2.0")
        edgekit.ok("deploy", new, target)
    assert leftovers(tmp_path / "far") == []


def idle(edgekit, target):
    """Return a board's status when no installer is at work, else None."""
    status = edgekit("status", target, "--json").json["status"]
    return None if status["busy"] else status


def test_hosts_that_are_unknown_or_another_are_refused_with_the_remedy(edgekit, server, board, tmp_path, monkeypatch):
    other = tmp_path / "known_hosts"
    config = tmp_path / "ssh_config"
    config.write_text(server.config.read_text().replace(str(server.known_hosts), str(other)))
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(config))
    bundle = tiny_bundle(tmp_path, "1.0")
    other.write_text("")
    unknown = edgekit("deploy", bundle, board)
    assert (unknown.code, "not known yet" in unknown.err, "compare the fingerprint" in unknown.err) == (5, True, True)
    other.write_text(server.new_host_key())
    rotated = edgekit("deploy", bundle, board)
    assert (rotated.code, "not the one that is known" in rotated.err, "ssh-keygen -R" in rotated.err) == (5, True, True)
    other.write_text(server.known_hosts.read_text())
    config.write_text(
        config.read_text().replace(f"IdentityFile {server.folder}/user", f"IdentityFile {server.folder}/other")
    )
    stranger = edgekit("deploy", bundle, board)
    assert (stranger.code, "did not let us in" in stranger.err, "ssh-copy-id" in stranger.err) == (5, True, True)
    nobody = edgekit("deploy", bundle, "ssh://127.0.0.1:1")
    assert (nobody.code, "nothing listens" in nobody.err) == (5, True)
    assert not (tmp_path / "far").exists()


def test_a_board_behind_another_machine_is_reached_as_the_users_configuration_says(
    edgekit, server, tmp_path, tmp_path_factory, monkeypatch
):
    with ssh_server(tmp_path_factory.mktemp("jump")) as jump:
        config = tmp_path / "ssh_config"
        config.write_text(
            f"Host far\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyJump jump\n"
            f"  IdentityFile {server.folder}/user\n  UserKnownHostsFile {server.known_hosts}\n"
            f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n"
            f"  IdentityFile {jump.folder}/user\n  UserKnownHostsFile {jump.known_hosts}\n"
            "Host *\n  IdentitiesOnly yes\n  GlobalKnownHostsFile /dev/null\n"
        )
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(config))
        edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), f"ssh://far{tmp_path}/far")
        assert "Accepted publickey" in jump.log.read_text()
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    assert edgekit.ok("verify", "--target", server.folder_target(tmp_path / "far")).out.startswith("ok: ")


def test_two_deployments_at_once_leave_one_whole_release(edgekit, board, tmp_path):
    edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), board)
    started, go = tmp_path / "started", tmp_path / "go"
    check = f"open({str(started)!r}, 'w').close()\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n{OK}"
    slow, other = tiny_bundle(tmp_path, "2.0", check=check), heavy(tmp_path, "3.0")
    words = [sys.executable, "-m", "edgekit", "deploy"]
    pipes = {"env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*words, str(slow), board], **pipes) as first:
        wait_for(started.exists)
        with subprocess.Popen([*words, str(other), board], **pipes) as second:
            # Said while the second one still sends: the board takes nothing from it before its turn.
            for line in second.stderr:
                if "another host is sending to this board; waiting for it" in line:
                    break
            go.touch()
            second.communicate()
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    status = edgekit.ok("releases", board, "--json").json
    assert (status["current"]["version"], status["previous"]["version"]) == ("3.0", "2.0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_host_that_goes_away_does_not_stop_the_board(edgekit, board, tmp_path, number):
    edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), board)
    started, go = tmp_path / "started", tmp_path / "go"
    check = f"open({str(started)!r}, 'w').close()\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n{OK}"
    words = [sys.executable, "-m", "edgekit", "deploy", str(tiny_bundle(tmp_path, "2.0", check=check)), board]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as host:
        wait_for(started.exists)
        host.send_signal(number)
        _, told = host.communicate()
    if number == signal.SIGINT:
        assert host.returncode == 130
        assert f"goes on by itself if it had begun\nhint: ask it: edgekit status {board}" in told.decode()
    assert idle(edgekit, board) is None
    go.touch()
    assert wait_for(lambda: idle(edgekit, board))["current"]["version"] == "2.0"


def test_ctrl_c_leaves_several_boards_to_themselves(edgekit, server, tmp_path):
    go = tmp_path / "go"
    started = "open(sys.argv[3].replace('/releases/', '-').replace('/current', '-x') + '.started', 'w').close()\n"
    bundle = tiny_bundle(
        tmp_path, "1.0", check=f"{started}while not os.path.exists({str(go)!r}): time.sleep(0.02)\n{OK}"
    )
    boards = [server.folder_target(tmp_path / name) for name in ("one", "two")]
    words = [sys.executable, "-m", "edgekit", "deploy", str(bundle), *boards]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as host:
        wait_for(lambda: len(list(tmp_path.glob("*.started"))) == 2)
        host.send_signal(signal.SIGINT)
        _, told = host.communicate()
    assert (host.returncode, "boards that had begun to install go on" in told.decode()) == (130, True)
    go.touch()
    for board in boards:
        assert wait_for(lambda board=board: idle(edgekit, board))["current"]["version"] == "1.0"


def test_a_host_that_stops_while_it_sends_goes_on_later(edgekit, server, tmp_path):
    bundle = heavy(tmp_path)
    with CutLine(server.port) as line:
        server.know(line.port)
        target = server.folder_target(tmp_path / "far", line.port)
        line.stall_after = 1_000_000
        words = [sys.executable, "-m", "edgekit", "deploy", str(bundle), target]
        with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as host:
            wait_for(lambda: any(part.stat().st_size > 300_000 for part in (tmp_path / "far").rglob("*.part")))
            host.send_signal(signal.SIGINT)
            _, told = host.communicate()
        assert (host.returncode, "is kept there, and is not sent once more" in told.decode()) == (130, True)
        line.stall_after = None
        done = edgekit.ok("deploy", bundle, target, "--json").json
    assert done["sent_bytes"] < sizes(bundle)


def test_a_full_disk_there_is_told_before_anything_is_sent_and_in_the_middle(edgekit, server, tmp_path, small_disk):
    target = server.folder_target(small_disk / "board")
    refused = edgekit("deploy", heavy(tmp_path), target, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (6, "disk-full")
    assert "bytes free" in refused.err
    assert not (small_disk / "board").exists()


def test_several_boards_each_come_to_their_own_end(edgekit, server, tmp_path):
    bundle = tiny_bundle(tmp_path, "1.0")
    good, other = server.folder_target(tmp_path / "good"), f"local:{tmp_path / 'local'}"
    away, blocked = "ssh://127.0.0.1:1/srv", server.folder_target(tmp_path / "newer")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "state.json").write_text('{"schema": 99}')
    done = edgekit("deploy", bundle, good, away, other, blocked, "--json")
    boards = {board["target"]: board for board in done.json["boards"]}
    assert {name: board["exit_code"] for name, board in boards.items()} == {good: 0, away: 5, other: 0, blocked: 3}
    assert (done.code, done.json["exit_code"]) == (5, 5)
    assert boards[away]["error"]["code"] == "unreachable"
    again = edgekit("deploy", bundle, good, away, other, "--parallel", "2")
    assert again.code == 5
    assert again.out.count("unchanged") == 2
    assert f"\n{away}: nothing listens" in again.out


def test_all_targets_of_a_project_are_deployed_to_at_once(edgekit, server, tmp_path):
    tiny_bundle(tmp_path, "1.0")
    (tmp_path / "edgekit.toml").write_text(
        '[project]\nname = "app"\nversion = "1.0"\n[model]\nsource = "x.keras"\n[bundle]\noutput = "app-1.0.edgekit"\n'
        f'[targets]\nline = "{server.folder_target(tmp_path / "line")}"\nbench = "local:bench"\n'
    )
    done = edgekit.ok("deploy", "--all", "--json").json
    assert [(board["target"], board["done"]["result"]["outcome"]) for board in done["boards"]] == [
        ("line", "installed"),
        ("bench", "installed"),
    ]
    assert edgekit("deploy", "--all", "line").code == 2
    assert "unchanged" in edgekit.ok("deploy", "line").out


def test_what_is_damaged_there_is_found_and_repaired(edgekit, board, tmp_path):
    bundle = tiny_bundle(tmp_path, "1.0")
    edgekit.ok("deploy", bundle, board)
    blob = max((tmp_path / "far" / "board" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    found = edgekit("verify", "--target", board)
    assert found.code == 3
    assert "damaged parts of it were replaced" in edgekit.ok("deploy", bundle, board, "--repair").out
    edgekit.ok("verify", "--target", board)


def test_a_board_can_be_rid_of_it_all(edgekit, board, tmp_path):
    edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), board)
    asked = edgekit("remove", board)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert "app 1.0 (release" in edgekit.ok("remove", board, "--yes").out
    left = [path for path in (tmp_path / "far").rglob("*") if path.is_file()]
    assert left == []


def test_a_board_that_trusts_signers_refuses_others_before_anything_is_sent(edgekit, server, board, tmp_path):
    unsigned = tiny_bundle(tmp_path, "1.0")
    signers = tmp_path / "allowed_signers"
    signers.write_text(f'me@example.org namespaces="edgekit-bundle" {(server.folder / "user.pub").read_text()}')
    edgekit.ok("trust", signers, board)
    assert "takes signed bundles only" in edgekit("status", board).out
    refused = edgekit("deploy", unsigned, board, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "unsigned")
    assert not (tmp_path / "far" / "board" / "incoming").exists()
    other = tmp_path / "others"
    other.write_text(signers.read_text().replace("me@example.org", "you@example.org"))
    replaced = edgekit("trust", other, board)
    assert (replaced.code, "has other signers" in replaced.err) == (1, True)
