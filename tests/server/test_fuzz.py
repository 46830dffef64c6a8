"""Whatever is sent, the answer is a refusal in the one shape, never a crash."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest

from tests.server.conftest import Person

ODD: list[Any] = [
    None, True, 0, -1, 2**63, 1e308, "", "\x00", "\u202e", "a" * 10_000, "💥", [], [[]], {}, {"": ""},
    "2020-13-45T99:99:99Z", "00000000-0000-0000-0000-000000000000", "'; DROP TABLE messages; --",
]  # fmt: skip
CALLS = [
    ("POST", "/visitors", ("workspace", "language")),
    ("PUT", "/conversations/{c}", ("language",)),
    ("PUT", "/conversations/{c}/messages/{new}", ("text", "language")),
    ("POST", "/conversations/{c}/artifacts/{new}", ("text",)),
    ("POST", "/conversations/{c}/messages/{new}/feedback", ("value",)),
    ("POST", "/conversations/{c}/csat", ("score", "comment")),
]
AGENT_CALLS = [
    ("POST", "/session", ("workspace", "email", "password")),
    ("PUT", "/conversations/{c}/messages/{new}", ("text", "private", "after", "language")),
    ("POST", "/conversations/{c}/actions", ("action", "until", "assignee_id")),
    ("POST", "/conversations/{c}/presence", ("typing",)),
    ("POST", "/conversations/{c}/read", ("seq",)),
    ("PUT", "/canned/{new}", ("shortcut", "title", "text")),
]


def bodies(fields: tuple[str, ...], seed: int) -> list[bytes]:
    dice = random.Random(seed)
    made = [json.dumps({field: dice.choice(ODD) for field in fields}).encode() for _ in range(25)]
    return [*made, b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"a":' * 2000]


async def send_all(person: Person, calls: list[tuple[str, str, tuple[str, ...]]], conversation: str) -> None:
    for number, (method, path, fields) in enumerate(calls):
        for body in bodies(fields, number):
            where = path.format(c=conversation, new=uuid.uuid4()).removeprefix("/")
            answer = await person.call(method, where, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, (method, path, body[:200], answer.text)
            if answer.status_code >= 400:
                assert answer.json()["error"].keys() == {"code", "message", "retry_after"}, (path, body[:200])


async def test_odd_bodies_of_visitors_are_refused(visitor: Person) -> None:
    await send_all(visitor, CALLS, visitor.conversation)


async def test_odd_bodies_of_agents_are_refused(agent: Person, visitor: Person) -> None:
    await visitor.say("hello")
    await send_all(agent, AGENT_CALLS, visitor.conversation)


@pytest.mark.parametrize("id", ["x", "0", "%00", "..%2f", "' OR 1=1", "a" * 3000, "１２"])
async def test_odd_ids_are_refused(visitor: Person, agent: Person, id: str) -> None:
    for person, path in (
        (visitor, f"conversations/{id}/events"),
        (visitor, f"articles/{id}"),
        (agent, f"conversations/{id}"),
        (agent, f"knowledge/imports/{id}"),
    ):
        answer = await person.get(path)
        assert answer.status_code in {404, 405, 422}, answer.text
        assert "error" in answer.json()


@pytest.mark.parametrize("after", ["-1", "x", "1e9", str(2**70), ""])
async def test_an_odd_place_to_start_is_refused(visitor: Person, after: str) -> None:
    answer = await visitor.get(f"conversations/{visitor.conversation}/events?after={after}")
    assert answer.status_code == 422
