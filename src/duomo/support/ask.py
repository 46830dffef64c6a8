"""Ask one question without a conversation: the command line's and the REST interface's way in, the same as a turn's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from duomo.errors import InputError
from duomo.knowledge.retrieve import Query
from duomo.models.features import Floats
from duomo.models.language import detect_language
from duomo.models.llm import Attachment
from duomo.store.postgres import Database, Workspace
from duomo.support.answer import Answerer, Retrieves, search_text
from duomo.support.conversation import Settings
from duomo.support.outcome import Outcome, Question
from duomo.support.perceive import Perceives, Repair, clean_file, look, repaired
from duomo.support.policy import load_policy
from duomo.support.predict import Reader, Turn, by_name
from duomo.support.registry import current
from duomo.support.turn import SENT_AS, compose
from duomo.types import Artifact, Language, PartKind


@dataclass(frozen=True, slots=True)
class Asking:
    """What asking works with.

    Attributes:
        perception: gives the models that look and listen, loaded when the first file comes.
    """

    answerer: Answerer
    retriever: Retrieves
    perception: Callable[[], Perceives]
    repair: Repair
    reader: Reader | None = None  # opens the workspace's trained models


async def ask(
    db: Database,
    workspace: Workspace,
    *,
    text: str,
    image: bytes | None = None,
    audio: bytes | None = None,
    language: Language | None = None,
    models: Asking,
) -> dict[str, Any]:
    """Answer as a turn would, storing nothing.

    Returns:
        {answer: str or None, citations: [{article_id, title, uri, quote, score}], handoff: None or {reason},
        artifacts: [{part, kind, text, confidence, model}], understood: {pattern, heads} or None, policy: the row that
        decided or None, language, timings_ms}. A question that would be asked back has no answer and the handoff
        {reason: "clarify", options}.
    Raises:
        InputError: neither text nor a file.
        MediaError: a file that cannot be decoded.
        ModelUnavailable: a file came, and the model that reads it is not there.
    """
    began = time.perf_counter()
    question, artifacts, files = await _question(db, workspace, text, image, audio, language, models)
    question = await _understood(db, workspace, question, files, models)
    perceived = time.perf_counter()
    outcome: Outcome | None = None
    async for event in models.answerer.answer(workspace.id, question):
        if isinstance(event, Outcome):
            outcome = event
    assert outcome is not None
    return {
        "answer": outcome.text if outcome.kind == "answer" or outcome.citations else None,
        "citations": [
            {"article_id": c.article_id, "title": c.title, "uri": c.uri, "quote": c.quote, "score": round(c.score, 4)}
            for c in outcome.citations
        ],
        "handoff": _handoff(outcome),
        "artifacts": [
            {"part": part, "kind": a.kind, "text": a.text, "confidence": round(a.confidence, 4), "model": a.model}
            for part, a in artifacts
        ],
        "understood": question.understood.record(None) if question.understood else None,
        "policy": outcome.decision.get("policy"),
        "language": question.language,
        "timings_ms": {
            "perceive": round((perceived - began) * 1000),
            **outcome.decision.get("timings_ms", {}),
            "total": round((time.perf_counter() - began) * 1000),
        },
    }


async def retrieve(
    db: Database,
    workspace: Workspace,
    *,
    text: str,
    image: bytes | None = None,
    audio: bytes | None = None,
    language: Language | None = None,
    k: int = 10,
    models: Asking,
) -> list[dict[str, Any]]:
    """The `k` best passages: [{article_id, chunk_id, title, text, score}]. Raises what `ask` does."""
    question, _, _ = await _question(db, workspace, text, image, audio, language, models)
    query = Query(
        search_text(question), question.language, spoken=question.spoken, images=question.images, k=k,
        prefer_language=False,
    )  # fmt: skip
    return [
        {
            "article_id": p.article_id,
            "chunk_id": p.chunk_id,
            "title": p.title,
            "text": p.text,
            "score": round(p.score, 4),
        }
        for p in await models.retriever.retrieve(workspace.id, query)
    ]


async def _understood(
    db: Database, workspace: Workspace, question: Question, files: Mapping[str, Floats], models: Asking
) -> Question:
    async with db.transaction(workspace.id) as tx:
        policy, now = await load_policy(tx), await current(tx)
    understood = None
    if models.reader and "active" in now:
        turn = Turn(search_text(question), files)
        understood = await models.reader.read(workspace.id, now["active"], turn)
    return replace(question, policy=policy, understood=understood)


async def _question(
    db: Database,
    workspace: Workspace,
    text: str,
    image: bytes | None,
    audio: bytes | None,
    language: Language | None,
    models: Asking,
) -> tuple[Question, list[tuple[str, Artifact]], dict[str, Floats]]:
    if not text.strip() and image is None and audio is None:
        raise InputError("the question is empty. Give a text, a picture or a sound.")
    settings = Settings.of(workspace.settings)
    artifacts: list[tuple[str, Artifact]] = []
    images, attachments = [], []
    files: dict[str, Floats] = {}
    sent = ["text"] if text.strip() else []
    async with db.transaction(workspace.id) as tx:
        deployed = list((await current(tx)).values())
    kinds: tuple[tuple[PartKind, bytes | None], ...] = (("image", image), ("audio", audio))
    for kind, data in kinds:
        if data is None:
            continue
        clean = await asyncio.to_thread(clean_file, data, settings)
        perception = await asyncio.to_thread(models.perception)
        found, embedding = await asyncio.to_thread(look, perception, clean, language)
        artifacts += [(kind, (await repaired(models.repair, workspace.id, artifact))[0]) for artifact in found]
        images += [] if embedding is None else [embedding]
        attachments.append(Attachment(clean.kind, clean.mime, clean.data))
        sent.append(SENT_AS[clean.kind])
        if models.reader:
            files |= by_name(await models.reader.of_file(workspace.id, deployed, clean.kind, clean.data))
    said = "\n".join([text, *(a.text for _, a in artifacts if a.kind == "transcript")])
    read = "\n".join(a.text for _, a in artifacts if a.kind == "ocr")
    question = compose(
        [text],
        [artifact for _, artifact in artifacts],
        language=language or detect_language(said if said.strip() else read),
        images=images,
        attachments=attachments if models.answerer.streams else (),
        mask=settings.mask_llm_input,
        sent=tuple(sent),
    )
    return question, artifacts, files


def _handoff(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.kind == "clarify":
        return {"reason": "clarify", "options": list(outcome.options)}
    return {"reason": outcome.handoff} if outcome.handoff else None
