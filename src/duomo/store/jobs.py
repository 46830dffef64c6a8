"""The job queue: procrastinate on the same PostgreSQL, so that a job and what it is about commit together."""

from __future__ import annotations

import procrastinate
from procrastinate import PsycopgConnector
from psycopg import AsyncConnection

from duomo.store.postgres import APP_ROLE

QUEUES = ("turns", "media", "knowledge", "housekeeping", "training")


async def _as_app(connection: AsyncConnection[object]) -> None:
    await connection.execute(f"SET ROLE {APP_ROLE}")
    await connection.commit()


def make_app(dsn: str, *, max_size: int = 4) -> procrastinate.App:
    """The application that tasks are registered on; open it with `async with app.open_async()`."""
    connector = PsycopgConnector(
        conninfo=dsn, min_size=1, max_size=max_size, configure=_as_app, kwargs={"application_name": "duomo-jobs"}
    )
    return procrastinate.App(connector=connector)
