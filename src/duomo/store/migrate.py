"""Bring a database to the schema of this version: numbered files, each applied once, in one transaction."""

from __future__ import annotations

import hashlib
from importlib import resources

import psycopg

from duomo.errors import StoreUnavailable
from duomo.store.postgres import APP_ROLE

_LOCK = 7_052_018  # any number, the same in every process that migrates
_MIN_SERVER = 180000


def migrate(dsn: str) -> list[str]:
    """Apply what is missing; safe to call from many processes at once.

    Returns:
        The names of the files applied.
    Raises:
        StoreUnavailable: no server, one older than PostgreSQL 18, without pgvector, or a migration that changed
            after it was applied.
    """
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            if connection.info.server_version < _MIN_SERVER:
                raise StoreUnavailable(
                    f"the server is PostgreSQL {connection.info.server_version // 10000}, wanted is 18 or newer."
                )
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
            return _apply(connection)
    except psycopg.errors.FeatureNotSupported as error:
        raise StoreUnavailable(f"the server lacks the extension pgvector: {error}") from error
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL does not answer: {error}") from error


def _apply(connection: psycopg.Connection) -> list[str]:
    applied: dict[str, str] = dict(connection.execute("SELECT name, sha256 FROM migrations").fetchall())
    done = []
    for name, sql in _files():
        digest = hashlib.sha256(sql.encode()).hexdigest()
        if name in applied:
            if applied[name] != digest:
                raise StoreUnavailable(f"migration {name} differs from the one applied to this database.")
            continue
        with connection.transaction():
            connection.execute(sql.encode())
            connection.execute("INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, digest))
        done.append(name)
    return done


def _files() -> list[tuple[str, str]]:
    own = resources.files("duomo.store").joinpath("migrations")
    ours = [(f.name, f.read_text(encoding="utf-8")) for f in own.iterdir() if f.name.endswith(".sql")]
    # The job queue's own schema, then the rights of our role on it.
    queue = resources.files("procrastinate").joinpath("sql", "schema.sql").read_text(encoding="utf-8")
    grant = (
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers, "
        f"procrastinate_periodic_defers TO {APP_ROLE}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APP_ROLE};"
    )
    return [*sorted(ours)[:1], ("procrastinate-3.10", f"{queue}\n{grant}"), *sorted(ours)[1:]]
