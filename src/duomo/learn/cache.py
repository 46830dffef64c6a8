"""Features on disk, so that no text, picture or sound is encoded twice with the same encoder.

One SQLite file with a write-ahead log: a process killed at any moment loses at most what it had not yet committed, and
several runs may share the file. Not for network drives, where SQLite cannot lock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from duomo.errors import ConfigError
from duomo.models.encoders import Encoded
from duomo.models.features import View

FILE = "features.sqlite"
COMMIT_S = 1.0  # seconds of work that a kill may cost
_AT_ONCE = 500  # keys a query

_SCHEMA = """
CREATE TABLE IF NOT EXISTS view (
    id INTEGER PRIMARY KEY, name TEXT, encoder TEXT, version TEXT, dim INTEGER,
    UNIQUE (name, encoder, version, dim));
CREATE TABLE IF NOT EXISTS vector (
    view INTEGER, key BLOB, data BLOB,
    PRIMARY KEY (view, key));
"""


class Cache:
    """Vectors by view and content. For the thread that opened it."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ConfigError: the file cannot be used.
        """
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
            self._db.execute("PRAGMA page_size = 16384")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.DatabaseError) as error:
            raise ConfigError(
                f"{self._path} cannot be used as a cache of features: {error}. Delete it, and features are made again."
            ) from None
        self._ids: dict[View, int] = {}
        self._waiting: list[tuple[int, bytes, bytes]] = []
        self._since = time.monotonic()

    def close(self) -> None:
        self.commit()
        self._db.close()

    def get(self, view: View, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Encoded]]:
        """Those of the keys that are here; a record of a wrong length counts as absent."""
        number = self._id(view)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, data FROM vector WHERE view = ? AND key IN ({marks})"  # noqa: S608 - question marks
            for key, data in self._db.execute(query, (number, *some)):
                found = _unpacked(view, data)
                if found is not None:
                    yield key, found

    def put(self, view: View, key: bytes, vector: Encoded) -> None:
        self._waiting.append((self._id(view), key, _packed(vector)))
        if time.monotonic() - self._since > COMMIT_S:
            self.commit()

    def commit(self) -> None:
        waiting: Iterable[tuple[int, bytes, bytes]] = self._waiting
        if self._waiting:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?, ?)", waiting)
            self._db.execute("COMMIT")
        self._waiting = []
        self._since = time.monotonic()

    def _id(self, view: View) -> int:
        if view not in self._ids:
            fields = (view.name, view.encoder, view.version, view.dim)
            self._db.execute("INSERT OR IGNORE INTO view (name, encoder, version, dim) VALUES (?, ?, ?, ?)", fields)
            (self._ids[view],) = self._db.execute(
                "SELECT id FROM view WHERE name = ? AND encoder = ? AND version = ? AND dim = ?", fields
            ).fetchone()
        return self._ids[view]


def _packed(vector: Encoded) -> bytes:
    """Little-endian: float32 values, of a sparse vector behind its int32 columns."""
    if isinstance(vector, tuple):
        columns, values = vector
        return columns.astype("<i4").tobytes() + values.astype("<f4").tobytes()
    return vector.astype("<f4").tobytes()


def _unpacked(view: View, data: bytes) -> Encoded | None:
    if not view.sparse:
        return np.frombuffer(data, dtype="<f4") if len(data) == 4 * view.dim else None
    if len(data) % 8:
        return None
    half = len(data) // 2
    return np.frombuffer(data[:half], dtype="<i4").astype(np.int64), np.frombuffer(data[half:], dtype="<f4")
