"""Why a message was said: the summary, and what every piece of a message was worth to a model one can work out."""

from __future__ import annotations

import asyncio
import textwrap
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from duomo.errors import Conflict, NotFound
from duomo.learn.explain import Served
from duomo.media import audio, image
from duomo.models import encoders as recipes
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from duomo.support import conversation, explaining, why, why_words
from duomo.support.policy import Policy
from duomo.types import Citation, Language, Message, Sample
from tests.learn.fake_encoders import FakeEncoders, model
from tests.support.conftest import Customer

MODEL = str(uuid.uuid4())
TEXT = "Please, my lamp is broken: I want a REFUND"
TITLES = {"money": {"zh": "退款", "en": "Refund"}}


class ReadingEncoders(FakeEncoders):
    """Reads the sample's own text and files."""

    def value(self, sample: Sample, modality: str) -> Any:
        if modality == "text":
            return sample.text
        path = {"image": sample.image, "audio": sample.audio}.get(modality)
        return None if path is None else recipes.read(modality, path.read_bytes())


@dataclass
class OneModel:
    """A reader that has one model open, whichever is asked for."""

    found: Served | None

    async def loaded(self, workspace_id: str, fingerprint: str) -> Served | None:
        return self.found


def reader() -> OneModel:
    known = model({})
    return OneModel(Served(known.understanding, ReadingEncoders({})))


def head(**more: Any) -> dict[str, Any]:
    return {
        "label": "money", "confidence": 0.92, "set": ["money"], "abstain": False, "out_of_scope": 0.02, "conflict": 0.1,
        "shares": {"text": 0.2, "image": 0.8}, "top": [["money", 0.92], ["repair", 0.08]], **more,
    }  # fmt: skip


FACTS: dict[str, Any] = {
    "wish": "question", "language": "en", "sent": ["text", "picture"], "failures": 0, "knowledge": 0.71,
    "answer_from": 0.55, "clarify_from": 0.3,
}  # fmt: skip


def decision(message_id: str = "", **more: Any) -> dict[str, Any]:
    return {
        "outcome": "answer", "confidence": 0.71, "answer_from": 0.55, "clarify_from": 0.3, "calibration": "c1",
        "candidates": [{"article_id": "en/refunds", "title": "Refunds", "score": 0.9, "text": "…"}],
        "facts": FACTS,
        "policy": {"version": 3, "row": 4, "name": "refunds", "do": "answer", "team": None, "priority": "normal"},
        "model": {"id": MODEL, "fingerprint": "f1", "name": "first", "role": "active"},
        "understood": {
            "message_id": message_id, "pattern": "text+image", "text": TEXT, "heads": {"intent": head()},
        },
        "knowledge": 12, **more,
    }  # fmt: skip


CITED = (Citation("en/refunds", "en/refunds#0", "Refunds", "kb/refunds", "Refunds take 3 days.", 0.9),)


def said(kind: str = "answer", *, cited: bool = True, **changed: Any) -> Message:
    now: Any = None
    return Message(
        "m", "c", 2, "bot", kind, "…", now, citations=CITED if cited else (), decision={**decision(), **changed}
    )  # type: ignore[arg-type]


def summary(message: Message, language: Language = "en") -> list[str]:
    return why.summary(message, language, titles=TITLES, steps=why.otherwise(message, Policy.shipped()))


def test_an_answer_says_what_was_understood_where_it_comes_from_and_by_which_rule() -> None:
    assert summary(said()) == [
        "Understood as “Refund” (92 %), mostly from the photo.",
        "Answered from “Refunds” (71 %, needed 55 %).",
        "Rule 4, “refunds”; below 55 % it would have asked back, below 30 % it would have handed over.",
    ]
    assert summary(said(), "zh") == [
        "理解为“退款”（92%），主要依据图片。",
        "依据“Refunds”作答（71%，需 55%）。",
        "第 4 条规则“refunds”；段落得分低于 55% 会追问，低于 30% 会转人工。",
    ]


def understood(**more: Any) -> dict[str, Any]:
    return {"message_id": "x", "pattern": "text", "heads": {"intent": head(**more)}}


