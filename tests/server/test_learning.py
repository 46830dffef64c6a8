"""The console's calls that teach: labels, review, proposals, drafts. Nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import psycopg
import pytest

from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support import labels
from tests.server.conftest import Person, Running, add_agent, become_agent, become_visitor, within
from tests.support.conftest import Customer
from tests.support.reviewed import OUTSIDE, UNSURE, give_model, said, turn
from tests.support.test_drafts import picture, shows


def head(message_id: str, value: Any = "invoice", **other: Any) -> dict[str, Any]:
    return {"message_id": message_id, "kind": "head", "head": "intent", "value": value} | other


async def put(agent: Person, customer: Customer, body: dict[str, Any], id: str | None = None) -> httpx2.Response:
    return await agent.put(f"conversations/{customer.conversation_id}/labels/{id or uuid.uuid4()}", body)


async def stored(agent: Person, customer: Customer) -> list[dict[str, Any]]:
    answer = await agent.get(f"conversations/{customer.conversation_id}/labels")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


# Labels -----------------------------------------------------------------------------------------------------------


async def test_a_correction_is_one_call_and_stands_with_who_and_what_was_said(
    agent: Person, db: Database, workspace: Workspace
) -> None:
    model = await give_model(db, workspace)
    customer, message_id = await turn(db, workspace, model, head=said("invoice", 0.8))
    id = str(uuid.uuid4())
    answer = await put(agent, customer, head(message_id, "track_order"), id)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown.pop("created_at")
    said_by = shown.pop("said")["prediction"]["model"]
    assert (said_by["id"], said_by["name"], said_by["role"]) == (model, "first", "active")
    assert shown == {
        "id": id, "message_id": message_id, "kind": "head", "head": "intent", "value": "track_order",
        "origin": "correction", "agent": {"id": agent.id, "name": "Lin"},
    }  # fmt: skip
    assert [label["id"] for label in await stored(agent, customer)] == [id]


async def test_the_same_label_sent_many_times_at_once_is_one(agent: Person, db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    id = str(uuid.uuid4())
    answers = await asyncio.gather(*(put(agent, customer, head(message_id), id) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert [label["id"] for label in await stored(agent, customer)] == [id]
    assert (await put(agent, customer, head(message_id, "warranty"), id)).status_code == 409


async def test_a_label_whose_connection_is_killed_half_way_is_sent_again_and_stands_once(
    agent: Person, db: Database, workspace: Workspace, dsn: str
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    id = str(uuid.uuid4())
    async with db.transaction(workspace.id) as tx:  # whoever labels waits for this row
        await tx.one("conversation_for_update", id=customer.conversation_id)
        sending = asyncio.create_task(put(agent, customer, head(message_id), id))
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as owner:
            killed = None
            while killed is None:
                cursor = await owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'duomo-web' AND wait_event_type = 'Lock'"
                )
                killed = await cursor.fetchone()
        assert (await within(60, sending)).status_code == 503
    assert await stored(agent, customer) == []
    for _ in range(2):
        assert (await within(60, put(agent, customer, head(message_id), id))).status_code == 200
        assert [label["id"] for label in await stored(agent, customer)] == [id]


async def test_a_label_that_is_sent_and_not_waited_for_stands_once_when_it_is_sent_again(
    agent: Person, db: Database, workspace: Workspace
) -> None:
    model = await give_model(db, workspace)
    turns = [(str(uuid.uuid4()), *await turn(db, workspace, model)) for _ in range(8)]
    for at, (id, customer, message_id) in enumerate(turns):
        sending = asyncio.create_task(put(agent, customer, head(message_id), id))
        await asyncio.sleep(0.003 * at)  # hang up earlier and later
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert (await within(60, put(agent, customer, head(message_id), id))).status_code == 200
    for id, customer, _ in turns:
        async with db.transaction(workspace.id) as tx:
            assert [str(row["id"]) for row in await labels.of_conversation(tx, customer.conversation_id)] == [id]


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "mood"}, {"origin": "discover"}, {"value": {"a": 1}}, {"value": "x" * 9000}, {"message_id": "x"}],
)
async def test_a_label_of_another_shape_is_refused(
    agent: Person, db: Database, workspace: Workspace, wrong: dict[str, Any]
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    answer = await put(agent, customer, head(message_id) | wrong)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    assert await stored(agent, customer) == []


async def test_a_label_reaches_the_other_consoles(
    agent: Person, colleague: Person, db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    async with colleague.events(2, conversation=customer.conversation_id) as stream:
        assert (await within(20, anext(stream))).kind == "presence"
        await put(agent, customer, head(message_id))
        frame = await within(20, anext(stream))
    assert (frame.kind, frame.data["id"]) == ("update", message_id)


async def test_label_sets_are_listed_and_grow(agent: Person, db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    answer = await agent.post("label-sets/intent", {"name": "trade_in", "title": {"zh": "以旧换新"}})
    assert answer.status_code == 201, answer.text
    await put(agent, customer, head(message_id, "trade_in"))
    [intent, urgency] = (await agent.get("label-sets")).json()
    assert {name: intent[name] for name in ("head", "title", "type", "out_of_scope")} == {
        "head": "intent", "title": {"zh": "意图", "en": "Intent"}, "type": "class", "out_of_scope": "other"
    }  # fmt: skip
    assert intent["labels"][-2:] == [
        {"name": "trade_in", "title": {"zh": "以旧换新", "en": "Trade in"}, "known": False, "count": 1},
        {"name": "other", "title": {"zh": "其他", "en": "None of these"}, "known": True, "count": 0},
    ]
    assert [label["name"] for label in urgency["labels"]] == ["low", "normal", "high"]
    for path, status in (("label-sets/mood", 404), ("label-sets/intent", 409)):
        answer = await agent.post(path, {"name": "trade_in", "title": {"zh": "别的"}})
        assert answer.status_code == status


# Review -----------------------------------------------------------------------------------------------------------


async def test_the_queue_shows_a_turn_with_its_files_and_why_it_is_asked(
    agent: Person, db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace), "What is this?", UNSURE)
    await shows(customer, blobs, message_id)
    shown = (await agent.get("review?limit=5&head=intent")).json()
    assert shown["counts"] == {"unlabelled": 1, "labelled": 0, "rechecks": 0, "seconds": 0}
    [item] = shown["items"]
    [part] = item.pop("parts")
    assert (await agent.http.get(part["url"])).content == picture()
    value = item.pop("value")
    assert value == item["entropy"] * (1 + item["disagreement"]) * item["frequency"]
    assert item.pop("heads").keys() == {"intent", "urgency"}
    assert item.pop("created_at")
    assert item == {
        "message_id": message_id, "conversation_id": customer.conversation_id, "seq": 1, "why": "value",
        "entropy": 1.0, "disagreement": 0.0, "frequency": 1.0, "text": "What is this?", "language": "en",
        "pattern": "text", "suspect": None,
    }  # fmt: skip
    await put(agent, customer, head(message_id, origin="review"))
    shown = (await agent.get("review")).json()
    assert (shown["items"], shown["counts"]["labelled"]) == ([], 1)
    assert (await agent.get("review?limit=0")).status_code == 422
    assert (await agent.get("review?head=mood")).status_code == 422


async def test_agreement_of_two_people_is_shown(
    agent: Person, colleague: Person, db: Database, workspace: Workspace
) -> None:
    model = await give_model(db, workspace)
    for first, second in [("invoice", "invoice"), ("warranty", "invoice")]:
        customer, message_id = await turn(db, workspace, model, f"{first} {second}")
        await put(agent, customer, head(message_id, first, origin="review"))
        assert (await put(colleague, customer, head(message_id, second, origin="second"))).status_code == 200
        refused = await put(agent, customer, head(message_id, second, origin="second"))
        assert refused.json()["error"]["code"] == "conflict"
    shown = (await agent.get("review/agreement?head=intent")).json()
    [difference] = shown.pop("disagreements")
    assert shown == {
        "head": "intent", "pairs": 2, "agreed": 1, "kappa": 0.0,
        "by_label": [
            {"label": "invoice", "first": 1, "second": 2, "both": 1, "agreement": 2 / 3},
            {"label": "warranty", "first": 1, "second": 0, "both": 0, "agreement": 0.0},
        ],
    }  # fmt: skip
    assert difference["text"] == "warranty invoice"
    assert [(one["agent"]["name"], one["value"]) for one in difference["labels"]] == [
        ("Lin", "warranty"), ("Mei", "invoice")
    ]  # fmt: skip


# Proposals, drafts ------------------------------------------------------------------------------------------------


async def propose(db: Database, workspace: Workspace, *message_ids: str, kind: str = "intent") -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.run(
            "insert_proposal", kind=kind, name="trade in", terms=["trade"], messages=list(message_ids), cohesion=0.8
        )


async def test_a_proposal_is_shown_and_accepted(agent: Person, db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace), "Trade in?", OUTSIDE)
    await propose(db, workspace, message_id)
    [shown] = (await agent.get("proposals")).json()
    id = shown.pop("id")
    assert shown.pop("created_at")
    example = {"message_id": message_id, "conversation_id": customer.conversation_id, "text": "Trade in?"}
    assert shown == {
        "kind": "intent", "name": "trade in", "terms": ["trade"], "size": 1, "messages": [message_id],
        "cohesion": pytest.approx(0.8), "examples": [example], "state": "open", "became": None, "agent": None,
    }  # fmt: skip
    assert (await agent.post(f"proposals/{id}", {"action": "accept"})).status_code == 422
    answer = await agent.post(f"proposals/{id}", {"action": "accept", "name": "trade_in", "title": {"en": "Trade in"}})
    assert (answer.json()["state"], answer.json()["became"], answer.json()["kept"]) == ("accepted", "trade_in", 0)
    assert [label["value"] for label in await stored(agent, customer)] == ["trade_in"]
    assert (await agent.post(f"proposals/{id}", {"action": "dismiss"})).status_code == 409
    assert (await agent.post(f"proposals/{uuid.uuid4()}", {"action": "dismiss"})).status_code == 404


async def test_accepting_tells_how_many_keep_what_a_person_called_them(
    agent: Person, db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace), "Trade in?", OUTSIDE)
    await propose(db, workspace, message_id)
    await put(agent, customer, head(message_id))
    [shown] = (await agent.get("proposals")).json()
    sent = {"action": "accept", "name": "trade_in", "members": [message_id]}
    assert (await agent.post(f"proposals/{shown['id']}", sent)).json()["kept"] == 1
    assert [label["value"] for label in await stored(agent, customer)] == ["invoice"]


async def test_discovery_is_started_once(agent: Person, db: Database, workspace: Workspace) -> None:
    for _ in range(3):
        assert (await agent.post("discover")).status_code == 202
    async with db.transaction(None) as tx:
        cursor = await tx.connection.execute(
            "SELECT task_name, queue_name, args FROM procrastinate_jobs WHERE args ->> 'workspace_id' = %s",
            (workspace.id,),
        )
        assert await cursor.fetchall() == [
            {"task_name": "discover", "queue_name": "training", "args": {"workspace_id": workspace.id}}
        ]


async def test_a_reply_becomes_a_published_article(
    agent: Person, visitor: Person, db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    await visitor.say("Does the kettle keep warm?")
    message_id, id = str(uuid.uuid4()), str(uuid.uuid4())
    sent = {"text": "Yes, call 13800138000.", "after": 99}
    await agent.put(f"conversations/{visitor.conversation}/messages/{message_id}", sent)
    await shows(Customer(db, workspace, visitor.conversation), blobs, message_id)
    shown = (await agent.put(f"drafts/{id}", {"message_id": message_id})).json()
    [shot] = shown.pop("pictures")
    assert (await agent.http.get(shot["url"])).content == picture()
    assert {name: shown[name] for name in ("title", "text", "masked", "personal", "state", "article_id")} == {
        "title": "Does the kettle keep warm?", "text": "Yes, call [phone].", "masked": ["phone"], "personal": [],
        "state": "draft", "article_id": None,
    }  # fmt: skip
    edited = {"title": "Keeping warm", "text": "Yes, for an hour.", "language": "en"}
    assert (await agent.put(f"drafts/{id}", edited)).json()["masked"] == []
    published = await agent.post(f"drafts/{id}/publish")
    assert published.status_code == 202, published.text
    assert (published.json()["state"], published.json()["article_id"]) == ("published", f"drafts/{id}")
    running = (await agent.get(f"knowledge/imports/{published.json()['import_id']}")).json()
    assert (running["state"], running["total"]) == ("queued", 1)
    assert (await agent.post(f"drafts/{id}/publish")).json()["import_id"] is None
    assert [(draft["id"], draft["state"]) for draft in (await agent.get("drafts")).json()] == [(id, "published")]
    assert await delete(agent, id) == 409
    other = str(uuid.uuid4())
    await agent.put(f"drafts/{other}", edited)
    assert [await delete(agent, other), await delete(agent, str(uuid.uuid4()))] == [204, 404]
    assert (await agent.put(f"drafts/{uuid.uuid4()}", {"title": "x"})).status_code == 422


async def delete(agent: Person, id: str) -> int:
    return (await agent.call("DELETE", f"drafts/{id}")).status_code


# Who may ----------------------------------------------------------------------------------------------------------

LABEL = {"message_id": "{m}", "kind": "head", "head": "intent", "value": "other"}
CALLS = [
    ("PUT", "conversations/{c}/labels/{new}", LABEL),
    ("PUT", "conversations/{mine}/labels/{new}", LABEL),
    ("GET", "conversations/{c}/labels", None),
    ("POST", "proposals/{p}", {"action": "dismiss"}),
    ("POST", "proposals/{p}", {"action": "accept", "name": "trade_in"}),
    ("PUT", "drafts/{new}", {"message_id": "{r}"}),
    ("POST", "drafts/{d}/publish", {}),
    ("DELETE", "drafts/{d}", None),
]


@pytest.fixture
async def theirs(web: Running, db: Database, http: httpx2.AsyncClient) -> AsyncIterator[dict[str, str]]:
    """Another workspace with one of everything; its ids."""
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    await add_agent(db, other, "zoe@example.com", "Zoe")
    zoe = await become_agent(web.url, other, "zoe@example.com")
    customer, message_id = await turn(db, other, await give_model(db, other), "a secret of theirs", OUTSIDE)
    await turn(db, other, None, "another secret")
    await propose(db, other, message_id)
    ids = {"c": customer.conversation_id, "m": message_id, "d": str(uuid.uuid4()), "r": str(uuid.uuid4())}
    ids["l"] = str(uuid.uuid4())
    assert (await put(zoe, customer, head(message_id), ids["l"])).status_code == 200
    ids["p"] = (await zoe.get("proposals")).json()[0]["id"]
    sent = {"text": "a secret", "after": 99}
    assert (await zoe.put(f"conversations/{ids['c']}/messages/{ids['r']}", sent)).status_code == 201
    assert (await zoe.put(f"drafts/{ids['d']}", {"message_id": ids["r"]})).status_code == 200
    assert (await zoe.post("label-sets/intent", {"name": "secret_wish"})).status_code == 201
    yield ids
    await zoe.http.aclose()


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_an_agent_finds_and_changes_nothing_of_another_workspace(
    agent: Person, visitor: Person, theirs: dict[str, str], method: str, path: str, body: dict[str, str] | None
) -> None:
    ids = theirs | {"new": str(uuid.uuid4()), "mine": visitor.conversation}
    sent = body and {name: value.format(**ids) for name, value in body.items()}
    answer = await agent.call(method, path.format(**ids), json=sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "secret" not in answer.text


async def test_ids_of_another_workspace_are_taken(
    agent: Person, db: Database, workspace: Workspace, theirs: dict[str, str]
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    draft = {"title": "x", "text": "y", "language": "en"}
    answers = [
        await put(agent, customer, head(message_id), theirs["l"]),
        await agent.put(f"drafts/{theirs['d']}", draft),
    ]
    assert [answer.json()["error"]["code"] for answer in answers] == ["conflict", "conflict"]


async def test_lists_hold_nothing_of_another_workspace(agent: Person, theirs: dict[str, str]) -> None:
    for path in ("label-sets", "review", "review/agreement", "proposals", "drafts"):
        answer = await agent.get(path)
        assert answer.status_code == 200
        assert "secret" not in answer.text
    assert [(await agent.get(path)).json() for path in ("proposals", "drafts")] == [[], []]
    assert (await agent.get("review")).json()["counts"] == dict.fromkeys(
        ("unlabelled", "labelled", "rechecks", "seconds"), 0
    )


async def test_nobody_teaches_without_signing_in_and_nothing_changes_without_the_token(
    agent: Person, http: httpx2.AsyncClient, workspace: Workspace
) -> None:
    visitor = await become_visitor(http, workspace)
    for path in ("label-sets", "review", "review/agreement", "proposals", "drafts"):
        assert (await visitor.get(f"agent/{path}")).status_code == 401
    agent.headers = {}
    assert (await agent.post("discover")).status_code == 403
    assert (await agent.put(f"drafts/{uuid.uuid4()}", {"title": "x", "text": "y", "language": "en"})).status_code == 403
