"""An in-memory server that speaks `docs/protocol.md` to the agent console: two agents, a few conversations, no models.

Tests drive it from Python (`server.customer_writes(...)`), and look at what the console sent (`server.actions`).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.staticfiles import StaticFiles

import duomo
from tests.browser.fake_learning import Learning
from tests.browser.refusal import Refused

WEB = Path(duomo.__file__).parent / "web"
CSP = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'self'; style-src 'self' 'unsafe-inline'"
)
TRANSITIONS = {
    "take_over": {"pending": "open", "open": "open", "snoozed": "open"},
    "return_to_bot": {"open": "pending"},
    "assign": {"open": "open", "pending": "pending", "snoozed": "snoozed"},
    "snooze": {"open": "snoozed", "pending": "snoozed"},
    "resolve": {"open": "resolved", "pending": "resolved", "snoozed": "resolved"},
    "reopen": {"snoozed": "open", "resolved": "open"},
}
AGENTS = [
    {"id": "a0000000-0000-4000-8000-000000000001", "name": "Lin", "email": "lin@example.com", "role": "admin"},
    {"id": "a0000000-0000-4000-8000-000000000002", "name": "Mei", "email": "mei@example.com", "role": "agent"},
]
PASSWORD = "correct horse battery"


def iso(ago: float = 0.0) -> str:
    """The time `ago` seconds before now."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")


def new_id() -> str:
    return str(uuid.uuid4())


def artifact(kind: str, text: str, *, confidence: float, model: str, ms: int, **data: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": kind,
        "text": text,
        "original_text": None,
        "confidence": confidence,
        "model": model,
        "version": "3f9a1c22b0de",
        "duration_ms": ms,
        "corrected_by": None,
        "data": data,
    }


def part(kind: str, name: str, mime: str, **more: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": kind,
        "state": "ready",
        "mime": mime,
        "name": name,
        "url": None,
        "width": None,
        "height": None,
        "duration_s": None,
        "error": None,
        "artifacts": [],
        **more,
    }


class Conversation:
    """One conversation and its event log."""

    def __init__(self, name: str, language: str) -> None:
        self.id = new_id()
        self.contact = {"id": new_id(), "name": name, "language": language}
        self.language = language
        self.status = "pending"
        self.assignee: dict[str, Any] | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.messages: dict[str, dict[str, Any]] = {}
        self.read_seq: dict[str, int] = {}
        self.waiting_since: str | None = None
        self.snoozed_until: str | None = None
        self.reason: str | None = None
        self.brief: dict[str, Any] | None = None
        self.csat: dict[str, Any] | None = None
        self.created = self.updated = iso(3600)
        self.viewers: dict[str, list[float]] = {}  # agent id -> [open streams, typing until]
        self.why: dict[str, dict[str, Any]] = {}  # message id -> Why

    def emit(self, kind: str, data: dict[str, Any]) -> int:
        self.events.append((kind, data))
        self.updated = iso()
        return len(self.events)

    def say(
        self, author: str, text: str, *, ago: float = 0.0, message_id: str | None = None, **more: Any
    ) -> dict[str, Any]:
        kinds = {"customer": "text", "agent": "text", "bot": "answer", "system": "notice"}
        message = {
            "id": message_id or new_id(),
            "conversation_id": self.id,
            "seq": len(self.events) + 1,
            "author": author,
            "agent": None,
            "kind": kinds[author],
            "private": False,
            "ai": author == "bot",
            "text": text,
            "language": self.language,
            "created_at": iso(ago),
            "feedback": None,
            "parts": [],
            "citations": [],
            "options": [],
            "decision": {},
            **more,
        }
        self.messages[message["id"]] = message
        self.emit("message", message)
        self.updated = iso(ago)
        return message

    def allowed(self) -> list[str]:
        return [action for action, moves in TRANSITIONS.items() if self.status in moves]

    def presence(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "agents": [
                {"id": agent["id"], "name": agent["name"], "typing": self.viewers[agent["id"]][1] > now}
                for agent in AGENTS
                if self.viewers.get(agent["id"], [0, 0])[0] > 0
            ]
        }

    def summary(self, agent_id: str) -> dict[str, Any]:
        visible = list(self.messages.values())
        last = visible[-1] if visible else None
        seen = self.read_seq.get(agent_id, 0)
        return {
            "id": self.id,
            "status": self.status,
            "contact": self.contact,
            "assignee": self.assignee,
            "language": self.language,
            "channel": "widget",
            "last_message": last and {key: last[key] for key in ("author", "kind", "text", "created_at")},
            "last_seq": len(self.events),
            "unread": sum(1 for m in visible if m["author"] == "customer" and m["seq"] > seen),
            "waiting_since": self.waiting_since,
            "snoozed_until": self.snoozed_until,
            "handoff_reason": self.reason,
            "team": None,
            "priority": "normal",
            "media": sorted({p["kind"] for m in visible for p in m["parts"]}),
            "csat": self.csat,
            "created_at": self.created,
            "updated_at": self.updated,
        }