HANDED = {"version": 3, "row": 2, "name": "unsure", "do": "hand_over", "team": "returns", "priority": "high"}


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        (
            said("handoff", cited=False, outcome="handoff", confidence=0.2,
                 policy=HANDED | {"reason": "low_confidence"}, facts=FACTS | {"knowledge": 0.2},
                 understood=understood(abstain=True, confidence=0.4, top=[["money", 0.4], ["repair", 0.3]],
                                       shares={"text": 1.0})),
            ["Understood as “Refund” (40 %), perhaps “Repair” (30 %), from the text.",
             "Handed over to returns: nothing matched well enough. The best, “Refunds”, had 20 %, an answer needs "
             "55 %.",
             "Rule 2, “unsure”; from 30 % it would have asked back."],
        ),
        (
            said("handoff", cited=False, outcome="handoff", policy=HANDED | {"reason": "policy"},
                 facts=FACTS | {"knowledge": None}, understood=understood(out_of_scope=0.81)),
            ["None of the known intents (81 %), mostly from the photo.", "Handed over to returns: the policy says so.",
             "Rule 2, “unsure”."],
        ),
        (
            said("handoff", cited=False, outcome="handoff", reason="requested", policy=None,
                 facts=FACTS | {"wish": "person", "knowledge": None}),
            ["The customer asked for a person.", "Handed over: the customer asked for it."],
        ),
        (
            said("clarify", cited=False, outcome="clarify", confidence=0.41, model=None, understood=None, policy=None),
            ["No trained model was active; the knowledge alone decided.",
             "Asked back: the best, “Refunds”, had 41 %, an answer needs 55 %."],
        ),
        (Message("m", "c", 2, "bot", "answer", "Hello!", None, decision={"outcome": "greeting"}),  # type: ignore[arg-type]
         ["The customer says hello; nothing to look up."]),
        (Message("m", "c", 2, "system", "handoff", "…", None, decision={"outcome": "handoff", "reason": "system"}),  # type: ignore[arg-type]
         ["Handed over: something went wrong on our side."]),
        (
            said(facts=FACTS | {"sent": ["picture"], "chosen": True},
                 understood=understood(shares={"text": 0.5, "image": 0.5})),
            ["Understood as “Refund” (92 %), from the words in the picture and the photo.",
             "Answered from “Refunds”, which the customer chose.", "Rule 4, “refunds”."],
        ),
    ],
)  # fmt: skip
def test_each_kind_of_decision_is_told_in_at_most_three_lines(message: Message, lines: list[str]) -> None:
    assert summary(message) == lines
    assert len(summary(message, "zh")) == len(lines)


def test_the_scores_at_which_the_policy_says_something_else_are_exact() -> None:
    rules = """
    table:
      - {name: person, wish: person, do: hand_over}
      - {name: emergency, wish: emergency, do: hand_over}
      - {name: unsure, confidence: "< 0.6", do: clarify}
      - {name: sure, knowledge: ">= 0.9", do: answer}
      - {name: rest, do: answer, answer_from: 0.7}
    """
    policy = Policy.parse(textwrap.dedent(rules))
    steps = why.otherwise(said(facts=FACTS | {"confidence": 0.9}), policy)
    assert [(step.low, step.high, step.do, step.row) for step in steps["knowledge"]] == [
        (0, 0.3, "hand_over", 5), (0.3, 0.7, "clarify", 5), (0.7, 0.9, "answer", 5), (0.9, 1, "answer", 4),
    ]  # fmt: skip
    assert [(step.low, step.high, step.do, step.row) for step in steps["confidence"]] == [
        (0, 0.6, "clarify", 3), (0.6, 1, "answer", 5),
    ]  # fmt: skip
    asked = said("clarify", outcome="clarify", facts=FACTS | {"confidence": 0.4}, policy=HANDED | {"do": "clarify"})
    (*_, rule) = why.summary(asked, "en", titles={}, steps={"confidence": steps["confidence"]})
    assert rule == "Rule 2, “unsure”; by the intent's confidence, from 60 % it would have answered."


def test_every_sentence_exists_in_both_languages() -> None:
    assert set(why_words._ZH) == set(why_words._EN)


# In depth ---------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A conversation in which a model read a text, a picture and a sound, and the bot answered."""

    customer: Customer
    message_id: str
    said_id: str

    async def why(self) -> dict[str, Any]:
        async with self.customer.db.transaction(self.customer.workspace.id) as tx:
            return await why.why(tx, self.customer.conversation_id, self.said_id)

    async def explain(self, blobs: Blobs, opened: OneModel | None = None) -> bool:
        work = self.customer.workspace.id
        return await explaining.explain_message(
            self.customer.db, blobs, work, self.said_id, reader=opened or reader(), patience_s=0
        )

    async def sql(self, statement: str, **values: Any) -> None:
        async with self.customer.db.transaction(self.customer.workspace.id) as tx:
            await tx.connection.execute(statement, values)  # type: ignore[call-overload]


