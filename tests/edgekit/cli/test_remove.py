import json

from device_runtime.contract.status import InstallResult, Outcome, encode_line
from tests.support.scripted_board import GREETS, put_ssh

SCRIPT = GREETS + f"hear(); say({encode_line(InstallResult(Outcome.REMOVED))!r})\n"


def test_nothing_is_removed_unasked(edgekit, tmp_path, monkeypatch):
    put_ssh(tmp_path, SCRIPT, monkeypatch)
    for options in ((), ("--json",)):
        refused = edgekit("remove", "pi@line-3", *options)
        assert (refused.code, "edgekit remove pi@line-3 --yes" in refused.err) == (2, True)
    assert not (tmp_path / "heard").exists()
    assert "nothing is installed any more" in edgekit.ok("remove", "pi@line-3", "--yes").out
    assert json.loads((tmp_path / "heard").read_text())["command"]["name"] == "remove"


def test_json_has_the_result(edgekit, tmp_path, monkeypatch):
    put_ssh(tmp_path, SCRIPT, monkeypatch)
    assert edgekit.ok("remove", "pi@line-3", "--yes", "--json").json["result"]["outcome"] == "removed"
