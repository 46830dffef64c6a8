"""A copy of a workspace's knowledge to try things in; the knowledge itself is not touched.

A scratch workspace lives as long as the block that made it. Its name is held by a lock of its connection: what a killed
process left behind is nobody's, and goes when the next one is made. Its settings say what it is, so that no workspace
goes that somebody merely called so.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator

import psycopg
from psycopg.rows import dict_row

from duomo.store.postgres import Database, Tx, prepare_types

PREFIX = "scratch-"


@contextlib.asynccontextmanager
async def scratch(db: Database, workspace_id: str, *, version: int | None = None) -> AsyncIterator[str]:
    """The id of a workspace with the same articles.

    Args:
        version: only those that are as they were in that version of the knowledge.
    """
    name = PREFIX + uuid.uuid4().hex
    async with await psycopg.AsyncConnection.connect(db.dsn, row_factory=dict_row, autocommit=True) as owner:
        await prepare_types(owner)
        tx = Tx(owner)
        await _sweep(tx)
        await tx.value("hold_name", name=name)
        copy = str(await tx.value("make_scratch", name=name))
        try:
            async with owner.transaction():
                await tx.run("copy_articles", **{"from": workspace_id}, to=copy, version=version)
                await tx.run("copy_chunks", **{"from": workspace_id}, to=copy)
                await tx.run("copy_article_pictures", **{"from": workspace_id}, to=copy)
                await tx.run("count_terms", to=copy)
            yield copy
        finally:
            await tx.run("erase_workspace", id=copy)


async def _sweep(tx: Tx) -> None:
    for row in await tx.all("scratch_workspaces", prefix=PREFIX):
        if await tx.value("hold_name", name=row["name"]):  # whoever made it has gone
            await tx.run("erase_workspace", id=row["id"])
