"""What somebody should look at: raised once, open until it is over or somebody says that it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from duomo.errors import NotFound
from duomo.store.postgres import Row, Tx

Kind = Literal["drift", "rollback", "improve", "model"]


async def raise_alarm(tx: Tx, kind: Kind, subject: str, data: Mapping[str, Any]) -> bool:
    """
    Args:
        subject: what it is about: "image", a model's name.
    Returns:
        False when one about the same is open; its figures are then the latest ones.
    """
    return bool(await tx.value("raise_alarm", kind=kind, subject=subject, data=dict(data)))


async def end_alarm(tx: Tx, kind: Kind, subject: str) -> bool:
    """It is over by itself. Returns: whether one was open."""
    return bool(await tx.run("end_alarm", kind=kind, subject=subject))


async def clear_alarm(tx: Tx, alarm_id: str, *, agent_id: str | None) -> Row:
    """Somebody has seen it.

    Raises:
        NotFound: no such alarm. Clearing a closed one changes nothing.
    """
    await tx.run("clear_alarm", id=alarm_id, agent_id=agent_id)
    row = await tx.one("alarm", id=alarm_id)
    if row is None:
        raise NotFound("there is no such alarm.")
    return row


async def alarms(tx: Tx, *, limit: int = 100) -> list[Row]:
    """Open ones first, then the latest."""
    return await tx.all("alarms", limit=limit)
