import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.session import (
    Apply,
    Bench,
    Blob,
    Command,
    Index,
    Installer,
    decode_request,
    encode_request,
)
from device_runtime.errors import BadFileError

_SECONDS = st.floats(0, 1e6)
_REQUESTS = st.one_of(
    st.builds(Installer, st.text(), st.integers()),
    st.builds(Index, st.text(), st.integers(), st.booleans()),
    st.builds(Blob, st.text(), st.integers(), st.integers()),
    st.builds(Apply, st.booleans(), _SECONDS),
    st.builds(Command, st.text(), _SECONDS, st.integers(), st.booleans(), st.text()),
    st.builds(Bench, st.lists(st.text()).map(tuple), st.booleans(), st.booleans(), _SECONDS, _SECONDS, _SECONDS),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_REQUESTS)
def test_every_request_comes_back_from_its_one_ascii_line(request):
    line = encode_request(request)
    assert line.isascii()
    assert "\n" not in line
    assert decode_request(line) == request


@given(st.text() | _JSON.map(json.dumps))
def test_whatever_else_a_line_says_is_refused_in_words(line):
    try:
        decode_request(line)
    except BadFileError as error:
        assert "the host's request" in str(error)  # noqa: PT017 - a line that is a request by chance is fine


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "expected a line of JSON"),
        ("[" * 100_000, "expected a line of JSON"),
        ("{}", "expected one request"),
        ('{"apply": {}, "blob": {}}', "expected one request"),
        ('{"reboot": {}}', "expected one of installer, index, blob, apply, command, bench, got 'reboot'"),
        ('{"blob": {"size": 1}}', 'key "digest" is missing'),
        ('{"blob": {"digest": "x", "size": "1"}}', "size: expected a whole number"),
        ('{"apply": null}', "expected"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(line, reason):
    with pytest.raises(BadFileError, match=reason.replace("(", r"\(")):
        decode_request(line)


def test_a_newer_hosts_keys_are_ignored():
    assert decode_request('{"apply": {"retry": true, "colour": "red"}}') == Apply(retry=True)
