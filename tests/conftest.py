"""A real PostgreSQL for every test that asks for one, and a fresh workspace in it for each."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from duomo import store
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace


def reachable(path: Path) -> Path:
    """Let everyone pass through pytest's own directories: run by root, the server is `nobody` and lives in one."""
    for directory in (path, *path.parents):
        if directory.name.startswith("pytest-") or directory == path:
            directory.chmod(0o711)
    return path


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="duomo-tests-") as folder:
        Path(folder).chmod(0o711)  # run by root, the server is `nobody`
        yield Path(folder)


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
