"""Bring files into a workspace's knowledge: read, cut, encode, store.

Each article is one transaction, so whatever stops an ingestion leaves whole articles, and the next run does the rest:
an article whose fingerprint is stored is passed over without being read.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from duomo.errors import InputError, MediaError
from duomo.knowledge import lexicon
from duomo.knowledge.chunk import Chunk, chunk, context, pictures, plain, replace_pictures, without_picture
from duomo.knowledge.index import packed, pinyin_vector, search_vector, statements
from duomo.knowledge.read import IMAGES, Article, Draft, Failure, Picture, drafts, fingerprint, language_of
from duomo.knowledge.sources import Source, sources_from_file
from duomo.media import audio, image
from duomo.media.sanitise import sanitise
from duomo.media.sniff import sniff
from duomo.models.embed import ImageEmbedder, TextEmbedder, Vectors
from duomo.models.ocr import TextReader
from duomo.models.speech import SpeechRecognizer
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Tx, pg_array, vector
from duomo.types import Language

PIPELINE = "2"  # part of every fingerprint: change it when the same file would give other chunks
PARALLEL = 2  # articles read and encoded at once, each on one core
BATCH = 64  # drafts whose fingerprints are looked up at once
LEGIBLE = 0.5  # confidence below which what was read in a picture is noise
NOTE_EVERY_S = 0.5  # between two notes of progress
OPENING = 40  # characters of an article without a title that stand for one


@dataclass(frozen=True)
class Models:
    """What ingestion asks of models; a missing one leaves its part of the evidence out."""

    text: TextEmbedder
    english: TextEmbedder | None = None
    pictures: ImageEmbedder | None = None
    reader: TextReader | None = None
    speech: SpeechRecognizer | None = None

    @property
    def mark(self) -> str:
        """Changes when another model would give other vectors or texts."""
        used = (self.text, self.english, self.pictures, self.reader, self.speech)
        return " ".join("-" if model is None else model.version for model in used)


@dataclass(slots=True)
class Report:
    """What an ingestion did, in articles."""

    added: int = 0
    unchanged: int = 0
    updated: int = 0
    removed: int = 0  # only with prune
    failed: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    done: int = 0
    total: int = 0  # grows while files that hold many articles are opened

    @property
    def changed(self) -> bool:
        return bool(self.added or self.updated or self.removed)


Progress = Callable[[Report], Awaitable[None]]


async def ingest(
    db: Database,
    workspace_id: str,
    sources: Iterable[Source],
    *,
    models: Models,
    blobs: Blobs,
    progress: Progress | None = None,
    prune: bool = False,
) -> Report:
    """Add what is new, replace what changed, pass over what did not; a file that fails stops nothing.

    Args:
        progress: awaited after every article.
        prune: remove the articles of the same folders and archives whose files are gone.
    """
    ordered = sorted(sources, key=lambda source: source.suffix in IMAGES)  # first the articles that own pictures
    with ThreadPoolExecutor(PARALLEL, "ingest", initializer=_yield_to_customers) as threads:
        run = _Run(db, workspace_id, models, blobs, progress, threads, Report(total=len(ordered)))
        try:
            for source in ordered:
                await run.take(source)
            await run.settle(leave=0)
        finally:
            run.stop()
    report = run.report
    if prune:
        report.removed = await _prune(db, workspace_id, {s.within for s in ordered if s.within}, set(run.owners))
    if report.changed:
        await lexicon.rebuild(db, workspace_id)
    return report


async def run_import(db: Database, workspace_id: str, import_id: str, *, models: Models, blobs: Blobs) -> None:
    """Ingest uploaded files and write how far it is into their `imports` row; does nothing when that is done.

    Killed half way and run again, it passes over the articles that were stored.
    """
    async with db.transaction(workspace_id) as tx:
        files = await tx.value("begin_import", id=import_id)
    if files is None:
        return
    noted = 0.0

    async def note(report: Report) -> None:
        nonlocal noted
        if report.done < report.total and time.monotonic() - noted < NOTE_EVERY_S:
            return
        noted = time.monotonic()
        failed = [{"name": name, "reason": reason} for name, reason in report.failed]
        async with db.transaction(workspace_id) as tx:
            await tx.run(
                "note_import", id=import_id, done=report.done, total=report.total, added=report.added,
                unchanged=report.unchanged, updated=report.updated, failed=failed,
            )  # fmt: skip

    def reader(key: str) -> Callable[[], bytes]:
        return lambda: blobs.get(workspace_id, key)

    sources = await asyncio.to_thread(
        lambda: [source for file in files for source in sources_from_file(file["name"], reader(file["blob"]))]
    )
    report = await ingest(db, workspace_id, sources, models=models, blobs=blobs, progress=note)
    report.done = report.total
    await note(report)
    async with db.transaction(workspace_id) as tx:
        await tx.run("finish_import", id=import_id)
        keys = {file["blob"] for file in files}
        gone = [key for key in keys if await tx.run("delete_incoming_blob", key=key, **{"import": import_id})]
    for key in gone:
        blobs.delete(workspace_id, key)


async def remove(db: Database, workspace_id: str, article_id: str) -> bool:
    """Take an article out of the knowledge.

    Returns:
        False when there is none of that id.
    """
    async with db.transaction(workspace_id) as tx:
        await tx.run("lock_knowledge")
        await tx.run("subtract_article_terms", article=article_id)
        return bool(await tx.run("delete_article", article=article_id))


async def _prune(db: Database, workspace_id: str, folders: Iterable[str], kept: set[str]) -> int:
    removed = 0
    for folder in sorted(folders):
        async with db.transaction(workspace_id) as tx:
            rows = await tx.all("articles_within", prefix=f"{folder}/")
        for row in rows:
            if row["id"] not in kept:
                removed += await remove(db, workspace_id, row["id"])
    return removed


@dataclass(slots=True)
class _Run:
    """One ingestion under way."""

    db: Database
    workspace_id: str
    models: Models
    blobs: Blobs
    progress: Progress | None
    threads: Executor
    report: Report
    owners: dict[str, str] = field(default_factory=dict)  # article id -> where it came from
    used: set[tuple[str, str]] = field(default_factory=set)  # sources that are a picture of an article
    failed: dict[int, list[tuple[str, str]]] = field(default_factory=dict)  # by place in the order of reading
    pending: deque[asyncio.Task[None]] = field(default_factory=deque)  # articles being read or stored, oldest first
    place: int = 0

    async def take(self, source: Source) -> None:
        if (source.within, source.name) in self.used:
            self.report.total -= 1
            return
        found = await asyncio.get_running_loop().run_in_executor(self.threads, _drafts, source)
        self.report.total += len(found) - 1
        for batch in _batches(found):
            async with self.db.transaction(self.workspace_id) as tx:
                ids = pg_array([draft.id for draft in batch if isinstance(draft, Draft)])
                rows = await tx.all("article_hashes", ids=ids)
            stored = {row["id"]: row["content_hash"] for row in rows}
            for draft in batch:
                self.place += 1
                await self._one(source, draft, stored)

    async def settle(self, *, leave: int) -> None:
        """Wait until at most `leave` articles are under way."""
        while len(self.pending) > leave:
            await self.pending.popleft()

    def stop(self) -> None:
        for task in self.pending:
            task.cancel()

    async def _one(self, source: Source, draft: Draft | Failure, stored: Mapping[str, str]) -> None:
        if isinstance(draft, Failure):
            await self._done(self.place, [(draft.name, draft.reason)])
            return
        self.used.update((source.within, name) for name in draft.uses)
        if draft.id in self.owners:
            reason = f"{self.owners[draft.id]} has the same id, {draft.id!r}. Rename one."
            await self._done(self.place, [(draft.name, reason)])
            return
        self.owners[draft.id] = draft.name
        mark = fingerprint(draft.fingerprint, PIPELINE, self.models.mark)
        if stored.get(draft.id) == mark:
            self.report.unchanged += 1
            await self._done(self.place, [])
        else:
            self.pending.append(asyncio.create_task(self._replace(self.place, source, draft, mark)))
            await self.settle(leave=PARALLEL)

    async def _replace(self, place: int, source: Source, draft: Draft, mark: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(
                self.threads, _prepare, self.workspace_id, draft, self.models, self.blobs
            )
        except InputError as error:
            await self._done(place, [(draft.name, str(error))])
            return
        where = f"{source.within}/{source.name}" if source.within else source.name
        async with self.db.transaction(self.workspace_id) as tx:
            added = await _store(tx, draft.id, where, mark, prepared)
        self.report.added += added
        self.report.updated += not added
        await self._done(place, prepared.failed)

    async def _done(self, place: int, failed: list[tuple[str, str]]) -> None:
        if failed:
            self.failed[place] = failed
            self.report.failed = [failure for _, failures in sorted(self.failed.items()) for failure in failures]
        self.report.done += 1
        if self.progress is not None:
            await self.progress(self.report)


def _yield_to_customers() -> None:
    """A thread that ingests gives way to those that answer; only Linux can say so of a thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _drafts(source: Source) -> list[Draft | Failure]:
    return list(drafts(source))


