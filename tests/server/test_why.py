"""Asking why over REST."""

from __future__ import annotations

import uuid

import httpx2

from duomo.store.postgres import Database, Workspace
from duomo.support import conversation
from tests.server.conftest import Person


async def answered(db: Database, workspace: Workspace, visitor: Person, **decision: object) -> str:
    said = str(uuid.uuid4())
    async with db.transaction(workspace.id) as tx:
        await conversation.store_message(
            tx, visitor.conversation, id=said, author="bot", kind="answer", text="Three days.", language="en",
            decision=decision,
        )  # fmt: skip
    return said


async def test_an_agent_asks_why_and_has_it_explained(
    agent: Person, visitor: Person, db: Database, workspace: Workspace
) -> None:
    asked = str(uuid.uuid4())
    await visitor.say("When do I get my money back?", id=asked)
    model = {"id": str(uuid.uuid4()), "fingerprint": "f", "name": "first", "role": "active"}
    heads = {"intent": {"label": "refund_status", "confidence": 0.9, "shares": {"text": 1.0}, "top": []}}
    understood = {"message_id": asked, "pattern": "text", "heads": heads}
    said = await answered(db, workspace, visitor, outcome="answer", model=model, understood=understood)
    path = f"conversations/{visitor.conversation}/messages/{said}/why"
    found = (await agent.get(path)).json()
    assert found["summary"]["en"] == ["Understood as “Refund status” (90 %), from the text."]
    assert (found["asked"], found["explanation"]) == ([asked], {"state": "none", "reason": "", "body": None})
    queued = await agent.post(path)
    assert (queued.status_code, queued.json()["explanation"]["state"]) == (202, "queued")


async def test_there_are_no_reasons_for_what_is_not_there_or_no_model_read(
    agent: Person, visitor: Person, db: Database, workspace: Workspace
) -> None:
    await visitor.say("Hello")
    said = await answered(db, workspace, visitor, outcome="greeting")
    path = f"conversations/{visitor.conversation}/messages"
    assert (await agent.get(f"{path}/{uuid.uuid4()}/why")).status_code == 404
    refused: httpx2.Response = await agent.post(f"{path}/{said}/why")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert (await visitor.get(f"agent/{path}/{said}/why")).status_code == 401
