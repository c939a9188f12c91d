import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.decode import dumps
from device_runtime.contract.pulse import Pulse
from device_runtime.install.service.pulse import read_pulse

_PULSE = Pulse(7, 12.5, 3.0, "ok", ("camera: none",), 40, 12.0, 33.0, "a" * 64)


def test_a_pulse_is_read(tmp_path):
    path = tmp_path / "pulse.json"
    assert read_pulse(path) is None
    path.write_text(dumps(_PULSE))
    assert read_pulse(path) == _PULSE


def test_what_is_no_pulse_is_ignored(tmp_path):
    path = tmp_path / "pulse.json"
    good = json.loads(dumps(_PULSE))
    wrong = [{**good, "beat_s": float("nan")}, {**good, "fps": 1e999}, {**good, "health": "fine"}, [], 3]
    texts = [json.dumps(each) for each in wrong] + ["", "{", "[" * 100_000, dumps(_PULSE) + " " * 70_000]
    for text in texts:
        path.write_text(text)
        assert read_pulse(path) is None


@pytest.mark.timeout(20)
def test_what_is_no_file_keeps_nobody_waiting(tmp_path):
    pipe, link, folder = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    (tmp_path / "pulse.json").write_text(dumps(_PULSE))
    link.symlink_to("pulse.json")
    assert [read_pulse(path) for path in (pipe, link, folder)] == [None, None, None]


def test_reasons_are_cut_and_move_no_cursor(tmp_path):
    path = tmp_path / "pulse.json"
    path.write_text(dumps({**json.loads(dumps(_PULSE)), "reasons": ["\x1b[2Jx" + "y" * 999] * 20}))
    reasons = read_pulse(path).reasons
    assert len(reasons) == 8
    assert all(reason.isprintable() and len(reason) == 200 for reason in reasons)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pulse_or_ignored(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    assert read_pulse(path) is None