def _batches(items: Sequence[Draft | Failure]) -> Iterator[Sequence[Draft | Failure]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


# --- preparing: everything that costs time, outside of any transaction


@dataclass(slots=True)
class _StoredPicture:
    blob: str
    mime: str
    size: int
    alt: str
    text: str  # what was read in it
    embedding: Vectors | None


@dataclass(slots=True)
class _Prepared:
    title: str
    topic: str | None
    language: Language
    uri: str
    text: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, _StoredPicture] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)


def _prepare(workspace_id: str, draft: Draft, models: Models, blobs: Blobs) -> _Prepared:
    article = draft.read()
    heard: Language | None = None
    if article.sound is not None:
        article, heard = _transcribed(article, draft.name, models)
    prepared = _Prepared(article.title, article.topic, "en", article.uri, article.text)
    for reference, picture in article.pictures.items():
        try:
            prepared.pictures[reference] = _picture(workspace_id, reference, picture, models, blobs)
        except InputError as error:
            prepared.failed.append((f"{draft.name}: {reference}", str(error)))
            article = replace(article, text=without_picture(article.text, reference))
    read = " ".join(picture.text for picture in prepared.pictures.values())
    prepared.language = heard or language_of(article, plain(article.text) or read)
    pieces = list(_pieces(article, prepared.pictures, "text" if heard is None else "transcript"))
    if not pieces:
        reasons = "; ".join(reason for _, reason in prepared.failed) or "nothing can be read in it"
        raise MediaError(reasons, code="empty")
    prepared.rows = _rows(article.title, pieces, prepared.language, models)
    prepared.text = replace_pictures(
        article.text, {reference: f"blob:{picture.blob}" for reference, picture in prepared.pictures.items()}
    )
    prepared.title = article.title or _opening(plain(article.text))
    return prepared


