"""Conversations that people have looked at: turns with files, predictions' ids, labels, answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support.conversation import store_message
from duomo.support.export_samples import held_out
from tests.support.conftest import Customer


async def contact_who_is(db: Database, workspace: Workspace, *, apart: bool, may_train: bool | None = None) -> str:
    """A customer among those whose turns only measure models, or among the others."""
    while True:
        contact = str(uuid.uuid4())
        if held_out(contact) == apart:
            break
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO contacts (id, language, may_train) VALUES (%s, 'en', %s)", (contact, may_train)
        )
    return contact


async def conversation_of(db: Database, workspace: Workspace, contact: str) -> Customer:
    cid = str(uuid.uuid4())
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO conversations (id, contact_id, language) VALUES (%s, %s, 'en')", (cid, contact)
        )
    return Customer(db, workspace, cid)


async def new_turn(
    customer: Customer,
    text: str,
    *,
    labels: Mapping[str, Any] | None = None,
    answered: bool = True,
    team: str | None = None,
) -> str:
    """A message with the bot's answer, and what a person said it is. Returns: its id."""
    message_id = await customer.says(text)
    if answered:
        await answer(customer, team=team)
    for head, value in (labels or {}).items():
        await label(customer, message_id, value, head=head)
    return message_id


async def answer(customer: Customer, *, team: str | None = None, kind: Any = "answer", author: Any = "bot") -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await store_message(
            tx, customer.conversation_id, author=author, kind=kind, text="Here it is.", language="en",
            decision={"policy": {"team": team}} if team else {},
        )  # fmt: skip


async def label(
    customer: Customer, message_id: str, value: Any, *, head: str = "intent", origin: str = "correction"
) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin) "
            "VALUES (%s, %s, %s, 'head', %s, %s::jsonb, %s)",
            (str(uuid.uuid4()), customer.conversation_id, message_id, head, json.dumps(value), origin),
        )


async def attach(
    customer: Customer,
    blobs: Blobs,
    message_id: str,
    data: bytes,
    *,
    mime: str,
    artifact: tuple[str, str] | None = None,
) -> str:
    """A ready file of a message, with what was heard or read in it. Returns: its blob's key."""
    key = blobs.put(customer.workspace.id, data)
    async with customer.db.transaction(customer.workspace.id) as tx:
        position = await _one(tx, "SELECT count(*) FROM parts WHERE message_id = %s", message_id)
        part_id = await _one(
            tx,
            "INSERT INTO parts (message_id, position, kind, state, mime, name, blob) "
            "VALUES (%s, %s, %s, 'ready', %s, 'file', %s) RETURNING id",
            *(message_id, position, mime.split("/")[0], mime, key),
        )
        if artifact:
            await tx.connection.execute(
                "INSERT INTO artifacts (part_id, kind, text, confidence, model, version, duration_ms) "
                "VALUES (%s, %s, %s, 0.5, 'm', '1', 1)",
                (part_id, *artifact),
            )
    return key


async def _one(tx: Any, sql: str, *values: Any) -> Any:
    cursor = await tx.connection.execute(sql, values)
    return next(iter((await cursor.fetchone()).values()))


def lines(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
