"""Boards over SSH: how they are written, and what ssh is told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import UsageError
from edgekit.boards.ssh import is_ssh, parse_ssh, ssh_error, ssh_words


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("pi@board.local", "pi", "board.local", None),
        ("ssh://pi@board.local:2222", "pi", "board.local", 2222),
        ("ssh://board", None, "board", None),
        ("ssh://pi@[fe80::1%eth0]:22/", "pi", "fe80::1%eth0", 22),
        ("pi@10.0.0.7:22", "pi", "10.0.0.7", 22),
    ],
)
def test_a_board_is_written_as_ssh_users_write_it(text, user, host, port):
    target = parse_ssh(text, "board")
    assert (target.user, target.host, target.port, str(target)) == (user, host, port, "board")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("ssh://pi@board:22/srv/app", "/srv/app"),
        ("ssh://board/srv/with space/ä'$(x)/", "/srv/with space/ä'$(x)"),
        ("ssh://board/", None),
        ("ssh://board", None),
    ],
)
def test_a_folder_of_a_board_follows_its_address(text, folder):
    assert parse_ssh(text, text).folder == folder


@pytest.mark.parametrize(
    "text",
    [
        "ssh://-oProxyCommand=touch",
        "-oProxyCommand=x@host",
        "pi@-oProxyCommand=x",
        "pi@host:0",
        "pi@host:70000",
        "pi@host;reboot",
        "pi@host name",
        "ssh://",
        "pi@",
        "pi@host/path",
        "pi@host\nx",
        "ssh://host/a\nb",
        "ssh://host/\x1b[2J",
    ],
)
def test_what_ssh_would_take_for_something_else_is_refused(text):
    with pytest.raises(UsageError, match="expected user@host"):
        parse_ssh(text, text)


@given(st.text(max_size=40))
def test_no_text_becomes_an_option(text):
    try:
        target = parse_ssh(text, text)
    except UsageError:
        return
    words = ssh_words(target)
    assert words[words.index("--") + 1 :] == [target.host]
    assert not target.host.startswith("-")
    assert target.user is None or not target.user.startswith("-")


def test_ssh_is_told_never_to_ask_unless_somebody_can_answer():
    target = parse_ssh("pi@board:2222", "board")
    words = ssh_words(target, options=("-N",), command=("true",))
    assert words[0] == "ssh"
    assert words[-6:] == ["-l", "pi", "-N", "--", "board", "true"]
    assert ("-p", "2222") in itertools.pairwise(words)
    assert "BatchMode=yes" in words
    assert "BatchMode=no" in ssh_words(target, ask=True)


def test_a_config_of_its_own_is_used_when_named(monkeypatch):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", "/srv/ssh_config")
    words = ssh_words(parse_ssh("pi@board", "board"))
    assert words[words.index("-F") + 1] == "/srv/ssh_config"


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("Host key verification failed.", "not known yet", "ssh -p 2222 pi@board"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "not the one",
            "ssh-keygen -R '[board]:2222'",
        ),
        ("pi@board: Permission denied (publickey).", "did not let us in", "ssh-copy-id pi@board"),
        ("ssh: Could not resolve hostname board", "no such host", "address"),
        ("ssh: connect to host board port 22: Connection refused", "nothing listens", "sshd"),
        ("ssh: connect to host board port 22: Connection timed out", "does not answer", "switched on"),
        (
            "sign_and_send_pubkey: signing failed for ED25519-SK\npi@board: Permission denied (publickey).",
            "would not sign",
            "ssh-add -l",
        ),
        ("kex_exchange_identification: Connection closed by remote host", "hung up before", "sshd"),
        ("Connection reset by 10.0.0.7 port 22", "hung up before", "sshd"),
        ("Timeout, server board not responding.", "any more", "switched on"),
        ("ssh: connect to host board port 22: Network is unreachable", "no way to it", "network"),
        ("something else\n", "something else", "by hand"),
        ("", "ssh gave no reason", "by hand"),
    ],
)
def test_what_ssh_complains_of_is_said_with_the_remedy(said, message, hint):
    error = ssh_error(parse_ssh("pi@board:2222", "board"), said)
    assert error.exit_code == 5
    assert message in str(error)
    assert hint in error.hint


def test_only_what_looks_like_it_is_meant_for_ssh():
    assert [is_ssh(text) for text in ("pi@board", "ssh://board", "local:dir", "board", "http://a@b")] == [
        True,
        True,
        False,
        False,
        False,
    ]
