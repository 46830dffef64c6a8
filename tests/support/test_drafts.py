"""An agent's reply becomes an article that the next question is answered from."""

from __future__ import annotations

import asyncio
import io
import uuid
import zipfile
from typing import Any

import pytest
from PIL import Image

from duomo.errors import Conflict, DuomoError, InputError, NotFound
from duomo.knowledge.ingest import Models, run_import
from duomo.knowledge.retrieve import Query, Retriever
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Workspace
from duomo.support import conversation, drafts
from duomo.testing import FakeEmbedder, FakeImageEmbedder
from duomo.types import MessageKind
from tests.support.conftest import Customer
from tests.support.learning import attach

ASKED = "Hello! Does the T9 kettle keep water warm? My number is 13800138000."
REPLY = "Hold the button for three seconds: it keeps 60 degrees for an hour. Call me: 13800138000, lin@example.com"
MASKED = "Hold the button for three seconds: it keeps 60 degrees for an hour. Call me: [phone], [email]"


def picture(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "PNG")
    return out.getvalue()


async def replies(
    customer: Customer, agent: str, text: str = REPLY, *, kind: MessageKind = "text", author: Any = "agent"
) -> str:
    id = str(uuid.uuid4())
    async with customer.db.transaction(customer.workspace.id) as tx:
        await conversation.store_message(
            tx, customer.conversation_id, id=id, author=author, kind=kind, text=text, language="en",
            agent_id=agent if author == "agent" else None,
        )  # fmt: skip
    return id


async def shows(customer: Customer, blobs: Blobs, message_id: str) -> str:
    """Put a picture into a message. Returns: its blob's key."""
    key = await attach(customer, blobs, message_id, picture(), mime="image/png")
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.run("insert_blob", key=key, mime="image/png", size=len(picture()))
    return key


async def draft_of(db: Database, workspace: Workspace, message_id: str, agent: str, id: str | None = None) -> Row:
    async with db.transaction(workspace.id) as tx:
        return await drafts.from_reply(tx, id=id or str(uuid.uuid4()), message_id=message_id, agent_id=agent)


async def rewrite(db: Database, workspace: Workspace, id: str, **how: Any) -> Row:
    async with db.transaction(workspace.id) as tx:
        return await drafts.write(
            tx, **{"id": id, "title": "Kettle", "text": "Hold.", "language": "en", "agent_id": None} | how
        )


async def publish(db: Database, blobs: Blobs, workspace: Workspace, id: Any) -> Row:
    """And wait until it stands in the knowledge. Returns: the import's row."""
    _, import_id = await drafts.publish(db, blobs, workspace.id, id=str(id))
    assert import_id is not None
    models = Models(FakeEmbedder(), pictures=FakeImageEmbedder())
    await run_import(db, workspace.id, import_id, models=models, blobs=blobs)
    async with db.transaction(workspace.id) as tx:
        return await tx.one("import_state", id=import_id) or {}


async def test_a_reply_becomes_a_draft_with_its_question_its_picture_and_no_personal_data(
    db: Database, workspace: Workspace, blobs: Blobs, customer: Customer, agent: str
) -> None:
    await customer.says(ASKED)
    message_id = await replies(customer, agent)
    key = await shows(customer, blobs, message_id)
    id = str(uuid.uuid4())
    rows = [await draft_of(db, workspace, message_id, agent, id) for _ in range(2)]
    assert rows[0] == rows[1]
    shown = {name: rows[0][name] for name in ("title", "text", "language", "pictures", "state", "agent_name")}
    assert shown == {
        "title": "Does the T9 kettle keep water warm?",
        "text": MASKED,
        "language": "en",
        "pictures": [{"blob": key, "alt": "", "mime": "image/png"}],
        "state": "draft",
        "agent_name": "Mei",
    }
    assert drafts.masked(rows[0]) == ["email", "phone"]
    assert drafts.personal(rows[0]) == []
    row = await rewrite(db, workspace, id, text="Our hotline: 010-12345678. [phone]")
    assert (drafts.masked(row), drafts.personal(row)) == (["phone"], ["phone"])


