"""Live traffic without a model: conversations, turns as the worker stores them, and what people make of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from duomo.store.postgres import Database, Workspace
from duomo.support import conversation, predict, registry
from duomo.support.predict import Understood
from duomo.support.rollout import chosen
from tests.support.conftest import Customer


async def new_model(db: Database, workspace: Workspace, name: str, **row: Any) -> str:
    """A registered model of which there is no folder. Returns: its id."""
    async with db.transaction(workspace.id) as tx:
        made = await tx.one(
            "insert_model", fingerprint=uuid.uuid5(uuid.NAMESPACE_URL, f"{workspace.id} {name}").hex * 2, name=name,
            **{"origin": "folder", "manifest": {}, "samples": None, "reference": None, "agent_id": None} | row,
        )  # fmt: skip
    assert made is not None
    return str(made["id"])


async def use(db: Database, workspace: Workspace, model_id: str, role: registry.Role, **how: Any) -> None:
    async with db.transaction(workspace.id) as tx:
        await registry.deploy(tx, model_id, role, **{"by": "agent", **how})


async def roles(db: Database, workspace: Workspace) -> dict[str, str]:
    """role -> name of the model that has it."""
    async with db.transaction(workspace.id) as tx:
        return {role: row["name"] for role, row in (await registry.current(tx)).items()}


@dataclass
class Behaviour:
    """What happens to the turns of a model: chances."""

    hands_over: float = 0.2
    wrong: float = 0.1
    labelled: float = 0.5
    beyond: float = 0.05
    abstains: float = 0.1
    thumbs_down: float = 0.05
    confidence: float = 0.9


@dataclass
class Traffic:
    """Customers who come, one conversation of one turn each.

    Attributes:
        models: name -> how it does.
        means: modality -> where its embeddings lie, (dim,).
    """

    db: Database
    workspace: Workspace
    models: Mapping[str, Behaviour]
    seed: int = 0
    means: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = np.random.default_rng(self.seed)

    async def comes(self, conversations: int) -> None:
        for _ in range(conversations):
            await self._one()

    async def _one(self) -> None:
        customer = await self._customer()
        message_id = await customer.says("Where is my parcel?")
        truth = self.random.choice(["track_order", "delivery_time"])
        # the same draws whatever the model: a shadow and the active model read the same turn
        draws = {name: self.random.random() for name in Behaviour.__dataclass_fields__}
        async with self.db.transaction(self.workspace.id) as tx:
            now = await registry.current(tx)
            model = chosen(now, customer.conversation_id)
            for row in filter(None, (now.get("shadow"), model)):
                own = self.models[row["name"]]
                read = self._understood(row, own, truth, draws)
                await predict.store(tx, customer.conversation_id, message_id, read, "en")
            if model is None:
                return
            own = self.models[model["name"]]
            read = self._understood(model, own, truth, draws)
            answer_id = str(uuid.uuid4())
            kind: Any = "handoff" if draws["hands_over"] < own.hands_over else "answer"
            await conversation.store_message(
                tx, customer.conversation_id, id=answer_id, author="bot", kind=kind, text="…", language="en",
                decision={"model": read.model(), "understood": read.record(message_id)},
            )  # fmt: skip
            if draws["thumbs_down"] < own.thumbs_down:
                await tx.connection.execute("UPDATE messages SET feedback = 'down' WHERE id = %s", (answer_id,))
            if draws["labelled"] < own.labelled:
                await tx.connection.execute(
                    "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin) "
                    "VALUES (%s, %s, %s, 'head', 'intent', to_jsonb(%s::text), 'review')",
                    (str(uuid.uuid4()), customer.conversation_id, message_id, truth),
                )

    async def _customer(self) -> Customer:
        """With a conversation that falls to a canary or not as this traffic's own chance has it, run after run."""
        async with self.db.transaction(self.workspace.id) as tx:
            canary = (await registry.current(tx)).get("canary")
            contact = await tx.connection.execute("INSERT INTO contacts DEFAULT VALUES RETURNING id")
            contact_id = str((await contact.fetchone() or {})["id"])
            drawn, conversation_id = self.random.random(), str(uuid.uuid4())
            while canary and (chosen({"canary": canary}, conversation_id) is canary) != (drawn < canary["share"]):
                conversation_id = str(uuid.uuid4())
            await conversation.open_conversation(tx, id=conversation_id, contact_id=contact_id, language="en")
        return Customer(self.db, self.workspace, conversation_id)

    def _understood(self, row: Mapping[str, Any], own: Behaviour, truth: str, draws: Mapping[str, float]) -> Understood:
        head = {
            "label": "refund_status" if draws["wrong"] < own.wrong else truth,
            "confidence": own.confidence, "set": [truth], "abstain": draws["abstains"] < own.abstains,
            "out_of_scope": 0.9 if draws["beyond"] < own.beyond else 0.1, "conflict": 0.0, "shares": {"text": 1.0},
            "top": [],
        }  # fmt: skip
        embeddings = {}
        for modality, mean in self.means.items():
            raw = mean + self.numbers.standard_normal(len(mean))
            embeddings[modality] = (raw / np.linalg.norm(raw)).astype(np.float32)
        return Understood(
            model_id=str(row["id"]), fingerprint=row["fingerprint"], name=row["name"], role=row["role"],
            heads={"intent": head}, pattern="+".join(self.means) or "text", text="Where is my parcel?",
            embeddings=embeddings, duration_ms=3.0,
        )  # fmt: skip
