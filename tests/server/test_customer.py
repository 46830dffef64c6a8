"""Promises 1 and 2: what is acknowledged is stored, once, however often it is sent; and the shape of refusals."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx2
import pytest

from duomo.server.shapes import MAX_TEXT
from duomo.store.postgres import Database, Workspace
from tests.server.conftest import Person, become_visitor, png


async def stored(db: Database, workspace: Workspace, conversation: str) -> list[str]:
    async with db.transaction(workspace.id) as tx:
        rows = await tx.all("messages", conversation_id=conversation, ids=None, after=0)
    return [row["text"] for row in rows]


async def jobs_of(db: Database, conversation: str) -> int:
    async with db.transaction(None) as tx:
        cursor = await tx.connection.execute(
            "SELECT count(*) AS n FROM procrastinate_jobs WHERE task_name = 'turn' AND lock = %s", (conversation,)
        )
        row = await cursor.fetchone()
    assert row
    return int(row["n"])


async def test_a_message_is_answered_with_what_was_stored(visitor: Person) -> None:
    id = str(uuid.uuid4())
    answer = await visitor.say("Where is my parcel?", id=id)
    assert answer.status_code == 201
    body = answer.json()
    assert {key: body[key] for key in ("id", "conversation_id", "seq", "author", "kind", "text", "private", "ai")} == {
        "id": id,
        "conversation_id": visitor.conversation,
        "seq": 1,
        "author": "customer",
        "kind": "text",
        "text": "Where is my parcel?",
        "private": False,
        "ai": False,
    }


async def test_an_acknowledged_message_is_in_the_database_with_its_job(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    await visitor.say("one")
    await visitor.say("two")
    assert await stored(db, workspace, visitor.conversation) == ["one", "two"]
    assert await jobs_of(db, visitor.conversation) == 2


async def test_a_retried_message_is_stored_once_and_answered_alike(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    id = str(uuid.uuid4())
    first, second = await visitor.say("hello", id=id), await visitor.say("hello", id=id)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert await stored(db, workspace, visitor.conversation) == ["hello"]
    assert await jobs_of(db, visitor.conversation) == 1


async def test_a_retried_picture_is_stored_once(visitor: Person) -> None:
    id, picture = str(uuid.uuid4()), png()
    answers = [await visitor.send_file(picture, "a.png", id=id) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    assert len(answers[1].json()["parts"]) == 1


async def test_twenty_retries_at_once_make_one_message(visitor: Person, db: Database, workspace: Workspace) -> None:
    id = str(uuid.uuid4())
    answers = await asyncio.gather(*(visitor.say("hello", id=id) for _ in range(20)))
    assert sorted(a.status_code for a in answers) == [200] * 19 + [201]
    assert await stored(db, workspace, visitor.conversation) == ["hello"]


async def test_another_message_under_a_taken_id_is_a_conflict(visitor: Person) -> None:
    id = str(uuid.uuid4())
    await visitor.say("hello", id=id)
    answer = await visitor.say("something else", id=id)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_an_id_taken_in_another_workspace_is_a_conflict_and_says_no_more(
    visitor: Person, http: httpx2.AsyncClient, db: Database
) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    stranger = await become_visitor(http, other)
    id = str(uuid.uuid4())
    await stranger.say("hello", id=id)
    answer = await visitor.say("hello", id=id)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "conflict"


async def test_messages_sent_at_once_are_stored_one_after_the_other(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    answers = await asyncio.gather(*(visitor.say(f"message {n}") for n in range(15)))
    assert sorted(a.json()["seq"] for a in answers) == list(range(1, 16))


async def test_opening_a_conversation_twice_is_opening_it_once(visitor: Person) -> None:
    again = await visitor.put(f"conversations/{visitor.conversation}", {"language": "en"})
    assert again.status_code == 200
    listed = (await visitor.get("conversations")).json()
    assert [c["id"] for c in listed] == [visitor.conversation]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"json": {"text": ""}}, 422, "bad_input"),
        ({"json": {"text": "x" * (MAX_TEXT + 1)}}, 422, "bad_input"),
        ({"json": {"text": 7}}, 422, "bad_input"),
        ({"json": {"text": "a", "language": "fr"}}, 422, "bad_input"),
        ({"json": ["text"]}, 422, "bad_input"),
        ({"content": b"{"}, 422, "bad_input"),
        ({"content": b'{"text": "\\ud800"}'}, 422, "bad_input"),
        ({"content": b"x" * 300_000}, 413, "too_large"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "bad_input"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}, 422, "bad_input"),
        ({"files": {"file": ("a.png", b"MZ\x90\x00 not a picture")}}, 415, "unsupported_type"),
        ({"files": {"file": ("a.svg", b"<svg onload='x'>")}}, 415, "unsupported_type"),
        ({"files": {"file": ("a.png", b"")}}, 415, "empty"),
        ({"files": {"text": (None, b"\xff\xfe")}}, 422, "bad_input"),
        ({"files": [("file", (f"{n}.png", png())) for n in range(5)]}, 413, "too_large"),
        ({"files": {f"field{n}": (None, b"x") for n in range(17)}}, 422, "bad_input"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_one_shape(
    visitor: Person, sent: dict[str, Any], status: int, code: str
) -> None:
    answer = await visitor.put(f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}", **sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"code", "message", "retry_after"}


async def test_a_zero_character_is_dropped_and_not_a_crash(visitor: Person) -> None:
    answer = await visitor.say("a\x00b")
    assert (answer.status_code, answer.json()["text"]) == (201, "ab")


async def test_a_refusal_never_repeats_what_the_customer_wrote(visitor: Person) -> None:
    secret = "4929-1234-SECRET"
    path = f"conversations/{visitor.conversation}/messages/{uuid.uuid4()}"
    answer = await visitor.put(path, {"text": "hi", "language": secret})
    assert answer.status_code == 422
    assert secret not in answer.text


async def test_asking_for_a_person_opens_the_conversation_and_may_be_repeated(visitor: Person) -> None:
    await visitor.say("help")
    answers = [await visitor.post(f"conversations/{visitor.conversation}/handoff") for _ in range(2)]
    assert [a.status_code for a in answers] == [204, 204]
    [shown] = (await visitor.get("conversations")).json()
    assert shown["status"] == "open"


async def test_feedback_on_something_that_is_no_answer_is_not_found(visitor: Person) -> None:
    id = str(uuid.uuid4())
    await visitor.say("hello", id=id)
    answer = await visitor.post(f"conversations/{visitor.conversation}/messages/{id}/feedback", {"value": "up"})
    assert answer.status_code == 404


async def test_a_rating_goes_from_one_to_five(visitor: Person) -> None:
    path = f"conversations/{visitor.conversation}/csat"
    answers = [await visitor.post(path, {"score": score, "comment": "ok"}) for score in (0, 1, 5, 6)]
    assert [a.status_code for a in answers] == [422, 204, 204, 422]


async def test_the_workspace_says_what_a_widget_may_send(http: httpx2.AsyncClient, workspace: Workspace) -> None:
    shown = (await http.get("/api/v1/workspace", params={"name": workspace.name})).json()
    assert shown.keys() == {"name", "title", "greeting", "bot_name", "languages", "limits", "consent"}
    assert shown["limits"].keys() == {"max_files", "max_bytes", "max_audio_s", "max_text", "accept"}


async def test_an_unknown_workspace_is_not_found_and_the_others_stay_secret(
    http: httpx2.AsyncClient, workspace: Workspace
) -> None:
    answer = await http.post("/api/v1/visitors", json={"workspace": "no-such-place"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert workspace.name not in answer.text


async def test_an_unknown_call_has_the_shape_of_every_refusal(http: httpx2.AsyncClient) -> None:
    answers = [await http.get("/api/v1/nothing"), await http.delete("/api/v1/visitors")]
    assert [(a.status_code, a.json()["error"]["code"]) for a in answers] == [(404, "not_found"), (405, "bad_input")]


async def test_a_visitor_who_was_removed_is_asked_to_come_again(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("DELETE FROM contacts WHERE id = %s", (visitor.id,))
    answer = await visitor.put(f"conversations/{uuid.uuid4()}", {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "denied")


async def test_a_visitor_says_whether_the_conversations_may_train(
    visitor: Person, db: Database, workspace: Workspace
) -> None:
    said = []
    for value in (True, False, None):
        assert (
            await visitor.http.put("/api/v1/consent", json={"may_train": value}, headers=visitor.headers)
        ).status_code == 204
        async with db.transaction(workspace.id) as tx:
            row = await (
                await tx.connection.execute("SELECT may_train FROM contacts WHERE id = %s", (visitor.id,))
            ).fetchone()
        said.append((row or {})["may_train"])
    assert said == [True, False, None]
