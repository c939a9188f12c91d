"""The conversation with a board: what it may say, and what it must not be believed."""

import itertools
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from device_runtime.contract.events import LogLine, Notice, Progress, Step, silent
from device_runtime.contract.reported import ReportedError
from device_runtime.contract.session import NEED_INSTALLER, Apply, Blob, Command
from device_runtime.contract.status import InstallResult, Outcome, encode_line
from device_runtime.errors import BadFileError, EdgeError, UnfitError, UsageError
from edgekit.boards.channel import Channel, Stopper
from edgekit.boards.errors import UnreachableError
from edgekit.boards.link import Link, open_link
from edgekit.boards.target import LocalTarget
from edgekit.boards.way import way_to
from edgekit.bundling.describe import describe_bundle
from edgekit.deploying.deploy import deploy
from edgekit.deploying.plan import Wishes
from tests.support.bundles import MISMATCH, OK, release_of, tiny_bundle
from tests.support.installing import current, environment, leftovers
from tests.support.scripted_board import GREETS, STATUS, board
from tests.support.waiting import wait_for

RESULT = InstallResult(Outcome.RETURNED)
ENDLESS = (Blob("sha256:" + "0" * 64, 1 << 40), itertools.repeat(bytes(1 << 16)))


def test_what_a_login_shell_prints_first_is_skipped():
    with open_link(board("say('Welcome!'); say('\\x1b[31mmotd\\xff'); say('{}'); say('')\n" + GREETS)) as link:
        assert link.status == STATUS
    assert (link.exchanges, link.sent_bytes) == (1, 0)


def test_a_board_without_an_installer_is_sent_one_and_greets_then():
    script = f"say({NEED_INSTALLER!r}); need = hear()['installer']; got = take(need['deflated'])\n"
    checks = "assert (need['digest'], got) == ('sha256:new', b'a zip')\n"
    with open_link(board(script + checks + GREETS, pack=b"a zip")) as link:
        assert link.status == STATUS
    assert (link.exchanges, link.sent_bytes) == (2, 5)


def test_an_installer_is_replaced_by_the_hosts():
    script = "need = hear()['installer']; assert take(need['deflated']) == b'a zip'\n"
    with open_link(board(GREETS + script + GREETS, pack=b"a zip")) as link:
        link.renew_installer()
    assert (link.exchanges, link.sent_bytes) == (2, 5)


def test_a_board_that_asks_for_installers_without_end_is_left():
    script = f"while True:\n    say({NEED_INSTALLER!r}); need = hear()['installer']; take(need['deflated'])\n"
    with pytest.raises(UnfitError, match="needs-installer"), open_link(board(script, pack=b"a zip")):
        pass


def test_events_arrive_as_they_come_and_the_answer_at_the_end():
    lines = [encode_line(event) for event in (Step("check"), Progress(1, 2, "bytes"), LogLine("a line"), RESULT)]
    heard = []
    with open_link(board(GREETS + f"hear()\nfor line in {lines!r}: say(line)\n")) as link:
        assert link.result(Command("rollback"), heard.append) == RESULT
    assert heard == [Step("check"), Progress(1, 2, "bytes"), LogLine("a line")]
    assert link.exchanges == 2


class SlowHost(Channel):
    """A host on which nothing goes on before the board has answered what was just written."""

    def write(self, content, timeout_s):
        count = super().write(content, timeout_s)
        wait_for(self.waiting)
        return count


def test_a_board_may_answer_before_its_host_looks_up_from_writing():
    way = board(GREETS + f"hear(); say({encode_line(RESULT)!r})\n")
    channel = SlowHost(way.words, own_session=True, settle_s=way.settle_s)
    link = Link(way, channel, silent)
    try:
        assert link.result(Command("rollback"), silent) == RESULT
    finally:
        channel.end()


def test_a_board_cannot_write_on_the_terminal_of_who_asks():
    lines = [encode_line(event) for event in (LogLine("\x1b]0;owned\x07\x9b2J"), Notice("\x1b[2J"), RESULT)]
    heard = []
    with open_link(board(GREETS + f"hear()\nfor line in {lines!r}: say(line)\n")) as link:
        link.result(Command("logs"), heard.append)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", heard[0].text + heard[1].message)
    error = encode_line(ReportedError("failed", "\x1b[2Jgone", "\x1b[3J", 1))
    with pytest.raises(EdgeError) as told, open_link(board(GREETS + f"hear(); say({error!r})\n")) as link:
        link.result(Command("rollback"), silent)
    assert "\x1b" not in str(told.value) + told.value.hint
    with pytest.raises(UnreachableError) as told, open_link(board("complain('\\x1b[2J'); sys.exit(3)\n")):
        pass
    assert "\x1b" not in str(told.value)


def test_the_installers_error_is_raised_here_with_its_own_code():
    error = encode_line(ReportedError("golden-mismatch", "off by 9; app 1.0 still runs", "mend it", 7))
    with (
        pytest.raises(EdgeError, match="still runs") as told,
        open_link(board(GREETS + f"hear(); say({error!r})\n")) as link,
    ):
        link.result(Apply(), silent)
    assert (told.value.code, told.value.exit_code, told.value.hint) == ("golden-mismatch", 7, "mend it")


def test_what_is_wrong_with_the_bytes_is_heard_while_they_are_sent():
    error = encode_line(ReportedError("disk-full", "no space", "", 6))
    script = GREETS + f"hear(); say({error!r}); sys.stdout.close(); sys.stdin.close(); os.close(0)\n"
    with pytest.raises(UnfitError, match="no space"), open_link(board(script)) as link:
        sum(link.send(*ENDLESS))
    assert link.sent_bytes < 1 << 30


