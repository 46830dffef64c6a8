"""The demo workspace's questions, asked of the demo's own articles in a database of their own."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from duomo import store
from duomo.knowledge.ingest import Models, ingest
from duomo.knowledge.retrieve import Retriever
from duomo.knowledge.sources import sources_from_paths
from duomo.models.embed import MiniLM, MultilingualE5
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support.answer import Remembering
from duomo.types import Citation, Language

DEMO = Path(str(resources.files("duomo"))) / "scenarios" / "customer_service"


@dataclass(frozen=True)
class Asked:
    """
    Attributes:
        article_ids: topics that answer it; none when the knowledge does not.
        answer_contains: by the article's language, strings of which a right quote has one.
    """

    id: str
    text: str
    lang: Language
    article_ids: Sequence[str]
    answer_contains: Mapping[str, Sequence[str]]
    kind: str

    def is_answered_by(self, citations: Sequence[Citation]) -> bool:
        """Whether a cited article is a right one and its quote holds what was asked for."""
        return any(
            topic(c.article_id) in self.article_ids and self._holds(c.quote, language(c.article_id)) for c in citations
        )

    def _holds(self, quote: str, language: str) -> bool:
        said = quote.replace("**", "")
        return any(wanted in said for wanted in self.answer_contains.get(language, ()))


def topic(article_id: str) -> str:
    return article_id.rpartition("/")[2]


def language(article_id: str) -> str:
    return article_id.partition("/")[0]


def read(part: str) -> list[Asked]:
    """The questions of `dev` or `heldout`."""
    lines = (DEMO / "questions" / f"{part}.jsonl").read_text("utf-8").splitlines()
    return [Asked(**json.loads(line)) for line in lines if line.strip()]


@dataclass(frozen=True)
class Shop:
    db: Database
    workspace: Workspace
    text: Remembering
    english: Remembering
    retriever: Retriever


@contextlib.asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    """The demo's articles, ingested with the packaged encoders into an embedded server of their own."""
    with tempfile.TemporaryDirectory(prefix="duomo-") as folder:
        Path(folder).chmod(0o711)  # run by root, the server is somebody else
        home = Path(folder) / "home"
        home.mkdir()
        text, english = Remembering(MultilingualE5()), Remembering(MiniLM())
        with store.open_home(home, None) as dsn:
            async with await Database.open(dsn) as db:
                workspace = await db.create_workspace("demo", {})
                models, sources = Models(text, english), sources_from_paths([DEMO / "articles"])
                await ingest(db, workspace.id, sources, models=models, blobs=Blobs(home / "media"))
                yield Shop(db, workspace, text, english, Retriever(db, text, english))
