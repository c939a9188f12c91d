import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.events import Notice, Progress, Step
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.contract.status import (
    BadRelease,
    BenchResult,
    BoardStatus,
    InstallResult,
    InstallState,
    MachineFacts,
    Outcome,
    ReleaseInfo,
    Trial,
    decode_line,
    encode_line,
)
from device_runtime.errors import BadFileError, UnfitError

_RELEASE = ReleaseInfo("a" * 64, "app", "1.0", "current")
_STATUS = BoardStatus(
    "/board",
    1,
    MachineFacts("aarch64", "cp311", "2.36"),
    1000,
    current=_RELEASE,
    trial=Trial("b" * 64, "a" * 64, "2026-01-01T00:00:00Z"),
    bad=(BadRelease("c" * 64, "golden-mismatch", "off", "2026-01-01T00:00:00Z"),),
    releases=(_RELEASE,),
    blobs=("sha256:" + "d" * 64,),
)


@pytest.mark.parametrize(
    "message",
    [
        Step("copy"),
        Progress(1, None, "bytes"),
        Progress(1, 2, "bytes"),
        Notice("careful", "warning"),
        Notice("by the way"),
        InstallResult(Outcome.INSTALLED, _RELEASE, None, 12),
        _STATUS,
        BenchResult('{"fps": 1.5}', "app 1.0", "app 0.9"),
        BenchResult("{}", "app 1.0"),
        ReportedError("unfit", "no", "yes", 6),
    ],
)
def test_every_message_comes_back_from_its_line(message):
    line = encode_line(message)
    assert "\n" not in line
    assert decode_line(line) == message


@given(st.text(), st.sampled_from(["info", "warning"]))
def test_any_text_fits_in_one_ascii_line(text, severity):
    line = encode_line(Notice(text, severity))
    assert line.isascii()
    assert "\n" not in line
    assert decode_line(line) == Notice(text, severity)


def test_an_event_of_a_newer_installer_is_passed_over():
    assert decode_line('{"event": "fanfare", "tune": "c"}') is None


@pytest.mark.parametrize("line", ["", "Last login: today", "[]", "{}", '{"result": {"outcome": "danced"}}'])
def test_what_is_no_line_of_the_installer_is_refused(line):
    with pytest.raises(BadFileError, match="the installer's answer"):
        decode_line(line)


def test_an_error_arrives_with_its_code_and_hint():
    error = decode_line(encode_line(report_of(UnfitError("too small", hint="buy another")))).error()
    assert (str(error), error.hint, error.code, error.exit_code) == ("too small", "buy another", "unfit", 6)


def test_a_status_and_a_state_know_what_is_quarantined():
    assert _STATUS.bad_release("c" * 64).code == "golden-mismatch"
    assert _STATUS.bad_release("a" * 64) is None
    assert InstallState(bad=_STATUS.bad).bad_release("c" * 64) == _STATUS.bad[0]
    assert InstallState().bad_release("c" * 64) is None


def test_a_state_of_a_newer_schema_is_refused():
    with pytest.raises(ValueError, match="up to 1, got 2; update edgekit"):
        InstallState(schema=2)
