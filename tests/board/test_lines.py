"""Deployments over a poor line, cut at many points and begun again, to a full board, and to one that is another."""

import contextlib
import os
import random
import threading

import pytest

from tests.board.link import slow_link
from tests.support.bundles import release_of
from tests.support.cli import ChildCommandLine
from tests.support.waiting import wait_for

_CUTS = int(os.environ.get("EDGEKIT_BOARD_CUTS", "12"))


@pytest.fixture(scope="module")
def prepared(board, first, tmp_path_factory):
    """The board of this file, with all packages there already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
        ChildCommandLine(tmp_path_factory.mktemp("host")).ok("deploy", first, board.target)
    return board


@contextlib.contextmanager
def over_a_line(board, monkeypatch, **of_it):
    """Let the command line reach the board over a line instead, for a while."""
    with slow_link(board, **of_it) as line, monkeypatch.context() as patch:
        patch.setenv("EDGEKIT_SSH_CONFIG", str(line.ssh_config))
        yield line


def test_a_model_arrives_over_64_kbit_s_with_lost_packets(command, prepared, shelf, monkeypatch):
    bundle = shelf.well("2.0", bias=0.2)
    with over_a_line(prepared, monkeypatch, rate_bits_s=64_000, delay_ms=150, loss=0.03, seed=5) as line:
        done = command.ok("deploy", bundle, prepared.target, "--json").json
        counts = line.counts()
    assert done["result"]["outcome"] == "installed"
    assert counts["to_board"]["lost"] > 0
    assert current_release(command, prepared) == release_of(bundle)


def test_a_deployment_cut_at_many_points_and_begun_again_ends_whole(command, prepared, shelf, monkeypatch):
    bundle = shelf.padded("3.0", 400_000)
    points = random.Random(7)  # noqa: S311 - where a line breaks needs no secrecy
    cuts = sorted(points.randrange(5_000, 400_000) for _ in range(_CUTS))
    with over_a_line(prepared, monkeypatch, rate_bits_s=4_000_000, delay_ms=5) as line:
        carried = 0
        for number, cut in enumerate(cuts):
            line.cut_after(max(1, cut - carried), resets=number % 2 == 0)
            refused = command("deploy", bundle, prepared.target, "--json")
            assert refused.code == 5, (cut, refused.err)
            line.mend()
            carried = came(prepared)
        done = command.ok("deploy", bundle, prepared.target, "--json").json
    assert done["sent_bytes"] < 420_000 - carried + 20_000
    assert done["result"]["outcome"] in ("installed", "unchanged")
    assert current_release(command, prepared) == release_of(bundle)
    assert command.ok("verify", "--target", prepared.target).code == 0


def came(board):
    """Return the bytes of blobs that are on their way on the board."""
    folder = board.root / "var/lib/edgekit/incoming/blobs/sha256"
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0


def current_release(command, board):
    return command("status", board.target, "--json").json["status"]["current"]["release"]


def test_a_board_that_is_not_who_it_was_gets_nothing(new_board, command, monkeypatch, first):
    new_board.make_host_key()
    new_board.power_on(wait=False)
    wait_for(new_board.answers, 120)
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(new_board.ssh_config))
    refused = command("deploy", first, new_board.target)
    assert refused.code == 5
    assert "its host key is not the one that is known" in refused.err
    assert "ssh-keygen -R" in refused.err
    assert not (new_board.root / "var/lib/edgekit").exists()


def test_a_board_whose_disk_is_too_small_says_so_before_anything_is_sent(new_board, command, monkeypatch, first):
    new_board.data_disk(48 << 20)
    new_board.power_on()
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(new_board.ssh_config))
    refused = command("deploy", first, new_board.target, "--json")
    assert refused.code == 6
    assert "bytes" in refused.json["error"]["message"]
    assert not list((new_board.root / "var/lib/edgekit").glob("blobs/sha256/*"))


def test_a_power_cut_in_the_middle_of_an_installation_leaves_a_board_that_takes_it_again(
    new_board, command, monkeypatch, first, shelf
):
    new_board.data_disk(700 << 20)
    new_board.power_on()
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(new_board.ssh_config))
    command.ok("deploy", first, new_board.target)
    bundle = shelf.padded("4.0", 2_000_000)
    worker = threading.Thread(target=lambda: command("deploy", bundle, new_board.target, "--json"))
    worker.start()
    wait_for(lambda: release_of(bundle) in (new_board.root / "var/lib/edgekit/journal.jsonl").read_text(), 240)
    new_board.power_cut()
    worker.join()
    new_board.boot_again()
    assert command.ok("verify", "--target", new_board.target).code == 0
    command.ok("deploy", bundle, new_board.target)
    assert current_release(command, new_board) == release_of(bundle)
