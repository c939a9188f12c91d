"""Webhooks, with a real server that is slow, hangs, resets, refuses, and comes back."""

import contextlib
import datetime as dt
import email.utils
import logging
import shutil
import ssl
import subprocess

import pytest

from device_runtime.contract.service import WebhookSpec
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.sinks.webhook import Patience, Webhook
from tests.support.events import event, frame, predicted
from tests.support.mosquitto import free_port
from tests.support.receiver import Receiver
from tests.support.waiting import wait_for

QUICK = Patience(first_s=0.02, longest_s=0.1, tries=4)
TOKEN = "a-token-that-nobody-may-see"  # noqa: S105 - a token of tests


WITH_TOKEN = {"token_file": "token"}


@contextlib.contextmanager
def receiving(*script, **more):
    receiver = Receiver(script or (200,), **more)
    try:
        yield receiver
    finally:
        receiver.close()


@contextlib.contextmanager
def posting(port, data, *, patience=QUICK, scheme="http", **more):
    """Yield a sink; what it could not deliver at the end is no failure of the test."""
    more.setdefault("timeout_s", 2.0)
    sink = Webhook(WebhookSpec(f"{scheme}://127.0.0.1:{port}/hooks/s3cret?a=1", **more), data, "my-app", patience)
    try:
        yield sink
    finally:
        with contextlib.suppress(EdgeError):
            sink.close(failed=False)


def next_error(sink):
    """Wait until the sink tells of a failure, and return it; predictions without events ask it."""

    def ask():
        try:
            sink.take(frame(), predicted())
        except EdgeError as error:
            return str(error)
        return None

    return wait_for(ask)


def test_events_are_posted_in_their_order_over_one_connection(tmp_path):
    with receiving() as receiver:
        with posting(receiver.port, tmp_path) as sink:
            assert sink.events_only
            for number in range(1, 21):
                sink.take(frame(), predicted(event(number)))
            sink.take(frame(), predicted(event(20, "end", dwell_s=1.5)))
            wait_for(lambda: len(receiver.posts) == 21)
        path, headers, body = receiver.posts[0]
        assert path == "/hooks/s3cret?a=1"
        assert headers["Content-Type"] == "application/json"
        assert headers["Edgekit-Application"] == "my-app"
        assert "Authorization" not in headers
        assert (body["rule"], body["phase"]) == ("stays", "begin")
        ids = [f"{event(number).id}-begin" for number in range(1, 21)]
        assert receiver.keys() == [*ids, f"{event(20).id}-end"]
        assert receiver.connections == 1


def test_predictions_are_posted_when_they_are_asked_for(tmp_path):
    with receiving() as receiver, posting(receiver.port, tmp_path, what="predictions") as sink:
        for index in range(5):
            sink.take(frame(), predicted(index=index))
        wait_for(lambda: len(receiver.posts) == 5)
        assert [body["frame_index"] for _, _, body in receiver.posts] == list(range(5))
        assert len(set(receiver.keys())) == 5


@pytest.mark.parametrize(
    "trouble", [[500], [503, 502], [429], ["reset"], ["hang"], ["drip"], ["endless"], [408], ["reset", 500]]
)
def test_what_may_work_later_is_tried_again(tmp_path, trouble):
    with receiving(*trouble, 200) as receiver, posting(receiver.port, tmp_path, timeout_s=0.3) as sink:
        sink.take(frame(), predicted(event(1)))
        sink.take(frame(), predicted(event(2)))
        wait_for(lambda: len(receiver.posts) >= len(trouble) + 2)
        assert receiver.keys() == [f"{event(1).id}-begin"] * (len(trouble) + 1) + [f"{event(2).id}-begin"]
        sink.take(frame(), predicted())  # nothing was lost, nothing is said


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again_at_once(tmp_path):
    slow = Patience(first_s=30, longest_s=30)
    with receiving("close", 200) as receiver, posting(receiver.port, tmp_path, patience=slow) as sink:
        sink.take(frame(), predicted(event(1)))
        wait_for(lambda: len(receiver.posts) == 1)
        sink.take(frame(), predicted(event(2)))
        wait_for(lambda: len(receiver.posts) == 2)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_what_is_refused_is_not_tried_again_and_the_next_one_is_posted(tmp_path, status):
    with receiving(status, 200) as receiver, posting(receiver.port, tmp_path) as sink:
        sink.take(frame(), predicted(event(1)))
        assert next_error(sink) == f"webhook 127.0.0.1: expected an answer of 200–299, got {status}"
        sink.take(frame(), predicted(event(2)))
        wait_for(lambda: len(receiver.posts) == 2)
        assert receiver.keys() == [f"{event(1).id}-begin", f"{event(2).id}-begin"]


def test_a_post_is_given_up_after_some_tries(tmp_path):
    with receiving(500) as receiver, posting(receiver.port, tmp_path) as sink:
        sink.take(frame(), predicted(event(1)))
        assert next_error(sink).endswith("got 500; given up after 4 tries")
        assert len(receiver.posts) == 4


def test_a_server_that_was_never_there_is_named(tmp_path):
    with posting(free_port(), tmp_path) as sink:
        sink.take(frame(), predicted(event(1)))
        assert next_error(sink) == "webhook 127.0.0.1: connection refused; given up after 4 tries"


