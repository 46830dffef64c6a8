"""Connections, transactions and notices.

A transaction is opened for one workspace; row-level security shows it nothing else. SQL stands in `queries/*.sql` as
named statements, and callers say the name:

    async with db.transaction(workspace.id) as tx:
        row = await tx.one("conversation_for_update", id=conversation_id)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, LiteralString, cast

import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import JsonbDumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from duomo.errors import NotFound, StoreUnavailable

APP_ROLE = "duomo_app"
CHANNEL = "duomo"

Row = dict[str, Any]


@dataclass(frozen=True)
class Workspace:
    id: str
    name: str
    settings: Mapping[str, Any]


class Database:
    """A pool of connections that act as the role without rights of ownership."""

    def __init__(self, dsn: str, pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]]) -> None:
        self.dsn = dsn
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, *, min_size: int = 1, max_size: int = 8, name: str = "duomo") -> Database:
        """
        Raises:
            StoreUnavailable: no server answers at `dsn`.
        """
        pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=15,
            kwargs={"row_factory": dict_row, "application_name": name},
            configure=prepare_connection,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=15)
        except PoolTimeout as error:
            await pool.close()
            raise StoreUnavailable("PostgreSQL does not answer. Is it running, and is DATABASE_URL right?") from error
        return cls(dsn, pool)

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def transaction(self, workspace_id: str | None) -> AsyncIterator[Tx]:
        """One transaction that sees the rows of one workspace, or none at all for `None`."""
        try:
            async with self._pool.connection() as connection:
                async with connection.transaction():
                    if workspace_id is not None:
                        await connection.execute("SELECT set_config('duomo.workspace', %s, true)", (str(workspace_id),))
                    yield Tx(connection)
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise StoreUnavailable(f"PostgreSQL went away: {error}. Try again in a moment.") from error

    async def workspace(self, name: str) -> Workspace:
        """
        Raises:
            NotFound: there is no workspace of that name.
        """
        async with self.transaction(None) as tx:
            row = await tx.one("workspace_by_name", name=name)
            if row is None:
                known = ", ".join(r["name"] for r in await tx.all("workspace_names")) or "none yet"
                raise NotFound(f"there is no workspace {name!r} (there are: {known}).")
        return Workspace(str(row["id"]), row["name"], row["settings"])

    async def create_workspace(self, name: str, settings: Mapping[str, Any]) -> Workspace:
        """Make a workspace, or find it when it exists; done as the owner, which `duomo_app` is not."""
        async with await psycopg.AsyncConnection.connect(self.dsn, row_factory=dict_row) as owner:
            await prepare_types(owner)
            await Tx(owner).run("create_workspace", name=name, settings=dict(settings))
        return await self.workspace(name)

    async def secret(self, name: str) -> str:
        """The instance-wide secret of that name, made on first use, the same in every process."""
        async with await psycopg.AsyncConnection.connect(self.dsn, row_factory=dict_row) as owner:
            return cast(str, await Tx(owner).value("instance_secret", name=name))


class Tx:
    """A transaction: named statements in, plain values out."""

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self.connection = connection

    async def one(self, query: str, **parameters: Any) -> Row | None:
        cursor = await self.connection.execute(statement(query), parameters)
        return await cursor.fetchone()

    async def all(self, query: str, **parameters: Any) -> list[Row]:
        cursor = await self.connection.execute(statement(query), parameters)
        return await cursor.fetchall()

    async def binary(self, query: str, **parameters: Any) -> list[Row]:
        """As `all`, for rows of many bytes: they travel as they are, not as text."""
        cursor = await self.connection.execute(statement(query), parameters, binary=True)
        return await cursor.fetchall()

    async def value(self, query: str, **parameters: Any) -> Any:
        row = await self.one(query, **parameters)
        return None if row is None else next(iter(row.values()))

    async def run(self, query: str, **parameters: Any) -> int:
        """Returns: the number of rows it touched."""
        return (await self.connection.execute(statement(query), parameters)).rowcount

    async def many(self, query: str, rows: Iterable[Mapping[str, Any]]) -> None:
        async with self.connection.cursor() as cursor:
            await cursor.executemany(statement(query), list(rows))

    async def defer(
        self,
        task: str,
        *,
        queue: str,
        args: Mapping[str, Any],
        lock: str | None = None,
        queueing_lock: str | None = None,
        priority: int = 0,
        at: datetime | None = None,
    ) -> int | None:
        """Add a job that exists if and only if this transaction commits.

        Returns:
            The job's id, or None when a job with the same `queueing_lock` is waiting already.
        """
        try:
            async with self.connection.transaction() if queueing_lock else contextlib.nullcontext():
                return cast(
                    int,
                    await self.value(
                        "defer_job", task=task, queue=queue, args=dict(args), lock=lock,
                        queueing_lock=queueing_lock, priority=priority, at=at,
                    ),
                )  # fmt: skip
        except psycopg.errors.UniqueViolation:
            return None


def vector(array: np.ndarray | Sequence[float]) -> str:
    """A row of numbers as pgvector's text; write `%(name)s::halfvec(384)` in the statement."""
    return "[" + ",".join(f"{value:.5g}" for value in np.asarray(array, dtype=np.float32)) + "]"