def _transcribed(article: Article, name: str, models: Models) -> tuple[Article, Language]:
    if models.speech is None:
        raise MediaError("recordings cannot be read: there is no speech model here.", code="unsupported_type")
    assert article.sound is not None
    made = sanitise(article.sound, sniff(article.sound[:4096], name))
    transcript = models.speech.transcribe(audio.decode(made.data), expected=article.language)
    if not transcript.text:
        raise MediaError("nobody speaks in it", code="empty")
    text = "\n\n".join(segment.text for segment in transcript.segments) or transcript.text
    return Article(article.title, text, article.uri, article.language, article.topic), transcript.language


def _picture(workspace_id: str, reference: str, picture: Picture, models: Models, blobs: Blobs) -> _StoredPicture:
    data = picture.data
    if not picture.clean:
        sniffed = sniff(data[:4096], reference)
        if sniffed.kind != "image":
            raise MediaError("this is not a picture", code="unsupported_type")
        data = sanitise(data, sniffed).data
    pixels = image.decode(data)
    text = ""
    if models.reader is not None:
        reading = models.reader.read(pixels)
        text = reading.text.strip() if reading.confidence >= LEGIBLE else ""
    embedding = models.pictures.encode(pixels) if models.pictures is not None else None
    mime = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    return _StoredPicture(blobs.put(workspace_id, data), mime, len(data), picture.alt, text, embedding)