async def test_a_published_draft_answers_the_next_question(
    db: Database, workspace: Workspace, blobs: Blobs, customer: Customer, agent: str
) -> None:
    await customer.says(ASKED)
    message_id = await replies(customer, agent)
    await shows(customer, blobs, message_id)
    row = await draft_of(db, workspace, message_id, agent)
    done = await publish(db, blobs, workspace, row["id"])
    assert (done["state"], done["added"], done["failed"]) == ("done", 1, [])
    async with db.transaction(workspace.id) as tx:
        published = await tx.one("draft", id=row["id"]) or {}
    assert (published["state"], published["article_id"]) == ("published", f"drafts/{row['id']}")
    retriever = Retriever(db, FakeEmbedder())
    found = await retriever.retrieve(workspace.id, Query("does the T9 kettle keep water warm", "en"))
    assert [passage.article_id for passage in found][:1] == [published["article_id"]]
    assert found[0].picture is not None
    assert "13800138000" not in found[0].text


async def test_a_draft_changed_after_it_was_published_changes_its_article(
    db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    id = str(uuid.uuid4())
    await rewrite(db, workspace, id)
    assert (await publish(db, blobs, workspace, id))["added"] == 1
    assert await drafts.publish(db, blobs, workspace.id, id=id) == ((await rewrite(db, workspace, id)), None)
    row = await rewrite(db, workspace, id, text="Hold it for three seconds.")
    assert (row["state"], row["article_id"]) == ("draft", f"drafts/{id}")
    assert (await publish(db, blobs, workspace, id))["updated"] == 1


async def test_a_reply_has_one_draft_also_once_it_is_published_until_it_is_dismissed(
    db: Database, workspace: Workspace, blobs: Blobs, customer: Customer, agent: str
) -> None:
    await customer.says(ASKED)
    message_id = await replies(customer, agent)
    first, *others = await asyncio.gather(*(draft_of(db, workspace, message_id, agent) for _ in range(4)))
    assert others == [first] * 3
    await publish(db, blobs, workspace, first["id"])
    again = await draft_of(db, workspace, message_id, agent)
    assert (again["id"], again["state"], again["article_id"]) == (first["id"], "published", f"drafts/{first['id']}")
    await rewrite(db, workspace, str(first["id"]))
    async with db.transaction(workspace.id) as tx:
        await drafts.dismiss(tx, id=str(first["id"]))
    assert (await draft_of(db, workspace, message_id, agent))["id"] != first["id"]


async def test_drafts_on_their_way_are_listed_before_the_published_ones(
    db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    written, published = str(uuid.uuid4()), str(uuid.uuid4())
    await rewrite(db, workspace, written)
    await rewrite(db, workspace, published)
    await publish(db, blobs, workspace, published)
    async with db.transaction(workspace.id) as tx:
        assert [str(row["id"]) for row in await tx.all("drafts", limit=9)] == [written, published]


async def test_a_draft_published_twice_at_once_is_one_import(db: Database, workspace: Workspace, blobs: Blobs) -> None:
    id = str(uuid.uuid4())
    await rewrite(db, workspace, id)
    made = await asyncio.gather(*(drafts.publish(db, blobs, workspace.id, id=id) for _ in range(4)))
    assert sorted(import_id is not None for _, import_id in made) == [False, False, False, True]


async def test_the_same_draft_is_the_same_file_and_a_title_cannot_break_it(blobs: Blobs, workspace: Workspace) -> None:
    key = blobs.put(workspace.id, picture())
    row = {
        "id": "x", "title": 'A "title"\n---\nlanguage: zh [y]', "text": "One.", "language": "en",
        "pictures": [{"blob": key, "alt": "", "mime": "image/png"}],
    }  # fmt: skip
    assert drafts.packed(row, blobs, workspace.id) == drafts.packed(row, blobs, workspace.id)
    with zipfile.ZipFile(io.BytesIO(drafts.packed(row, blobs, workspace.id))) as archive:
        assert archive.namelist() == ["drafts/x-1.png", "drafts/x.md"]
        assert archive.read("drafts/x.md").decode() == (
            "---\ntitle: A title --- language: zh y\nlanguage: en\n---\n\nOne.\n\n"
            "![A title --- language: zh y](x-1.png)\n"
        )


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("你好！这个水壶能保温吗？急！", "这个水壶能保温吗？"),
        ("how long", "how long"),
        ("x" * 100, "x" * 79 + "…"),
        ("call\n13800138000", "call [phone]"),
        ("", ""),
    ],
)
def test_the_first_real_sentence_of_a_question_suggests_a_title(asked: str, title: str) -> None:
    assert drafts.suggested_title(asked) == title


