"""An in-memory server that speaks the customer's half of `docs/protocol.md`: one workspace, no models, no database.

A test scripts what the bot says (`server.script(...)`), looks at what arrived (`server.received`), and breaks the line
(`server.cut_streams()`, `server.refuse(...)`, `server.down = True`).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from PIL import Image, ImageDraw
from starlette.datastructures import UploadFile
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

import duomo

PACKAGE = Path(duomo.__file__).parent
WEB = PACKAGE / "web"
CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, PUT, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, last-event-id",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".json": "application/json"}

WORKSPACE: dict[str, Any] = {
    "name": "demo",
    "title": {"zh": "蓝汀电器", "en": "Lanting Electronics"},
    "greeting": {
        "zh": "您好，我是蓝汀的智能助手。可以打字、发语音，也可以直接拍一张产品或错误码的照片给我。",
        "en": "Hello, I am Lanting's AI assistant. Type, send a voice note, or show me a photo of the product.",
    },
    "bot_name": {"zh": "蓝汀助手", "en": "Lanting assistant"},
    "languages": ["zh", "en"],
    "consent": "all",
    "limits": {
        "max_files": 5,
        "max_bytes": 2 * 1024 * 1024,
        "max_audio_s": 120,
        "accept": [".png", ".jpg", ".jpeg", ".webp", ".wav", ".mp3", ".pdf", ".docx", ".txt"],
    },
}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def new_id() -> str:
    return str(uuid.uuid4())


def picture(text: str = "E12", *, size: tuple[int, int] = (640, 420)) -> bytes:
    """A PNG of a device's display."""
    image = Image.new("RGB", size, (236, 240, 238))
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.rounded_rectangle((width * 0.18, height * 0.12, width * 0.82, height * 0.88), 28, fill=(38, 46, 50))
    draw.rounded_rectangle((width * 0.28, height * 0.24, width * 0.72, height * 0.56), 12, fill=(16, 60, 52))
    draw.text((width * 0.5, height * 0.4), text, fill=(120, 240, 200), font_size=72, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def artifact(kind: str, text: str, confidence: float) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": kind,
        "text": text,
        "original_text": None,
        "confidence": confidence,
        "model": "fake",
        "version": "000000000000",
        "duration_ms": 12,
        "corrected_by": None,
        "data": {},
    }


@dataclass
class Received:
    """One accepted message, as it arrived."""

    id: str
    text: str
    files: list[tuple[str, str, bytes]]  # name, MIME, bytes


@dataclass
class Conversation:
    id: str
    language: str
    status: str = "pending"
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, json.loads(json.dumps(data))))

    def message(self, author: str, text: str, **more: Any) -> dict[str, Any]:
        message = {
            "id": new_id(),
            "conversation_id": self.id,
            "seq": len(self.events) + 1,
            "author": author,
            "agent": None,
            "kind": {"customer": "text", "bot": "answer", "agent": "text", "system": "notice"}[author],
            "private": False,
            "ai": author == "bot",
            "text": text,
            "language": self.language,
            "created_at": now(),
            "feedback": None,
            "parts": [],
            "citations": [],
            "options": [],
            "decision": {},
        } | more
        self.messages[message["id"]] = message
        self.emit("message", message)
        return message

    def set_status(self, status: str, *, agent: str | None = None, by: str = "agent") -> None:
        self.status = status
        assignee = {"id": new_id(), "name": agent} if agent else None
        self.emit("status", {"status": status, "assignee": assignee, "reason": None, "by": by, "snoozed_until": None})


Answer = Callable[["FakeServer", Conversation, dict[str, Any]], None]


def echo(server: FakeServer, conversation: Conversation, message: dict[str, Any]) -> None:
    """The default bot."""
    conversation.message("bot", f"You wrote: {message['text']}")


