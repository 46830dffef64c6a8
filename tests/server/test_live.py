"""Promise 4: no event is missed or shown twice, whenever and however often somebody reconnects."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from duomo.errors import StoreUnavailable
from duomo.server import live
from duomo.settings import Settings
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation as talk
from tests.server.conftest import PASSWORD, Frame, Person, Running, add_agent, become_visitor, frames, start, within


async def append(db: Database, workspace: Workspace, conversation: str, count: int, *, private: bool = False) -> None:
    for n in range(count):
        async with db.transaction(workspace.id) as tx:
            data = {"state": "working", "n": n}
            await tx.value(
                "append_event", conversation_id=conversation, kind="turn", message_id=None, data=data, private=private
            )


async def test_a_stream_tells_what_was_and_what_comes(visitor: Person) -> None:
    await visitor.say("one")
    async with visitor.events() as stream:
        first = await within(10, anext(stream))
        await visitor.say("two")
        second = await within(10, anext(stream))
    assert [(f.seq, f.kind, f.data["text"]) for f in (first, second)] == [(1, "message", "one"), (2, "message", "two")]


async def test_a_stream_begins_after_the_number_asked_for(visitor: Person) -> None:
    for text in ("one", "two", "three"):
        await visitor.say(text)
    assert [f.data["text"] for f in await within(10, visitor.read_events(1, after=2))] == ["three"]


async def test_the_browser_s_own_header_says_where_it_was(visitor: Person) -> None:
    for text in ("one", "two", "three"):
        await visitor.say(text)
    async with visitor.events(after=0, headers={"Last-Event-ID": "2"}) as stream:
        assert (await within(10, anext(stream))).data["text"] == "three"


async def test_the_event_of_a_message_equals_the_answer_to_its_sender(visitor: Person) -> None:
    answer = (await visitor.say("hello")).json()
    [event] = await within(10, visitor.read_events(1))
    assert event == Frame(1, "message", answer)


async def test_a_long_conversation_arrives_whole(visitor: Person, db: Database, workspace: Workspace) -> None:
    await append(db, workspace, visitor.conversation, 450)
    assert [f.seq for f in await within(60, visitor.read_events(450))] == list(range(1, 451))


async def test_a_storm_of_reconnections_misses_and_doubles_nothing(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    total, seed = 150, random.Random(7)

    async def listen() -> list[int]:
        seen: list[int] = []
        while len(seen) < total:
            try:
                async with visitor.events(after=seen[-1] if seen else 0) as stream:
                    for _ in range(seed.randint(1, 12)):
                        if len(seen) < total:
                            seen.append((await anext(stream)).seq or 0)
            # Whoever leaves amid a query has it cancelled, and now and then that reaches the connection's next user,
            # whose stream ends, or who is told to come again: browsers do.
            except StopAsyncIteration:
                continue
            except AssertionError as refused:
                if "store_unavailable" not in str(refused):
                    raise
                await asyncio.sleep(0.05)
        return seen

    listeners = [asyncio.create_task(listen()) for _ in range(4)]
    await append(db, workspace, visitor.conversation, total)
    for seen in await within(90, asyncio.gather(*listeners)):
        assert seen == list(range(1, total + 1))


async def test_what_commits_between_subscribing_and_reading_comes_once(
    visitor: Person, web: Running, db: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = live.load_events
    committed = False

    async def slow_read(tx: Any, conversation_id: str, *args: Any, **named: Any) -> Any:
        nonlocal committed
        found = await read(tx, conversation_id, *args, **named)
        if not committed:  # what lies in the table was read; now something commits and tells
            committed = True
            async with web.site.db.transaction(workspace.id) as other:
                await talk.append_event(other, conversation_id, "turn", data={"n": 2})
        return found

    await append(db, workspace, visitor.conversation, 1)
    monkeypatch.setattr(live, "load_events", slow_read)
    assert [f.seq for f in await within(10, visitor.read_events(2))] == [1, 2]


async def test_an_idle_stream_holds_no_connection(visitor: Person, web: Running) -> None:
    await visitor.say("one")
    streams = [visitor.events() for _ in range(web.site.settings.pool_size * 2)]
    for opened in streams:
        await within(10, anext(await opened.__aenter__()))
    assert (await within(10, visitor.say("two"))).status_code == 201
    for opened in streams:
        await opened.__aexit__(None, None, None)


async def test_a_visitor_who_listens_everywhere_is_asked_to_stop(visitor: Person, web: Running) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(32):
            await stack.enter_async_context(visitor.events())
        await wait_until(lambda: web.site._listeners.get(visitor.id, 0) == 32)
        answer = await visitor.get(f"conversations/{visitor.conversation}/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many")
    await wait_until(lambda: web.site._listeners.get(visitor.id, 0) == 0)


async def test_notes_reach_agents_alone(visitor: Person, agent: Person, db: Database, workspace: Workspace) -> None:
    await visitor.say("hello")
    note = str(uuid.uuid4())
    sent = {"text": "a difficult one", "private": True}
    await agent.put(f"conversations/{visitor.conversation}/messages/{note}", sent)
    async with db.transaction(workspace.id) as tx:  # a file of the note was read: its event is not marked private
        await talk.append_event(tx, visitor.conversation, "update", message_id=note)
    await visitor.say("still there?")
    seen = await within(10, visitor.read_events(2))
    assert [f.data["text"] for f in seen] == ["hello", "still there?"]
    async with agent.events(conversation=visitor.conversation) as stream:
        shown = [f async for f in take(stream, 5)]
    assert [f.data["text"] for f in shown if f.kind != "presence"] == [
        "hello",
        "a difficult one",
        "a difficult one",
        "still there?",
    ]


async def test_why_the_bot_decided_so_reaches_agents_alone(
    visitor: Person, agent: Person, db: Database, workspace: Workspace
) -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.one("conversation_for_update", id=visitor.conversation)
        await talk.store_message(
            tx, visitor.conversation, author="bot", kind="answer", text="42 [1]", language="en", decision={"score": 0.9}
        )
    [to_customer] = await within(10, visitor.read_events(1))
    async with agent.events(conversation=visitor.conversation) as stream:
        to_agent = await within(10, anext(stream))
    assert (to_customer.data["decision"], to_agent.data["decision"]) == ({}, {"score": 0.9})
    assert to_customer.data["ai"] is True


async def test_agents_see_each_other_come_write_and_go(agent: Person, colleague: Person, visitor: Person) -> None:
    await visitor.say("hello")

    async def company(stream: AsyncIterator[Frame]) -> list[tuple[str, bool]]:
        while True:
            frame = await within(20, anext(stream))
            if frame.kind == "presence":
                assert frame.seq is None
                return [(a["name"], a["typing"]) for a in frame.data["agents"]]

    async with agent.events(conversation=visitor.conversation) as mine:
        assert await company(mine) == [("Lin", False)]
        async with colleague.events(conversation=visitor.conversation) as theirs:
            assert await company(theirs) == [("Lin", False), ("Mei", False)]
            assert await company(mine) == [("Lin", False), ("Mei", False)]
            await colleague.post(f"conversations/{visitor.conversation}/presence", {"typing": True})
            assert await company(mine) == [("Lin", False), ("Mei", True)]
            await colleague.post(f"conversations/{visitor.conversation}/presence", {"typing": False})
            assert await company(mine) == [("Lin", False), ("Mei", False)]
        assert await company(mine) == [("Lin", False)]


async def test_the_workspace_stream_names_what_changed_and_shows_the_agent_online(
    agent: Person, visitor: Person
) -> None:
    async with agent.http.stream("GET", "/api/v1/agent/events", timeout=30) as response:
        stream = frames(response)
        waiting = asyncio.create_task(anext(stream))
        while not waiting.done():  # until the subscription stands
            await visitor.say("hello")
            await asyncio.sleep(0.05)
        assert waiting.result() == Frame(None, "conversation", {"id": visitor.conversation})
        [me] = (await agent.get("agents")).json()
    assert (me["name"], me["online"]) == ("Lin", True)


async def test_a_stream_ends_when_its_agent_signs_out(
    agent: Person, visitor: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.2)
    async with agent.events(conversation=visitor.conversation) as stream:
        await within(10, anext(stream))
        assert (await agent.call("DELETE", "session")).status_code == 204
        with pytest.raises(StopAsyncIteration):
            while True:
                await within(10, anext(stream))


async def test_a_stream_ends_when_the_database_goes_and_can_be_taken_up_again(
    visitor: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = live.load_events
    await visitor.say("one")
    async with visitor.events() as stream:
        assert (await within(10, anext(stream))).seq == 1

        async def gone(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("PostgreSQL went away: secret")

        monkeypatch.setattr(live, "load_events", gone)
        await visitor.say("two")
        with pytest.raises(StopAsyncIteration):
            await within(10, anext(stream))
    monkeypatch.setattr(live, "load_events", read)
    assert [f.seq for f in await within(10, visitor.read_events(1, after=1))] == [2]
    assert "ERROR" not in caplog.text


async def test_a_quiet_stream_says_that_it_lives(visitor: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    path = f"/api/v1/conversations/{visitor.conversation}/events"
    async with visitor.http.stream("GET", path, headers=visitor.headers) as response:
        lines = [line async for line in take(response.aiter_lines(), 4)]
    assert lines == [": open", "", ": still here", ""]
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_stopping_the_server_ends_its_streams(dsn: str, home: Path, workspace: Workspace, db: Database) -> None:
    running = start(Settings(home=home, database_url=dsn, port=0))
    web = await asyncio.to_thread(next, running)
    await add_agent(db, workspace, "ann@example.com", "Ann")
    async with httpx2.AsyncClient(base_url=web.url, timeout=30) as http:
        person = await become_visitor(http, workspace)
        sent = {"workspace": workspace.name, "email": "ann@example.com", "password": PASSWORD}
        await http.post("/api/v1/agent/session", json=sent)
        agent = Person(http, {}, base="/api/v1/agent")
        async with person.events() as one, agent.events(conversation=person.conversation) as two:
            await within(10, anext(two))
            stopping = asyncio.create_task(asyncio.to_thread(next, running, None))
            for stream in (one, two):
                with pytest.raises(StopAsyncIteration):
                    while True:
                        await within(10, anext(stream))
            await within(4, stopping)  # less than uvicorn's patience with connections that stay


async def take(stream: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await within(20, anext(stream))


async def wait_until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what it waits for lives in another thread
            await asyncio.sleep(0.02)
