"""The console's calls: inbox, replies, actions, search, knowledge, the state of the system."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from duomo.server import admin
from duomo.server import agent as agent_calls
from duomo.server.shapes import MAX_TEXT
from duomo.store.blobs import Blobs
from duomo.store.jobs import QUEUES
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation as talk
from tests.server.conftest import Person, become_visitor, png, within


async def inbox(agent: Person, **asked: Any) -> list[str]:
    answer = await agent.get("conversations", params=asked)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def counts(agent: Person) -> dict[str, int]:
    found: dict[str, int] = (await agent.get("conversations")).json()["counts"]
    return {name: count for name, count in found.items() if count}


async def test_the_inbox_shows_who_waits_and_for_what(agent: Person, visitor: Person) -> None:
    await visitor.say("Where is my parcel?")
    await visitor.send_file(png(), "label.png")
    await visitor.post(f"conversations/{visitor.conversation}/handoff")
    [item] = (await agent.get("conversations")).json()["items"]
    times = {key: item.pop(key) for key in ("created_at", "updated_at", "waiting_since")}
    assert all(times.values())
    last = item.pop("last_message")
    assert (last["author"], last["kind"]) == ("bot", "handoff")
    assert item == {
        "id": visitor.conversation,
        "status": "open",
        "contact": {"id": visitor.id, "name": None, "language": "en"},
        "assignee": None,
        "team": None,
        "priority": "normal",
        "language": "en",
        "channel": "web",
        "last_seq": 4,
        "unread": 2,
        "snoozed_until": None,
        "handoff_reason": "requested",
        "media": ["image"],
        "csat": None,
    }


async def test_the_inbox_can_be_narrowed(agent: Person, http: httpx2.AsyncClient, workspace: Workspace) -> None:
    waiting, other = await become_visitor(http, workspace), await become_visitor(http, workspace)
    await waiting.say("help")
    await other.say("hello")
    await waiting.post(f"conversations/{waiting.conversation}/handoff")
    await agent.post(f"conversations/{waiting.conversation}/actions", {"action": "take_over"})
    await agent.post(f"conversations/{other.conversation}/read", {"seq": 99})
    mine, theirs = waiting.conversation, other.conversation
    assert await inbox(agent) == [mine, theirs]
    assert await inbox(agent, status="", assignee="", unread="", language="", q="", cursor="") == [mine, theirs]
    assert await inbox(agent, status="pending") == [theirs]
    assert await inbox(agent, assignee="me") == [mine]
    assert await inbox(agent, assignee="none") == [theirs]
    assert await inbox(agent, unread="1") == [mine]
    assert await inbox(agent, language="zh") == []
    assert await inbox(agent, q="HELLO") == [theirs]
    assert await counts(agent) == {"open": 1, "pending": 1, "mine": 1, "unassigned": 1, "unread": 1}


async def test_the_most_urgent_come_first_and_a_team_finds_its_own(
    agent: Person, http: httpx2.AsyncClient, workspace: Workspace, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_calls, "_PAGE", 2)
    waiting = {}
    for priority, team in (("urgent", "repair"), ("low", "orders"), ("high", "orders"), ("normal", None)):
        person = await become_visitor(http, workspace)
        await person.say("help")
        async with db.transaction(workspace.id) as tx:
            await talk.act(
                tx, conversation_id=person.conversation, action="hand_off", by="bot", reason="policy", team=team,
                priority=priority,
            )  # fmt: skip
        waiting[person.conversation] = priority
    calm = await become_visitor(http, workspace)
    await calm.say("hello")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await agent.get("conversations", params={"cursor": cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
    assert [waiting.get(id) for id in seen] == ["urgent", "high", "normal", "low", None]
    assert [waiting[id] for id in await inbox(agent, team="orders")] == ["high", "low"]


async def test_who_asks_again_does_not_become_less_urgent(
    agent: Person, visitor: Person, workspace: Workspace, db: Database
) -> None:
    await visitor.say("smoke!")
    for priority, team in (("urgent", "repair"), ("normal", None)):
        async with db.transaction(workspace.id) as tx:
            await talk.act(
                tx, conversation_id=visitor.conversation, action="hand_off", by="bot", reason="policy", team=team,
                priority=priority,
            )  # fmt: skip
    [item] = (await agent.get("conversations")).json()["items"]
    assert (item["priority"], item["team"]) == ("urgent", "repair")


@pytest.mark.parametrize("asked", [{"status": "lost"}, {"assignee": "you"}, {"cursor": "x"}, {"cursor": "WzEsMl0"}])
async def test_what_the_inbox_does_not_know_is_refused(agent: Person, asked: dict[str, str]) -> None:
    answer = await agent.get("conversations", params=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")


async def test_pages_of_the_inbox_hold_each_conversation_once(
    agent: Person, http: httpx2.AsyncClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_calls, "_PAGE", 2)
    people = [await become_visitor(http, workspace) for _ in range(5)]
    for person in people:
        await person.say("hello")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await agent.get("conversations", params={"cursor": cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
    assert seen == [person.conversation for person in reversed(people)]


async def test_reading_is_remembered_for_each_agent_and_never_goes_back(
    agent: Person, colleague: Person, visitor: Person
) -> None:
    for text in ("one", "two", "three"):
        await visitor.say(text)
    for seq in (2, 1):
        await agent.post(f"conversations/{visitor.conversation}/read", {"seq": seq})
    unread = [(await person.get("conversations")).json()["items"][0]["unread"] for person in (agent, colleague)]
    assert unread == [1, 3]


async def test_a_conversation_shows_its_brief_and_what_may_be_done(agent: Person, visitor: Person) -> None:
    await visitor.say("Where is my parcel?")
    await visitor.post(f"conversations/{visitor.conversation}/handoff")
    shown = (await agent.get(f"conversations/{visitor.conversation}")).json()
    assert shown.keys() == {"conversation", "brief", "presence", "allowed"}
    assert shown["brief"]["asked"] == ["Where is my parcel?"]
    assert shown["presence"] == {"agents": []}
    assert set(shown["allowed"]) == set(talk.allowed_actions("open"))


async def test_a_refused_action_says_what_is_allowed(agent: Person, visitor: Person) -> None:
    await visitor.say("hello")
    path = f"conversations/{visitor.conversation}/actions"
    reopened = await agent.post(path, {"action": "reopen"})
    assert (reopened.status_code, reopened.json()["error"]["code"]) == (409, "conflict")
    assert "allowed: take_over" in reopened.json()["error"]["message"]
    for wrong in ("explode", "hand_off"):
        answer = await agent.post(path, {"action": wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")


async def test_snoozing_needs_a_time_to_come(agent: Person, visitor: Person) -> None:
    await visitor.say("hello")
    path = f"conversations/{visitor.conversation}/actions"
    later = datetime.now(UTC) + timedelta(hours=1)
    for until in (None, "2020-01-01T00:00:00Z", later.replace(tzinfo=None).isoformat(), "soon"):
        assert (await agent.post(path, {"action": "snooze", "until": until})).status_code == 422
    answer = await agent.post(path, {"action": "snooze", "until": later.isoformat()})
    assert (answer.json()["status"], datetime.fromisoformat(answer.json()["snoozed_until"])) == ("snoozed", later)


async def test_two_agents_cannot_answer_twice_unknowingly(agent: Person, colleague: Person, visitor: Person) -> None:
    await visitor.say("Where is my parcel?")
    path = f"conversations/{visitor.conversation}/messages"
    first = await agent.put(f"{path}/{uuid.uuid4()}", {"text": "On its way.", "after": 1})
    assert (first.status_code, first.json()["agent"]) == (201, {"id": agent.id, "name": "Lin"})
    late = {"text": "It is on its way.", "after": 1}
    second = await colleague.put(f"{path}/{uuid.uuid4()}", late)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "answered_meanwhile")
    assert "Lin" in second.json()["error"]["message"]
    insisting = await colleague.put(f"{path}/{uuid.uuid4()}", late | {"after": first.json()["seq"]})
    assert insisting.status_code == 201


async def test_a_note_is_no_answer(agent: Person, colleague: Person, visitor: Person) -> None:
    await visitor.say("Where is my parcel?")
    path = f"conversations/{visitor.conversation}/messages"
    note = await agent.put(f"{path}/{uuid.uuid4()}", {"text": "angry", "private": True, "after": 1})
    assert (note.json()["kind"], note.json()["private"]) == ("note", True)
    answer = await colleague.put(f"{path}/{uuid.uuid4()}", {"text": "On its way.", "after": 1})
    assert answer.status_code == 201


async def test_a_retried_reply_is_stored_once(agent: Person, visitor: Person) -> None:
    await visitor.say("hello")
    path = f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}"
    answers = [await agent.put(path, {"text": "Hi!", "after": 1}) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()


async def test_an_agent_can_send_a_picture(agent: Person, visitor: Person) -> None:
    await visitor.say("hello")
    answer = await agent.put(
        f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}",
        data={"text": "like this", "after": "1", "private": "false"},
        files={"file": ("how.png", png())},
    )
    assert (answer.status_code, answer.json()["private"]) == (201, False)
    assert [part["kind"] for part in answer.json()["parts"]] == ["image"]


async def test_a_correction_keeps_what_stood_there_and_can_be_searched(
    agent: Person, visitor: Person, db: Database, workspace: Workspace
) -> None:
    id = str(uuid.uuid4())
    sent = (await visitor.send_file(png(), "screen.png", id=id)).json()
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(
            "INSERT INTO artifacts (part_id, kind, text, confidence, model, version, duration_ms) "
            "VALUES (%s, 'ocr', 'Error E-11', 0.6, 'reader', '1', 5) RETURNING id",
            (sent["parts"][0]["id"],),
        )
        artifact = (await cursor.fetchone() or {})["id"]
    path = f"conversations/{visitor.conversation}/artifacts/{artifact}"
    assert (await agent.post(path, {"text": " "})).status_code == 422
    message = (await agent.post(path, {"text": "Error E-17"})).json()
    [shown] = message["parts"][0]["artifacts"]
    assert (shown["text"], shown["original_text"], shown["corrected_by"]) == ("Error E-17", "Error E-11", "agent")
    [found] = (await agent.get("search", params={"q": "e-17"})).json()
    assert (found["message_id"], found["snippet"]) == (id, "Error E-17")
    assert await inbox(agent, q="E17") == [visitor.conversation]


async def test_search_shows_the_place_where_the_words_stand(agent: Person, visitor: Person) -> None:
    await visitor.say("x " * 200 + "my warranty card is lost" + " y" * 200)
    await visitor.say("我的收货地址填错了")
    [english] = (await agent.get("search", params={"q": "warranty card"})).json()
    [chinese] = (await agent.get("search", params={"q": "收货地址"})).json()
    assert "my warranty card is lost" in english["snippet"]
    assert len(english["snippet"]) < 180
    assert chinese["snippet"] == "我的收货地址填错了"


@pytest.mark.parametrize("q", ["", "   ", "'", "a' | 'b", "!&|():*<->", "\\", "%", "\x00", "的"])
async def test_no_search_can_break_the_search(agent: Person, visitor: Person, q: str) -> None:
    await visitor.say("hello")
    for path in ("search", "conversations", "knowledge"):
        assert (await agent.get(path, params={"q": q})).status_code == 200


async def test_canned_replies_are_kept_changed_and_removed(agent: Person) -> None:
    id = str(uuid.uuid4())
    reply = {"shortcut": "hi", "title": "Greeting", "text": {"zh": "您好", "en": "Hello"}}
    for title in ("Greeting", "Welcome"):
        assert (await agent.put(f"canned/{id}", reply | {"title": title})).status_code == 200
    assert (await agent.get("canned")).json() == [reply | {"id": id, "title": "Welcome"}]
    clash = await agent.put(f"canned/{uuid.uuid4()}", reply)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "conflict")
    assert [(await agent.call("DELETE", f"canned/{id}")).status_code for _ in range(2)] == [204, 404]


async def test_knowledge_files_wait_for_a_worker(
    agent: Person, db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    files = [("file", ("a.md", b"# One")), ("file", ("b.md", b"# Two"))]
    answer = await agent.call("POST", "knowledge", files=files)
    assert answer.status_code == 202
    state = (await agent.get(f"knowledge/imports/{answer.json()['import_id']}")).json()
    assert state == {
        "state": "queued", "done": 0, "total": 2, "added": 0, "unchanged": 0, "updated": 0, "failed": [],
    }  # fmt: skip
    assert len(set(blobs.keys(workspace.id))) == 2
    async with db.transaction(None) as tx:
        cursor = await tx.connection.execute(
            "SELECT args FROM procrastinate_jobs WHERE task_name = 'ingest' AND args->>'workspace_id' = %s",
            (workspace.id,),
        )
        [job] = await cursor.fetchall()
    assert job["args"] == {"workspace_id": workspace.id, "import_id": answer.json()["import_id"]}


async def test_knowledge_without_a_file_is_refused(agent: Person) -> None:
    answer = await agent.call("POST", "knowledge", files={"note": (None, b"x")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")


async def test_articles_are_listed_opened_and_removed(
    agent: Person, visitor: Person, db: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_PAGE", 2)
    async with db.transaction(workspace.id) as tx:
        for title in ("C", "A", "B"):
            await tx.run(
                "put_article", id=f"shop/{title} 1.md", source="shop", topic=None, title=title, language="en",
                uri=f"shop/{title}", text=f"# {title}", content_hash=title,
            )  # fmt: skip
    first = (await agent.get("knowledge")).json()
    second = (await agent.get("knowledge", params={"cursor": first["cursor"]})).json()
    assert [item["title"] for item in first["items"] + second["items"]] == ["A", "B", "C"]
    assert (second["cursor"], first["totals"]) == (None, {"articles": 3, "chunks": 0})
    assert first["items"][0].keys() == {"id", "title", "language", "uri", "chunks", "pictures", "updated_at"}
    for person, path in ((visitor, "articles/shop%2FA%201.md"), (agent, "../articles/shop/A%201.md")):
        shown = (await person.get(path)).json()
        assert shown == {
            "id": "shop/A 1.md", "title": "A", "language": "en", "uri": "shop/A", "text": "# A", "pictures": [],
        }  # fmt: skip
    assert [(await agent.call("DELETE", "knowledge/shop/A%201.md")).status_code for _ in range(2)] == [204, 404]


async def test_the_system_says_what_it_has(agent: Person) -> None:
    shown = (await agent.get("system")).json()
    assert [queue["name"] for queue in shown["queues"]] == list(QUEUES)
    assert shown["models"][-1] == {
        "feature": "llm",
        "available": False,
        "reason": "DUOMO_LLM_URL is not set; answers quote the knowledge",
        "model": None,
    }
    assert all(model.keys() == {"feature", "available", "reason", "model"} for model in shown["models"])


async def test_a_question_is_answered_by_a_worker(agent: Person, db: Database, workspace: Workspace) -> None:
    asking = asyncio.create_task(
        agent.call("POST", "../ask", data={"text": "hi"}, files={"image": ("a.png", png(), "image/png")})
    )
    question = await next_question(db, workspace)
    assert question["kind"] == "ask"
    assert question["query"] | {"image": "…"} == {"text": "hi", "language": None, "k": 10, "image": "…"}
    found = {"answer": None, "citations": [], "handoff": {"reason": "low_confidence"}}
    async with db.transaction(workspace.id) as tx:
        await tx.run("answer_question", id=question["id"], answer=found, error=None)
    answer = await within(60, asking)
    assert (answer.status_code, answer.json()) == (200, found)


@pytest.mark.parametrize(
    ("code", "status"),
    [("bad_input", 422), ("bad_media", 415), ("too_large", 413), ("model_unavailable", 503), ("something_else", 422)],
)
async def test_a_question_that_a_worker_refuses_is_refused_with_its_reason(
    agent: Person, db: Database, workspace: Workspace, code: str, status: int
) -> None:
    asking = asyncio.create_task(agent.post("../retrieve", {"text": "hi", "k": 3}))
    question = await next_question(db, workspace)
    async with db.transaction(workspace.id) as tx:
        error = {"code": code, "message": "the sound cannot be decoded."}
        await tx.run("answer_question", id=question["id"], answer=None, error=error)
    answer = await within(60, asking)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["message"]) == (status, code, "the sound cannot be decoded.")


async def test_without_a_worker_a_question_is_given_up(
    agent: Person, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(admin, "_PATIENCE_S", 0.1)
    answer = await agent.post("../ask", {"text": "hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": "a" * (MAX_TEXT + 1)}, {"text": "a", "k": 0}])
async def test_an_empty_or_endless_question_is_refused(agent: Person, body: dict[str, Any]) -> None:
    assert (await agent.post("../ask", body)).status_code == 422


async def next_question(db: Database, workspace: Workspace) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            async with db.transaction(workspace.id) as tx:
                cursor = await tx.connection.execute("SELECT id, kind, query FROM questions")
                rows = await cursor.fetchall()
            if rows:
                return rows[0]
            await asyncio.sleep(0.02)