async def test_only_an_agents_reply_becomes_a_draft(
    db: Database, workspace: Workspace, customer: Customer, agent: str
) -> None:
    wrong: list[tuple[str, type[DuomoError]]] = [
        (await customer.says(ASKED), InputError),
        (await replies(customer, agent, kind="note"), InputError),
        (await replies(customer, agent, text="  "), InputError),
        (await replies(customer, agent, author="bot", kind="answer"), InputError),
        (str(uuid.uuid4()), NotFound),
    ]
    for message_id, kind in wrong:
        with pytest.raises(kind):
            await draft_of(db, workspace, message_id, agent)
    row = await draft_of(db, workspace, await replies(customer, agent), agent)
    with pytest.raises(Conflict, match="another draft"):
        await draft_of(db, workspace, await replies(customer, agent), agent, str(row["id"]))


async def test_what_was_dismissed_is_gone_and_what_is_published_is_no_draft(
    db: Database, workspace: Workspace, blobs: Blobs
) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    await rewrite(db, workspace, first)
    await rewrite(db, workspace, second)
    async with db.transaction(workspace.id) as tx:
        await drafts.dismiss(tx, id=first)
        assert [str(row["id"]) for row in await tx.all("drafts", limit=9)] == [second]
    with pytest.raises(Conflict, match="dismissed"):
        await drafts.publish(db, blobs, workspace.id, id=first)
    with pytest.raises(Conflict, match="dismissed"):
        await rewrite(db, workspace, first)
    await publish(db, blobs, workspace, second)
    with pytest.raises(Conflict, match="published"):
        async with db.transaction(workspace.id) as tx:
            await drafts.dismiss(tx, id=second)
    with pytest.raises(InputError, match="title"):
        await rewrite(db, workspace, str(uuid.uuid4()), title=" ")


async def test_the_pictures_of_a_draft_outlive_the_sweep(
    db: Database, workspace: Workspace, blobs: Blobs, customer: Customer, agent: str
) -> None:
    message_id = await replies(customer, agent)
    key = await shows(customer, blobs, message_id)
    row = await draft_of(db, workspace, message_id, agent)
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("DELETE FROM messages WHERE id = %s", (message_id,))
        await tx.run("delete_unused_blobs", older_than_s=-60)
        assert [blob["key"] for blob in await tx.all("blob_keys")] == [key]
        assert await tx.one("knowledge_picture", key=key) == {"mime": "image/png"}
        await drafts.dismiss(tx, id=str(row["id"]))
        await tx.run("delete_unused_blobs", older_than_s=-60)
        assert await tx.all("blob_keys") == []


async def test_drafts_of_another_workspace_are_neither_seen_nor_changed(
    db: Database, workspace: Workspace, blobs: Blobs, customer: Customer, agent: str
) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    message_id = await replies(customer, agent)
    row = await draft_of(db, workspace, message_id, agent)
    async with db.transaction(other.id) as tx:
        assert await tx.all("drafts", limit=9) == []
    for refused in (drafts.publish(db, blobs, other.id, id=str(row["id"])), draft_of(db, other, message_id, agent)):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(Exception, match="row-level security"):
        await rewrite(db, other, str(row["id"]))
