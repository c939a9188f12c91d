import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import BadFileError
from device_runtime.install.host import MAX_LINE_BYTES, Host, HostGoneError


def hearing(content: bytes, **limits):
    """Return a host that said all this and hung up, and its descriptor."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return Host(reader, **limits), reader


@given(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=200),
    st.binary(max_size=300),
    st.binary(max_size=100),
)
def test_lines_and_bytes_are_read_and_not_one_more(text, content, rest):
    host, descriptor = hearing(text.encode() + b"\n" + content + rest)
    assert host.line(hurry=False) == text
    assert b"".join(host.payload(len(content))) == content
    assert os.read(descriptor, 1000) == rest
    assert host.line(hurry=True) is None
    os.close(descriptor)


@given(st.binary(max_size=100), st.integers(1, 50))
def test_a_host_that_hangs_up_owing_bytes_is_gone_after_all_it_sent(content, more):
    host, descriptor = hearing(content)
    came = []
    with pytest.raises(HostGoneError, match=f"expected {more} more bytes"):
        came.extend(host.payload(len(content) + more))
    assert b"".join(came) == content
    os.close(descriptor)


def test_a_silent_host_is_gone():
    reader, writer = os.pipe()
    host = Host(reader, silence_s=0.05, patience_s=0.05)
    with pytest.raises(HostGoneError, match="says nothing any more"):
        list(host.payload(1))
    for hurry in (True, False):
        with pytest.raises(HostGoneError, match="says nothing any more"):
            host.line(hurry=hurry)
    os.close(reader)
    os.close(writer)


def test_only_a_host_that_others_wait_for_has_to_hurry():
    reader, writer = os.pipe()
    host = Host(reader, silence_s=0.05, patience_s=60)
    teller = threading.Timer(0.2, os.write, (writer, b"here I am\n"))
    teller.start()
    assert host.line(hurry=False) == "here I am"
    teller.join()
    os.close(reader)
    os.close(writer)


def test_a_line_has_a_limit_and_is_text():
    reader, writer = os.pipe()
    teller = threading.Thread(target=os.write, args=(writer, b"x" * (MAX_LINE_BYTES + 1)))
    teller.start()
    with pytest.raises(BadFileError, match=f"at most {MAX_LINE_BYTES} bytes"):
        Host(reader).line(hurry=False)
    teller.join()
    os.close(reader)
    os.close(writer)
    host, descriptor = hearing(b"\xff\n")
    with pytest.raises(BadFileError, match="expected UTF-8 text, got byte 0xff"):
        host.line(hurry=False)
    os.close(descriptor)