@pytest.fixture
async def case(customer: Customer, blobs: Blobs) -> Case:
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:30, :45] = 255
    waveform = np.zeros(32000, dtype=np.float32)
    waveform[8000:12000] = 0.8
    await customer.says("Hello")
    files = {"image": image.encode(pixels), "audio": audio.encode_wav(waveform)}
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.store_message(
            tx, customer.conversation_id, author="bot", kind="answer", text="Hi!", language="en",
            decision={"outcome": "greeting"},
        )  # fmt: skip
    message_id = await customer.says(TEXT)
    said_id = str(uuid.uuid4())
    prediction = {"intent": head(), "price": {"label": 3.0}}
    async with customer.db.transaction(customer.workspace.id) as tx:
        for position, (kind, data) in enumerate(files.items()):
            await tx.connection.execute(
                "INSERT INTO parts (message_id, position, kind, mime, name, state, blob) "
                "VALUES (%s, %s, %s, 'x/y', 'f', 'ready', %s)",
                (message_id, position, kind, blobs.put(customer.workspace.id, data)),
            )
        cursor = await tx.connection.execute(
            "INSERT INTO models (fingerprint, name, origin, manifest) VALUES ('f1', 'first', 'folder', '{}') "
            "RETURNING id"
        )
        model_id = str((await cursor.fetchone() or {})["id"])
        await tx.run(
            "insert_prediction", conversation_id=customer.conversation_id, message_id=message_id, model_id=model_id,
            role="active", heads=prediction, pattern="text+image+audio", language="en", text=TEXT, duration_ms=2.0,
        )  # fmt: skip
        stated = decision(message_id, model={"id": model_id, "fingerprint": "f1", "name": "first", "role": "active"})
        await conversation.store_message(
            tx, customer.conversation_id, id=said_id, author="bot", kind="answer", text="Refunds take 3 days. [1]",
            language="en", citations=CITED, decision=stated,
        )  # fmt: skip
    return Case(customer, message_id, said_id)


def odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


async def test_before_it_is_explained_everything_the_turn_wrote_down_is_there(case: Case) -> None:
    found = await case.why()
    assert found["asked"] == [case.message_id]
    assert found["summary"]["en"][0] == "Understood as “Money” (92 %), mostly from the photo."
    assert found["understood"]["alternatives"] == [
        {"label": "money", "title": {"zh": "money", "en": "Money"}, "probability": 0.92},
        {"label": "repair", "title": {"zh": "repair", "en": "Repair"}, "probability": 0.08},
    ]
    assert found["sources"]["quoted"] == [
        {"article_id": "en/refunds", "chunk_id": "en/refunds#0", "title": "Refunds", "quote": "Refunds take 3 days.",
         "score": 0.9}
    ]  # fmt: skip
    assert found["versions"]["knowledge"] == 12
    assert found["versions"]["policy"] == 3
    assert found["explanation"] == {"state": "none", "reason": "", "body": None}


