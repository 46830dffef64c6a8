"""Works on a run until it is done, or kills itself before a statement.

python -m tests.support.improving_process DSN HOME WORKSPACE IMPROVEMENT STATEMENT NTH
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from duomo.store import postgres
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from duomo.support import improve

known = postgres.statement


def dying_before(name: str, nth: int) -> Any:
    left = [nth]

    def statement(query: str) -> Any:
        if query == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return known(query)

    return statement


async def main(dsn: str, home: str, workspace_id: str, improvement_id: str, name: str, nth: str) -> None:
    postgres.statement = dying_before(name, int(nth))
    async with await Database.open(dsn, max_size=2) as db:
        await improve.run(db, Blobs(Path(home) / "media"), Path(home), workspace_id, improvement_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
