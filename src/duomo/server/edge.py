"""What holds for every request: a size limit on plain bodies, CORS, security headers, one log line, no raw crash."""

from __future__ import annotations

import json
import logging
import re
import time
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("duomo.server")

MAX_PLAIN_BODY = 256 * 1024  # bytes of a body that is not a form; forms count for themselves (uploads.py)

_API = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""`unsafe-inline` for styles alone: Lit writes style elements where a browser lacks constructable style sheets."""

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, PUT, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, last-event-id",
    "Access-Control-Max-Age": "7200",
}
_SECRET = re.compile(r"/media/[^/]+")  # the address of a file is the right to read it


def open_to_other_sites(path: str) -> bool:
    """The widget's calls, which carry a token in a header. Nothing that a cookie opens is among them."""
    rest = path.removeprefix("/api/v1/")
    return rest != path and rest.split("/")[0] not in {"agent", "ask", "retrieve"}


class Edge:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        if scope["method"] == "OPTIONS" and open_to_other_sites(scope["path"]):
            await request.answer(204, b"", _PREFLIGHT)
        else:
            await request.run(self._app)
        request.log()


class _Request:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._headers = Headers(scope=scope)
        self._started = time.monotonic()
        self._status = 0
        self._body = 0
        self._is_form = self._headers.get("content-type", "").startswith("multipart/")

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except ClientDisconnect:
            self._status = self._status or 499
        except Exception as error:  # noqa: BLE001 the edge of a request: whatever got here is a bug
            where = "".join(traceback.format_tb(error.__traceback__))  # without its message, which may quote a customer
            log.error("%s in %s %s\n%s", type(error).__name__, self._scope["method"], self._path(), where)
            if not self._status:
                refused = {"code": "internal", "message": "something broke here. Try again.", "retry_after": None}
                body = json.dumps({"error": refused}).encode()
                await self.answer(500, body, {"Content-Type": "application/json"})

    async def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._is_form:
            self._body += len(message.get("body", b""))
            if self._body > MAX_PLAIN_BODY:
                raise HTTPException(413, f"the body is longer than {MAX_PLAIN_BODY} bytes.")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _ALWAYS.items():
                headers.setdefault(name, value)
            path = self._scope["path"]
            headers.setdefault("Content-Security-Policy", _API if path.startswith("/api/") else _PAGE)
            if open_to_other_sites(path):
                headers.setdefault("Access-Control-Allow-Origin", "*")
                headers.setdefault("Access-Control-Expose-Headers", "retry-after")
            elif path.startswith("/api/"):
                headers.setdefault("Cache-Control", "no-store")
            if self._status == 413:  # there may be no end of what is still being sent
                headers["Connection"] = "close"
            message["headers"] = headers.raw
        await self._send(message)

    def log(self) -> None:
        who = self._scope.get("state", {}).get("who", "-")
        took = (time.monotonic() - self._started) * 1000
        log.info("%s %s %d %.0fms %s", self._scope["method"], self._path(), self._status, took, who)

    def _path(self) -> str:
        return _SECRET.sub("/media/…", self._scope["path"])