class FakeServer:
    """Serves `web/` and the API on a free port of 127.0.0.1; use as a context manager."""

    def __init__(self) -> None:
        self.reset()
        self._server: uvicorn.Server | None = None
        self.app = FastAPI()
        self._routes()
        self.app = _Headers(self.app)  # type: ignore[assignment]

    def reset(self) -> None:
        """As after the start: nobody wrote, nothing is broken."""
        self.visitors: set[str] = set()
        self.consents: list[bool | None] = []
        self.conversations: dict[str, Conversation] = {}
        self.received: list[Received] = []
        self.puts: list[str] = []  # message ids of all tries, accepted or not
        self.calls: list[tuple[str, dict[str, Any]]] = []  # other changes: name, body
        self.articles: dict[str, dict[str, Any]] = {}
        self.media: dict[str, tuple[bytes, str]] = {}
        self.answer: Answer = echo
        self.perceive: list[dict[str, Any]] = []  # artifacts for the next file
        self.down = False
        self.lose_answers = 0  # so many accepted messages are stored without the browser hearing of it
        self.delay = 0.0  # seconds before a message is stored
        self.overlap = 0  # events that a stream repeats although they were seen
        self._busy_for = self._busy_until = 0.0
        self._refusals: list[tuple[int, str, float | None]] = []
        self.generation = getattr(self, "generation", 0) + 1

    # -- what tests do ------------------------------------------------------------------------------------------

    def refuse(self, status: int, code: str, retry_after: float | None = None) -> None:
        """The next message is refused so."""
        self._refusals.append((status, code, retry_after))

    def busy(self, seconds: float) -> None:
        """So long from the next message on, each is refused with 429 and asked to come again when it is over."""
        self._busy_for = seconds

    def cut_streams(self) -> None:
        """Every open event stream ends, as when the process dies."""
        self.generation += 1

    def put_media(self, data: bytes, mime: str) -> str:
        key = new_id()
        self.media[key] = (data, mime)
        return f"/api/v1/media/{key}"

    @property
    def conversation(self) -> Conversation:
        [found] = self.conversations.values()
        return found

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=0, log_level="warning", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)

    # -- the protocol -------------------------------------------------------------------------------------------

    def _routes(self) -> None:
        app, api = self.app, "/api/v1"
        app.add_api_route("/", self._shop)
        app.add_api_route("/w/widget.js", self._widget)
        app.add_api_route("/w/scenarios/{scenario}/media/{path:path}", self._scenario_media)
        app.add_api_route("/w/{path:path}", self._asset)
        app.add_api_route("/page/{name}", self._page)
        app.add_api_route(f"{api}/workspace", self._workspace)
        app.add_api_route(f"{api}/visitors", self._visitor, methods=["POST"])
        app.add_api_route(f"{api}/consent", self._consent, methods=["PUT"])
        app.add_api_route(f"{api}/conversations/{{cid}}", self._open, methods=["PUT"])
        app.add_api_route(f"{api}/conversations/{{cid}}/messages/{{mid}}", self._put, methods=["PUT"])
        app.add_api_route(f"{api}/conversations/{{cid}}/events", self._events)
        app.add_api_route(f"{api}/conversations/{{cid}}/{{call:path}}", self._call, methods=["POST"])
        app.add_api_route(f"{api}/articles/{{id}}", self._article)
        app.add_api_route(f"{api}/media/{{key}}", self._media)

    async def _shop(self) -> Response:
        return FileResponse(WEB / "shop/index.html")

    async def _widget(self) -> Response:
        return FileResponse(WEB / "widget/widget.js", media_type="text/javascript")

    async def _scenario_media(self, scenario: str, path: str) -> Response:
        return _file(PACKAGE / "scenarios" / scenario / "media" / path)

    async def _asset(self, path: str) -> Response:
        return _file(WEB / path)

    async def _page(self, name: str, lang: str = "en", attributes: str = "") -> Response:
        """A stranger's page with the one script tag, and styles that must not leak into the widget."""
        body = (
            f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{name}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<style>html{font-size:10px}*{letter-spacing:1px}button{background:red;border-radius:0}</style>"
            f"</head><body><main><h1>A page of somebody else</h1><p>Text.</p></main>"
            f'<script type="module" src="{self.url}/w/widget.js" data-workspace="demo" {attributes}></script>'
            "</body></html>"
        )
        return Response(body, media_type="text/html")

    def _refused(self, status: int, code: str, retry_after: float | None = None) -> Response:
        error = {"code": code, "message": f"{code}, as the test wants it.", "retry_after": retry_after}
        return JSONResponse({"error": error}, status_code=status)

    def _stranger(self, request: Request) -> bool:
        return request.headers.get("authorization", "").removeprefix("Bearer ") not in self.visitors

    async def _workspace(self) -> Response:
        return self._refused(503, "unavailable") if self.down else JSONResponse(WORKSPACE)

    async def _visitor(self) -> Response:
        if self.down:
            return self._refused(503, "unavailable")
        token = new_id()
        self.visitors.add(token)
        return JSONResponse({"token": token, "contact_id": new_id(), "workspace": WORKSPACE}, status_code=201)

    async def _consent(self, request: Request) -> Response:
        self.consents.append((await request.json())["may_train"])
        return Response(status_code=204)

    async def _open(self, request: Request, cid: str) -> Response:
        if self.down or self._stranger(request):
            return self._refused(*((503, "unavailable") if self.down else (401, "denied")))
        language = (await request.json())["language"]
        made = cid not in self.conversations
        conversation = self.conversations.setdefault(cid, Conversation(cid, language))
        conversation.language = language
        return JSONResponse({"id": cid, "status": conversation.status, "language": language}, 201 if made else 200)

    async def _put(self, request: Request, cid: str, mid: str) -> Response:
        self.puts.append(mid)
        if self.down or self._stranger(request):
            return self._refused(*((503, "unavailable") if self.down else (401, "denied")))
        if self._busy_for:
            self._busy_until, self._busy_for = time.monotonic() + self._busy_for, 0.0
        if (left := self._busy_until - time.monotonic()) > 0:
            return self._refused(429, "too_many", left)
        if self._refusals:
            return self._refused(*self._refusals.pop(0))
        if cid not in self.conversations:
            return self._refused(404, "not_found")
        conversation = self.conversations[cid]
        text, files = await _read(request)
        if self.delay:
            await asyncio.sleep(self.delay)
        made = mid not in conversation.messages
        if made:
            self.received.append(Received(mid, text, files))
            parts = [self._part(name, mime, data) for name, mime, data in files]
            message = conversation.message("customer", text, id=mid, parts=parts)
            asyncio.get_running_loop().call_later(0.02, self.answer, self, conversation, message)
        if self.lose_answers:
            self.lose_answers -= 1
            return self._refused(503, "unavailable")
        return JSONResponse(conversation.messages[mid], status_code=201 if made else 200)

    def _part(self, name: str, mime: str, data: bytes) -> dict[str, Any]:
        kind = mime.split("/")[0] if mime.startswith(("image/", "audio/")) else "document"
        artifacts, self.perceive = self.perceive, []
        width = height = None
        if kind == "image":
            width, height = Image.open(io.BytesIO(data)).size
        return {
            "id": new_id(),
            "kind": kind,
            "state": "ready",
            "mime": mime,
            "name": name,
            "url": self.put_media(data, mime),
            "width": width,
            "height": height,
            "duration_s": (len(data) - 44) / 32000 if kind == "audio" else None,
            "error": None,
            "artifacts": artifacts,
        }

    async def _events(self, request: Request, cid: str, after: int = 0) -> Response:
        if self.down or self._stranger(request):
            return self._refused(*((503, "unavailable") if self.down else (401, "denied")))
        if cid not in self.conversations:
            return self._refused(404, "not_found")
        return StreamingResponse(self._stream(self.conversations[cid], after), media_type="text/event-stream")

    async def _stream(self, conversation: Conversation, after: int) -> AsyncIterator[str]:
        generation, after = self.generation, max(0, after - self.overlap)
        yield ": open\n\n"
        while generation == self.generation and not self.down:
            for kind, data in conversation.events[after:]:
                after += 1
                yield f"id: {after}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
            await asyncio.sleep(0.01)

    async def _call(self, request: Request, cid: str, call: str) -> Response:
        if self.down or self._stranger(request):
            return self._refused(*((503, "unavailable") if self.down else (401, "denied")))
        conversation, body = self.conversations[cid], await request.json()
        self.calls.append((call, body))
        match call.split("/"):
            case ["handoff"]:
                conversation.message("bot", "Of course. A person will take over.", kind="handoff")
                conversation.set_status("open", by="customer")
            case ["artifacts", aid]:
                message, found = _artifact(conversation, aid)
                found.update(original_text=found["text"], text=body["text"], corrected_by="customer", confidence=1.0)
                conversation.emit("update", message)
                return JSONResponse(message)
            case ["messages", mid, "feedback"]:
                conversation.messages[mid]["feedback"] = body["value"]
                conversation.emit("update", conversation.messages[mid])
        return Response(status_code=204)

    async def _article(self, id: str) -> Response:
        return JSONResponse(self.articles[id]) if id in self.articles else self._refused(404, "not_found")

    async def _media(self, key: str) -> Response:
        data, mime = self.media[key]
        return Response(data, media_type=mime, headers={"Cross-Origin-Resource-Policy": "cross-origin"})


