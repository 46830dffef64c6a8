"""From a file as it was sent to one that is safe to show, with what was heard or read in it.

Whatever happens to a file, its turn goes on: one that cannot be decoded is shown with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from duomo.errors import MediaError, Unavailable
from duomo.knowledge.index import search_vector
from duomo.media import audio, image
from duomo.media.sanitise import Clean, Limits, sanitise
from duomo.media.sniff import sniff
from duomo.models.embed import Pixels, Vectors
from duomo.models.features import Floats, View
from duomo.models.speech import Waveform
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Tx, vector
from duomo.support.conversation import Settings, append_event, defer_listen, defer_turn
from duomo.support.predict import Reader, store_views
from duomo.support.registry import current
from duomo.types import Artifact, Language

logger = logging.getLogger("duomo.perceive")


class Perceives(Protocol):
    """Models that look and listen: `models.perceive.Perception`."""

    def voice(self, waveform: Waveform, *, language_hint: Language | None = None) -> list[Artifact]: ...

    def picture(self, image: Pixels) -> tuple[list[Artifact], Vectors]: ...


Repair = Callable[[str, str, Language | None], Awaitable[str]]
"""(workspace id, transcript, language) -> the transcript with the workspace's own names and codes put right."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What perceiving works with."""

    db: Database
    blobs: Blobs
    perception: Perceives
    repair: Repair
    reader: Reader | None = None  # makes the views that the workspace's trained models look at


async def perceive_part(senses: Senses, workspace_id: str, part_id: str) -> bool:
    """Make a received file ready, or refuse it; False when that has been done already."""
    async with senses.db.transaction(workspace_id) as tx:
        part = await tx.one("part_to_perceive", id=part_id)
    if part is None or part["state"] != "received":
        return False
    settings = Settings.of(part["settings"])
    try:
        data = await asyncio.to_thread(senses.blobs.get, workspace_id, part["incoming"])
        clean = await asyncio.to_thread(clean_file, data, settings)
    except MediaError as error:
        return await _refuse(senses, workspace_id, part, error.code, str(error))
    key = await asyncio.to_thread(senses.blobs.put, workspace_id, clean.data)
    try:
        artifacts, embedding = await asyncio.to_thread(look, senses.perception, clean, part["language"])
    except Unavailable:
        artifacts, embedding = [], None  # it can be shown and heard; a person can read it
    read = [await repaired(senses.repair, workspace_id, artifact) for artifact in artifacts]
    views = await _views(senses, workspace_id, clean)
    async with senses.db.transaction(workspace_id) as tx:
        if not await _lock(tx, part):
            return False
        await tx.run("insert_blob", key=key, mime=clean.mime, size=len(clean.data))
        await tx.run(
            "make_part_ready", id=part_id, mime=clean.mime, blob=key, width=clean.width, height=clean.height,
            duration_s=clean.duration_s, embedding=None if embedding is None else vector(embedding),
            original=part["incoming"] if settings.keep_originals else None,
        )  # fmt: skip
        await store_views(tx, part_id, views)
        for artifact, original in read:
            await _store_artifact(tx, part_id, artifact, original)
        await _tell(tx, part)
    return True


async def _views(senses: Senses, workspace_id: str, clean: Clean) -> dict[View, Floats]:
    """What trained models will look at; without it the file is a missing modality to them."""
    if senses.reader is None:
        return {}
    async with senses.db.transaction(workspace_id) as tx:
        deployed = await current(tx)
    try:
        return await senses.reader.of_file(workspace_id, list(deployed.values()), clean.kind, clean.data)
    except (MediaError, Unavailable) as error:
        logger.warning("a %s is missing to the trained model: %s", clean.kind, error.code)
        return {}


async def refuse_part(senses: Senses, workspace_id: str, part_id: str) -> bool:
    """Give a file up whose job failed for good, so that its turn goes on without it."""
    async with senses.db.transaction(workspace_id) as tx:
        part = await tx.one("part_to_perceive", id=part_id)
    if part is None or part["state"] != "received":
        return False
    return await _refuse(senses, workspace_id, part, "not_read", "the file could not be read; a person will look at it")


def clean_file(data: bytes, settings: Settings) -> Clean:
    """Foreign bytes re-encoded in the sandbox, within the workspace's limits. Blocks.

    Raises:
        MediaError: see `sniff` and `sanitise`.
    """
    limits = Limits(bytes=settings.max_bytes, audio_seconds=float(settings.max_audio_s))
    return sanitise(data, sniff(data), limits=limits)


def look(perception: Perceives, clean: Clean, language: Language | None) -> tuple[list[Artifact], Vectors | None]:
    """What is heard or read in a clean file, and the embedding of a photo. Blocks.

    A screenshot or a page looks like every other; what it means stands in its text.

    Raises:
        Unavailable: the model this needs is not there.
    """
    if clean.kind == "audio":
        return perception.voice(audio.decode(clean.data), language_hint=language), None
    if clean.kind == "image":
        found, embedding = perception.picture(image.decode(clean.data))
        flat = any(a.kind == "picture_kind" and a.text in ("screenshot", "document") for a in found)
        return found, None if flat else embedding
    text = clean.text.strip()
    return [
        Artifact("document_text", text, 1.0, "text-layer", "1", 0, {"pages": len(clean.pages)})
    ] if text else [], None


async def _refuse(senses: Senses, workspace_id: str, part: Row, code: str, message: str) -> bool:
    async with senses.db.transaction(workspace_id) as tx:
        if not await _lock(tx, part):
            return False
        await tx.run("refuse_part", id=part["id"], error={"code": code, "message": message})
        await _tell(tx, part)
    return True


async def _lock(tx: Tx, part: Row) -> bool:
    """Lock the conversation; False when another run of this job was faster."""
    await tx.one("conversation_for_update", id=part["conversation_id"])
    return bool(await tx.value("part_state", id=part["id"]) == "received")


async def _tell(tx: Tx, part: Row) -> None:
    """Show the file's new state; when the message waits for no other, its turn may start."""
    await append_event(tx, str(part["conversation_id"]), "update", message_id=str(part["message_id"]))
    if part["author"] == "customer" and not await tx.value("parts_left", message_id=part["message_id"]):
        row = await tx.one("conversation", id=part["conversation_id"])
        if row is not None and row["status"] == "pending":
            await defer_turn(tx, row)
        elif row is not None and row["status"] == "open":
            await defer_listen(tx, row)


async def repaired(repair: Repair, workspace_id: str, artifact: Artifact) -> tuple[Artifact, str | None]:
    """A transcript with the workspace's own names put right, and as it was heard where that differs."""
    if artifact.kind != "transcript" or not artifact.text.strip():
        return artifact, None
    text = await repair(workspace_id, artifact.text, artifact.data.get("language"))
    if text == artifact.text:
        return artifact, None
    return replace(artifact, text=text, data={**artifact.data, "original": artifact.text}), artifact.text


async def _store_artifact(tx: Tx, part_id: str, artifact: Artifact, original: str | None) -> None:
    plain: dict[str, Any] = {
        name: getattr(artifact, name) for name in ("kind", "text", "confidence", "model", "version", "duration_ms")
    }
    tokens = search_vector("", artifact.text)
    await tx.run(
        "insert_artifact", part_id=part_id, original_text=original, data=dict(artifact.data), tokens=tokens, **plain
    )