@pytest.mark.parametrize(
    ("script", "kind", "message", "hint"),
    [
        ("say('edgekit-session no-python 3.7')\n", UnfitError, "3.9 or newer, and it has 3.7", "apt-get install"),
        ("say('edgekit-session no-python none')\n", UnfitError, "and it has none", "ssh pi@line-3 sudo apt-get"),
        ("say('edgekit-session no-sudo pi')\n", UnfitError, "pi cannot use sudo without a password", "--scope user"),
        ("say('edgekit-session 2')\n", UnfitError, "got 'edgekit-session 2'", "update edgekit"),
        ("complain('sh: not found'); sys.exit(127)\n", UnreachableError, "sh: not found (exit code 127)", "line-3 id"),
        ("complain('Permission denied (publickey).'); sys.exit(255)\n", UnreachableError, "let us in", "ssh-copy-id"),
        ("while True: print('spam' * 1000)\n", UnreachableError, "prints without end", ""),
        (GREETS.splitlines()[0].split(";")[0] + "\n", UnreachableError, "ended with 0 and no answer", "do the same"),
        (GREETS.split(";")[0] + "; say('no JSON')\n", BadFileError, "expected a line of JSON", ""),
        (GREETS.split(";")[0] + "; say('[' * 100000)\n", BadFileError, "expected a line of JSON", ""),
        (GREETS.split(";")[0] + f"; say({encode_line(RESULT)!r})\n", BadFileError, "out of turn", "update"),
    ],
)
def test_a_board_that_cannot_be_spoken_to_is_told_with_the_remedy(script, kind, message, hint):
    with pytest.raises(kind, match=re.escape(message)) as told, open_link(board(script)):
        pass
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        (Apply(), "edgekit status line-3"),
        (Command("remove"), "edgekit status line-3"),
        (Command("logs"), "the same again"),
    ],
)
def test_a_connection_that_is_lost_says_what_the_board_does_now(request_, hint):
    script = GREETS + "hear(); complain('client_loop: send disconnect: Broken pipe'); sys.exit(255)\n"
    with (
        pytest.raises(UnreachableError, match="the connection was lost: client_loop") as told,
        open_link(board(script)) as link,
    ):
        link.ask(request_, silent)
    assert hint in told.value.hint


def test_a_connection_that_is_lost_while_sending_says_that_what_came_is_kept():
    script = GREETS + "hear(); take(100); sys.exit(255)\n"
    with pytest.raises(UnreachableError, match="lost") as told, open_link(board(script)) as link:
        sum(link.send(*ENDLESS))
    assert "what came is kept" in told.value.hint


def test_conversations_are_stopped_from_another_thread_also_those_to_come():
    stopper, errors = Stopper(), []

    def wait_for_ever():
        try:
            with open_link(board(GREETS + "hear(); time.sleep(600)\n"), stopper) as link:
                talking.set()
                link.result(Apply(), silent)
        except EdgeError as error:
            errors.append(error)

    talking = threading.Event()
    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    assert talking.wait(20)
    stopper.stop()
    thread.join(20)
    assert not thread.is_alive()
    wait_for_ever()
    assert len(errors) == 2


def test_a_folder_has_no_scope(tmp_path):
    with pytest.raises(UsageError, match="a folder has no scope"):
        way_to(LocalTarget(tmp_path, "local:x"), "user")


@pytest.fixture
def way(tmp_path):
    return way_to(LocalTarget(tmp_path / "board", "local:board"))


def put(way, bundle, heard=silent, **wishes):
    """Deploy a bundle."""
    with open_link(way) as link:
        return deploy(link, describe_bundle(bundle), Wishes(**wishes), heard)


def test_a_folder_of_this_machine_is_spoken_to_in_the_same_way(way, tmp_path):
    heard = []
    first = put(way, tiny_bundle(tmp_path, "1.0"), heard.append)
    assert (first.result.outcome, first.result.current.version) == (Outcome.INSTALLED, "1.0")
    assert {Step, Progress} <= {type(event) for event in heard}
    put(way, tiny_bundle(tmp_path, "2.0"))
    with open_link(way) as link:
        assert link.status.current.version == "2.0"
        assert link.result(Command("rollback"), silent).current.version == "1.0"


def test_a_release_that_fails_is_an_error_with_its_reason(way, tmp_path):
    with pytest.raises(EdgeError, match=r"still runs|nothing runs") as told:
        put(way, tiny_bundle(tmp_path, "1.0", check=MISMATCH))
    assert (told.value.code, told.value.exit_code) == ("golden-mismatch", 7)


def test_a_host_that_is_told_to_stop_takes_its_installer_along(way, tmp_path):
    put(way, tiny_bundle(tmp_path, "1.0"))
    started = tmp_path / "started"
    slow = tiny_bundle(tmp_path, "2.0", check=f"open({str(started)!r}, 'w').close()\ntime.sleep(600)\n{OK}")
    words = [sys.executable, "-m", "edgekit", "deploy", str(slow), f"local:{tmp_path / 'board'}"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(started.exists)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    # The lock is free again at once: the installer ended before the host did.
    with open_link(way) as link:
        assert link.status.busy is False
    assert current(tmp_path / "board") == release_of(Path(tmp_path / "app-1.0.edgekit"))
    assert leftovers(tmp_path / "board") == []
