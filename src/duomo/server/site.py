"""What every request needs, opened once a process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from duomo import store
from duomo.errors import NotFound, TooMany
from duomo.server.auth import Keys
from duomo.server.limits import Rate
from duomo.settings import Settings
from duomo.store.blobs import Blobs
from duomo.store.postgres import Bus, Database, Waiter, Workspace

_MEMORY = 5.0  # seconds for which a workspace's settings are remembered
_STREAMS = 32  # open at once, of one visitor or agent
_ADDRESS = 40  # one address may be an office: it gets this many visitors' worth


@dataclass(frozen=True, slots=True)
class Rates:
    """One for a person, one for an address behind which many may sit."""

    visitors: Rate
    messages: Rate
    messages_by_address: Rate
    uploads: Rate
    uploads_by_address: Rate
    sign_ins: Rate
    sign_ins_by_account: Rate
    sign_ins_by_address: Rate

    @classmethod
    def of(cls, settings: Settings) -> Rates:
        messages, uploads, failures = (
            settings.messages_per_minute,
            settings.uploads_per_minute,
            settings.sign_ins_per_minute,
        )
        return cls(
            visitors=Rate("new visitors from this address", per_minute=settings.visitors_per_minute),
            messages=Rate("messages", per_minute=messages),
            messages_by_address=Rate("messages from this address", per_minute=messages * _ADDRESS),
            uploads=Rate("files", per_minute=uploads),
            uploads_by_address=Rate("files from this address", per_minute=uploads * _ADDRESS),
            sign_ins=Rate("failed sign-ins", per_minute=failures),
            sign_ins_by_account=Rate("failed sign-ins", per_minute=failures * 4),
            sign_ins_by_address=Rate("failed sign-ins from this address", per_minute=failures * 4),
        )


@dataclass(slots=True)
class Site:
    settings: Settings
    db: Database
    bus: Bus
    blobs: Blobs
    keys: Keys
    rates: Rates
    incoming: Path  # where uploads lie while they arrive
    storing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))  # files in memory at once
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))  # passwords at once, 19 MiB each
    closing: bool = False
    _streams: set[Waiter] = field(default_factory=set)
    _listeners: Counter[str] = field(default_factory=Counter)
    _workspaces: dict[str, tuple[float, Workspace]] = field(default_factory=dict)

    async def workspace(self, workspace_id: str) -> Workspace:
        """
        Raises:
            NotFound: it was removed.
        """
        known = self._workspaces.get(workspace_id)
        if known and known[0] > time.monotonic():
            return known[1]
        async with self.db.transaction(None) as tx:
            row = await tx.one("workspace_by_id", id=workspace_id)
        if row is None:
            raise NotFound("this workspace does not exist.")
        found = Workspace(str(row["id"]), row["name"], row["settings"])
        self._workspaces[workspace_id] = (time.monotonic() + _MEMORY, found)
        return found

    @contextlib.contextmanager
    def streaming(self, waiter: Waiter, *, who: str) -> Iterator[None]:
        """Be woken when the server stops: an endless answer has to end itself."""
        self._streams.add(waiter)
        self._listeners[who] += 1
        try:
            yield
        finally:
            self._streams.discard(waiter)
            self._listeners[who] -= 1
            if not self._listeners[who]:
                del self._listeners[who]

    def may_stream(self, who: str) -> None:
        """
        Raises:
            TooMany: this visitor or agent listens in too many places.
        """
        if self._listeners.get(who, 0) >= _STREAMS:
            raise TooMany(f"{_STREAMS} streams are open already. Close some.", retry_after=15)

    def close_streams(self) -> None:
        self.closing = True
        for waiter in list(self._streams):
            waiter.wake("")


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """Start or join the database and open everything; closed in the reverse order."""
    home = settings.home
    incoming = home / "incoming"
    incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    opening = store.open_home(home, settings.database_url)
    dsn = await asyncio.to_thread(opening.__enter__)
    try:
        async with await Database.open(dsn, max_size=settings.pool_size, name="duomo-web") as db, Bus(dsn) as bus:
            keys = Keys(await db.secret("signing"), media_seconds=settings.media_minutes * 60)
            yield Site(settings, db, bus, Blobs(home / "media"), keys, Rates.of(settings), incoming)
    finally:
        await asyncio.to_thread(opening.__exit__, None, None, None)


def site(request: Request) -> Site:
    found = request.app.state.site
    assert isinstance(found, Site)
    return found


SiteDep = Annotated[Site, Depends(site)]
