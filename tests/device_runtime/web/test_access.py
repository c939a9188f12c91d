"""Tokens, sessions and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.service import PageSpec, is_loopback
from device_runtime.errors import BadFileError
from device_runtime.web.access import Gate, Names, host_name, read_token

TOKEN = "a-token-of-tests-1234"  # noqa: S105 - a token of tests


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@given(st.text(), st.text())
def test_only_the_token_is_the_token(text, address):
    assert Gate(TOKEN).knows(text, address) == (text == TOKEN)
    assert not Gate(None).knows(text, address)


def test_five_wrong_tokens_make_an_address_wait_a_minute_and_no_other():
    clock = Clock()
    gate = Gate(TOKEN, clock)
    for _ in range(5):
        assert gate.locked_s("10.0.0.7") == 0
        gate.knows("wrong", "10.0.0.7")
    assert gate.locked_s("10.0.0.7") == 60
    assert gate.locked_s("10.0.0.8") == 0
    clock.now = 61.0
    assert gate.locked_s("10.0.0.7") == 0
    gate.knows("wrong", "10.0.0.7")
    assert gate.locked_s("10.0.0.7") == 0


def test_the_right_token_forgives():
    gate = Gate(TOKEN, Clock())
    for _ in range(4):
        gate.knows("wrong", "10.0.0.7")
    assert gate.knows(TOKEN, "10.0.0.7")
    gate.knows("wrong", "10.0.0.7")
    assert gate.locked_s("10.0.0.7") == 0


def test_an_attacker_with_a_network_of_addresses_is_one():
    gate = Gate(TOKEN, Clock())
    for number in range(5):
        gate.knows("wrong", f"2001:db8::{number}")
    assert gate.locked_s("2001:db8::99") == 60
    assert gate.locked_s("2001:db8:0:1::1") == 0


def test_what_is_remembered_is_bounded():
    gate = Gate(TOKEN, Clock())
    secrets = [gate.open_session() for _ in range(100)]
    assert [gate.in_session(secret) for secret in secrets] == [False] * 36 + [True] * 64
    for number in range(5):
        for host in range(2000):
            gate.knows("wrong", f"10.{number}.{host // 256}.{host % 256}")
    assert len(gate._failures) == 1024


def test_a_session_ends_by_itself_and_when_it_is_ended():
    clock = Clock()
    gate = Gate(TOKEN, clock)
    first, second = gate.open_session(), gate.open_session()
    gate.end_session(first)
    assert (gate.in_session(first), gate.in_session(second), gate.in_session("")) == (False, True, False)
    clock.now = 13 * 3600.0
    assert not gate.in_session(second)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("board.local:8080", "board.local"),
        ("Board.Local.", "board.local"),
        ("10.0.0.7", "10.0.0.7"),
        ("[::1]:8080", "::1"),
        ("[fe80::1]", "fe80::1"),
        ("", ""),
        (":8080", ""),
    ],
)
def test_a_host_header_is_taken_apart(host, name):
    assert host_name(host) == name


@given(st.text(max_size=60), st.sampled_from(["127.0.0.1", "10.0.0.7", "::1", "fe80::1%eth0", "::ffff:10.0.0.7", None]))
def test_no_header_is_too_strange(host, address):
    assert Names(PageSpec()).allow(host, address) in (True, False)


def test_an_address_is_right_only_on_a_connection_to_it():
    names = Names(PageSpec("0.0.0.0", names=("Cam.Lan", "10.9.9.9")))  # noqa: S104 - asked, not bound
    assert names.allow("10.0.0.7:8080", "10.0.0.7")
    assert names.allow("10.0.0.7", "::ffff:10.0.0.7")
    assert names.allow("[::1]:1", "::1")
    assert names.allow("[fe80::1]", "fe80::1%eth0")
    assert names.allow("cam.lan:80", "10.0.0.7")
    assert names.allow("10.9.9.9", "10.0.0.7")
    assert not names.allow("10.0.0.8", "10.0.0.7")
    assert not names.allow("0.0.0.0:8080", "127.0.0.1")
    assert not names.allow("lan", "10.0.0.7")
    assert not names.allow(None, "10.0.0.7")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],  # noqa: S104
)
def test_loopback_is_told_from_all_else(host, loopback):
    assert is_loopback(host) == loopback


def test_the_environment_comes_before_the_file(tmp_path):
    spec = PageSpec(token_file=str(tmp_path / "none"))
    assert read_token(spec, {"EDGEKIT_PAGE_TOKEN": TOKEN}) == TOKEN
    with pytest.raises(BadFileError, match="no such file"):
        read_token(spec, {})
