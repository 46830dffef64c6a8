"""Turns as a worker leaves them: what a model said of each, its vector, and how the bot answered."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from duomo.store.postgres import Database, Row, Tx, Workspace
from duomo.support import conversation, labels, predict
from duomo.support.predict import Understood
from tests.support.conftest import Customer, new_customer
from tests.support.live import new_model, use

INTENTS = ("track_order", "return_item", "invoice", "warranty")
MANIFEST: Mapping[str, Any] = {
    "heads": {
        "intent": {"type": "class", "labels": list(INTENTS), "out_of_scope": "other"},
        "urgency": {"type": "class", "labels": ["low", "normal", "high"], "out_of_scope": None},
    }
}


async def give_model(db: Database, workspace: Workspace, name: str = "first") -> str:
    """An active model that knows INTENTS. Returns: its id."""
    model_id = await new_model(db, workspace, name, manifest=dict(MANIFEST))
    await use(db, workspace, model_id, "active")
    return model_id


def said(label: str = "track_order", chance: float = 0.97, **other: Any) -> dict[str, Any]:
    """What a model says of a head; the rest of the probability is spread evenly."""
    rest = [name for name in INTENTS if name != label]
    top = [[label, chance], *([name, (1 - chance) / len(rest)] for name in rest)]
    usual = {"abstain": chance < 0.4, "conflict": 0.0, "out_of_scope": 0.0}
    return {"label": label, "confidence": chance, "set": [label], "shares": {"text": 1.0}, "top": top} | usual | other


UNSURE = said(chance=0.25)
OUTSIDE = {**said(chance=0.4, out_of_scope=0.95), "label": "other"}


async def turn(
    db: Database,
    workspace: Workspace,
    model_id: str | None,
    text: str = "Where is my parcel?",
    head: Mapping[str, Any] | None = None,
    *,
    vector: Sequence[float] | None = None,
    kind: Any = "answer",
    decision: Mapping[str, Any] | None = None,
    customer: Customer | None = None,
) -> tuple[Customer, str]:
    """A customer's turn, what the model said of it, and the bot's answer. Returns: the customer, the message's id."""
    customer = customer or await new_customer(db, workspace)
    message_id = await customer.says(text)
    understood = None
    async with db.transaction(workspace.id) as tx:
        if model_id is not None:
            understood = Understood(
                model_id=model_id, fingerprint="f", name="first", role="active",
                heads={"intent": head or said(), "urgency": {**said("normal"), "top": [["normal", 0.97]]}},
                pattern="text", text=text,
                embeddings={} if vector is None else {"text": np.asarray(vector, np.float32)}, duration_ms=1.0,
            )  # fmt: skip
            await predict.store(tx, customer.conversation_id, message_id, understood, "en")
        record = {"understood": understood.record(message_id)} if understood else {}
        await conversation.store_message(
            tx, customer.conversation_id, author="bot", kind=kind, text="Look here.", language="en",
            decision={**record, **(decision or {})},
        )  # fmt: skip
    return customer, message_id


async def give_label(tx: Tx, customer: Customer, message_id: str, value: Any, **other: Any) -> Row:
    usual: dict[str, Any] = {"id": str(uuid.uuid4()), "kind": "head", "head": "intent", "origin": "correction"}
    return await labels.add(
        tx, conversation_id=customer.conversation_id, message_id=message_id, value=value, **usual | other
    )
