import json

from device_runtime.contract.events import LogLine
from device_runtime.contract.status import InstallResult, Outcome, encode_line
from tests.support.scripted_board import GREETS, put_ssh

LINES = [encode_line(message) for message in (LogLine("first"), LogLine("sécond"), InstallResult(Outcome.INTACT))]
SCRIPT = GREETS + f"hear()\nfor line in {LINES!r}: say(line)\n"


def test_the_applications_lines_are_stdout(edgekit, tmp_path, monkeypatch):
    put_ssh(tmp_path, SCRIPT, monkeypatch)
    assert edgekit.ok("logs", "pi@line-3", "-n", "2", "-f").out == "first\nsécond\n"
    asked = json.loads((tmp_path / "heard").read_text())["command"]
    assert (asked["name"], asked["lines"], asked["follow"]) == ("logs", 2, True)


def test_json_is_one_document(edgekit, tmp_path, monkeypatch):
    put_ssh(tmp_path, SCRIPT, monkeypatch)
    assert edgekit.ok("logs", "pi@line-3", "--json").json == {"target": "pi@line-3", "lines": ["first", "sécond"]}
    endless = edgekit("logs", "pi@line-3", "--json", "-f")
    assert (endless.code, "choose one" in endless.err) == (2, True)


def test_a_board_that_is_lost_while_it_is_followed_is_an_error(edgekit, tmp_path, monkeypatch):
    put_ssh(tmp_path, GREETS + f"hear(); say({LINES[0]!r}); sys.exit(255)\n", monkeypatch)
    lost = edgekit("logs", "pi@line-3", "-f")
    assert (lost.code, lost.out) == (5, "first\n")
