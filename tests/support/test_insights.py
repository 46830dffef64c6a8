"""The dashboard's figures against plain Python, and what makes a conversation count as resolved."""

from __future__ import annotations

import importlib
import json
import math
import statistics
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from duomo.errors import InputError
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Workspace, pg_array
from duomo.support import conversation, insights
from duomo.support.conversation import IncomingFile
from duomo.support.insights import Agreement, Csat, Example, Figures, Period, Times, Topic
from duomo.support.interval import Share, share
from tests.support import past
from tests.support.conftest import Customer, new_agent, new_customer

NOW = datetime.now(UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
TODAY = NOW.astimezone(SHANGHAI).date()


def month(**more: Any) -> Period:
    return Period.of(TODAY - timedelta(days=29), TODAY, tz="Asia/Shanghai", **more)


# Counting ---------------------------------------------------------------------------------------------------------


def outcome(row: Row) -> str:
    confirmed, opened, resolved, again = (row[f"{n}_at"] for n in ("confirmed", "opened", "resolved", "reopened"))
    days = timedelta(hours=72)
    if confirmed and not (opened and opened > confirmed):
        return "confirmed"
    if resolved and again and resolved < again < resolved + days:
        return "reopened"
    if resolved:
        return "stood" if resolved + days <= NOW else "settling"
    return "open" if row["status"] in ("open", "snoozed") else "no_reaction"


def times(seconds: Sequence[float]) -> Times:
    return Times(len(seconds), *(float(np.percentile(seconds, p)) if seconds else None for p in (50, 90)))


def counted(rows: Sequence[Row]) -> Figures:
    """The figures of conversations, slowly."""
    n = len(rows)
    resolved = [r for r in rows if outcome(r) in ("confirmed", "stood")]
    people = [r for r in resolved if r["opened_at"]]
    scores = Counter(r["csat_score"] for r in rows if r["csat_score"])
    given = list(scores.elements())
    outcomes = Counter(outcome(r) for r in rows)

    def took(rows: Iterable[Row], since: str, until: str) -> Times:
        return times([(r[until] - r[since]).total_seconds() for r in rows if r[since] and r[until]])

    return Figures(
        conversations=n,
        resolved=share(len(resolved), n),
        resolved_bot=share(len(resolved) - len(people), n),
        resolved_people=share(len(people), n),
        handed_over=share(sum(r["opened_at"] is not None for r in rows), n),
        outcomes={name: outcomes[name] for name in insights.OUTCOMES},
        waiting=sum(r["status"] == "open" and not r["agent_at"] for r in rows),
        first_bot=took(rows, "asked_at", "bot_at"),
        first_people=took([r for r in rows if r["opened_reason"] != "agent"], "opened_at", "agent_at"),
        handling=took(rows, "opened_at", "resolved_at"),
        csat=Csat(
            len(given),
            statistics.mean(given) if given else None,
            share(scores[4] + scores[5], len(given)),
            tuple(scores[i] for i in range(1, 6)),  # type: ignore[arg-type]
        ),
    )


def same(found: Figures, wanted: Figures) -> None:
    """Whole figures; times and means are as near as the database's rounding to a microsecond allows."""

    def near(value: float | None) -> Any:
        return None if value is None else pytest.approx(value, abs=2e-6)

    def loose(figures: Figures) -> dict[str, Any]:
        values: dict[str, Any] = {name: getattr(figures, name) for name in Figures.__slots__}
        for name in ("first_bot", "first_people", "handling"):
            took: Times = values[name]
            values[name] = Times(took.n, near(took.median_s), near(took.p90_s))
        csat: Csat = values["csat"]
        values["csat"] = Csat(csat.n, near(csat.mean), csat.satisfied, csat.scores)
        return values

    assert {name: getattr(found, name) for name in Figures.__slots__} == loose(wanted)


@pytest.fixture
async def rows(db: Database, workspace: Workspace) -> list[Row]:
    made = past.conversations(600, days=45, now=NOW)
    async with db.transaction(workspace.id) as tx:
        await past.insert(tx, made)
    return [r for r in made if r["created_at"].astimezone(SHANGHAI).date() > TODAY - timedelta(days=30)]


async def test_figures_over_time_are_those_counted_by_hand(db: Database, workspace: Workspace, rows: list[Row]) -> None:
    by_day: defaultdict[date, list[Row]] = defaultdict(list)
    by_week: defaultdict[date, list[Row]] = defaultdict(list)
    for row in rows:
        day = row["created_at"].astimezone(SHANGHAI).date()
        by_day[day].append(row)
        by_week[day - timedelta(days=day.weekday())].append(row)
    async with db.transaction(workspace.id) as tx:
        total, days = await insights.over_time(tx, month())
        _, weeks = await insights.over_time(tx, month(step="week"))
    same(total, counted(rows))
    assert total.outcomes.keys() == set(insights.OUTCOMES)
    assert min(total.outcomes.values()) > 0, "the past lacks an outcome, so it would not be tested"
    assert [day for day, _ in days] == [TODAY - timedelta(days=d) for d in range(29, -1, -1)]
    for day, figures in days:
        same(figures, counted(by_day[day]))
    assert {week for week, _ in weeks} >= by_week.keys()
    for week, figures in weeks:
        same(figures, counted(by_week[week]))


@pytest.mark.parametrize("by", ["intent", "channel", "language", "team"])
async def test_figures_by_group_are_those_counted_by_hand(
    db: Database, workspace: Workspace, rows: list[Row], by: insights.By
) -> None:
    groups: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    async with db.transaction(workspace.id) as tx:
        found = await insights.by_group(tx, month(), by)
        narrowed = {name: (await insights.over_time(tx, month(only=(by, name))))[0] for name in groups}
    assert dict(found).keys() == groups.keys()
    assert [figures.conversations for _, figures in found] == sorted(map(len, groups.values()), reverse=True)
    for name, figures in found:
        same(figures, counted(groups[name]))
        same(narrowed[name], counted(groups[name]))


async def test_a_conversation_counts_under_each_modality_it_holds(
    db: Database, workspace: Workspace, rows: list[Row]
) -> None:
    async with db.transaction(workspace.id) as tx:
        found = dict(await insights.by_group(tx, month(), "modality"))
        total, _ = await insights.over_time(tx, month(only=("modality", "picture")))
    assert found.keys() == {"text", "voice", "picture", "document"}
    for name, figures in found.items():
        same(figures, counted([r for r in rows if name in r["sent"]]))
    same(total, found["picture"])


async def test_another_workspace_sees_nothing(db: Database, rows: list[Row]) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    async with db.transaction(other.id) as tx:
        total, days = await insights.over_time(tx, month())
        assert await insights.by_group(tx, month(), "intent") == []
    same(total, counted([]))
    assert len(days) == 30
    assert [page async for page in insights.conversations(db, other.id, month())] == []


async def test_the_conversations_of_a_period_come_once_each_in_order(
    db: Database, workspace: Workspace, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insights, "_CSV_PAGE", 37)
    pages = [page async for page in insights.conversations(db, workspace.id, month())]
    found = [row for page in pages for row in page]
    assert [len(page) for page in pages] == [37] * (len(rows) // 37) + ([len(rows) % 37] if len(rows) % 37 else [])
    assert [row["created_at"] for row in found] == sorted(row["created_at"] for row in rows)
    assert Counter(row["outcome"] for row in found) == Counter(map(outcome, rows))
    for by, name in (("intent", None), ("modality", "voice"), ("team", "orders")):
        only = month(only=(by, name))
        narrowed = [row["created_at"] async for page in insights.conversations(db, workspace.id, only) for row in page]
        wanted = [row for row in rows if (name in row["sent"] if by == "modality" else row[by] == name)]
        assert narrowed == sorted(row["created_at"] for row in wanted)


def test_a_share_has_the_interval_of_wilson() -> None:
    # statsmodels 0.14: proportion_confint(k, n, method="wilson")
    known = {(0, 10): (0.0, 0.277533), (1, 10): (0.017876, 0.404150), (45, 50): (0.786398, 0.956525)}
    for (k, n), wanted in known.items():
        assert share(k, n)[3:] == pytest.approx(wanted, abs=1e-6)
    assert share(7, 7) == Share(7, 7, 1.0, pytest.approx(1 / (1 + 1.959963984540054**2 / 7)), 1.0)
    assert share(0, 0) == Share(0, 0, None, 0.0, 1.0)


@pytest.mark.parametrize(
    ("since", "until", "why"),
    [
        (date(2026, 3, 2), date(2026, 3, 1), "the period ends on 2026-03-01, before it begins on 2026-03-02"),
        (date(2024, 1, 1), date(2026, 1, 1), "the period has 732 days, at most 731 are shown"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(since: date, until: date, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Period.of(since, until, tz="UTC")


def test_a_long_period_is_shown_by_the_week_and_a_week_begins_on_monday() -> None:
    assert Period.of(date(2026, 3, 1), date(2026, 5, 2), tz="UTC").step == "day"
    long = Period.of(date(2026, 3, 1), date(2026, 5, 3), tz="UTC")
    assert long.step == "week"
    assert long.starts()[:2] == [date(2026, 2, 23), date(2026, 3, 2)]
    assert long.starts()[-1] == date(2026, 4, 27)


async def test_a_time_zone_that_does_not_exist_is_refused(db: Database) -> None:
    async with db.transaction(None) as tx:
        await insights.check_time_zone(tx, "Asia/Shanghai")
        with pytest.raises(InputError, match="there is no time zone 'Mars/Olympus'"):
            await insights.check_time_zone(tx, "Mars/Olympus")


# What makes a conversation count ----------------------------------------------------------------------------------


async def facts(customer: Customer) -> Row:
    async with customer.db.transaction(customer.workspace.id) as tx:
        [row] = [r for r in await tx.all("insight_conversations", since=TODAY - timedelta(days=9), until=TODAY,
                                         tz="Asia/Shanghai", only_by=None, only=None, after_at=None, after_id=None,
                                         limit=99)
                 if str(r["id"]) == customer.conversation_id]  # fmt: skip
    return row


async def answer(customer: Customer, kind: str = "answer", outcome: str = "answer") -> str:
    id = str(uuid.uuid4())
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.one("conversation_for_update", id=customer.conversation_id)
        await conversation.store_message(
            tx, customer.conversation_id, id=id, author="bot", kind=kind, text="So.", language="en",  # type: ignore[arg-type]
            decision={"outcome": outcome},
        )  # fmt: skip
    return id


async def praise(customer: Customer, message_id: str, value: Any) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.set_feedback(
            tx, conversation_id=customer.conversation_id, message_id=message_id, value=value
        )


async def rate(customer: Customer, score: int) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.set_csat(tx, conversation_id=customer.conversation_id, score=score)


async def wait(customer: Customer, hours: float) -> None:
    """Let time pass: everything that has happened in the conversation happened so much earlier."""
    names = ("asked", "bot", "agent", "opened", "called", "resolved", "reopened", "confirmed")
    moved = ", ".join(f"{name}_at = {name}_at - %(by)s" for name in names)
    async with customer.db.transaction(customer.workspace.id) as tx:
        asked = {"by": timedelta(hours=hours), "id": customer.conversation_id}
        await tx.connection.execute(f"UPDATE conversations SET {moved} WHERE id = %(id)s", asked)  # type: ignore[arg-type]
        await tx.connection.execute(
            "UPDATE messages SET created_at = created_at - %(by)s WHERE conversation_id = %(id)s", asked
        )


async def test_silence_after_an_answer_is_no_reaction(customer: Customer) -> None:
    await customer.says("Where is my parcel?")
    await answer(customer)
    await wait(customer, 1000)
    assert ((await facts(customer))["outcome"], (await facts(customer))["verified"]) == ("no_reaction", False)


async def test_a_conversation_in_which_nobody_wrote_does_not_count(db: Database, workspace: Workspace) -> None:
    await new_customer(db, workspace)
    async with db.transaction(workspace.id) as tx:
        total, _ = await insights.over_time(tx, month())
    assert total.conversations == 0


async def test_praise_confirms_until_it_is_taken_back(customer: Customer) -> None:
    await customer.says("Where is my parcel?")
    first, second = await answer(customer), await answer(customer)
    found = []
    for message, value in ((first, "up"), (second, "up"), (second, None), (first, "down"), (second, "up")):
        await praise(customer, message, value)
        found.append((await facts(customer))["outcome"])
    assert found == ["confirmed", "confirmed", "confirmed", "no_reaction", "confirmed"]


async def test_a_good_rating_confirms_and_a_worse_one_takes_that_back(customer: Customer) -> None:
    await customer.says("Where is my parcel?")
    message = await answer(customer)
    found = []
    for score in (4, 3, 5):
        await rate(customer, score)
        found.append((await facts(customer))["outcome"])
    await praise(customer, message, "up")
    await rate(customer, 2)
    found.append((await facts(customer))["outcome"])
    assert found == ["confirmed", "no_reaction", "confirmed", "confirmed"]


async def test_a_confirmation_does_not_outlast_a_person_having_to_be_called(customer: Customer) -> None:
    await customer.says("Where is my parcel?")
    await praise(customer, await answer(customer), "up")
    await wait(customer, 1)
    await customer.act("hand_off", by="customer")
    found = await facts(customer)
    assert (found["outcome"], found["handed_over"], found["waits"]) == ("open", True, True)


async def test_a_rating_does_not_outlast_a_second_hand_over(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("hand_off", by="customer")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await rate(customer, 5)
    found = [(await facts(customer))["outcome"]]
    await wait(customer, 1)
    await customer.says("It is still not here!")
    await customer.act("hand_off", by="customer")
    found.append((await facts(customer))["outcome"])
    await customer.act("resolve", agent_id=agent)
    await wait(customer, 1)
    await rate(customer, 5)
    found.append((await facts(customer))["outcome"])
    assert found == ["confirmed", "reopened", "confirmed"]


async def test_early_praise_and_a_rating_after_the_hand_over_confirm(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await praise(customer, await answer(customer), "up")
    await wait(customer, 1)
    await customer.act("hand_off", by="customer")
    await customer.act("resolve", agent_id=agent)
    await rate(customer, 5)
    assert (await facts(customer))["outcome"] == "confirmed"


async def test_praise_of_words_that_answer_nothing_confirms_nothing(customer: Customer) -> None:
    await customer.says("Where is my parcel?")
    await praise(customer, await answer(customer, kind="handoff"), "up")
    assert (await facts(customer))["outcome"] == "no_reaction"


async def test_what_was_resolved_counts_after_72_hours_and_not_before(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    found = [(await facts(customer))["outcome"]]
    await wait(customer, 71)
    found.append((await facts(customer))["outcome"])
    await wait(customer, 2)
    found.append((await facts(customer))["outcome"])
    assert found == ["settling", "settling", "stood"]


@pytest.mark.parametrize(("hours", "outcome"), [(71, "reopened"), (73, "stood")])
async def test_a_question_within_72_hours_of_a_resolve_takes_it_back(
    customer: Customer, agent: str, hours: int, outcome: str
) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await wait(customer, hours)
    await customer.says("It has still not come.")
    await answer(customer)
    assert (await facts(customer))["outcome"] == outcome
    await wait(customer, 100)
    assert (await facts(customer))["outcome"] == outcome


async def test_a_thank_you_after_a_resolve_takes_nothing_back(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await wait(customer, 1)
    await customer.says("Thank you!")
    await answer(customer, outcome="thanks")
    await wait(customer, 72)
    assert (await facts(customer))["outcome"] == "stood"


async def test_a_question_and_then_a_thank_you_is_a_reopening(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await wait(customer, 1)
    await customer.says("And the second one?")
    await answer(customer)
    await customer.says("Thank you!")
    await answer(customer, outcome="thanks")
    assert (await facts(customer))["outcome"] == "reopened"


async def test_a_thank_you_and_then_a_question_is_a_reopening(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await wait(customer, 1)
    await customer.says("Thank you!")
    await answer(customer, outcome="thanks")
    await wait(customer, 1)
    await customer.says("It is broken again!")
    await answer(customer)
    found = [(await facts(customer))["outcome"]]
    await wait(customer, 100)
    found.append((await facts(customer))["outcome"])
    assert found == ["reopened", "reopened"]


@pytest.mark.parametrize("action", ["hand_off", "take_over"])
async def test_a_person_who_comes_after_a_thank_you_reopens(customer: Customer, agent: str, action: str) -> None:
    await customer.says("Where is my parcel?")
    await customer.act("take_over", agent_id=agent)
    await customer.act("resolve", agent_id=agent)
    await wait(customer, 1)
    await customer.says("Thank you!")
    await answer(customer, outcome="thanks")
    await customer.act(action, **({"by": "system"} if action == "hand_off" else {"agent_id": agent}))
    await wait(customer, 100)
    assert (await facts(customer))["outcome"] == "reopened"


async def test_the_first_words_and_what_was_sent_are_noted_as_they_come(customer: Customer, blobs: Blobs) -> None:
    agent = await new_agent(customer.db, customer.workspace)
    await customer.says("", IncomingFile("audio", "audio/wav", "a.wav", blobs.put(customer.workspace.id, b"1"), 1))
    assert (await facts(customer))["sent"] == ["voice"]
    await answer(customer, "holding")
    assert (await facts(customer))["bot_s"] is None
    await answer(customer, "clarify")
    await answer(customer)
    await customer.says(
        "I mean this.", IncomingFile("image", "image/png", "b.png", blobs.put(customer.workspace.id, b"2"), 1)
    )
    await customer.act("hand_off", by="bot", reason="low_confidence")
    for text, private in (("A note", True), ("Hello", False), ("Again", False)):
        async with customer.db.transaction(customer.workspace.id) as tx:
            await conversation.agent_reply(
                tx, conversation_id=customer.conversation_id, message_id=str(uuid.uuid4()), agent_id=agent, text=text,
                language="en", files=(), fingerprint=b"", after=0, private=private,
            )  # fmt: skip
    async with customer.db.transaction(customer.workspace.id) as tx:
        row = await tx.one("conversation", id=customer.conversation_id) or {}
        messages = {(m["kind"], m["text"]): m["created_at"] for m in await tx.all(
            "messages", conversation_id=customer.conversation_id, ids=None, after=0)}  # fmt: skip
    assert {name: row[f"{name}_at"] for name in ("asked", "bot", "agent")} == {
        "asked": messages["text", ""],
        "bot": messages["clarify", "So."],
        "agent": messages["text", "Hello"],
    }
    found = await facts(customer)
    assert (found["sent"], found["handed_over"], found["waits"]) == (["voice", "text", "picture"], True, False)


async def test_nobody_waited_for_an_agent_who_came_by_herself(customer: Customer, agent: str) -> None:
    await customer.says("Where is my parcel?")
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.agent_reply(
            tx, conversation_id=customer.conversation_id, message_id=str(uuid.uuid4()), agent_id=agent, text="Here.",
            language="en", files=(), fingerprint=b"", after=0,
        )  # fmt: skip
    found = [await facts(customer)]
    await customer.act("resolve", agent_id=agent)
    await customer.says("Thank you!")
    found.append(await facts(customer))
    assert [(one["handed_over"], one["people_s"]) for one in found] == [(True, None)] * 2


# What the bot did not know ----------------------------------------------------------------------------------------


async def hand_over(
    customer: Customer,
    text: str,
    intent: str | None,
    *,
    reason: str = "low_confidence",
    knowledge: float = 0.1,
    at: Sequence[float] | None = None,
) -> str:
    """A question that the bot hands over, as a turn stores it. Returns: the question's id."""
    message_id = await customer.says(text)
    heads = {"intent": {"label": intent}} if intent else {}
    decision = {
        "outcome": "emergency" if reason == "emergency" else "handoff",
        "policy": {"reason": reason},
        "facts": {"knowledge": knowledge},
        "answer_from": 0.6,
        "understood": {"message_id": message_id, "heads": heads} if intent else None,
    }
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.one("conversation_for_update", id=customer.conversation_id)
        await conversation.store_message(
            tx, customer.conversation_id, author="bot", kind="handoff", text="A person.", language="en",
            decision=decision,
        )  # fmt: skip
        if at is not None:
            await tx.connection.execute(
                "INSERT INTO embeddings (message_id, modality, vector) VALUES (%s, 'text', %s::real[]::halfvec)",
                (message_id, pg_array(at)),
            )
    return message_id


async def test_unanswered_topics_are_counted_and_shown_by_their_middle(db: Database, workspace: Workspace) -> None:
    customers = [await new_customer(db, workspace) for _ in range(11)]
    angles = {"edge": 0.0, "middle": 0.5, "near": 0.6, "far": 1.4}
    asked = {
        name: await hand_over(c, f"Trade in, {name}?", "trade_in", at=[math.cos(a), math.sin(a)])
        for c, (name, a) in zip(customers, angles.items(), strict=False)
    }
    unknown = await hand_over(customers[4], "Do you sell treadmills?", None)
    found_by_name = await hand_over(customers[5], "Can you mount the lock?", "other", reason="policy")
    await hand_over(customers[6], "A person, please!", None, reason="requested")
    await hand_over(customers[7], "It smokes!", "safety_hazard", reason="emergency")
    await hand_over(customers[8], "Charged twice!", "double_charge", reason="policy", knowledge=0.9)
    old = await customers[9].says("An old question?")
    async with db.transaction(workspace.id) as tx:  # as it was stored before there was a policy
        await conversation.store_message(
            tx, customers[9].conversation_id, author="bot", kind="handoff", text="", language="en",
            decision={"outcome": "handoff"},
        )  # fmt: skip
    await answer(customers[10])
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO proposals (kind, name, messages) VALUES ('intent', 'mount, lock', %s)", ([found_by_name],)
        )
        topics = await insights.unanswered(tx, month())

    def example(id: str, customer: Customer, text: str) -> Example:
        return Example(id, customer.conversation_id, text)

    nearest = [
        example(asked[n], customers[list(angles).index(n)], f"Trade in, {n}?") for n in ("near", "middle", "edge")
    ]
    assert topics == [
        Topic("intent", "trade_in", 4, nearest),
        Topic(
            "unknown",
            None,
            2,
            [
                example(old, customers[9], "An old question?"),
                example(unknown, customers[4], "Do you sell treadmills?"),
            ],
        ),
        Topic("proposal", "mount, lock", 1, [example(found_by_name, customers[5], "Can you mount the lock?")]),
    ]


async def model(db: Database, workspace: Workspace) -> str:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(
            "INSERT INTO models (fingerprint, name, origin, manifest)"
            " VALUES (%s, 'first', 'folder', '{}') RETURNING id",
            (uuid.uuid4().hex,),
        )
        return str((await cursor.fetchone() or {})["id"])


async def predict(
    customer: Customer, message_id: str, model_id: str, label: str, *, role: str = "active", **more: Any
) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO predictions (conversation_id, message_id, model_id, role, heads, pattern, language, text,"
            " duration_ms) VALUES (%s, %s, %s, %s, %s, 'text', 'en', '', 1)",
            (customer.conversation_id, message_id, model_id, role, {"intent": {"label": label, **more}}),
        )


async def label(
    customer: Customer, message_id: str, value: str | None, *, origin: str = "review", head: str = "intent"
) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin)"
            " VALUES (%s, %s, %s, 'head', %s, %s::jsonb, %s)",
            (uuid.uuid4(), customer.conversation_id, message_id, head, json.dumps(value), origin),
        )


async def test_agreement_compares_what_answered_with_the_newest_label(customer: Customer) -> None:
    answering, shadow = await model(customer.db, customer.workspace), await model(customer.db, customer.workspace)
    said = [
        ("coupon", "coupon"),
        ("coupon", "invoice"),
        ("coupon", "invoice"),
        ("coupon", "warranty"),
        ("invoice", "invoice"),
    ]
    for truth, predicted in said:
        message = await customer.says(f"{truth}? {uuid.uuid4()}")
        await predict(customer, message, shadow, "something else", role="shadow")
        await predict(customer, message, answering, predicted)
        await label(customer, message, "a slip")
        await label(customer, message, truth)
        await label(customer, message, "a second opinion", origin="second")
        await label(customer, message, "high", head="urgency")
    for taken_back in (False, True):
        unlabelled = await customer.says("Hello?")
        await predict(customer, unlabelled, answering, "coupon")
        if taken_back:
            await label(customer, unlabelled, "coupon")
            await label(customer, unlabelled, None)
    async with customer.db.transaction(customer.workspace.id) as tx:
        found = await insights.agreement(tx, month())
        earlier = await insights.agreement(tx, Period.of(date(2020, 1, 1), date(2020, 1, 2), tz="UTC"))
    assert found == Agreement(share(2, 5), [("coupon", share(1, 4), "invoice"), ("invoice", share(1, 1), None)])
    assert earlier == Agreement(share(0, 0), [])


async def test_a_conversation_has_the_first_intent_recognised_unless_a_person_says_another(customer: Customer) -> None:
    first = await model(customer.db, customer.workspace)
    messages = [await customer.says(text) for text in ("Hi", "Where is it?", "And the invoice?")]
    found = [(await facts(customer))["intent"]]
    await predict(customer, messages[0], first, "other", out_of_scope=0.9)
    found.append((await facts(customer))["intent"])
    await predict(customer, messages[1], first, "track_order", out_of_scope=0.1)
    await predict(customer, messages[2], first, "invoice")
    found.append((await facts(customer))["intent"])
    await label(customer, messages[1], "a slip")
    await label(customer, messages[1], "delivery_time")
    await label(customer, messages[1], "a second opinion", origin="second")
    await label(customer, messages[1], "high", head="urgency")
    found.append((await facts(customer))["intent"])
    await label(customer, messages[1], None)
    found.append((await facts(customer))["intent"])
    assert found == [None, None, "track_order", "delivery_time", "track_order"]


async def test_models_and_policies_of_the_period_are_named(db: Database, workspace: Workspace) -> None:
    begins = [NOW - timedelta(days=d) for d in (90, 60, 10)]
    model_id = await model(db, workspace)
    async with db.transaction(workspace.id) as tx:
        for version, at in enumerate(begins, 1):
            await tx.connection.execute(
                "INSERT INTO policies (version, text, note, created_at) VALUES (%s, '', %s, %s)",
                (version, f"no. {version}", at),
            )
        for role, began, ended in (
            ("active", 90, 80),
            ("active", 80, 5),
            ("shadow", 20, 19),
            ("canary", 6, 5),
            ("active", 5, None),
        ):
            await tx.connection.execute(
                "INSERT INTO deployments (model_id, role, share, began_at, ended_at, began_by, reason)"
                " VALUES (%s, %s, %s, %s, %s, 'agent', '')",
                (
                    model_id,
                    role,
                    0.1 if role == "canary" else None,
                    NOW - timedelta(days=began),
                    ended and NOW - timedelta(days=ended),
                ),
            )
        found = await insights.versions(tx, month())
    assert [(v.kind, v.role, v.began_at, v.note) for v in found] == [
        ("model", "active", NOW - timedelta(days=80), ""),
        ("policy", None, begins[1], "no. 2"),
        ("policy", None, begins[2], "no. 3"),
        ("model", "canary", NOW - timedelta(days=6), ""),
        ("model", "active", NOW - timedelta(days=5), ""),
    ]


def test_conversations_from_before_there_were_measures_are_measured_too(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate = importlib.import_module("duomo.store.migrate")  # the package has a function of that name
    name = f"before_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    fresh = psycopg.conninfo.make_conninfo(dsn, dbname=name)
    files = migrate._files()
    monkeypatch.setattr(migrate, "_files", lambda: [file for file in files if file[0] < "0005" or file[0] > "1"])
    migrate.migrate(fresh)
    with psycopg.connect(fresh, autocommit=True) as connection:
        connection.execute("""
            INSERT INTO workspaces (id, name) VALUES (uuidv7(), 'old');
            INSERT INTO contacts (workspace_id) SELECT id FROM workspaces;
            INSERT INTO conversations (id, workspace_id, contact_id, status, updated_at)
            SELECT md5(number)::uuid, workspace_id, c.id, status, '2026-01-09'
            FROM contacts c, (VALUES ('1', 'resolved'), ('2', 'pending'), ('3', 'pending')) AS v (number, status);
            INSERT INTO messages (id, workspace_id, conversation_id, seq, author, kind, text, feedback, created_at)
            SELECT md5(v.conversation || v.seq)::uuid, workspace_id, c.id, seq, author, kind, text, feedback,
                at::timestamptz
            FROM conversations c JOIN (VALUES
                ('1', 1, 'customer', 'text', 'Hi', NULL, '2026-01-01'),
                ('1', 3, 'bot', 'holding', '', NULL, '2026-01-02'),
                ('1', 5, 'bot', 'answer', '', NULL, '2026-01-03'), ('1', 7, 'agent', 'note', '', NULL, '2026-01-04'),
                ('1', 9, 'agent', 'text', '', NULL, '2026-01-05'), ('2', 1, 'customer', 'text', '', NULL, '2026-02-01'),
                ('2', 3, 'bot', 'answer', '', 'up', '2026-02-02')
            ) AS v (conversation, seq, author, kind, text, feedback, at) ON c.id = md5(v.conversation)::uuid;
            INSERT INTO parts (workspace_id, message_id, position, kind, mime, name)
            SELECT workspace_id, id, 0, 'audio', '', '' FROM messages WHERE author <> 'bot' AND text = '';
            INSERT INTO events (workspace_id, conversation_id, seq, kind, data, created_at)
            SELECT workspace_id, c.id, seq, 'status', jsonb_build_object('status', v.status), at::timestamptz
            FROM conversations c JOIN (VALUES ('1', 6, 'open', '2026-01-04'), ('1', 8, 'pending', '2026-01-05'),
                ('1', 10, 'open', '2026-01-06'), ('1', 12, 'resolved', '2026-01-07')
            ) AS v (conversation, seq, status, at) ON c.id = md5(v.conversation)::uuid
        """)
        monkeypatch.undo()
        assert migrate.migrate(fresh) == [file for file, _ in files if "0005" <= file < "1"]
        columns = ("asked", "bot", "agent", "opened", "resolved", "reopened", "confirmed")
        found = connection.execute(
            f"SELECT {', '.join(f'{c}_at::date::text' for c in columns)}, sent FROM conversations ORDER BY asked_at"  # type: ignore[arg-type]
        ).fetchall()
    assert found == [
        ("2026-01-01", "2026-01-03", "2026-01-05", "2026-01-04", "2026-01-07", None, None, ["text"]),
        ("2026-02-01", "2026-02-02", None, None, None, None, "2026-01-09", ["voice"]),
        (None, None, None, None, None, None, None, []),
    ]