class FakeConsoleServer:
    """Serves the console's files and API on a free port of 127.0.0.1; use as a context manager."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.media: dict[str, tuple[bytes, str]] = {}
        self.changed: list[str] = []  # ids, in the order in which conversations changed
        self.actions: list[tuple[str, str]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.articles: dict[str, dict[str, Any]] = {}
        self.imports: dict[str, dict[str, Any]] = {}
        self.canned = [
            {
                "id": new_id(),
                "shortcut": "hello",
                "title": "Greeting",
                "text": {"zh": "您好，我是客服，马上为您查看。", "en": "Hello, I am looking into this for you."},
            },
            {
                "id": new_id(),
                "shortcut": "refund",
                "title": "Refund time",
                "text": {
                    "zh": "退款会在 3 个工作日内原路退回。",
                    "en": "The refund reaches you within 3 working days.",
                },
            },
            {
                "id": new_id(),
                "shortcut": "serial",
                "title": "Ask for the serial number",
                "text": {"zh": "请提供机身底部的序列号。", "en": "Please tell us the serial number on the bottom."},
            },
        ]
        self.refuse_next: int | None = None  # HTTP status with which the next agent message is refused
        self._server: uvicorn.Server | None = None
        self.learning = Learning(self)
        self.app = self._routes()

    # -- what tests do ------------------------------------------------------------------------------------------

    def add(self, name: str, language: str = "zh") -> Conversation:
        conversation = Conversation(name, language)
        self.conversations[conversation.id] = conversation
        return conversation

    def put_media(self, data: bytes, mime: str) -> str:
        key = new_id()
        self.media[key] = (data, mime)
        return f"/api/v1/media/{key}"

    def touch(self, conversation: Conversation) -> None:
        self.changed.append(conversation.id)

    def customer_writes(self, conversation: Conversation, text: str, **more: Any) -> dict[str, Any]:
        message = conversation.say("customer", text, **more)
        if conversation.status == "open":
            conversation.waiting_since = conversation.waiting_since or iso()
        self.touch(conversation)
        return message

    def hand_off(self, conversation: Conversation, reason: str) -> None:
        conversation.status, conversation.reason, conversation.waiting_since = "open", reason, iso()
        self._status_event(conversation, by="bot")

    def set_csat(self, conversation: Conversation, score: int, comment: str) -> None:
        conversation.csat = {"score": score, "comment": comment}
        self.touch(conversation)

    def sent(self, conversation: Conversation) -> list[dict[str, Any]]:
        """What agents wrote in this conversation."""
        return [m for m in conversation.messages.values() if m["author"] == "agent"]

    # -- serving ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __enter__(self) -> FakeConsoleServer:
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=0, log_level="warning", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)

    def _status_event(self, conversation: Conversation, *, by: str) -> None:
        conversation.emit(
            "status",
            {
                "status": conversation.status,
                "assignee": conversation.assignee,
                "reason": conversation.reason,
                "by": by,
                "snoozed_until": conversation.snoozed_until,
            },
        )
        self.touch(conversation)

    def _agent(self, request: Request) -> dict[str, Any]:
        session = self.sessions.get(request.cookies.get("duomo_agent", ""))
        if session is None:
            raise Refused(401, "denied", "sign in first")
        if request.method not in {"GET", "HEAD"} and request.headers.get("x-csrf-token") != session["csrf"]:
            raise Refused(403, "denied", "the X-CSRF-Token header is missing or wrong. Sign in again.")
        return session

    def _get(self, conversation_id: str) -> Conversation:
        if conversation_id not in self.conversations:
            raise Refused(404, "not_found", f"no conversation {conversation_id}")
        return self.conversations[conversation_id]

    async def _stream(
        self, request: Request, conversation: Conversation, agent: dict[str, Any], after: int
    ) -> AsyncIterator[str]:
        seen, presence = after, None
        viewer = conversation.viewers.setdefault(agent["id"], [0, 0.0])
        viewer[0] += 1
        yield ": open\n\n"
        try:
            while not await self._gone(request):
                for kind, data in conversation.events[seen:]:
                    seen += 1
                    yield f"id: {seen}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
                if conversation.presence() != presence:
                    presence = conversation.presence()
                    yield f"event: presence\ndata: {json.dumps(presence)}\n\n"
                await asyncio.sleep(0.03)
        finally:
            viewer[0] -= 1

    async def _gone(self, request: Request) -> bool:
        assert self._server is not None
        return self._server.should_exit or await request.is_disconnected()

    async def _workspace_stream(self, request: Request) -> AsyncIterator[str]:
        seen = len(self.changed)
        yield ": open\n\n"
        while not await self._gone(request):
            for conversation_id in self.changed[seen:]:
                seen += 1
                yield f"event: conversation\ndata: {json.dumps({'id': conversation_id})}\n\n"
            await asyncio.sleep(0.03)

    def _routes(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        add = app.add_api_route
        base = "/api/v1/agent"

        @app.middleware("http")
        async def headers(request: Request, call_next: Any) -> Response:
            try:
                response: Response = await call_next(request)
            except Refused as refusal:
                response = refusal.response()
            if not request.url.path.startswith("/api/"):
                response.headers["content-security-policy"] = CSP
                response.headers["cache-control"] = "no-cache"
            return response

        add("/console", lambda: FileResponse(WEB / "console" / "index.html"), response_model=None)
        app.mount("/w", StaticFiles(directory=WEB))
        add(f"{base}/session", self.sign_in, methods=["POST"], response_model=None)
        add(f"{base}/session", self.session, response_model=None)
        add(f"{base}/session", self.sign_out, methods=["DELETE"], response_model=None)
        add(f"{base}/conversations", self.inbox, response_model=None)
        add(f"{base}/conversations/{{cid}}", self.conversation, response_model=None)
        add(f"{base}/conversations/{{cid}}/events", self.conversation_events, response_model=None)
        add(f"{base}/events", self.workspace_events, response_model=None)
        add(f"{base}/conversations/{{cid}}/messages/{{mid}}", self.put_message, methods=["PUT"], response_model=None)
        add(f"{base}/conversations/{{cid}}/messages/{{mid}}/why", self.show_why, response_model=None)
        add(f"{base}/conversations/{{cid}}/messages/{{mid}}/why", self.ask_why, methods=["POST"], response_model=None)
        add(f"{base}/conversations/{{cid}}/actions", self.action, methods=["POST"], response_model=None)
        add(f"{base}/conversations/{{cid}}/presence", self.typing, methods=["POST"], response_model=None)
        add(f"{base}/conversations/{{cid}}/read", self.mark_read, methods=["POST"], response_model=None)
        add(f"{base}/conversations/{{cid}}/artifacts/{{aid}}", self.correct, methods=["POST"], response_model=None)
        add(f"{base}/agents", self.agents, response_model=None)
        add(f"{base}/canned", self.get_canned, response_model=None)
        add(f"{base}/search", self.search, response_model=None)
        add(f"{base}/knowledge", self.knowledge, response_model=None)
        add(f"{base}/knowledge", self.upload, methods=["POST"], response_model=None)
        add(f"{base}/knowledge/imports/{{iid}}", self.import_state, response_model=None)
        add(f"{base}/knowledge/{{aid}}", self.delete_article, methods=["DELETE"], response_model=None)
        add(f"{base}/system", self.system, response_model=None)
        self.learning.add_routes(app, base)
        add("/api/v1/articles/{aid}", self.article, response_model=None)
        add("/api/v1/media/{key}", self.get_media, response_model=None)
        return app

    # -- the calls ----------------------------------------------------------------------------------------------

    async def sign_in(self, request: Request) -> Response:
        sent = await request.json()
        found = [a for a in AGENTS if a["email"] == sent["email"] and sent["password"] == PASSWORD]
        if not found:
            raise Refused(401, "denied", "email or password is wrong")
        key = new_id()
        self.sessions[key] = {"agent": found[0], "workspace": sent["workspace"], "csrf": new_id()}
        response = JSONResponse(self.sessions[key])
        response.set_cookie("duomo_agent", key, httponly=True, samesite="strict")
        return response

    async def session(self, request: Request) -> Response:
        return JSONResponse(self._agent(request))

    async def sign_out(self, request: Request) -> Response:
        self._agent(request)
        del self.sessions[request.cookies["duomo_agent"]]
        return Response(status_code=204)

    async def inbox(self, request: Request) -> Response:
        agent = self._agent(request)["agent"]
        ask = request.query_params
        every = sorted(self.conversations.values(), key=lambda c: c.updated, reverse=True)
        summaries = [c.summary(agent["id"]) for c in every]

        def mine(s: dict[str, Any]) -> bool:
            return bool(s["assignee"]) and s["assignee"]["id"] == agent["id"]

        def texts(conversation: Conversation) -> Iterator[str]:
            for message in conversation.messages.values():
                yield message["text"]
                yield from (a["text"] for p in message["parts"] for a in p["artifacts"])

        active = [s for s in summaries if s["status"] != "resolved"]
        counts = {
            **{
                status: sum(s["status"] == status for s in summaries)
                for status in ("open", "pending", "snoozed", "resolved")
            },
            "mine": sum(mine(s) for s in active),
            "unassigned": sum(not s["assignee"] for s in active),
            "unread": sum(s["unread"] > 0 for s in active),
        }
        keep = [
            s
            for s, c in zip(summaries, every, strict=True)
            if ask.get("status") in (None, "", s["status"])
            and (ask.get("assignee") != "me" or mine(s))
            and (ask.get("assignee") != "none" or not s["assignee"])
            and (ask.get("unread") != "1" or s["unread"])
            and ask.get("language") in (None, "", s["language"])
            and (not ask.get("q") or any(ask["q"].lower() in text.lower() for text in texts(c)))
        ]
        start = int(ask.get("cursor") or 0)
        page = keep[start : start + 30]
        return JSONResponse(
            {"items": page, "cursor": str(start + 30) if len(keep) > start + 30 else None, "counts": counts}
        )

    async def conversation(self, request: Request, cid: str) -> Response:
        agent = self._agent(request)["agent"]
        found = self._get(cid)
        return JSONResponse(
            {
                "conversation": found.summary(agent["id"]),
                "brief": found.brief,
                "presence": found.presence(),
                "allowed": found.allowed(),
            }
        )

    async def conversation_events(self, request: Request, cid: str, after: int = 0) -> Response:
        agent = self._agent(request)["agent"]
        stream = self._stream(request, self._get(cid), agent, after)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def workspace_events(self, request: Request) -> Response:
        self._agent(request)
        return StreamingResponse(self._workspace_stream(request), media_type="text/event-stream")

    async def put_message(self, request: Request, cid: str, mid: str) -> Response:
        agent = self._agent(request)["agent"]
        found = self._get(cid)
        files = []
        if request.headers["content-type"].startswith("multipart/"):
            async with request.form() as form:
                sent = {key: str(value) for key, value in form.items() if isinstance(value, str)}
                for upload in form.getlist("file"):
                    assert not isinstance(upload, str)
                    files.append((upload.filename or "", upload.content_type or "", await upload.read()))
        else:
            sent = await request.json()
        if self.refuse_next:
            status, self.refuse_next = self.refuse_next, None
            raise Refused(status, "unavailable", "the store does not answer. Try again.")
        if mid in found.messages:
            return JSONResponse(found.messages[mid])
        private = str(sent.get("private", "")).lower() in {"1", "true"}
        others = [
            m
            for m in found.messages.values()
            if m["author"] == "agent"
            and not m["private"]
            and m["agent"]["id"] != agent["id"]
            and m["seq"] > int(sent.get("after") or 0)
        ]
        if others and not private:
            raise Refused(409, "answered_meanwhile", f"{others[-1]['agent']['name']} answered meanwhile")
        parts = []
        for name, mime, data in files:
            kind = "audio" if mime.startswith("audio/") else "image" if mime.startswith("image/") else "document"
            parts.append(part(kind, name, mime, url=self.put_media(data, mime)))
        message = found.say(
            "agent",
            str(sent.get("text", "")),
            message_id=mid,
            agent={"id": agent["id"], "name": agent["name"]},
            kind="note" if private else "text",
            private=private,
            parts=parts,
        )
        if not private:
            found.waiting_since = None
            found.assignee = found.assignee or {"id": agent["id"], "name": agent["name"]}
        self.touch(found)
        return JSONResponse(message, status_code=201)

    async def show_why(self, request: Request, cid: str, mid: str) -> Response:
        self._agent(request)
        found = self._get(cid).why.get(mid)
        if found is None:
            raise Refused(404, "not_found", "there is no such message of the assistant in this conversation.")
        return JSONResponse(found)

    async def ask_why(self, request: Request, cid: str, mid: str) -> Response:
        """Queued; the test decides when it is done."""
        self._agent(request)
        found = self._get(cid).why[mid]
        if found["explanation"]["state"] in ("none", "failed"):
            found["explanation"] = {"state": "queued", "reason": "", "body": None}
        self.actions.append(("why", mid))
        return JSONResponse(found, status_code=202)

    async def action(self, request: Request, cid: str) -> Response:
        agent = self._agent(request)["agent"]
        found = self._get(cid)
        sent = await request.json()
        action = sent["action"]
        if found.status not in TRANSITIONS[action]:
            allowed = ", ".join(found.allowed())
            raise Refused(409, "conflict", f"cannot {action} a {found.status} conversation; allowed: {allowed}")
        found.status = TRANSITIONS[action][found.status]
        found.snoozed_until = sent.get("until") if action == "snooze" else None
        if action == "take_over":
            found.assignee = {"id": agent["id"], "name": agent["name"]}
        if action == "assign":
            found.assignee = next(
                ({"id": a["id"], "name": a["name"]} for a in AGENTS if a["id"] == sent.get("assignee_id")), None
            )
        if action in {"resolve", "return_to_bot", "snooze"}:
            found.waiting_since = None
        self.actions.append((action, cid))
        self._status_event(found, by="agent")
        return JSONResponse(found.summary(agent["id"]))

    async def typing(self, request: Request, cid: str) -> Response:
        agent = self._agent(request)["agent"]
        sent = await request.json()
        viewer = self._get(cid).viewers.setdefault(agent["id"], [0, 0.0])
        viewer[1] = time.monotonic() + 15 if sent["typing"] else 0.0
        return Response(status_code=204)

    async def mark_read(self, request: Request, cid: str) -> Response:
        agent = self._agent(request)["agent"]
        found = self._get(cid)
        seq = (await request.json())["seq"]
        if seq > found.read_seq.get(agent["id"], 0):
            found.read_seq[agent["id"]] = seq
            self.touch(found)
        return Response(status_code=204)

    async def correct(self, request: Request, cid: str, aid: str) -> Response:
        self._agent(request)
        found = self._get(cid)
        text = (await request.json())["text"]
        for message in found.messages.values():
            for item in (a for p in message["parts"] for a in p["artifacts"] if a["id"] == aid):
                item["original_text"] = item["original_text"] or item["text"]
                item["text"], item["corrected_by"] = text, "agent"
                found.emit("update", message)
                self.touch(found)
                return JSONResponse(message)
        raise Refused(404, "not_found", f"no artifact {aid}")

    async def agents(self, request: Request) -> Response:
        self._agent(request)
        online = {s["agent"]["id"] for s in self.sessions.values()}
        return JSONResponse([{**a, "online": a["id"] in online} for a in AGENTS])

    async def get_canned(self, request: Request) -> Response:
        self._agent(request)
        return JSONResponse(self.canned)

    async def search(self, request: Request) -> Response:
        self._agent(request)
        q = request.query_params.get("q", "").lower()
        hits = []
        for conversation in self.conversations.values():
            for message in conversation.messages.values():
                texts = [message["text"], *(a["text"] for p in message["parts"] for a in p["artifacts"])]
                for text in (t for t in texts if q and q in t.lower()):
                    hits.append(
                        {
                            "conversation_id": conversation.id,
                            "message_id": message["id"],
                            "snippet": text,
                            "author": message["author"],
                            "created_at": message["created_at"],
                        }
                    )
        return JSONResponse(hits)

    async def knowledge(self, request: Request) -> Response:
        self._agent(request)
        q = request.query_params.get("q", "").lower()
        items = [
            {key: a[key] for key in ("id", "title", "language", "uri", "chunks", "updated_at")}
            | {"pictures": len(a["pictures"])}
            for a in self.articles.values()
            if q in (a["title"] + a["text"]).lower()
        ]
        totals = {"articles": len(self.articles), "chunks": sum(a["chunks"] for a in self.articles.values())}
        return JSONResponse({"items": items, "cursor": None, "totals": totals})

    def add_article(self, title: str, text: str, language: str = "zh") -> str:
        key = new_id()
        self.articles[key] = {
            "id": key,
            "title": title,
            "language": language,
            "uri": f"shop/{language}/{title}.md",
            "text": text,
            "chunks": 1 + len(text) // 300,
            "pictures": [],
            "updated_at": iso(86400),
        }
        return key

    async def upload(self, request: Request) -> Response:
        self._agent(request)
        report: dict[str, Any] = {"state": "running", "done": 0, "added": 0, "unchanged": 0, "updated": 0, "failed": []}
        async with request.form() as form:
            files = [(f.filename or "", await f.read()) for f in form.getlist("file") if not isinstance(f, str)]
        report["total"] = len(files)
        for name, data in files:
            if name.endswith((".md", ".txt")):
                self.add_article(Path(name).stem, data.decode())
                report["added"] += 1
            else:
                report["failed"].append(
                    {"name": name, "reason": "the file is not a PDF: its first bytes say otherwise"}
                )
        key = new_id()
        self.imports[key] = report
        return JSONResponse({"import_id": key}, status_code=202)

    async def import_state(self, request: Request, iid: str) -> Response:
        self._agent(request)
        report = self.imports[iid]
        answer = dict(report)
        report["done"] = min(report["done"] + 1, report["total"])  # each look sees one file more
        report["state"] = "done" if report["done"] == report["total"] else "running"
        return JSONResponse(answer)

    async def delete_article(self, request: Request, aid: str) -> Response:
        self._agent(request)
        del self.articles[aid]
        return Response(status_code=204)

    async def article(self, aid: str) -> Response:
        if aid not in self.articles:
            raise Refused(404, "not_found", f"no article {aid}")
        return JSONResponse(self.articles[aid])

    async def get_media(self, request: Request, key: str) -> Response:
        data, mime = self.media[key]
        return Response(data, media_type=mime, headers={"x-content-type-options": "nosniff"})

    async def system(self, request: Request) -> Response:
        self._agent(request)
        models = [
            ("answers", True, None, "extractive"),
            ("speech", True, None, "whisper-base int8"),
            ("ocr", True, None, "PP-OCRv5 mobile"),
            ("embedding", True, None, "multilingual-e5-small"),
            ("llm", False, "DUOMO_LLM_URL is not set", None),
        ]
        return JSONResponse(
            {
                "models": [dict(zip(("feature", "available", "reason", "model"), m, strict=True)) for m in models],
                "queues": [
                    {"name": "turns", "waiting": 0, "running": 1, "failed": 0},
                    {"name": "media", "waiting": 3, "running": 1, "failed": 0},
                    {"name": "knowledge", "waiting": 0, "running": 0, "failed": 2},
                ],
                "version": "0.1.0",
            }
        )
