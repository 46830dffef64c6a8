"""A backup restores every row and file; a foreign file, or a database that is in use, is refused."""

from __future__ import annotations

import tarfile
from pathlib import Path

import psycopg
import pytest

from duomo import store
from duomo.errors import Conflict, InputError
from duomo.store import backup, embedded
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from tests.conftest import reachable


async def test_a_backup_restores_rows_files_models_rights_and_the_job_queue(tmp_path: Path) -> None:
    reachable(tmp_path)
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "duomo.backup"
    with store.open_home(old, None) as dsn:
        async with await Database.open(dsn) as db:
            workspace = await db.create_workspace("shop", {"title": "蓝汀"})
            secret = await db.secret("visitors")
            async with db.transaction(workspace.id) as tx:
                await tx.run("insert_blob", key=Blobs(old / "media").put(workspace.id, b"photo"), mime="a/b", size=5)
                await tx.defer("turn", queue="test", args={})
        (old / "models" / workspace.id / "f1").mkdir(parents=True)
        (old / "models" / workspace.id / "f1" / "manifest.json").write_text("{}")
        (old / "samples").mkdir()
        (old / "samples" / "samples.jsonl").write_text("{}")
        assert backup.save(dsn, old, file) == file.stat().st_size
        with pytest.raises(Conflict, match="exists"):
            backup.save(dsn, old, file)
    with embedded.server(new) as dsn:
        backup.load(dsn, new, file)
        with pytest.raises(Conflict, match="not empty"):
            backup.load(dsn, new, file)
    with store.open_home(new, None) as dsn:
        async with await Database.open(dsn) as db:
            restored = await db.workspace("shop")
            assert (restored, await db.secret("visitors")) == (workspace, secret)
            assert [Blobs(new / "media").get(workspace.id, k) for k in Blobs(new / "media").keys(workspace.id)] == [
                b"photo"
            ]
            assert (new / "models" / workspace.id / "f1" / "manifest.json").read_text() == "{}"
            assert (new / "samples" / "samples.jsonl").read_text() == "{}"
            async with db.transaction(None) as tx:  # isolation came along
                assert await (await tx.connection.execute("SELECT * FROM blobs")).fetchall() == []
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (1,)


def test_a_file_that_is_no_backup_changes_nothing(tmp_path: Path) -> None:
    reachable(tmp_path)
    (tmp_path / "noise").write_bytes(b"\x00" * 2000)
    (tmp_path / "notes.txt").write_text("hello")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "notes.txt", "notes.txt")
    with embedded.server(tmp_path / "home") as dsn:
        for name in ("noise", "other.tar"):
            with pytest.raises(InputError, match=r"backup"):
                backup.load(dsn, tmp_path / "home", tmp_path / name)
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT to_regclass('workspaces')").fetchone() == (None,)
