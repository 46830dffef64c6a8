"""A customer who writes into a real database, and a knowledge base of given passages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from duomo.knowledge.retrieve import Query
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation
from duomo.support.answer import Answerer
from duomo.support.confidence import FEATURES, Calibration
from duomo.support.conversation import Event, IncomingFile, fingerprint_of
from duomo.support.generate import Writer
from duomo.support.turn import Desk
from duomo.testing import FakeEmbedder
from duomo.types import Language, Message, Passage


@dataclass
class Customer:
    """One customer with one conversation."""

    db: Database
    workspace: Workspace
    conversation_id: str
    language: Language = "en"

    async def says(self, text: str, *files: IncomingFile, id: str | None = None) -> str:
        async with self.db.transaction(self.workspace.id) as tx:
            message_id, _ = await conversation.receive(
                tx, conversation_id=self.conversation_id, message_id=id or str(uuid.uuid4()), author="customer",
                text=text, language=self.language, files=files, fingerprint=fingerprint_of(text, files),
            )  # fmt: skip
        return message_id

    async def messages(self) -> list[Message]:
        async with self.db.transaction(self.workspace.id) as tx:
            return await conversation.load_messages(tx, self.conversation_id)

    async def told(self) -> list[tuple[str, str]]:
        """(kind, text) of everything that customers did not write."""
        return [(m.kind, m.text) for m in await self.messages() if m.author != "customer"]

    async def events(self, *, private: bool = True) -> list[Event]:
        async with self.db.transaction(self.workspace.id) as tx:
            return await conversation.load_events(tx, self.conversation_id, 0, private)

    async def status(self) -> str:
        async with self.db.transaction(self.workspace.id) as tx:
            return str((await tx.one("conversation", id=self.conversation_id) or {})["status"])

    async def act(self, action: str, **how: object) -> None:
        async with self.db.transaction(self.workspace.id) as tx:
            await conversation.act(tx, conversation_id=self.conversation_id, action=action, **{"by": "agent", **how})  # type: ignore[arg-type]

    async def jobs(self) -> list[tuple[str, str | None]]:
        """(task, lock) of the jobs that wait for this workspace, in order."""
        async with self.db.transaction(None) as tx:
            cursor = await tx.connection.execute(
                "SELECT task_name, lock FROM procrastinate_jobs WHERE args ->> 'workspace_id' = %s ORDER BY id",
                (self.workspace.id,),
            )
            return [(row["task_name"], row["lock"]) for row in await cursor.fetchall()]


async def new_customer(db: Database, workspace: Workspace, language: Language = "en") -> Customer:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute("INSERT INTO contacts (language) VALUES (%s) RETURNING id", (language,))
        contact = (await cursor.fetchone() or {})["id"]
        cid = str(uuid.uuid4())
        await conversation.open_conversation(tx, id=cid, contact_id=str(contact), language=language)
    return Customer(db, workspace, cid, language)


async def new_agent(db: Database, workspace: Workspace, name: str = "Mei") -> str:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(
            "INSERT INTO agents (email, name, role, password_hash) VALUES (%s, %s, 'agent', '-') RETURNING id",
            (f"{uuid.uuid4().hex}@example.com", name),
        )
        return str((await cursor.fetchone() or {})["id"])


@pytest.fixture
async def customer(db: Database, workspace: Workspace) -> Customer:
    return await new_customer(db, workspace)


@pytest.fixture
async def agent(db: Database, workspace: Workspace) -> str:
    return await new_agent(db, workspace)


def passage(text: str, *, article: str = "en/fees", title: str = "Delivery fees", score: float = 0.9) -> Passage:
    signals = {"cosine": score, "cosine_en": score, "bm25": 0.5, "coverage": 0.5, "pinyin": 0.0, "image": 0.0}
    return Passage(
        article_id=article, chunk_id=f"{article}#0", title=title, text=text, uri=f"kb/{article}", language="en",
        position=0, score=score, signals=signals,
    )  # fmt: skip


class FakeRetriever:
    """Finds the given passages, whatever is asked."""

    def __init__(self, *passages: Passage) -> None:
        self.passages = passages
        self.asked: list[Query] = []

    async def retrieve(self, workspace_id: str, query: Query) -> list[Passage]:
        self.asked.append(query)
        return list(self.passages)


def calibration(*, answer: float = 0.6, clarify: float = 0.3) -> Calibration:
    """The probability is the cosine, squeezed: .9 -> .98, .5 -> .5, .1 -> .02."""
    zero, one = dict.fromkeys(FEATURES, 0.0), dict.fromkeys(FEATURES, 1.0)
    model = {
        "weights": {"cosine": 10.0}, "mean": zero | {"cosine": 0.5}, "scale": one, "bias": 0.0,
        "answer": answer, "clarify": clarify,
    }  # fmt: skip
    return Calibration.of({"version": "test", "languages": {"zh": model, "en": model}})


def answerer(*passages: Passage, writer: Writer | None = None) -> Answerer:
    return Answerer(FakeRetriever(*passages), FakeEmbedder(), calibration=calibration(), writer=writer)


def desk(db: Database, blobs: Blobs, passages: Sequence[Passage] = (), *, writer: Writer | None = None) -> Desk:
    return Desk(db, blobs, answerer(*passages, writer=writer))