@pytest.mark.parametrize("told", ["1", "date"])
def test_what_the_server_says_about_when_is_done(tmp_path, told):
    if told == "date":  # whole seconds: between one and two from now
        told = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2), usegmt=True)
    patience = Patience(first_s=0.001, longest_s=60)
    with receiving((429, {"Retry-After": told}), 200) as receiver:
        with posting(receiver.port, tmp_path, patience=patience) as sink:
            sink.take(frame(), predicted(event(1)))
            wait_for(lambda: len(receiver.posts) == 2)
        assert receiver.times[1] - receiver.times[0] >= 0.9


@pytest.mark.parametrize("told", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT", "soon", "-5", "9" * 400])
def test_a_wish_without_measure_is_bounded(tmp_path, told):
    with receiving((503, {"Retry-After": told}), 200) as receiver, posting(receiver.port, tmp_path) as sink:
        sink.take(frame(), predicted(event(1)))
        wait_for(lambda: len(receiver.posts) == 2)


def test_pauses_grow_and_differ_from_board_to_board_and_are_bounded():
    patience = Patience()
    for tried in range(1, 20):
        full = min(60.0, 2.0 ** (tried - 1))
        pauses = {patience.pause_s(tried, None) for _ in range(50)}
        assert len(pauses) > 40
        assert all(full / 2 <= pause <= full for pause in pauses)
    assert patience.pause_s(1, 1e9) == 60.0


def test_a_redirect_is_not_followed_and_the_token_stays_here(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with receiving() as elsewhere:
        aside = (302, {"Location": f"http://127.0.0.1:{elsewhere.port}/"})
        with receiving(aside) as receiver, posting(receiver.port, tmp_path, **WITH_TOKEN) as sink:
            sink.take(frame(), predicted(event(1)))
            assert "got 302: redirects are not followed" in next_error(sink)
        assert elsewhere.posts == []


def test_a_token_is_sent_and_is_in_no_message(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    with receiving(403) as receiver, posting(receiver.port, tmp_path, **WITH_TOKEN) as sink:
        sink.take(frame(), predicted(event(1)))
        said = next_error(sink)
        assert receiver.posts[0][1]["Authorization"] == f"Bearer {TOKEN}"
    for text in (said, caplog.text, repr(sink)):
        assert TOKEN not in text
        assert "s3cret" not in text


@pytest.mark.parametrize("content", ["", "two words\r\nX-Evil: yes", "zwölf"])
def test_a_token_that_no_header_can_hold_is_an_error_before_anything_runs(tmp_path, content):
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(BadFileError, match="expected a token of 1–4096 ASCII characters on one line"):
        Webhook(WebhookSpec("http://h/x", **WITH_TOKEN), tmp_path, "app")


def test_a_token_that_everybody_can_read_is_an_error(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(EdgeError, match="everybody on this machine can read the token"):
        Webhook(WebhookSpec("http://h/x", **WITH_TOKEN), tmp_path, "app")


def test_what_waits_is_bounded_and_the_oldest_are_lost(tmp_path):
    with receiving("hang") as receiver, posting(receiver.port, tmp_path, timeout_s=60) as sink:
        sink.take(frame(), predicted(event(1)))
        wait_for(lambda: receiver.posts)  # it is under way, and none waits
        for number in range(2, 66):
            sink.take(frame(), predicted(event(number)))
        with pytest.raises(EdgeError, match="too slow, more than 64 posts wait; the oldest are lost"):
            sink.take(frame(), predicted(event(66)))
        assert sink._posts[0].key == f"{event(3).id}-begin"


@pytest.mark.parametrize("script", [("hang",), ("drip",), ("endless",), (503,)])
def test_closing_ends_a_pause_and_a_post_under_way(tmp_path, script):
    patience = Patience(first_s=600, longest_s=600)
    with receiving(*script) as receiver:
        spec = WebhookSpec(f"http://127.0.0.1:{receiver.port}/", timeout_s=60)
        sink = Webhook(spec, tmp_path, "app", patience)
        sink.take(frame(), predicted(event(1)))
        sink.take(frame(), predicted(event(2)))
        wait_for(lambda: receiver.posts)
        with pytest.raises(EdgeError, match=r"webhook 127.0.0.1: .*; 1 more are lost"):
            sink.close(failed=False)
        assert not sink._thread.is_alive()  # neither the time-out of 60 s nor the pause of 600 s was waited for


def test_what_waits_at_the_end_is_posted(tmp_path):
    with receiving() as receiver:
        sink = Webhook(WebhookSpec(f"http://127.0.0.1:{receiver.port}/"), tmp_path, "app", QUICK)
        for number in range(1, 31):
            sink.take(frame(), predicted(event(number)))
        sink.close(failed=False)
        assert len(receiver.posts) == 30


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_certificate_that_is_not_trusted_is_refused(tmp_path):
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*make.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "pem"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem", tmp_path / "key")
    with receiving(context=context) as receiver, posting(receiver.port, tmp_path, scheme="https") as sink:
        sink.take(frame(), predicted(event(1)))
        assert "certificate verify failed" in next_error(sink)
        assert receiver.posts == []
