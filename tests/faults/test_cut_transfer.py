"""A transfer that is cut after any byte, and goes on from there (number 12)."""

import subprocess
import sys

from tests.support.conversing import deploy, parts_of, wire
from tests.support.fault_points import look
from tests.support.installing import REPOSITORY, environment, install

_STEP_BYTES = 61


def send(root, content):
    """Say so much to an installer and hang up; return its exit code."""
    words = [sys.executable, "-m", "device_runtime.install", "session", "--root", root]
    done = subprocess.run(
        words,
        input=content,
        capture_output=True,
        env=environment(),
        cwd=REPOSITORY,
        check=False,
    )
    assert done.stderr == b"", done.stderr
    return done.returncode


def test_a_transfer_cut_after_any_byte_changes_nothing_and_goes_on(boards, memory):
    said = wire(parts_of(boards.bundles["third"]).messages())
    root = boards.copy("two wheels", memory / "root")
    kept = 0
    tried = 0
    for cut in range(0, len(said), _STEP_BYTES):
        assert send(root, said[:cut]) in (0, 1, 3), cut
        found = look(root)
        assert (boards.name(found["current"]), found["damage"], found["trial"]) == ("update", [], False), cut
        incoming = sum(install("status", root).status["incoming"].values()) if cut % 5 == 0 else kept
        kept = max(kept, incoming)
        tried += 1
    # The last of them came almost to the end: what is missing is little, and what is there is hashed as a whole.
    assert kept > len(said) / 3
    assert deploy(root, boards.bundles["third"])["result"]["outcome"] == "installed"
    found = look(root)
    assert (boards.name(found["current"]), found["damage"], found["left"]) == ("third", [], [])
    print(f"cut after {tried} of {len(said)} bytes")  # noqa: T201 - shown by -rP


def test_a_transfer_in_many_pieces_each_cut_short_becomes_the_whole(boards, memory):
    root = boards.copy("two wheels", memory / "root")
    parts = parts_of(boards.bundles["third"])
    pieces = 0
    while boards.name(look(root)["current"]) != "third":
        status = install("status", root).status
        messages = parts.messages(status["blobs"], status["incoming"])
        rest = wire(messages)
        # All requests, the index, and 97 bytes of what is still to come.
        overhead = len(rest) - sum(len(content) for _, content in messages[1:])
        assert send(root, rest[: overhead + 97]) in (0, 1, 3)
        pieces += 1
        assert pieces < len(rest)
    assert look(root)["damage"] == []
    assert install("verify", root).code == 0
    assert pieces > 10
    print(f"whole after {pieces} pieces")  # noqa: T201 - shown by -rP