class _Headers:
    """The headers of the real server: the page's policy, and an API open to other sites."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                more = {"Content-Security-Policy": CSP} if scope["path"] == "/" else CORS
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await Response(status_code=204)(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)


def _file(path: Path) -> Response:
    if not path.is_file():
        return Response(status_code=404)
    return FileResponse(
        path, media_type=TYPES.get(path.suffix), headers={"Cross-Origin-Resource-Policy": "cross-origin"}
    )


async def _read(request: Request) -> tuple[str, list[tuple[str, str, bytes]]]:
    if request.headers["content-type"].startswith("application/json"):
        return (await request.json())["text"], []
    async with request.form() as form:
        files = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
        read = [(one.filename or "", one.content_type or "", await one.read()) for one in files]
        return str(form["text"]), read


def _artifact(conversation: Conversation, aid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    for message in conversation.messages.values():
        for part in message["parts"]:
            for found in part["artifacts"]:
                if found["id"] == aid:
                    return message, found
    raise KeyError(aid)


def cited(text: str, *, options: Sequence[str] = (), picture_url: str | None = None) -> Answer:
    """A bot that streams `text` in pieces and then shows it with one source."""

    def answer(server: FakeServer, conversation: Conversation, message: dict[str, Any]) -> None:
        conversation.emit("turn", {"state": "working", "waiting_for": []})
        answer_id = new_id()
        for start in range(0, len(text), 7):
            conversation.emit("delta", {"message_id": answer_id, "text": text[start : start + 7]})
        citation = {
            "n": 1,
            "article_id": "wifi-setup",
            "chunk_id": "wifi-setup-0",
            "title": "Setting up Wi-Fi",
            "uri": "articles/en/wifi-setup.md",
            "quote": "Hold the button for 5 seconds until the light blinks",
            "score": 0.91,
            "picture_url": picture_url,
        }
        conversation.message("bot", text, id=answer_id, citations=[citation], options=list(options))
        conversation.emit("turn", {"state": "done", "waiting_for": []})

    return answer


@contextlib.contextmanager
def serving() -> Any:
    with FakeServer() as server:
        yield server


if __name__ == "__main__":
    with serving() as running:
        print(running.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
