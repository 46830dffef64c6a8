"""What may happen to a conversation, against a real PostgreSQL."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from duomo.errors import Conflict, InputError, NotFound
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation
from duomo.support.conversation import TRANSITIONS, IncomingFile, allowed_actions, fingerprint_of, next_status
from tests.support.conftest import Customer, new_agent, new_customer

PICTURE = IncomingFile("image", "image/png", "a.png", "0" * 64, 3)


async def test_a_message_its_event_and_its_jobs_are_stored_together(customer: Customer) -> None:
    mid = await customer.says("look at this", PICTURE)
    (message,) = await customer.messages()
    assert (message.id, message.text, message.seq) == (mid, "look at this", 1)
    assert [(p.kind, p.state, p.name) for p in message.parts] == [("image", "received", "a.png")]
    assert [(e.seq, e.kind, e.message) for e in await customer.events()] == [(1, "message", message)]
    lock = customer.conversation_id
    # The deadline holds no lock: a job that waits for its time would keep all later ones of the lock from running.
    assert await customer.jobs() == [("perceive", None), ("turn_deadline", None), ("turn", lock)]


async def test_a_message_sent_again_is_stored_once(customer: Customer) -> None:
    mid = str(uuid.uuid4())
    await customer.says("hello", id=mid)
    await customer.says("hello", id=mid)
    assert [m.text for m in await customer.messages()] == ["hello"]
    assert [task for task, _ in await customer.jobs()] == ["turn"]


async def test_an_id_used_for_another_message_is_refused(
    customer: Customer, db: Database, workspace: Workspace
) -> None:
    mid = await customer.says("hello")
    with pytest.raises(Conflict, match="taken by another message"):
        await customer.says("goodbye", id=mid)
    other = await new_customer(db, workspace)
    with pytest.raises(Conflict, match="taken by another message"):
        await other.says("hello", id=mid)


async def test_an_empty_message_is_refused(customer: Customer) -> None:
    with pytest.raises(InputError, match="the message is empty"):
        await customer.says("  \n")
    assert await customer.events() == []


async def test_a_refused_action_says_what_is_allowed(customer: Customer) -> None:
    await customer.act("resolve")
    with pytest.raises(Conflict, match=r"cannot snooze a resolved conversation; allowed: reopen$"):
        await customer.act("snooze", until=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(InputError, match="there is no action 'dance'"):
        await customer.act("dance")


def test_the_table_allows_what_the_protocol_says() -> None:
    assert {status: allowed_actions(status) for status in ("pending", "open", "snoozed", "resolved")} == {  # type: ignore[arg-type]
        "pending": ("take_over", "snooze", "resolve"),
        "open": ("take_over", "assign", "return_to_bot", "snooze", "resolve"),
        "snoozed": ("assign", "reopen", "resolve"),
        "resolved": ("reopen",),
    }
    assert all(next_status(status, action) == to for (status, action), to in TRANSITIONS.items())


@pytest.mark.parametrize(
    ("before", "after"), [("pending", "pending"), ("open", "open"), ("snoozed", "open"), ("resolved", "pending")]
)
async def test_what_a_customers_message_does_to_the_status(customer: Customer, before: str, after: str) -> None:
    if before == "open":
        await customer.act("hand_off", by="customer")
    elif before == "snoozed":
        await customer.act("snooze", until=datetime.now(UTC) + timedelta(days=1))
    elif before == "resolved":
        await customer.act("resolve")
    assert await customer.status() == before
    await customer.says("one more thing")
    assert await customer.status() == after
    # Only the bot's conversations get a turn.
    assert ("turn" in [task for task, _ in await customer.jobs()]) == (after == "pending")


async def test_resolving_says_so_and_asks_for_a_rating(customer: Customer) -> None:
    await customer.act("resolve")
    assert await customer.told() == [
        ("notice", "This conversation is closed. Write again whenever something comes up."),
        ("csat", "How was our service? Please rate it from 1 to 5."),
    ]


async def test_a_person_who_takes_over_gets_a_brief(customer: Customer, agent: str) -> None:
    await customer.says("my kettle leaks")
    async with customer.db.transaction(customer.workspace.id) as tx:
        row = await conversation.act(
            tx, conversation_id=customer.conversation_id, action="take_over", by="agent", agent_id=agent
        )
    assert row["brief"] == {
        "asked": ["my kettle leaks"], "seen": [], "heard": [], "tried": [], "missing": [],
        "reason": "agent", "language": "en",
    }  # fmt: skip
    status = [e.data for e in await customer.events() if e.kind == "status"]
    assert status == [
        {
            "status": "open", "assignee": {"id": agent, "name": "Mei"}, "reason": "agent", "by": "agent",
            "snoozed_until": None,
        }
    ]  # fmt: skip


async def test_a_second_agent_learns_that_the_first_answered_meanwhile(customer: Customer) -> None:
    mei = await new_agent(customer.db, customer.workspace, "Mei")
    ann = await new_agent(customer.db, customer.workspace, "Ann")
    await customer.says("anyone?")

    async def reply(agent: str, text: str, after: int) -> None:
        async with customer.db.transaction(customer.workspace.id) as tx:
            await conversation.agent_reply(
                tx, conversation_id=customer.conversation_id, message_id=str(uuid.uuid4()), agent_id=agent, text=text,
                language="en", files=[], fingerprint=fingerprint_of(text, []), after=after,
            )  # fmt: skip

    await reply(mei, "Yes, hello.", 1)
    with pytest.raises(Conflict, match="Mei answered meanwhile") as refused:
        await reply(ann, "Hello!", 1)
    assert refused.value.code == "answered_meanwhile"
    newest = (await customer.messages())[-1].seq
    await reply(ann, "Hello too!", newest)
    assert [m.text for m in await customer.messages() if m.author == "agent"] == ["Yes, hello.", "Hello too!"]


async def test_customers_never_see_private_notes(customer: Customer, agent: str) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.agent_reply(
            tx, conversation_id=customer.conversation_id, message_id=str(uuid.uuid4()), agent_id=agent,
            text="sounds angry", language="en", files=[], fingerprint=b"", after=0, private=True,
        )  # fmt: skip
    assert await customer.events(private=False) == []
    assert [e.message.kind for e in await customer.events() if e.message] == ["note"]
    assert await customer.status() == "pending"  # a note takes nothing over


async def test_a_snoozed_conversation_wakes_when_its_time_has_come_and_not_before(customer: Customer) -> None:
    with pytest.raises(InputError, match="in the future"):
        await customer.act("snooze", until=datetime.now(UTC) - timedelta(seconds=1))
    await customer.act("snooze", until=datetime.now(UTC) + timedelta(hours=1))
    assert await customer.jobs() == [("wake_snoozed", None)]
    async with customer.db.transaction(customer.workspace.id) as tx:
        assert not await conversation.wake(tx, customer.conversation_id)
        await tx.connection.execute(
            "UPDATE conversations SET snoozed_until = now() - interval '1 second' WHERE id = %s",
            (customer.conversation_id,),
        )
        assert await conversation.wake(tx, customer.conversation_id)
    assert await customer.status() == "open"


async def test_the_bot_starts_after_what_agents_have_answered(customer: Customer, agent: str) -> None:
    await customer.says("first question")
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.agent_reply(
            tx, conversation_id=customer.conversation_id, message_id=str(uuid.uuid4()), agent_id=agent, text="done",
            language="en", files=[], fingerprint=b"", after=99,
        )  # fmt: skip
        replied = (await conversation.load_messages(tx, customer.conversation_id))[-1].seq
        row = await conversation.act(
            tx, conversation_id=customer.conversation_id, action="return_to_bot", by="agent", agent_id=agent
        )
    assert (row["status"], row["answered_seq"], row["assignee_id"]) == ("pending", replied, None)


async def test_feedback_and_rating_are_kept_and_checked(customer: Customer) -> None:
    mid = await customer.says("hello")
    async with customer.db.transaction(customer.workspace.id) as tx:
        with pytest.raises(NotFound, match="no such answer"):
            await conversation.set_feedback(tx, conversation_id=customer.conversation_id, message_id=mid, value="up")
        with pytest.raises(InputError, match="goes from 1 to 5"):
            await conversation.set_csat(tx, conversation_id=customer.conversation_id, score=6)
        await conversation.set_csat(tx, conversation_id=customer.conversation_id, score=5, comment="quick")
        row = await tx.one("conversation", id=customer.conversation_id) or {}
    assert (row["csat_score"], row["csat_comment"]) == (5, "quick")