async def test_shares_add_up_and_a_word_taken_away_changes_the_score_by_what_it_is_said_to_be_worth(
    case: Case, blobs: Blobs
) -> None:
    assert await case.explain(blobs)
    shown = (await case.why())["explanation"]
    assert shown["state"] == "done"
    body = shown["body"]
    assert sum(body["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert body["support"] - body["prior"] == pytest.approx(sum(body["contributions"].values()), abs=1e-3)
    words = {unit["text"]: unit for unit in body["units"]["text"]}
    assert words["REFUND"]["score"] == pytest.approx(3, abs=1e-3)
    assert body["text"][int(words["REFUND"]["start"]) : int(words["REFUND"]["end"])] == "REFUND"
    shorter = TEXT.replace("REFUND", "").strip()
    await case.sql(
        "UPDATE messages SET decision = jsonb_set(decision, '{understood,text}', to_jsonb(%(text)s::text)) "
        "WHERE id = %(id)s",
        text=shorter,
        id=case.said_id,
    )
    await case.explain(blobs)
    without = (await case.why())["explanation"]["body"]
    assert without["support"] == pytest.approx(body["support"] - words["REFUND"]["score"], abs=1e-3)
    assert odds(without["confidence"]) == pytest.approx(odds(words["REFUND"]["without"]), abs=0.02)


async def test_the_region_of_the_picture_and_the_seconds_of_the_sound_that_decided_are_named(
    case: Case, blobs: Blobs
) -> None:
    await case.explain(blobs)
    body = (await case.why())["explanation"]["body"]
    (picture, sound) = [part.id for message in await case.customer.messages() for part in message.parts]
    assert body["picture"] == {"part_id": picture, "width": 90, "height": 60}
    assert body["sound"] == {"part_id": sound, "seconds": 2.0}
    strong = [unit["box"] for unit in body["units"]["image"] if unit["score"] > 0.05]
    assert {(left < 45, top < 30) for left, top, _, _ in strong} == {(True, True)}
    assert [(u["start"], u["end"]) for u in body["units"]["audio"] if u["score"] > 1] == [(0.5, 0.75)]
    assert body["model"]["name"] == "first"


async def test_what_the_model_had_said_is_explained_even_where_it_would_say_something_else_now(
    case: Case, blobs: Blobs
) -> None:
    await case.sql(
        "UPDATE messages SET decision = jsonb_set(decision, '{understood,heads,intent,label}', '\"repair\"') "
        "WHERE id = %(id)s",
        id=case.said_id,
    )
    await case.explain(blobs)
    body = (await case.why())["explanation"]["body"]
    assert (body["label"], body["said"]) == ("repair", "repair")
    words = {unit["text"]: unit["score"] for unit in body["units"]["text"]}
    assert (words["REFUND"], words["broken"]) == (pytest.approx(-3, abs=1e-3), pytest.approx(2, abs=1e-3))


async def test_an_answer_is_explained_by_the_words_it_was_given_for_after_they_were_corrected_and_read_again(
    case: Case, blobs: Blobs
) -> None:
    await case.sql("UPDATE predictions SET text = 'my lamp is REPAIRED'")
    await case.explain(blobs)
    body = (await case.why())["explanation"]["body"]
    assert body["text"] == TEXT
    assert [unit["text"] for unit in body["units"]["text"]][-1] == "REFUND"


async def test_explaining_is_one_job_however_often_it_is_asked_for_and_behind_all_others(case: Case) -> None:
    for _ in range(3):
        async with case.customer.db.transaction(case.customer.workspace.id) as tx:
            await why.queue(tx, case.customer.workspace.id, case.customer.conversation_id, case.said_id)
    async with case.customer.db.transaction(None) as tx:
        cursor = await tx.connection.execute(
            "SELECT queue_name, priority, args FROM procrastinate_jobs WHERE task_name = 'explain' "
            "AND args ->> 'message_id' = %s",
            (case.said_id,),
        )
        jobs = [tuple(row.values()) for row in await cursor.fetchall()]
    assert jobs == [("media", -10, {"workspace_id": case.customer.workspace.id, "message_id": case.said_id})]
    assert (await case.why())["explanation"]["state"] == "queued"


async def test_what_cannot_be_explained_any_more_says_why(case: Case, blobs: Blobs) -> None:
    await case.explain(blobs, OneModel(None))
    assert (await case.why())["explanation"] == {"state": "failed", "reason": "model_gone", "body": None}
    for key in list(blobs.keys(case.customer.workspace.id)):
        blobs.delete(case.customer.workspace.id, key)
    await case.explain(blobs)
    assert (await case.why())["explanation"]["reason"] == "file_gone"
    await case.sql("DELETE FROM predictions")
    await case.explain(blobs)
    assert (await case.why())["explanation"]["reason"] == "prediction_gone"


async def test_a_message_that_was_erased_meanwhile_is_left_alone(case: Case, blobs: Blobs) -> None:
    await case.sql("DELETE FROM messages WHERE id = %(id)s", id=case.said_id)
    assert not await case.explain(blobs)
    with pytest.raises(NotFound):
        await case.why()


async def test_without_a_model_there_is_a_summary_and_nothing_to_take_apart(customer: Customer, blobs: Blobs) -> None:
    await customer.says("I want a refund")
    await customer.act("hand_off", by="customer", reason="requested")
    (handed,) = [m for m in await customer.messages() if m.author == "bot"]
    async with customer.db.transaction(customer.workspace.id) as tx:
        found = await why.why(tx, customer.conversation_id, handed.id)
        assert found["summary"]["en"] == ["Handed over: the customer asked for it."]
        assert found["explanation"] == {"state": "none", "reason": "no_model", "body": None}
        with pytest.raises(Conflict):
            await why.queue(tx, customer.workspace.id, customer.conversation_id, handed.id)
    assert not await explaining.explain_message(customer.db, blobs, customer.workspace.id, handed.id, reader=reader())


async def test_what_a_person_wrote_has_no_reasons(customer: Customer) -> None:
    message_id = await customer.says("Hello")
    async with customer.db.transaction(customer.workspace.id) as tx:
        with pytest.raises(NotFound):
            await why.why(tx, customer.conversation_id, message_id)


async def test_one_workspace_does_not_see_the_reasons_of_another(case: Case, db: Database) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    async with db.transaction(other.id) as tx:
        with pytest.raises(NotFound):
            await why.why(tx, case.customer.conversation_id, case.said_id)


async def test_explaining_waits_while_somebody_waits_for_an_answer(case: Case, blobs: Blobs) -> None:
    patience = explaining._Patience()
    async with case.customer.db.transaction(case.customer.workspace.id) as tx:
        job = await tx.defer("turn", queue="turns", args={"workspace_id": case.customer.workspace.id})
    watching = asyncio.ensure_future(patience.watch(case.customer.db))
    await asyncio.sleep(0.05)
    assert not patience._free.is_set()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert patience._free.is_set()
    async with case.customer.db.transaction(None) as tx:
        await tx.connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (job,))
