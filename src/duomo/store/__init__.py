"""PostgreSQL, and only here: the embedded server, transactions under row-level security, named SQL, files by hash."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from duomo.store import embedded
from duomo.store.migrate import migrate


@contextlib.contextmanager
def open_home(home: Path, database_url: str | None) -> Iterator[str]:
    """The connection string of the server to use, its schema up to date: `database_url`'s, or the embedded one."""
    with contextlib.ExitStack() as stack:
        dsn = database_url or stack.enter_context(embedded.server(home))
        migrate(dsn)
        yield dsn
