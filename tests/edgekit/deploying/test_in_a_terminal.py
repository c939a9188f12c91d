"""What is asked of somebody who sits at a terminal."""

import sys

import pytest

from tests.support.bundles import tiny_bundle
from tests.support.installing import environment
from tests.support.terminal import Terminal


def in_terminal(config, *arguments):
    """Run the command line in a terminal of its own."""
    return Terminal([sys.executable, "-m", "edgekit", *arguments], {**environment(), "EDGEKIT_SSH_CONFIG": str(config)})


def test_in_a_terminal_ssh_may_ask_and_once_is_enough(server, board, tmp_path):
    known = tmp_path / "known_hosts"
    config = tmp_path / "ssh_config"
    config.write_text(server.config.read_text().replace(str(server.known_hosts), str(known)))
    terminal = in_terminal(config, "deploy", str(tiny_bundle(tmp_path, "1.0")), board)
    terminal.answer("Are you sure you want to continue connecting", "yes\n")
    assert terminal.end() == 0, terminal.text
    assert "app 1.0 (release" in terminal.text
    assert terminal.text.count("Are you sure") == 1
    assert known.read_text().startswith("[127.0.0.1]:")


@pytest.mark.parametrize(("typed", "code"), [("yes", 2), ("TARGET", 0)])
def test_in_a_terminal_the_name_of_what_is_removed_is_asked_for(edgekit, server, tmp_path, typed, code):
    target = f"local:{tmp_path / 'board'}"
    edgekit.ok("deploy", tiny_bundle(tmp_path, "1.0"), target)
    terminal = in_terminal(server.config, "remove", target)
    terminal.answer("to go on: ", typed.replace("TARGET", target) + "\n")
    assert terminal.end() == code, terminal.text
    assert ("nothing was removed" in terminal.text) == (code == 2)
    assert (tmp_path / "board" / "current").exists() == (code == 2)
