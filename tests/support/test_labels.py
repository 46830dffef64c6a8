"""What people say a message is: stored once, with what the system had said."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from duomo.errors import Conflict, DuomoError, InputError, NotFound
from duomo.store.postgres import Database, Row, Workspace
from duomo.support import conversation, labels
from duomo.support.labels import LabelName
from tests.support.conftest import Customer, new_agent, new_customer
from tests.support.reviewed import give_label, give_model, said, turn


async def valid(db: Database, workspace: Workspace, message_id: str, head: str = "intent") -> Any:
    async with db.transaction(workspace.id) as tx:
        row = await tx.one("valid_label", message_id=message_id, kind="head", head=head)
    return row and row["value"]


async def updated_at(customer: Customer) -> Any:
    async with customer.db.transaction(customer.workspace.id) as tx:
        return (await tx.one("conversation", id=customer.conversation_id) or {})["updated_at"]


async def bots_message(customer: Customer) -> str:
    return next(message.id for message in await customer.messages() if message.author == "bot")


async def test_a_label_says_who_when_and_what_the_system_had_said(db: Database, workspace: Workspace) -> None:
    model, agent = await give_model(db, workspace), await new_agent(db, workspace)
    customer, message_id = await turn(
        db, workspace, model, head=said("invoice", 0.6),
        decision={"outcome": "answer", "candidates": [{"title": "long"}], "policy": {"version": 3, "row": 4}},
    )  # fmt: skip
    async with db.transaction(workspace.id) as tx:
        row = await give_label(tx, customer, message_id, " track_order ", agent_id=agent)
    assert (row["value"], row["origin"], str(row["agent_id"]), row["agent_name"]) == (
        *("track_order", "correction", agent, "Mei"),
    )
    prediction, answer = row["said"]["prediction"], row["said"]["answer"]
    assert prediction["heads"]["intent"] == said("invoice", 0.6)
    assert prediction["model"]["id"] == model
    assert (prediction["pattern"], prediction["message_id"]) == ("text", message_id)
    assert answer["decision"] == {"outcome": "answer", "policy": {"version": 3, "row": 4}}
    assert (answer["message_id"], answer["text"]) == (await bots_message(customer), "Look here.")
    assert row["said"]["knowledge"] is None


async def test_a_label_of_the_bots_message_keeps_what_was_understood_of_the_turn(
    db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    async with db.transaction(workspace.id) as tx:
        row = await give_label(tx, customer, await bots_message(customer), True, kind="handoff", head="")
    assert (row["value"], row["said"]["prediction"]["message_id"]) == (True, message_id)


async def test_saying_it_twice_is_saying_it_once(db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    id = str(uuid.uuid4())
    for _ in range(2):
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "invoice", id=id)
    events = [event.kind for event in await customer.events()]
    assert events == ["message", "message", "update"]
    async with db.transaction(workspace.id) as tx:
        assert [row["id"] for row in await labels.of_conversation(tx, customer.conversation_id)] == [uuid.UUID(id)]
    with pytest.raises(Conflict, match="another label"):
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "warranty", id=id)
    with pytest.raises(Conflict, match="another label"):
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "invoice", id=id, agent_id=await new_agent(db, workspace))


async def test_the_newest_label_holds_a_second_opinion_never_does_and_null_takes_back(
    db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    first, second = await new_agent(db, workspace), await new_agent(db, workspace)
    held = []
    for value, other in [
        ("invoice", {"agent_id": first, "origin": "review"}),
        ("warranty", {"agent_id": second, "origin": "second"}),
        ("other", {"agent_id": second, "origin": "recheck"}),
        (None, {"agent_id": first}),
    ]:
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, value, **other)
        held.append(await valid(db, workspace, message_id))
    assert held == ["invoice", "invoice", "other", None]


async def test_a_second_opinion_is_of_another_person(db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    agent = await new_agent(db, workspace)
    for _ in range(2):
        with pytest.raises(Conflict, match="another person"):
            async with db.transaction(workspace.id) as tx:
                await give_label(tx, customer, message_id, "invoice", agent_id=agent, origin="second")
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "invoice", agent_id=agent)


async def test_in_review_nobody_overrules_a_colleague_and_everybody_may_change_their_own(
    db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    first, second = await new_agent(db, workspace), await new_agent(db, workspace)
    id, stored = str(uuid.uuid4()), []
    for value, other in [
        ("invoice", {"agent_id": first}),
        ("warranty", {"agent_id": second, "id": id}),
        ("warranty", {"agent_id": second, "id": id}),  # sent again
        (None, {"agent_id": second}),
        ("return_item", {"agent_id": first}),
        (None, {"agent_id": first}),
        ("warranty", {"agent_id": second}),
    ]:
        async with db.transaction(workspace.id) as tx:
            row = await give_label(tx, customer, message_id, value, origin="review", **other)
        stored.append((row["value"], row["origin"], await valid(db, workspace, message_id)))
    assert stored == [
        ("invoice", "review", "invoice"),
        ("warranty", "second", "invoice"),
        ("warranty", "second", "invoice"),
        (None, "second", "invoice"),
        ("return_item", "review", "return_item"),
        (None, "review", None),
        ("warranty", "review", "warranty"),
    ]


async def test_a_second_opinion_is_given_once_unless_it_is_taken_back(db: Database, workspace: Workspace) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    first, *others = [await new_agent(db, workspace) for _ in range(3)]
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "invoice", agent_id=first)
    for who in others:
        for value in ("warranty", None, "return_item"):
            async with db.transaction(workspace.id) as tx:
                await give_label(tx, customer, message_id, value, agent_id=who, origin="second")
        with pytest.raises(Conflict, match="already"):
            async with db.transaction(workspace.id) as tx:
                await give_label(tx, customer, message_id, "warranty", agent_id=who, origin="second")


async def artifact(db: Database, workspace: Workspace, message_id: str, kind: str = "transcript") -> str:
    async with db.transaction(workspace.id) as tx:
        part = await tx.value(
            "insert_part", message_id=message_id, position=0, kind="audio", mime="audio/ogg", name="x", incoming=None
        )
        cursor = await tx.connection.execute(
            "INSERT INTO artifacts (part_id, kind, text, confidence, model, version, duration_ms) "
            "VALUES (%s, %s, 'tack order', 0.5, 'm', 'v', 1) RETURNING id",
            (part, kind),
        )
        return str((await cursor.fetchone() or {})["id"])


async def test_a_corrected_transcript_is_corrected_with_its_label_or_not_at_all(
    db: Database, workspace: Workspace, customer: Customer
) -> None:
    message_id = await customer.says("listen")
    artifact_id = await artifact(db, workspace, message_id)
    with pytest.raises(RuntimeError):
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "x", kind="transcript", head="", artifact_id=artifact_id)
            raise RuntimeError("the process dies")
    [message] = await customer.messages()
    assert message.parts[0].artifacts[0].artifact.text == "tack order"
    async with db.transaction(workspace.id) as tx:
        row = await give_label(
            tx, customer, message_id, " track order", kind="transcript", head="", artifact_id=artifact_id
        )
    [message] = await customer.messages()
    assert message.parts[0].artifacts[0].artifact.text == row["value"] == "track order"
    assert row["said"]["artifact"] == {
        "id": artifact_id, "kind": "transcript", "text": "tack order", "original_text": None, "confidence": 0.5,
        "model": "m", "version": "v", "corrected_by": None,
    }  # fmt: skip
    assert [event.kind for event in await customer.events()] == ["message", "update"]


WRONG: list[tuple[str, dict[str, Any], type[DuomoError], str]] = [
    ("customer", {"value": "nonsense"}, InputError, "no such label"),
    ("customer", {"value": 3}, InputError, "no such label"),
    ("customer", {"value": ["invoice", "invoice"]}, InputError, "no such label"),
    ("customer", {"value": "invoice", "head": "mood"}, InputError, "there is no head 'mood'"),
    ("bot", {"value": "invoice"}, InputError, "a customer's message"),
    ("customer", {"kind": "handoff", "head": "", "value": True}, InputError, "a message of the bot"),
    ("bot", {"kind": "handoff", "head": "", "value": "yes"}, InputError, "true, false"),
    ("bot", {"kind": "answer", "head": "", "value": "  "}, InputError, "the better text"),
    ("bot", {"kind": "source", "head": "", "value": "no-such"}, NotFound, "no such article"),
    ("bot", {"kind": "source", "head": "", "value": True}, InputError, "an article's id"),
    ("customer", {"kind": "ocr", "head": "", "value": "x"}, InputError, "artifact_id"),
    ("customer", {"kind": "ocr", "head": "", "value": "x", "artifact_id": str(uuid.uuid4())}, NotFound, "no such ocr"),
    ("nobody", {"value": "invoice"}, NotFound, "no such message"),
]


@pytest.mark.parametrize(("author", "sent", "kind", "words"), WRONG)
async def test_a_label_that_its_kind_does_not_allow_is_refused(
    db: Database, workspace: Workspace, author: str, sent: dict[str, Any], kind: type[DuomoError], words: str
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    ids = {"customer": message_id, "bot": await bots_message(customer), "nobody": str(uuid.uuid4())}
    with pytest.raises(kind, match=words):
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, ids[author], **sent)
    async with db.transaction(workspace.id) as tx:
        assert await labels.of_conversation(tx, customer.conversation_id) == []


async def test_an_answer_is_given_its_right_source_or_none_and_it_is_taken_back(
    db: Database, workspace: Workspace
) -> None:
    customer, _ = await turn(db, workspace, await give_model(db, workspace))
    async with db.transaction(workspace.id) as tx:
        await tx.run(
            "put_article", id="fees", source="x", topic=None, title="Fees", language="en", uri="x", text="Free.",
            content_hash="x",
        )  # fmt: skip
        rows = [
            await give_label(tx, customer, await bots_message(customer), value, kind="source", head="")
            for value in (" fees ", " ", None)
        ]
    assert [row["value"] for row in rows] == ["fees", "", None]


async def test_customers_see_nothing_of_a_label_and_the_inbox_keeps_its_order(
    db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))

    before = await updated_at(customer)
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "invoice")
    assert await updated_at(customer) == before
    assert [event.kind for event in await customer.events(private=True)] == ["message", "message", "update"]
    assert [event.kind for event in await customer.events(private=False)] == ["message", "message"]


async def test_a_customer_sees_what_an_agent_says_was_heard_and_the_inbox_keeps_its_order(
    db: Database, workspace: Workspace, customer: Customer
) -> None:
    message_id = await customer.says("listen")
    artifact_id = await artifact(db, workspace, message_id)
    before = await updated_at(customer)
    async with db.transaction(workspace.id) as tx:
        sent = {"kind": "transcript", "head": "", "artifact_id": artifact_id}
        await give_label(tx, customer, message_id, "track order", **sent)
    assert await updated_at(customer) == before
    assert [event.kind for event in await customer.events(private=False)] == ["message", "update"]
    async with db.transaction(workspace.id) as tx:
        await conversation.correct_artifact(
            tx, conversation_id=customer.conversation_id, artifact_id=artifact_id, text="track an order", by="customer"
        )
    assert await updated_at(customer) > before  # the customer's own word is news


# Label sets -------------------------------------------------------------------------------------------------------


async def sets(db: Database, workspace: Workspace) -> dict[str, labels.LabelSet]:
    async with db.transaction(workspace.id) as tx:
        return {one.head: one for one in await labels.label_sets(tx)}


async def test_label_sets_are_those_of_the_active_model_and_what_people_added(
    db: Database, workspace: Workspace
) -> None:
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    async with db.transaction(workspace.id) as tx:
        await tx.run(
            "update_workspace_settings", id=workspace.id,
            settings={"intents": [{"name": "invoice", "title": {"zh": "发票", "en": "Invoice (fapiao)"}}]},
        )  # fmt: skip
        await labels.add_intent(tx, head="intent", name="trade_in", title={"zh": "以旧换新"})
        await give_label(tx, customer, message_id, "trade_in")
        await give_label(tx, customer, message_id, "low", head="urgency")
    found = await sets(db, workspace)
    assert list(found) == ["intent", "urgency"]
    assert found["intent"].labels == (
        LabelName("track_order", {"zh": "track order", "en": "Track order"}, known=True),
        LabelName("return_item", {"zh": "return item", "en": "Return item"}, known=True),
        LabelName("invoice", {"zh": "发票", "en": "Invoice (fapiao)"}, known=True),
        LabelName("warranty", {"zh": "warranty", "en": "Warranty"}, known=True),
        LabelName("trade_in", {"zh": "以旧换新", "en": "Trade in"}, known=False, count=1),
        LabelName("other", {"zh": "其他", "en": "None of these"}, known=True),
    )
    assert [(label.name, label.count) for label in found["urgency"].labels] == [("low", 1), ("normal", 0), ("high", 0)]


async def test_without_a_model_a_workspace_may_begin_with_intents_of_its_own(
    db: Database, workspace: Workspace, customer: Customer
) -> None:
    message_id = await customer.says("hello")
    async with db.transaction(workspace.id) as tx:
        await tx.run(
            "update_workspace_settings", id=workspace.id,
            settings={"intents": [{"name": "invoice", "title": {}}, {"name": "trade_in", "title": {}, "hidden": True}]},
        )  # fmt: skip
        await labels.add_intent(tx, head="intent", name="greeting", title={})
        await give_label(tx, customer, message_id, "greeting")
    found = (await sets(db, workspace))["intent"]
    assert [(label.name, label.known, label.count) for label in found.labels] == [
        ("greeting", False, 1), ("invoice", False, 0), ("other", False, 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "name", "title", "kind"),
    [
        ("mood", "angry", {}, NotFound),
        ("intent", "Trade in", {}, InputError),
        ("intent", "_x", {}, InputError),
        ("intent", "Ｘ", {}, InputError),
        ("intent", "a" * 64, {}, InputError),
        ("intent", "invoice", {"en": "Bill"}, Conflict),
    ],
)
async def test_a_label_that_cannot_be_added_is_refused(
    db: Database, workspace: Workspace, head: str, name: str, title: dict[str, str], kind: type[DuomoError]
) -> None:
    await give_model(db, workspace)
    with pytest.raises(kind):
        async with db.transaction(workspace.id) as tx:
            await labels.add_intent(tx, head=head, name=name, title=title)


async def test_adding_a_label_again_changes_nothing(db: Database, workspace: Workspace) -> None:
    await give_model(db, workspace)
    for _ in range(2):
        async with db.transaction(workspace.id) as tx:
            found = await labels.add_intent(tx, head="intent", name="trade_in", title={"en": "Trade in"})
        assert [label.name for label in found.labels][-2:] == ["trade_in", "other"]
    assert found == (await sets(db, workspace))["intent"]


async def test_labels_of_another_workspace_are_neither_seen_nor_given(db: Database, workspace: Workspace) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    customer, message_id = await turn(db, workspace, await give_model(db, workspace))
    async with db.transaction(workspace.id) as tx:
        row: Row = await give_label(tx, customer, message_id, "invoice")
    async with db.transaction(other.id) as tx:
        with pytest.raises(NotFound):
            await labels.of_conversation(tx, customer.conversation_id)
        assert await tx.one("label", id=row["id"]) is None
        assert await tx.all("label_counts") == []
        with pytest.raises(NotFound):
            await give_label(tx, customer, message_id, "other")
    theirs = await new_customer(db, other)
    with pytest.raises(NotFound, match="no such message"):
        async with db.transaction(other.id) as tx:
            await give_label(tx, theirs, message_id, "other")
