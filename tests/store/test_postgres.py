"""Transactions, isolation of workspaces, jobs, notices and files."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import numpy as np
import psycopg
import pytest

from duomo.errors import NotFound, StoreUnavailable
from duomo.store.blobs import Blobs
from duomo.store.migrate import migrate
from duomo.store.postgres import Bus, Database, Workspace, pg_array, statement, vector


async def new_conversation(db: Database, workspace: Workspace) -> str:
    conversation = str(uuid.uuid4())
    async with db.transaction(workspace.id) as tx:
        contact = await (
            await tx.connection.execute("INSERT INTO contacts (name) VALUES ('c') RETURNING id")
        ).fetchone()
        assert contact is not None
        await tx.connection.execute(
            "INSERT INTO conversations (id, contact_id) VALUES (%s, %s)", (conversation, contact["id"])
        )
    return conversation


async def append(db: Database, workspace: Workspace, conversation: str) -> int:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(
            "SELECT append_event(%s, 'turn', NULL, '{}', false) AS seq", (conversation,)
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row["seq"])


async def test_every_table_with_a_workspace_shows_another_workspace_nothing(db: Database, workspace: Workspace) -> None:
    await append(db, workspace, await new_conversation(db, workspace))
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    async with db.transaction(other.id) as tx:
        tables = await (
            await tx.connection.execute(
                "SELECT c.relname, c.relrowsecurity, p.polname FROM pg_class c "
                "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped "
                "LEFT JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relkind = 'r'"
            )
        ).fetchall()
        assert {"conversations", "events", "contacts", "chunks", "blobs"} <= {t["relname"] for t in tables}
        unguarded = [t["relname"] for t in tables if not t["relrowsecurity"] or not t["polname"]]
        assert unguarded == []
        for table in ("conversations", "events", "contacts"):
            rows = await tx.connection.execute(
                psycopg.sql.SQL("SELECT 1 FROM {}").format(psycopg.sql.Identifier(table))
            )
            assert await rows.fetchall() == [], table


async def test_a_row_cannot_be_written_into_another_workspace(db: Database, workspace: Workspace) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        async with db.transaction(other.id) as tx:
            await tx.connection.execute("INSERT INTO contacts (workspace_id) VALUES (%s)", (workspace.id,))


async def test_without_a_workspace_nothing_is_seen(db: Database, workspace: Workspace) -> None:
    await new_conversation(db, workspace)
    async with db.transaction(None) as tx:
        assert await (await tx.connection.execute("SELECT * FROM conversations")).fetchall() == []


async def test_the_workspace_of_one_transaction_does_not_leak_into_the_next(dsn: str, workspace: Workspace) -> None:
    async with await Database.open(dsn, min_size=1, max_size=1) as db:  # the same connection both times
        await new_conversation(db, workspace)
        async with db.transaction(None) as tx:
            assert await (await tx.connection.execute("SELECT * FROM conversations")).fetchall() == []


async def test_the_application_does_not_own_the_tables_it_uses(db: Database, workspace: Workspace) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with db.transaction(workspace.id) as tx:
            await tx.connection.execute("ALTER TABLE conversations DISABLE ROW LEVEL SECURITY")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with db.transaction(workspace.id) as tx:
            await tx.connection.execute("UPDATE instance SET value = 'mine'")


async def test_concurrent_events_get_consecutive_numbers(db: Database, workspace: Workspace) -> None:
    conversation = await new_conversation(db, workspace)
    numbers = await asyncio.gather(*(append(db, workspace, conversation) for _ in range(30)))
    assert sorted(numbers) == list(range(1, 31))


async def test_a_job_exists_only_if_its_transaction_commits(db: Database, workspace: Workspace) -> None:
    mark = uuid.uuid4().hex

    async def jobs() -> int:
        async with db.transaction(None) as tx:
            cursor = await tx.connection.execute(
                "SELECT count(*) AS n FROM procrastinate_jobs WHERE args->>'mark' = %s", (mark,)
            )
            row = await cursor.fetchone()
            assert row is not None
            return int(row["n"])

    with pytest.raises(ZeroDivisionError):
        async with db.transaction(workspace.id) as tx:
            await tx.defer("turn", queue="test", args={"mark": mark})
            raise ZeroDivisionError
    assert await jobs() == 0
    async with db.transaction(workspace.id) as tx:
        await tx.defer("turn", queue="test", args={"mark": mark})
    assert await jobs() == 1


async def test_a_second_waiting_job_with_the_same_queueing_lock_is_not_added(
    db: Database, workspace: Workspace
) -> None:
    async with db.transaction(workspace.id) as tx:
        assert await tx.defer("turn", queue="test", args={}, queueing_lock=workspace.name) is not None
        assert await tx.defer("turn", queue="test", args={}, queueing_lock=workspace.name) is None
        assert await tx.value("workspace_by_name", name=workspace.name)  # the transaction goes on


async def test_values_come_back_as_they_went_in(db: Database, workspace: Workspace) -> None:
    settings = {"标题": "蓝汀\x00", "list": [1, {"a": None}]}
    async with db.transaction(workspace.id) as tx:
        await tx.run("update_workspace_settings", id=workspace.id, settings=settings)
        cursor = await tx.connection.execute(
            "SELECT %(v)s::halfvec(3)::text AS v, %(a)s::text[] AS a",
            {"v": vector(np.array([0.5, -1, 0])), "a": pg_array(["x", "y"])},
        )
        assert await cursor.fetchone() == {"v": "[0.5,-1,0]", "a": ["x", "y"]}
    assert (await db.workspace(workspace.name)).settings == {"标题": "蓝汀", "list": [1, {"a": None}]}


async def test_an_unknown_workspace_names_the_known_ones(db: Database, workspace: Workspace) -> None:
    with pytest.raises(NotFound, match=workspace.name):
        await db.workspace("nobody-made-this")


async def test_a_server_that_does_not_answer_is_said_to_be_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        migrate("host=/nonexistent dbname=duomo connect_timeout=1")


async def test_a_listener_is_woken_by_its_conversation_and_by_no_other(
    db: Database, dsn: str, workspace: Workspace
) -> None:
    mine, other = await new_conversation(db, workspace), await new_conversation(db, workspace)
    async with Bus(dsn) as bus, bus.conversation(mine) as waiter, bus.workspace(workspace.id) as inbox:
        await waiter.wait(5)  # the wake-up that follows every connect
        await append(db, workspace, other)
        while other not in inbox.take():
            assert await inbox.wait(5)
        assert not await waiter.wait(0.05)
        await append(db, workspace, mine)
        assert await waiter.wait(5)


async def test_a_listener_whose_connection_was_cut_is_woken_after_it_reconnects(
    db: Database, dsn: str, workspace: Workspace
) -> None:
    conversation = await new_conversation(db, workspace)
    async with Bus(dsn) as bus, bus.conversation(conversation) as waiter:
        await waiter.wait(5)
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> "
                "pg_backend_pid()"
            )
        assert await waiter.wait(10)


async def test_a_stored_file_is_found_by_its_hash_in_its_workspace_only(blobs: Blobs) -> None:
    key = blobs.put("a", b"picture")
    assert key == blobs.put("a", b"picture")
    assert blobs.get("a", key) == b"picture"
    assert list(blobs.keys("a")) == [key]
    for workspace, name in (("b", key), ("a", "../../etc/passwd"), ("a", "0" * 64)):
        with pytest.raises(NotFound):
            blobs.get(workspace, name)


async def test_the_sweep_deletes_old_files_that_no_row_names(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    kept, orphan = blobs.put("a", b"kept"), blobs.put("a", b"orphan")
    assert blobs.sweep("a", {kept}) == 0  # the orphan is young: its row may be on the way
    assert blobs.sweep("a", {kept}, older_than_s=-1) == 1
    assert list(blobs.keys("a")) == [kept]
    assert not blobs._path("a", orphan).exists()


def test_a_misspelled_statement_is_a_bug_that_names_itself() -> None:
    with pytest.raises(LookupError, match="workspace_by_nam'"):
        statement("workspace_by_nam")
