"""The names, models and codes of a workspace's own knowledge, by which a transcript is repaired."""

from __future__ import annotations

from duomo.store.postgres import Database


async def rebuild(db: Database, workspace_id: str) -> None:
    """Collect the lexicon anew from the articles."""