def pg_array(values: Iterable[Any]) -> PgArray:
    """Values as an SQL array (a plain list goes in as jsonb); write `= ANY(%(name)s)` in the statement."""
    return PgArray(values)


class PgArray(list[Any]):
    """A list that is an SQL array."""


class _JsonDumper(JsonbDumper):
    def dump(self, obj: Any) -> bytes:
        text = json.dumps(obj, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.replace("\\u0000", "").encode()  # jsonb cannot hold the character NUL


async def prepare_types(connection: psycopg.AsyncConnection[Any]) -> None:
    from psycopg.types.array import ListDumper

    connection.adapters.register_dumper(dict, _JsonDumper)
    connection.adapters.register_dumper(list, _JsonDumper)
    connection.adapters.register_dumper(PgArray, ListDumper)


async def prepare_connection(connection: psycopg.AsyncConnection[Any]) -> None:
    """What every pooled connection gets once: the role, the adapters, and a search that goes on past filtered rows."""
    await prepare_types(connection)
    await connection.set_autocommit(True)
    await connection.execute(f"SET ROLE {APP_ROLE}")
    await connection.execute("SET hnsw.iterative_scan = relaxed_order")
    await connection.execute("SET hnsw.ef_search = 100")  # with 40, a tenth of the nearest 40 of 100,000 is missed
    await connection.set_autocommit(False)


@functools.cache
def _statements() -> Mapping[str, LiteralString]:
    found: dict[str, LiteralString] = {}
    for file in resources.files("duomo.store").joinpath("queries").iterdir():
        if not file.name.endswith(".sql"):
            continue
        pieces = re.split(r"^-- name: (\w+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, sql in zip(pieces[1::2], pieces[2::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are called {name}; the second is in {file.name}")
            found[name] = cast(LiteralString, sql.strip().rstrip(";"))
    return found


def statement(name: str) -> LiteralString:
    try:
        return _statements()[name]
    except KeyError:
        raise LookupError(f"no statement is called {name!r}; they stand in store/queries/*.sql") from None


class Bus:
    """Tells who waits that something happened; what happened stands in the tables.

    One listening connection serves the process. A notice is a hint: after a reconnect every waiter is woken once, so
    that whatever was missed in between is read from the table.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiters: defaultdict[str, set[Waiter]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bus:
        self._task = asyncio.create_task(self._listen(), name="bus")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._wake(every=True)

    @contextlib.asynccontextmanager
    async def conversation(self, conversation_id: str) -> AsyncIterator[Waiter]:
        async with self._subscribed(f"c:{conversation_id}") as waiter:
            yield waiter

    @contextlib.asynccontextmanager
    async def workspace(self, workspace_id: str) -> AsyncIterator[Waiter]:
        """Woken by every conversation of the workspace; `waiter.take()` names them."""
        async with self._subscribed(f"w:{workspace_id}") as waiter:
            yield waiter

    @contextlib.asynccontextmanager
    async def _subscribed(self, key: str) -> AsyncIterator[Waiter]:
        waiter = Waiter()
        self._waiters[key].add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[key].discard(waiter)
            if not self._waiters[key]:
                del self._waiters[key]

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._wake(every=True)
                    pause = 0.1
                    async for notice in connection.notifies():
                        workspace, conversation, _seq = notice.payload.split(" ")
                        self._wake(f"c:{conversation}", conversation)
                        self._wake(f"w:{workspace}", conversation)
            except psycopg.OperationalError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)

    def _wake(self, key: str = "", conversation: str = "", *, every: bool = False) -> None:
        groups = list(self._waiters.values()) if every else [self._waiters[key]] if key in self._waiters else []
        for group in groups:
            for waiter in group:
                waiter.wake(conversation)


class Waiter:
    """Remembers a wake-up that came before anybody waited."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._conversations: set[str] = set()

    def wake(self, conversation: str) -> None:
        if conversation:
            self._conversations.add(conversation)
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Returns: False when nothing happened within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def take(self) -> set[str]:
        """The conversations that changed since the last call."""
        taken, self._conversations = self._conversations, set()
        return taken
