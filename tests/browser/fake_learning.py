"""What the console's fake server knows of learning: labels, the queue of review, proposals and drafts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.browser.refusal import Refused

if TYPE_CHECKING:
    from tests.browser.fake_console_server import FakeConsoleServer

Json = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def head(*top: tuple[str, float], abstain: bool = False, conflict: float | None = None) -> Json:
    """What a model says of a turn, its likeliest labels first."""
    (label, confidence), *_ = top
    shares = {"text": 1.0}
    return {
        "label": label, "confidence": confidence, "set": [label], "abstain": abstain, "out_of_scope": 0.02,
        "conflict": conflict, "shares": shares, "top": [list(one) for one in top],
    }  # fmt: skip


class Learning:
    """Labels are only ever added; the newest of a message is the one that holds."""

    def __init__(self, server: FakeConsoleServer) -> None:
        self.server = server
        self.labels: list[Json] = []
        self.sets: list[Json] = []
        self.items: list[Json] = []  # of review
        self.agreement: Json = {"pairs": 0, "agreed": 0, "kappa": None, "by_label": [], "disagreements": []}
        self.proposals: list[Json] = []
        self.drafts: list[Json] = []
        self.discoveries = 0

    def values(self, message_id: str, kind: str = "head", head: str = "intent") -> list[Any]:
        """Everything said of a message, oldest first."""
        return [
            one["value"]
            for one in self.labels
            if (one["message_id"], one["kind"], one["head"]) == (message_id, kind, head)
        ]

    def _held(self, *what: str) -> Json | None:
        """The label that holds of (message, kind, head)."""
        of_it = (one for one in reversed(self.labels) if (one["message_id"], one["kind"], one["head"]) == what)
        return next((one for one in of_it if one["origin"] != "second"), None)

    def add_routes(self, app: FastAPI, base: str) -> None:
        add = app.add_api_route
        of_conversation = f"{base}/conversations/{{cid}}/labels"
        add(f"{of_conversation}/{{id}}", self.put_label, methods=["PUT"], response_model=None)
        add(of_conversation, self.list_labels, response_model=None)
        add(f"{base}/label-sets", self.list_sets, response_model=None)
        add(f"{base}/label-sets/{{head}}", self.add_label, methods=["POST"], response_model=None)
        add(f"{base}/review", self.review, response_model=None)
        add(f"{base}/review/agreement", self.show_agreement, response_model=None)
        add(f"{base}/proposals", self.list_proposals, response_model=None)
        add(f"{base}/proposals/{{id}}", self.decide, methods=["POST"], response_model=None)
        add(f"{base}/discover", self.discover, methods=["POST"], response_model=None)
        add(f"{base}/drafts", self.list_drafts, response_model=None)
        add(f"{base}/drafts/{{id}}", self.put_draft, methods=["PUT"], response_model=None)
        add(f"{base}/drafts/{{id}}", self.delete_draft, methods=["DELETE"], response_model=None)
        add(f"{base}/drafts/{{id}}/publish", self.publish, methods=["POST"], response_model=None)

    def _person(self, request: Request) -> Json:
        agent = self.server._agent(request)["agent"]
        return {"id": agent["id"], "name": agent["name"]}

    # -- labels ---------------------------------------------------------------------------------------------------

    async def put_label(self, request: Request, cid: str, id: str) -> Response:
        agent = self._person(request)
        sent = await request.json()
        for one in self.labels:
            if one["id"] == id:
                return JSONResponse(one)
        found = self.server.conversations.get(cid)
        message = found.messages.get(sent["message_id"]) if found else None
        if sent["kind"] in ("transcript", "ocr"):
            assert message is not None
            for item in (a for p in message["parts"] for a in p["artifacts"] if a["id"] == sent["artifact_id"]):
                item["original_text"] = item["original_text"] or item["text"]
                item["text"], item["corrected_by"] = sent["value"], "agent"
        held = self._held(sent["message_id"], sent["kind"], sent["head"])
        anothers = held is not None and held["value"] is not None and held["agent"] != agent
        origin = "second" if sent["origin"] == "review" and anothers else sent["origin"]
        label = {
            "id": id, "message_id": sent["message_id"], "kind": sent["kind"], "head": sent["head"],
            "value": sent["value"], "said": {}, "origin": origin, "agent": agent, "created_at": now(),
        }  # fmt: skip
        self.labels.append(label)
        if sent["kind"] == "head" and sent["value"] is not None:
            self.items = [item for item in self.items if item["message_id"] != sent["message_id"]]
        if found and message:
            found.emit("update", message)
        return JSONResponse(label)

    async def list_labels(self, request: Request, cid: str) -> Response:
        self._person(request)
        messages = self.server._get(cid).messages
        return JSONResponse([one for one in self.labels if one["message_id"] in messages])

    async def list_sets(self, request: Request) -> Response:
        self._person(request)
        return JSONResponse(self.sets)

    async def add_label(self, request: Request, head: str) -> Response:
        self._person(request)
        sent = await request.json()
        known = next((one for one in self.sets if one["head"] == head), None)
        if known is None:
            raise Refused(404, "not_found", f"there is no head {head!r}.")
        if any(one["name"] == sent["name"] and one["title"] != sent["title"] for one in known["labels"]):
            raise Refused(409, "conflict", f"head {head} has a label {sent['name']!r} already.")
        known["labels"].insert(-1, {**sent, "known": False, "count": 0})
        return JSONResponse(known, status_code=201)

    # -- review ---------------------------------------------------------------------------------------------------

    async def review(self, request: Request, limit: int = 20, head: str = "intent") -> Response:
        self._person(request)
        items = [item for item in self.items if head in item["heads"]]
        counts = {
            "unlabelled": sum(item["why"] == "value" for item in items),
            "labelled": len(self.labels),
            "rechecks": sum(item["why"] == "recheck" for item in items),
            "seconds": sum(item["why"] == "second" for item in items),
        }
        return JSONResponse({"items": items[:limit], "counts": counts})

    async def show_agreement(self, request: Request, head: str = "intent") -> Response:
        self._person(request)
        return JSONResponse({"head": head, **self.agreement})

    # -- proposals ------------------------------------------------------------------------------------------------

    async def list_proposals(self, request: Request) -> Response:
        self._person(request)
        return JSONResponse(self.proposals)

    async def decide(self, request: Request, id: str) -> Response:
        agent = self._person(request)
        sent = await request.json()
        proposal = next(one for one in self.proposals if one["id"] == id)
        if sent["action"] == "dismiss":
            proposal["state"] = "dismissed"
            return JSONResponse({**proposal, "kept": 0})
        kept = 0
        if proposal["kind"] == "intent":
            called = {one["message_id"] for one in self.labels if one["head"] == "intent"}
            members = [member for member in sent["members"] if member not in called]
            kept = len(sent["members"]) - len(members)
            self.sets[0]["labels"].insert(
                -1, {"name": sent["name"], "title": sent["title"], "known": False, "count": len(members)}
            )
            proposal["became"] = sent["name"]
            self.labels += [
                {"id": str(uuid.uuid4()), "message_id": member, "kind": "head", "head": "intent", "origin": "discover",
                 "value": sent["name"], "said": {}, "agent": agent, "created_at": now()}
                for member in members
            ]  # fmt: skip
        else:
            draft = self._draft(str(uuid.uuid4()), agent, title=proposal["examples"][0]["text"], language="zh")
            draft["text"] = "\n".join(f"- {one['text']}" for one in proposal["examples"])
            proposal["became"] = draft["id"]
        proposal["state"] = "accepted"
        return JSONResponse({**proposal, "kept": kept})

    async def discover(self, request: Request) -> Response:
        self._person(request)
        self.discoveries += 1
        return Response(status_code=202)

    # -- drafts ---------------------------------------------------------------------------------------------------

    def _draft(self, id: str, agent: Json, **more: Any) -> Json:
        draft = {
            "id": id, "conversation_id": None, "message_id": None, "language": "zh", "title": "", "text": "",
            "pictures": [], "masked": [], "personal": [], "state": "draft", "article_id": None, "agent": agent,
            "created_at": now(), "updated_at": now(), "import_id": None, **more,
        }  # fmt: skip
        self.drafts.insert(0, draft)
        return draft

    async def list_drafts(self, request: Request) -> Response:
        self._person(request)
        return JSONResponse(self.drafts)

    async def put_draft(self, request: Request, id: str) -> Response:
        agent = self._person(request)
        sent = await request.json()
        known = (one for one in self.drafts if id == one["id"] or sent.get("message_id", "") == one["message_id"])
        draft = next(known, None) or self._draft(id, agent)
        if "message_id" in sent and draft["message_id"] is None:
            for conversation in self.server.conversations.values():
                if message := conversation.messages.get(sent["message_id"]):
                    asked = next(m for m in reversed(conversation.messages.values()) if m["author"] == "customer")
                    pictures = [{"url": p["url"], "alt": ""} for p in message["parts"] if p["kind"] == "image"]
                    draft |= {
                        "message_id": message["id"], "conversation_id": conversation.id, "title": asked["text"],
                        "text": message["text"], "language": message["language"], "pictures": pictures,
                    }  # fmt: skip
        elif "message_id" not in sent:
            draft |= {**sent, "state": "draft", "updated_at": now()}
        return JSONResponse(draft)

    async def delete_draft(self, request: Request, id: str) -> Response:
        self._person(request)
        self.drafts = [one for one in self.drafts if one["id"] != id]
        return Response(status_code=204)

    async def publish(self, request: Request, id: str) -> Response:
        self._person(request)
        draft = next(one for one in self.drafts if one["id"] == id)
        if draft["article_id"]:
            del self.server.articles[draft["article_id"]]
        draft["state"], draft["article_id"] = "published", self.server.add_article(draft["title"], draft["text"])
        return JSONResponse(draft, status_code=202)
