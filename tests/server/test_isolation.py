"""Promise 15: of another workspace, and of another visitor, nothing is found."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest

from duomo.server.auth import COOKIE
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation as talk
from tests.server.conftest import Person, Running, add_agent, become_agent, become_visitor

VISITOR_CALLS = [
    ("PUT", "conversations/{c}/messages/{new}", {"text": "x"}),
    ("GET", "conversations/{c}/events", None),
    ("POST", "conversations/{c}/handoff", {}),
    ("POST", "conversations/{c}/artifacts/{a}", {"text": "x"}),
    ("POST", "conversations/{c}/messages/{m}/feedback", {"value": "up"}),
    ("POST", "conversations/{c}/csat", {"score": 5}),
    ("GET", "articles/theirs", None),
]
AGENT_CALLS = [
    ("GET", "conversations/{c}", None),
    ("GET", "conversations/{c}/events", None),
    ("PUT", "conversations/{c}/messages/{new}", {"text": "x"}),
    ("POST", "conversations/{c}/actions", {"action": "take_over"}),
    ("POST", "conversations/{c}/presence", {"typing": True}),
    ("POST", "conversations/{c}/read", {"seq": 1}),
    ("POST", "conversations/{c}/artifacts/{a}", {"text": "x"}),
    ("DELETE", "canned/{canned}", None),
    ("GET", "knowledge/imports/{i}", None),
    ("DELETE", "knowledge/theirs", None),
    ("GET", "../articles/theirs", None),
]


async def add_artifact(db: Database, workspace: Workspace, message_id: str) -> str:
    async with db.transaction(workspace.id) as tx:
        part = await tx.value(
            "insert_part", message_id=message_id, position=0, kind="image", mime="image/png", name="x", incoming=None
        )
        cursor = await tx.connection.execute(
            "INSERT INTO artifacts (part_id, kind, text, confidence, model, version, duration_ms) "
            "VALUES (%s, 'ocr', 'secret', 1, 'm', 'v', 1) RETURNING id",
            (part,),
        )
        return str((await cursor.fetchone() or {})["id"])


@pytest.fixture
async def theirs(web: Running, db: Database, http: httpx2.AsyncClient) -> AsyncIterator[dict[str, str]]:
    """A workspace with one of everything; the ids of it all."""
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    visitor = await become_visitor(http, other)
    await add_agent(db, other, "zoe@example.com", "Zoe")
    agent = await become_agent(web.url, other, "zoe@example.com")
    ids = {"c": visitor.conversation, "m": str(uuid.uuid4()), "canned": str(uuid.uuid4()), "agent": agent.id}
    assert (await visitor.say("a secret of theirs", id=ids["m"])).status_code == 201
    reply = {"shortcut": "theirs", "title": "theirs", "text": {"en": "x"}}
    assert (await agent.put(f"canned/{ids['canned']}", reply)).status_code == 200
    ids["a"] = await add_artifact(db, other, ids["m"])
    async with db.transaction(other.id) as tx:
        await tx.run(
            "put_article", id="theirs", source="x", topic=None, title="theirs", language="en", uri="x", text="secret",
            content_hash="x",
        )  # fmt: skip
        ids["i"] = str(await tx.value("start_import", total=1, files=[]))
    yield ids
    await agent.http.aclose()


async def in_words(person: Person, method: str, path: str, body: object, ids: dict[str, str]) -> str:
    answer = await person.call(method, path.format(new=uuid.uuid4(), **ids), json=body)
    assert "secret" not in answer.text
    return f"{answer.status_code} {answer.json()['error']['code']}"


@pytest.mark.parametrize(("method", "path", "body"), VISITOR_CALLS)
async def test_a_visitor_finds_nothing_of_another_workspace(
    visitor: Person, theirs: dict[str, str], method: str, path: str, body: object
) -> None:
    assert await in_words(visitor, method, path, body, theirs) == "404 not_found"


@pytest.mark.parametrize(("method", "path", "body"), VISITOR_CALLS[:-1])
async def test_a_visitor_finds_nothing_of_another_visitor(
    http: httpx2.AsyncClient,
    db: Database,
    workspace: Workspace,
    visitor: Person,
    method: str,
    path: str,
    body: object,
) -> None:
    sent, answer = str(uuid.uuid4()), str(uuid.uuid4())
    await visitor.say("a secret of ours", id=sent)
    artifact = await add_artifact(db, workspace, sent)
    async with db.transaction(workspace.id) as tx:
        await talk.store_message(
            tx, visitor.conversation, id=answer, author="bot", kind="answer", text="secret", language="en"
        )
    stranger = await become_visitor(http, workspace)
    ids = {"c": visitor.conversation, "m": answer, "a": artifact}
    assert await in_words(stranger, method, path, body, ids) == "404 not_found"
    assert (await stranger.get("conversations")).json()[0]["id"] == stranger.conversation


@pytest.mark.parametrize(("method", "path", "body"), AGENT_CALLS)
async def test_an_agent_finds_nothing_of_another_workspace(
    agent: Person, theirs: dict[str, str], method: str, path: str, body: object
) -> None:
    assert await in_words(agent, method, path, body, theirs) == "404 not_found"


async def test_lists_and_searches_hold_nothing_of_another_workspace(agent: Person, theirs: dict[str, str]) -> None:
    inbox = (await agent.get("conversations?q=secret")).json()
    assert (inbox["items"], set(inbox["counts"].values())) == ([], {0})
    assert (await agent.get("search?q=secret")).json() == []
    assert (await agent.get("canned")).json() == []
    assert [a["name"] for a in (await agent.get("agents")).json()] == ["Lin"]
    assert (await agent.get("knowledge")).json()["items"] == []


async def test_a_conversation_cannot_be_given_to_an_agent_of_another_workspace(
    agent: Person, visitor: Person, theirs: dict[str, str]
) -> None:
    await visitor.say("hello")
    path = f"conversations/{visitor.conversation}/actions"
    await agent.post(path, {"action": "take_over"})
    answer = await agent.post(path, {"action": "assign", "assignee_id": theirs["agent"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_conversation_id_of_another_workspace_cannot_be_opened(visitor: Person, theirs: dict[str, str]) -> None:
    answer = await visitor.put(f"conversations/{theirs['c']}", {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_a_canned_reply_of_another_workspace_cannot_be_overwritten(
    agent: Person, theirs: dict[str, str], db: Database
) -> None:
    answer = await agent.put(f"canned/{theirs['canned']}", {"shortcut": "mine", "title": "mine", "text": {}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_a_session_of_one_workspace_is_none_in_another(agent: Person, theirs: dict[str, str]) -> None:
    _, token = agent.http.cookies[COOKIE].split(".")
    answer = await agent.get("session", headers={"Cookie": f"{COOKIE}={uuid.uuid4()}.{token}"})
    assert answer.status_code == 401
