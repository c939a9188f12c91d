"""What every request passes before anything answers it: names, methods, tokens; and headers that browsers obey."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from device_runtime.web.access import Gate, Names

WRONG_TOKEN_S = 0.5
"""A wrong token is answered this late."""

_POSTS = ("/login", "/logout")
_PUBLIC = ("/login", "/page.css", "/icon.svg", "/healthz")
_TOKEN_KEYS = ("token", "access_token", "auth", "authorization", "api_key", "apikey", "key", "password")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
# With no-referrer, browsers would send "Origin: null" with the form (Fetch standard, "append a request Origin header").
_FORM_REFERRER = (b"referrer-policy", b"same-origin")
_NO_REFERRER = (b"referrer-policy", b"no-referrer")


@dataclass(frozen=True)
class Caller:
    """Who asks, as far as it is known: put into the request's scope as ``edgekit.caller``."""

    address: str
    known: bool


class Guard:
    """Refuses what must not reach ``app``."""

    def __init__(self, app: ASGIApp, gate: Gate, names: Names) -> None:
        """Guard ``app``."""
        self._app = app
        self._gate = gate
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        decorated = _decorate(send, scope["path"])
        refusal = self._refuse(scope, headers)
        if refusal is None:
            caller = Caller((scope.get("client") or ("?", 0))[0], known=False)
            known, refusal = await self._identify(scope, headers, caller.address)
            scope["edgekit.caller"] = Caller(caller.address, known)
        await (refusal or self._app)(scope, receive, decorated)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse what nobody may ask."""
        server = scope.get("server")
        if len(headers.getlist("host")) != 1 or not self._names.allow(headers["host"], server[0] if server else None):
            return refuse(421, "this board is not called that; its other names go into names of [service.page]")
        method, path = scope["method"], scope["path"]
        if method not in ("GET", "HEAD") and not (method == "POST" and path in _POSTS):
            return refuse(405, f"{method} is not understood here", [("allow", "GET, HEAD")])
        query = unquote(scope["query_string"].decode("latin-1"))
        keys = {key.lower() for key, _ in parse_qsl(query, keep_blank_values=True)}
        if keys.intersection(_TOKEN_KEYS) or self._gate.holds_token(query):
            return refuse(
                400,
                "a token does not belong into a URL: URLs end up in logs and histories; "
                "log in on the page, or send the header Authorization: Bearer TOKEN",
            )
        if method == "POST" and not _same_origin(headers):
            return refuse(403, "this form was sent from another site")
        return None

    async def _identify(self, scope: Scope, headers: Headers, address: str) -> tuple[bool, Response | None]:
        """Tell whether the caller is known, and refuse who is not and asks for more than everybody may."""
        if self._gate.open or self._gate.in_session(read_cookie(headers)):
            return True, None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            wait_s = self._gate.locked_s(address)
            if wait_s:
                return False, refuse(429, "too many wrong tokens", [("retry-after", str(int(wait_s) + 1))])
            if self._gate.knows(token.strip(), address):
                return True, None
            await asyncio.sleep(WRONG_TOKEN_S)
            return False, _unknown("this is not the token")
        if scope["path"] in _PUBLIC:
            return False, None
        if scope["path"] == "/":
            return False, RedirectResponse("/login", 303)
        return False, _unknown("a token is needed: log in on the page, or send the header Authorization: Bearer TOKEN")


def refuse(status: int, why: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return an answer that says in words what is wrong."""
    return JSONResponse({"error": why}, status, {"cache-control": "no-store", **dict(headers)})


def cookie_name(headers: Headers) -> str:
    """Return the name of the session's cookie: browsers send a host's to all its ports, so its own is in it."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"edgekit-{port}" if port.isdigit() else "edgekit"


def read_cookie(headers: Headers) -> str:
    """Return the session's secret, or an empty text."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    found = cookies.get(cookie_name(headers))
    return found.value if found else ""


def _unknown(why: str) -> Response:
    return refuse(401, why, [("www-authenticate", 'Bearer realm="edgekit"')])


def _same_origin(headers: Headers) -> bool:
    """Tell whether a form came from this page. Programs other than browsers send no Origin.

    The scheme is left out: behind a proxy with TLS it is https for the browser, and http here.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == headers["host"].lower()


def _decorate(send: Send, path: str) -> Send:
    async def decorated(message: Message) -> None:
        if message["type"] == "http.response.start":
            referrer = _FORM_REFERRER if path in _POSTS else _NO_REFERRER
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS, referrer]}
        await send(message)

    return decorated
