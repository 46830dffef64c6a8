"""A past for the dashboard: conversations as they would stand in the table months later."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from duomo.store.postgres import Row, Tx, pg_array

TEAMS = {"track_order": "orders", "return_item": "returns", "error_code": "technical", "invoice": "billing"}
HOPES = {"track_order": 0.8, "return_item": 0.6, "error_code": 0.45, "invoice": 0.7, None: 0.15}  # the bot can answer
_COLUMNS = (
    *("channel", "language", "status", "created_at", "asked_at", "bot_at", "opened_at", "agent_at", "resolved_at"),
    *("reopened_at", "confirmed_at", "opened_reason", "called_at", "csat_score", "sent", "intent", "team"),
)


def conversations(n: int, *, days: int, now: datetime, seed: int = 1) -> list[Row]:
    """Customers of an invented shop: busier on weekdays and by day, slower on weekends, better served over time."""
    chance = random.Random(seed)
    rows = []
    while len(rows) < n:
        age = chance.random() * days
        at = (now - timedelta(days=age)).replace(hour=chance.choices(range(24), _BUSY)[0], microsecond=0)
        if at > now or (at.weekday() > 4 and chance.random() < 0.4):
            continue
        rows.append(_conversation(chance, at, now, learned=1 - age / days))
    return rows


_BUSY = [1, 1, 1, 1, 1, 2, 4, 7, 12, 16, 18, 16, 13, 15, 18, 18, 16, 13, 12, 13, 14, 11, 6, 3]


def _conversation(chance: random.Random, at: datetime, now: datetime, *, learned: float) -> Row:
    intent = chance.choices(list(HOPES), [8, 6, 5, 3, 2])[0]
    row: Row = dict.fromkeys(_COLUMNS)
    row |= {
        "channel": chance.choices(["web", "app"], [4, 1])[0],
        "language": chance.choices(["zh", "en"], [3, 2])[0],
        "created_at": at,
        "asked_at": at,
        "intent": intent,
        "sent": chance.choices(
            [["text"], ["text", "picture"], ["voice"], ["picture"], ["document", "text"]], [9, 4, 3, 1, 1]
        )[0],
        "bot_at": at + timedelta(seconds=chance.lognormvariate(0.3, 0.7)),
        "status": "pending",
    }
    if chance.random() < HOPES[intent] * (0.75 + 0.35 * learned):
        if chance.random() < 0.6:
            row["confirmed_at"] = row["bot_at"] + timedelta(minutes=chance.uniform(1, 20))
    elif chance.random() < 0.8:
        _with_people(chance, row, at)
    if row["confirmed_at"] and row["confirmed_at"] > now:
        row["confirmed_at"] = None
    return row


def _with_people(chance: random.Random, row: Row, at: datetime) -> None:
    now = datetime.now(UTC)
    reasons = ["low_confidence", "requested", "repeated_failure", "agent"]
    opened = at + timedelta(minutes=chance.uniform(0.5, 6))
    row |= {
        "opened_at": opened,
        "called_at": opened,
        "status": "open",
        "opened_reason": chance.choices(reasons, [5, 3, 2, 1])[0],
        "team": TEAMS.get(row["intent"]),
    }
    answered = row["opened_at"] + timedelta(seconds=chance.lognormvariate(5, 1.1))
    resolved = answered + timedelta(seconds=chance.lognormvariate(7.2, 1.0))
    if chance.random() < 0.97 and answered < now:
        row["agent_at"] = answered
        if chance.random() < 0.92 and resolved < now:
            row |= {"resolved_at": resolved, "status": "resolved"}
            again = resolved + timedelta(hours=chance.uniform(1, 150))
            if chance.random() < 0.08 and again < now:
                row |= {"reopened_at": again, "status": "pending"}
            if chance.random() < 0.4:
                row["csat_score"] = chance.choices([1, 2, 3, 4, 5], [2, 1, 2, 6, 12])[0]
                if row["csat_score"] >= 4:
                    row["confirmed_at"] = resolved + timedelta(minutes=3)


async def insert(tx: Tx, rows: Sequence[Row]) -> list[str]:
    """Put them into the table. Returns: their ids."""
    cursor = await tx.connection.execute("INSERT INTO contacts DEFAULT VALUES RETURNING id")
    contact: Any = (await cursor.fetchone() or {})["id"]
    ids = [str(uuid.uuid4()) for _ in rows]
    names = ", ".join(_COLUMNS)
    values = ", ".join(f"%({name})s" for name in _COLUMNS)
    async with tx.connection.cursor() as many:
        await many.executemany(
            f"INSERT INTO conversations (id, contact_id, {names}) VALUES (%(id)s, %(contact)s, {values})",  # type: ignore[arg-type]
            [
                {**row, "sent": pg_array(row["sent"]), "id": id, "contact": contact}
                for id, row in zip(ids, rows, strict=True)
            ],
        )
    return ids
