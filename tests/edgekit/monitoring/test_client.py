"""Asking a page."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from device_runtime.errors import BadFileError, EdgeError, UsageError
from edgekit.boards.errors import UnreachableError
from edgekit.monitoring.client import PageClient, find_token
from tests.support.live_pages import TOKEN, running


@contextlib.contextmanager
def server(code, body):
    """Something else that speaks HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            del arguments

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


def test_the_status_of_a_page_is_read(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running() as application:
        application.step()
        status = PageClient(application.page.url).status()
        assert (status.model, status.last.items[0].label) == ("belt", "bolt")


def test_a_token_is_sent_and_a_wrong_one_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", TOKEN)
    with running() as application:
        assert PageClient(application.page.url, find_token(None)).status().model == "belt"
        for token, words in ((None, "wants a token"), ("wrong-wrong-wrong-1", "wants another token")):
            with pytest.raises(UsageError, match=words) as caught:
                PageClient(application.page.url, token).status()
            assert "--token-file" in caught.value.hint
    file = tmp_path / "token"
    file.write_text(f" {TOKEN}\n")
    file.chmod(0o600)
    assert find_token(file) == TOKEN


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (200, b"<html>", BadFileError, "not JSON"),
        (200, b"{}", BadFileError, 'key "at" is missing'),
        (200, b"[1]", BadFileError, "expected a table"),
        (404, b"not here", EdgeError, "answered 404: not here"),
        (503, b'{"error": "busy"}', EdgeError, "answered 503: busy"),
        (200, b"x" * 5_000_000, BadFileError, "at most"),
    ],
)
def test_what_is_no_such_page_is_said(code, body, kind, words):
    with server(code, body) as url, pytest.raises(kind, match=words):
        PageClient(url).status()


def test_nothing_there_is_unreachable():
    with pytest.raises(UnreachableError, match="connection refused") as caught:
        PageClient("http://127.0.0.1:1").status()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "x", "http://a:b@c", "http://a/?token=x", "http://a:99999", "http://["]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UsageError, match="expected http://HOST:PORT"):
        PageClient(url)
