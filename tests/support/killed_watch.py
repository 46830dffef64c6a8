"""`python -m tests.support.killed_watch DSN WORKSPACE`: the watch, killed before its first statement, its second, …

Every run is a process of its own, killed by SIGKILL. After each one a line says which models are active then.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import psycopg

from duomo.store.postgres import Database
from duomo.support.rollout import watch

ROLES = """SELECT coalesce(json_object_agg(d.role, m.name), '{}') FROM deployments d JOIN models m ON m.id = d.model_id
WHERE d.workspace_id = %s AND d.ended_at IS NULL"""


def main(dsn: str, workspace_id: str) -> None:
    statement = 0
    finished = False
    while not finished:
        statement += 1
        child = os.fork()
        if child == 0:
            _die_before(statement)
            asyncio.run(_watch(dsn, workspace_id))
            os._exit(0)
        finished = os.waitpid(child, 0)[1] == 0
        with psycopg.connect(dsn) as connection:
            (roles,) = connection.execute(ROLES, (workspace_id,)).fetchone() or ({},)
            (alarms,) = connection.execute(
                "SELECT count(*) FROM alarms WHERE workspace_id = %s", (workspace_id,)
            ).fetchone() or (0,)
        print(json.dumps({"finished": finished, "roles": roles, "alarms": alarms}), flush=True)


async def _watch(dsn: str, workspace_id: str) -> None:
    async with await Database.open(dsn, max_size=1) as db:
        await watch(db, workspace_id)


def _die_before(statement: int) -> None:
    execute = psycopg.AsyncConnection.execute
    executed = 0

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal executed
        executed += 1
        if executed == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return await execute(self, *args, **kwargs)

    psycopg.AsyncConnection.execute = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
