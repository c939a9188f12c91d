"""start.sh and bootstrap.py as a board's shell gets them, with an installer that says how it was started."""

import ast
import io
import os
import pwd
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from device_runtime.contract.oci import digest_of
from device_runtime.contract.session import NEED_INSTALLER, Installer, encode_request
from edgekit.boards import bootstrap
from edgekit.boards.ssh import parse_ssh
from edgekit.boards.way import way_to
from tests.support.shell_scripts import assert_posix

_SAYS_HOW = """import os, sys
print('started', sys.flags.isolated, sys.argv[1:], os.environ.get('LC_ALL'), flush=True)
print(os.read(0, 9))
"""


def installer(body=_SAYS_HOW):
    """Return a zip that Python runs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", body)
    return content.getvalue()


def request(content, digest=None):
    """Return what a host sends: the request and the bytes."""
    packed = zlib.compress(content)
    asked = encode_request(Installer(digest or digest_of(content), len(content), len(packed)))
    return asked.encode() + b"\n" + packed


def begin(root, said=b"", scope="auto", **options):
    """Let a shell read what a board's shell reads, and then ``said``; return the lines it answered, and its code."""
    way = way_to(parse_ssh(f"ssh://board{root}" if root else "ssh://board", "board"), scope)
    words = way.words[way.words.index("sh") :]
    options.setdefault("env", {"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as shell:
        # As the host does: nothing more before the board has spoken, because a shell may read ahead.
        shell.stdin.write(way.opening)
        shell.stdin.flush()
        lines = [shell.stdout.readline(), shell.stdout.readline()]
        out, err = shell.communicate(said)
    lines += out.splitlines()
    assert lines[0] == b"\n"
    return [line.decode().strip() for line in lines[1:]], err.decode(), shell.returncode


@pytest.fixture
def nobody():
    """Options that start a process as a user who may do nothing."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    return {"user": pwd.getpwnam("nobody").pw_uid, "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


def test_it_is_a_posix_script():
    assert_posix(Path(bootstrap.__file__).with_name("start.sh"))


def test_the_first_python_that_may_read_it_understands_it():
    ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 9))
    assert bootstrap.NEED_INSTALLER == NEED_INSTALLER


def test_a_bare_board_gets_an_installer_runs_it_from_memory_and_keeps_nothing(tmp_path):
    root = tmp_path / "with space 'and' $quotes"
    lines, err, code = begin(root, request(installer()) + b"next")
    assert lines == [
        NEED_INSTALLER,
        f"started 1 {['session', '--root', str(root), '--scope', 'local']} C",
        "b'next'",
    ], err
    assert code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_board_with_an_installer_is_sent_none(tmp_path):
    (tmp_path / "installer.pyz").write_bytes(installer())
    lines, _, _ = begin(tmp_path, b"next")
    assert lines == [f"started 1 {['session', '--root', str(tmp_path), '--scope', 'local']} C", "b'next'"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
        lambda content: content[:0],
        lambda content: content[:2] + b" no zip",
        lambda content: content.replace(b"__main__", b"__niam__"),
    ],
)
def test_a_damaged_installer_is_replaced(tmp_path, spoil):
    (tmp_path / "installer.pyz").write_bytes(spoil(installer()))
    lines, _, _ = begin(tmp_path, request(installer()) + b"next")
    assert lines[0] == NEED_INSTALLER
    assert lines[1].startswith("started")


def test_an_installer_that_another_user_put_there_is_not_run(tmp_path, nobody):
    (tmp_path / "installer.pyz").write_bytes(installer("print('taken over')\n"))
    os.chown(tmp_path / "installer.pyz", nobody["user"], nobody["group"])
    lines, _, _ = begin(tmp_path)
    assert lines[0] == NEED_INSTALLER


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (request(installer(), digest_of(b"another")), "altered on its way"),
        (request(installer())[:-1], "the host went away"),
        (b"", "the host went away"),
        (b"x" * 5000, "a long line"),
        (b'{"installer": {"digest": "sha256:0", "size": 99999999999}}\n', "odd size"),
    ],
)
def test_what_is_not_whole_is_not_run(tmp_path, said, complaint):
    lines, err, code = begin(tmp_path, said)
    assert (lines, code) == ([NEED_INSTALLER], 1)
    assert complaint in err


def test_without_root_and_sudo_it_is_the_users_own_scope(nobody):
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/home/somebody", "XDG_DATA_HOME": "/srv/data"}
    lines, _, _ = begin(None, request(installer()) + b"next", env=environment, **nobody)
    assert "'--root', '/srv/data/edgekit', '--scope', 'user'" in lines[1]
    del environment["XDG_DATA_HOME"]
    lines, _, _ = begin(None, request(installer()) + b"next", env=environment, **nobody)
    assert "'--root', '/home/somebody/.local/share/edgekit', '--scope', 'user'" in lines[1]
    lines, _, code = begin(None, scope="system", env=environment, **nobody)
    assert (lines, code) == (["edgekit-session no-sudo nobody"], 1)


def test_sudo_that_does_not_ask_gives_the_systems_scope(nobody, tmp_path):
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    (tmp_path / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift; [ "$1" = -- ] && shift\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/home/somebody"}
    lines, err, _ = begin(None, request(installer()) + b"next", env=environment, **nobody)
    assert "'--root', '/var/lib/edgekit', '--scope', 'system'" in lines[1], err
    lines, _, _ = begin(None, request(installer()) + b"next", scope="user", env=environment, **nobody)
    assert "'--scope', 'user'" in lines[1]


@pytest.mark.parametrize(("answer", "told"), [("echo 3.7; exit 1", "3.7"), ("exit 127", "none")])
def test_a_board_with_an_old_python_or_none_says_so(tmp_path, answer, told):
    python = Path("/usr/bin/python3").resolve()
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("hiding this machine's Python from a process needs root")
    (tmp_path / "old").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "old").chmod(0o755)
    way = way_to(parse_ssh("ssh://board/srv", "board"))
    words = way.words[way.words.index("sh") :]
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", tmp_path / "old", python, *words],
        input=way.opening,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert (done.stdout.decode().split("\n")[1], done.returncode) == (f"edgekit-session no-python {told}", 1)


def test_a_script_that_was_cut_anywhere_does_nothing():
    way = way_to(parse_ssh("ssh://board/srv", "board"))
    for end in range(0, len(way.opening.rstrip()), 41):
        done = subprocess.run(["sh", "-s", *way.words[-3:]], input=way.opening[:end], capture_output=True, check=False)
        assert done.stdout == b"", way.opening[:end]


def test_the_command_line_has_plain_words_only():
    words = way_to(parse_ssh("ssh://board/srv/$(reboot) 'x' ä", "board")).words
    remote = words[words.index("sh") :]
    assert all(letter.isascii() and (letter.isalnum() or letter in "-+/=") for word in remote for letter in word)
    assert sum(len(word) for word in remote) < 4000
    assert sys.executable not in remote