@dataclass(frozen=True, slots=True)
class _Piece:
    chunk: Chunk
    origin: str
    picture: str | None


def _pieces(article: Article, stored: Mapping[str, _StoredPicture], origin: str) -> Iterator[_Piece]:
    """Chunks in reading order, what a picture says right after the text it stands in."""
    cover = stored.get(article.cover or "")
    placed: set[str] = set()
    for piece in chunk(article.text):
        inside = [reference for reference, _ in pictures(piece.text) if reference in stored]
        placed.update(inside)
        shown = stored[inside[0]] if inside else cover
        if plain(piece.text):
            yield _Piece(piece, origin, shown.blob if shown else None)
        for reference in inside:
            yield from _read_pieces(piece.heading, stored[reference])
    for reference, picture in stored.items():
        if reference not in placed:
            yield from _read_pieces("", picture)


def _read_pieces(heading: str, picture: _StoredPicture) -> Iterator[_Piece]:
    for piece in chunk(picture.text):
        yield _Piece(Chunk(heading, plain(piece.text)), "ocr", picture.blob)


def _rows(title: str, pieces: Sequence[_Piece], language: Language, models: Models) -> list[dict[str, Any]]:
    rows = []
    for position, piece in enumerate(pieces):
        above = context(title, piece.chunk)
        words = plain(piece.chunk.text)
        said = statements(words)
        whole, parts = models.text.encode_parts(above, said)
        row: dict[str, Any] = {
            "position": position,
            "origin": piece.origin,
            "language": language,
            "heading": piece.chunk.heading,
            "text": replace_pictures(piece.chunk.text, None).strip() or words,
            "picture": piece.picture,
            "search": search_vector(above, words),
            "pinyin": pinyin_vector(f"{above}\n{words}" if above else words),
            "embedding": vector(whole),
            "embedding_en": None,
            "sentences": packed(parts),
            "sentences_en": None,
        }
        if models.english and language == "en":
            whole, parts = models.english.encode_parts(above, said)
            row |= {"embedding_en": vector(whole), "sentences_en": packed(parts)}
        rows.append(row)
    return rows


def _opening(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= OPENING else line[:OPENING].rstrip() + "…"


# --- storing


async def _store(tx: Tx, article_id: str, source: str, mark: str, prepared: _Prepared) -> bool:
    """
    Returns:
        True for an article that was not there before.
    """
    await tx.run("lock_knowledge")
    await tx.run("subtract_article_terms", article=article_id)
    await tx.run("delete_article_chunks", article=article_id)
    await tx.run("delete_article_pictures", article=article_id)
    added = await tx.value(
        "put_article",
        id=article_id, source=source, topic=prepared.topic, title=prepared.title, language=prepared.language,
        uri=prepared.uri, text=prepared.text, content_hash=mark,
    )  # fmt: skip
    await tx.many("insert_chunk", [{"article_id": article_id, **row} for row in prepared.rows])
    for picture in prepared.pictures.values():
        await tx.run("insert_blob", key=picture.blob, mime=picture.mime, size=picture.size)
        embedding = None if picture.embedding is None else vector(picture.embedding)
        await tx.run(
            "insert_article_picture", article_id=article_id, blob=picture.blob, alt=picture.alt, embedding=embedding
        )
    await tx.run("add_article_terms", article=article_id)
    return bool(added)
