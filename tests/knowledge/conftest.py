from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from duomo.knowledge.ingest import Models, Report, ingest
from duomo.knowledge.retrieve import Retriever
from duomo.knowledge.sources import Source, sources_from_file
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.testing import FakeEmbedder, FakeImageEmbedder


class CountingEmbedder(FakeEmbedder):
    """Remembers what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], *, kind):  # type: ignore[no-untyped-def]
        self.encoded += texts
        return super().encode(texts, kind=kind)

    def encode_parts(self, heading: str, parts: Sequence[str]):  # type: ignore[no-untyped-def]
        self.encoded.append("\n".join([heading, *parts]))
        return super().encode_parts(heading, parts)


@pytest.fixture
def encoder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def models(encoder: CountingEmbedder) -> Models:
    return Models(encoder, pictures=FakeImageEmbedder())


Take = Callable[..., Awaitable[Report]]


@pytest.fixture
def take(db: Database, workspace: Workspace, blobs: Blobs, models: Models) -> Take:
    """Ingest files given as name=bytes or text, as if they lay in one folder."""

    async def run(files: dict[str, str | bytes], **options: object) -> Report:
        return await ingest(
            db,
            str(options.pop("workspace_id", workspace.id)),
            sources_of(files),
            models=options.pop("models", models),  # type: ignore[arg-type]
            blobs=blobs,
            **options,  # type: ignore[arg-type]
        )

    return run


def sources_of(files: dict[str, str | bytes]) -> list[Source]:
    raw = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    return [
        source
        for name, data in raw.items()
        for source in sources_from_file(name, lambda data=data: data, "folder", raw.get)  # type: ignore[misc]
    ]


@pytest.fixture
def retriever(db: Database, encoder: CountingEmbedder) -> Retriever:
    return Retriever(db, encoder)


async def rows(db: Database, workspace_id: str, sql: str, *values: object) -> list[dict[str, object]]:
    async with db.transaction(workspace_id) as tx:
        return await (await tx.connection.execute(sql, values)).fetchall()  # type: ignore[arg-type]
