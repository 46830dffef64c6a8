"""Conversations that a policy has decided, in the database, with what people said of them."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from duomo.store.postgres import Tx
from duomo.support import conversation as talk
from duomo.support.policy import Facts, Policy
from duomo.types import Language

SAYS = {"answer": "answer", "clarify": "clarify", "hand_over": "handoff"}
ASKED = {
    "invoice": ("怎么开电子发票？", "How do I get an invoice?"),
    "refund_status": ("退款三天了还没到账", "My refund has not arrived"),
    "wifi_setup": ("配网一直失败，提示 E12", "Set-up fails with E12"),
    "other": ("你们店里有猫吗", "Is there a cat in the shop?"),
}


@dataclass
class Turn:
    facts: Facts
    text: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    article: str = "guide"  # that was put first
    said: tuple[tuple[str, Any], ...] = ()  # (kind, value) of labels
    feedback: str | None = None


async def tell(tx: Tx, turns: list[Turn], policy: Policy, at: datetime) -> str:
    """One conversation of these turns, each ruled by `policy`. Returns: its id."""
    cursor = await tx.connection.execute("INSERT INTO contacts (language) VALUES ('en') RETURNING id")
    contact = (await cursor.fetchone() or {})["id"]
    cid = str(uuid.uuid4())
    await talk.open_conversation(tx, id=cid, contact_id=str(contact), language=turns[0].facts.language)
    for n, turn in enumerate(turns):
        ruling = policy.decide(turn.facts)
        await talk.store_message(
            tx, cid, author="customer", kind="text", text=turn.text or "And?", language=turn.facts.language
        )
        await talk.store_message(
            tx, cid, id=turn.id, author="bot", kind=SAYS[ruling.do], text="…", language=turn.facts.language,  # type: ignore[arg-type]
            decision={
                "facts": turn.facts.as_dict(), "policy": {**ruling.as_dict(), "version": policy.version},
                "candidates": [{"article_id": turn.article, "title": turn.article}],
            },
        )  # fmt: skip
        await tx.connection.execute(
            "UPDATE messages SET created_at = %s, feedback = %s WHERE id = %s",
            (at + timedelta(minutes=n), turn.feedback, turn.id),
        )
        for kind, value in turn.said:
            await tx.run(
                "insert_label", id=str(uuid.uuid4()), conversation_id=cid, message_id=turn.id, kind=kind, head="",
                value=Jsonb(value), said={}, origin="review", agent_id=None,
            )  # fmt: skip
    await tx.connection.execute("UPDATE conversations SET created_at = %s WHERE id = %s", (at, cid))
    return cid


def month(policy: Policy, *, conversations: int, until: datetime, seed: int = 0) -> list[tuple[datetime, list[Turn]]]:
    """Conversations of the four weeks before, half of their turns judged; less certain answers are wrong more often."""
    chance = random.Random(seed)
    made = []
    for _ in range(conversations):
        at = until - timedelta(days=28 * chance.random())
        language: Language = chance.choice(("zh", "en"))
        turns: list[Turn] = []
        failures = 0
        for _ in range(chance.choice((1, 1, 2, 3))):
            intent = chance.choice(list(ASKED))
            knowledge = round(chance.betavariate(2, 6) if intent == "other" else chance.betavariate(5, 2.5), 4)
            facts = Facts(
                "person" if chance.random() < 0.03 else "question", language, ("text",), failures=failures,
                intent=intent, confidence=round(chance.betavariate(6, 2), 3), intent_set=(intent,),
                urgency=chance.choice(("low", "normal", "normal", "high")), out_of_scope=intent == "other",
                abstain=False, conflict=0.0, heads={"intent": intent}, knowledge=knowledge,
                answer_from=0.5, clarify_from=0.25,
            )  # fmt: skip
            wrong = chance.random() < 0.45 * (1 - knowledge) ** 1.2
            judged = chance.random() < 0.5
            said = (("source", "another" if wrong else "guide"),) if judged else ()
            thumb = chance.choice((None, None, "down" if wrong else "up"))
            turns.append(Turn(facts, ASKED[intent][language == "en"], said=said, feedback=thumb))
            do = policy.decide(facts).do
            if do == "hand_over":
                break
            failures = failures + 1 if do == "clarify" else 0
        made.append((at, turns))
    return sorted(made, key=lambda one: one[0])
