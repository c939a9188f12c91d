"""What a board said may be old when a deployment begins."""

import dataclasses

import pytest

from device_runtime.contract.oci import digest_of
from device_runtime.contract.reported import ReportedError
from device_runtime.contract.status import InstallResult, Outcome, encode_line
from edgekit.bundling.installer_pack import installer_pack
from tests.support.bundles import tiny_bundle
from tests.support.scripted_board import STATUS, greets, put_ssh


@pytest.mark.parametrize(("code", "conversations", "exit_code"), [("resume-mismatch", 2, 0), ("busy", 1, 1)])
def test_a_transfer_that_the_board_knew_less_of_is_planned_once_more(
    edgekit, tmp_path, monkeypatch, code, conversations, exit_code
):
    error = encode_line(ReportedError(code, "expected it to go on at byte 7", "", 1))
    done = encode_line(InstallResult(Outcome.INSTALLED))
    # Applies, but for the first time; what is sent before is skipped line by line.
    own = dataclasses.replace(STATUS, installer_digest=digest_of(installer_pack()))
    script = greets(own) + (
        f"first = not os.path.exists('asked'); open('asked', 'a').write('x')\n"
        f"while b'\"apply\"' not in stdin.readline(): pass\nsay({error!r} if first else {done!r})\n"
    )
    put_ssh(tmp_path, script, monkeypatch)
    answer = edgekit("deploy", tiny_bundle(tmp_path, "1.0"), "pi@line-3")
    assert answer.code == exit_code, answer.err
    assert (tmp_path / "asked").read_text() == "x" * conversations
