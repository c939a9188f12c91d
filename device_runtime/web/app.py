"""The routes of the live page: files of the page, video, figures, metrics, health, and the login."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from device_runtime.contract.prediction import json_line
from device_runtime.errors import EdgeError
from device_runtime.telemetry import Telemetry
from device_runtime.web.access import Gate, Names
from device_runtime.web.encoder import Encoder
from device_runtime.web.guard import WRONG_TOKEN_S, Guard, cookie_name, read_cookie, refuse
from device_runtime.web.metrics import Exposition
from device_runtime.web.pictures import Pictures

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LOGIN = "login.html"
_MESSAGE = "<!-- message -->"
_HIDDEN_LOGOUT, _LOGOUT = b'id="logout" hidden', b'id="logout"'
_FORM_BYTES = 4096
_FORM_S = 5.0

_STATUS_S = 0.4
"""All who ask within this time get the same status: it is made once."""

_COOKIE_S = 12 * 3600
_NO_STORE = {"cache-control": "no-store"}
_JSON = "application/json"


@dataclass(frozen=True)
class Parts:
    """What the routes show."""

    telemetry: Telemetry
    encoder: Encoder
    pictures: Pictures
    gate: Gate
    names: Names


def make_app(parts: Parts) -> Guard:
    """Return the whole application, guarded."""
    live, door = _Live(parts), _Door(parts.gate)
    files = {path: (_read(name), kind) for path, (name, kind) in _FILES.items()}
    if not parts.gate.open:
        page, kind = files["/"]
        files["/"] = (page.replace(_HIDDEN_LOGOUT, _LOGOUT), kind)
    routes = [Route(path, _file(content, kind)) for path, (content, kind) in files.items()]
    routes += [
        Route("/stream.mjpg", live.stream),
        Route("/snapshot.jpg", live.snapshot),
        Route("/status.json", live.status),
        Route("/metrics", live.metrics),
        Route("/healthz", live.health),
        Route("/login", door.login, methods=["GET", "POST"]),
        Route("/logout", door.logout, methods=["POST"]),
    ]
    return Guard(Router(routes, redirect_slashes=False), parts.gate, parts.names)


def _file(content: bytes, kind: str) -> Callable[[Request], Response]:
    """Return what answers with one of the page's files: read once, so that no path leads anywhere else."""
    headers = {"cache-control": "no-cache", "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(request: Request) -> Response:
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return answer  # type: ignore[return-value]  # Starlette takes coroutine functions


def _read(name: str) -> bytes:
    return resources.files("device_runtime.web").joinpath("static", name).read_bytes()


class _Live:
    """What changes."""

    def __init__(self, parts: Parts) -> None:
        self._telemetry = parts.telemetry
        self._encoder = parts.encoder
        self._pictures = parts.pictures
        self._exposition = Exposition(parts.telemetry)
        self._status: tuple[float, str] = (-_STATUS_S, "")
        self._asking = asyncio.Lock()

    async def stream(self, request: Request) -> ASGIApp | Response:
        if self._pictures.full:
            why = f"all places for viewers ({self._pictures.viewers}) are taken"
            return refuse(503, why, [("retry-after", "5")])
        if request.method == "HEAD":
            return Response(headers=_NO_STORE)
        return self._pictures.stream

    async def snapshot(self, request: Request) -> Response:
        del request
        try:
            picture = await asyncio.to_thread(self._encoder.snapshot)
        except EdgeError as error:
            return refuse(503, str(error))
        if picture is None:
            return refuse(503, "there was no picture yet")
        return Response(picture, media_type="image/jpeg", headers=_NO_STORE)

    async def status(self, request: Request) -> Response:
        del request
        async with self._asking:
            if time.monotonic() - self._status[0] >= _STATUS_S:
                # In a thread: on a Raspberry Pi the throttle bits take a process.
                status = await asyncio.to_thread(self._telemetry.status)
                self._status = (time.monotonic(), json_line(status) + "\n")
            text = self._status[1]
        return Response(text, media_type=_JSON, headers=_NO_STORE)

    async def metrics(self, request: Request) -> Response:
        text, kind = await asyncio.to_thread(self._exposition.text, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind, **_NO_STORE})

    async def health(self, request: Request) -> Response:
        health, reasons = self._telemetry.health()
        code = 200 if health == "ok" else 503
        # Who is not known learns no more than a load balancer needs.
        told = {"health": health, "reasons": list(reasons)} if request.scope["edgekit.caller"].known else {}
        return Response(json_line({"ok": health == "ok", **told}) + "\n", code, media_type=_JSON, headers=_NO_STORE)


class _Door:
    """The login: a token for a session's cookie."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._form = _read(_LOGIN).decode()

    async def login(self, request: Request) -> Response:
        caller = request.scope["edgekit.caller"]
        if caller.known:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return self._page("", 200)
        wait_s = self._gate.locked_s(caller.address)
        if wait_s:
            return self._page(f"Too many wrong tokens. Try again in {int(wait_s) + 1} s.", 429)
        token = await _token_of(request)
        if token is None or not self._gate.knows(token, caller.address):
            await asyncio.sleep(WRONG_TOKEN_S)
            return self._page("This is not the token.", 401)
        response = RedirectResponse("/", 303, _NO_STORE)
        response.set_cookie(
            cookie_name(request.headers),
            self._gate.open_session(),
            max_age=_COOKIE_S,
            httponly=True,
            samesite="strict",
        )
        return response

    async def logout(self, request: Request) -> Response:
        self._gate.end_session(read_cookie(request.headers))
        response = RedirectResponse("/login", 303, _NO_STORE)
        response.delete_cookie(cookie_name(request.headers), httponly=True, samesite="strict")
        return response

    def _page(self, message: str, code: int) -> Response:
        said = f'<p class="refused" role="alert">{message}</p>' if message else ""
        return Response(
            self._form.replace(_MESSAGE, said), code, media_type="text/html; charset=utf-8", headers=_NO_STORE
        )


async def _token_of(request: Request) -> str | None:
    """Return the token in a login form; None when there is none, or when the form is large or slow."""
    body = b""
    try:
        async with asyncio.timeout(_FORM_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _FORM_BYTES:
                    return None
    except TimeoutError:
        return None
    fields = parse_qs(body.decode("utf-8", "replace"))
    return fields.get("token", [None])[0]
