"""A real PostgreSQL for every test that asks for one, and a fresh workspace in it for each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from duomo import store
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    for directory in (path, *path.parents):  # the server runs as `nobody` when the tests run as root
        if directory.stat().st_mode & 0o005 == 0 and directory.owner() != "nobody":
            directory.chmod(directory.stat().st_mode | 0o001)
        if directory == Path("/tmp"):
            break
    return path


@pytest.fixture(scope="session")
def dsn(home: Path) -> Iterator[str]:
    with store.open_home(home, None) as dsn:
        yield dsn


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Database]:
    async with await Database.open(dsn) as database:
        yield database


@pytest.fixture
async def workspace(db: Database) -> Workspace:
    return await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})


@pytest.fixture
def blobs(home: Path) -> Blobs:
    return Blobs(home / "media")
