"""Errors in the one document that a process answers with ``--json``."""

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.reported import error_in, report_of
from device_runtime.errors import CameraError, EdgeError


def test_an_error_comes_out_as_it_went_in():
    found = error_in(dumps({"error": report_of(CameraError("no camera", hint="plug it in"))}))
    assert (type(found), str(found), found.hint) == (CameraError, "no camera", "plug it in")


def test_an_error_of_an_unknown_kind_keeps_its_codes():
    found = error_in('{"error": {"code": "on-fire", "message": "too hot", "hint": "wait", "exit_code": 6}}')
    assert (type(found), found.code, found.exit_code) == (EdgeError, "on-fire", 6)


@pytest.mark.parametrize("answer", ["", "hello", "[]", "3", "{}", '{"error": "no"}', '{"error": {}}', "[" * 100_000])
def test_what_reports_no_error_is_none(answer):
    assert error_in(answer) is None
