"""Everything in one file, and back: a tar with `database.dump` (pg_dump's custom format), `media/` and `models/`."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import psycopg

from duomo.errors import Conflict, InputError, StoreUnavailable
from duomo.store import embedded
from duomo.store.postgres import APP_ROLE

_DATABASE = "database.dump"
_FOLDERS = ("media", "models", "samples")  # below HOME; their files are never changed once written


def save(dsn: str, home: Path, file: Path) -> int:
    """Write a backup; the service may go on running.

    The database is dumped first, at one moment; files are never changed once written, so those its rows name are
    there when they are copied.

    Args:
        dsn: of the owner.
        home: where the files of conversations, the trained models and what taught them lie.
        file: must not exist.
    Returns:
        Its size in bytes.
    Raises:
        Conflict: `file` exists.
        StoreUnavailable: pg_dump failed.
    """
    if file.exists():
        raise Conflict(f"{file} exists. Name another file.")
    partial = file.with_name(file.name + ".partial")
    with tempfile.TemporaryDirectory() as scratch, open(partial, "wb") as raw:
        os.chmod(partial, 0o600)
        dump = Path(scratch) / _DATABASE
        _program("pg_dump", "--dbname", dsn, "--format=custom", "--no-owner", "--file", str(dump))
        with tarfile.open(fileobj=raw, mode="w") as archive:
            archive.add(dump, _DATABASE)
            for folder in _FOLDERS:
                if (home / folder).is_dir():
                    archive.add(home / folder, folder)
        raw.flush()
        os.fsync(raw.fileno())
    os.rename(partial, file)
    return file.stat().st_size


def load(dsn: str, home: Path, file: Path) -> None:
    """Restore a backup into an empty database.

    Raises:
        InputError: not a backup of Duomo, or one with a path that leads out of it.
        Conflict: the database holds something already.
        StoreUnavailable: pg_restore failed; the database is as it was.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('workspaces')").fetchone() != (None,):
            raise Conflict("the database is not empty. Restore into another --home, or into an empty database.")
        _ensure_role(connection)
    try:
        with tarfile.open(file) as archive, tempfile.TemporaryDirectory() as scratch:
            members = archive.getmembers()
            if not members or members[0].name != _DATABASE:
                raise InputError(f"{file} is not a backup made by `duomo backup`: it holds no {_DATABASE}.")
            for member in members[1:]:
                if PurePosixPath(member.name).parts[0] not in _FOLDERS:
                    raise InputError(f"{file} is not a backup made by `duomo backup`: it holds {member.name}.")
            archive.extract(members[0], scratch, filter="data")
            _program(
                "pg_restore", "--dbname", dsn, "--no-owner", "--single-transaction", "--exit-on-error",
                str(Path(scratch) / _DATABASE),
            )  # fmt: skip
            home.mkdir(parents=True, exist_ok=True)
            archive.extractall(home, members[1:], filter="data")
    except (tarfile.TarError, io.UnsupportedOperation) as error:
        raise InputError(f"{file} cannot be read as a backup: {error}") from error


def _ensure_role(connection: psycopg.Connection) -> None:
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (APP_ROLE,)).fetchone():
        connection.execute(f"CREATE ROLE {APP_ROLE} NOLOGIN NOBYPASSRLS")
        connection.execute(f"GRANT {APP_ROLE} TO CURRENT_USER")


def _program(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(embedded.binaries() / name), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise StoreUnavailable(f"{name} failed: {done.stderr[-1000:]}")
