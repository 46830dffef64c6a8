"""Knowledge, the state of the system, and health."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from duomo.errors import (
    DuomoError,
    InputError,
    LLMUnavailable,
    MediaError,
    ModelUnavailable,
    NotFound,
    TooLarge,
    Unavailable,
)
from duomo.models import weights
from duomo.server import paging
from duomo.server.auth import Agent, AgentDep
from duomo.server.docs import form
from duomo.server.incoming import keep_file, parse, store_file
from duomo.server.shapes import (
    MAX_TEXT,
    ImportStarted,
    ImportView,
    KnowledgeItem,
    KnowledgePage,
    KnowledgeTotals,
    ModelView,
    QuestionRequest,
    QueueView,
    SystemView,
)
from duomo.server.site import Site, SiteDep
from duomo.server.uploads import multipart
from duomo.store.jobs import QUEUES

VERSION = metadata.version("duomo")

router = APIRouter(tags=["agent"])
health = APIRouter(tags=["server"])

_PAGE = 50
_PATIENCE_S = 60.0  # for an answer to a question asked outside a conversation
_QUESTION_BYTES = 20_000_000
_IMPORT_FILES = 200
_ERRORS: dict[str, type[DuomoError]] = {
    **{kind.code: kind for kind in (TooLarge, MediaError, Unavailable, ModelUnavailable, LLMUnavailable)},
    **dict.fromkeys(("unsupported_type", "empty"), MediaError),
}
"""What a worker's refusal was, by its code; anything else was bad input."""


# Knowledge --------------------------------------------------------------------------------------------------------


@router.get("/agent/knowledge")
async def list_knowledge(
    site: SiteDep,
    agent: AgentDep,
    q: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=4000)] = None,
) -> KnowledgePage:
    """Articles by title, 50 a page."""
    after_title, after_id = paging.read_cursor(cursor) or (None, None)
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await tx.all(
            "knowledge_page",
            like=paging.like(q),
            after_title=after_title,
            after_id=after_id,
            limit=_PAGE + 1,
        )
        totals = await tx.one("knowledge_totals")
    items = [KnowledgeItem.model_validate(row) for row in rows[:_PAGE]]
    return KnowledgePage(
        items=items,
        cursor=paging.write_cursor(items[-1].title, items[-1].id) if len(rows) > _PAGE else None,
        totals=KnowledgeTotals.model_validate(totals),
    )


@router.post("/agent/knowledge", status_code=202, openapi_extra=form(file="files"))
async def upload_knowledge(request: Request, site: SiteDep, agent: AgentDep) -> ImportStarted:
    """Files to read: documents, tables, pictures, sound, archives. A worker reads them; ask for its progress."""
    async with multipart(
        request,
        folder=site.incoming,
        max_files=_IMPORT_FILES,
        max_bytes=site.settings.max_import_bytes,
        max_field=1000,
    ) as body:
        if not body.files:
            raise InputError("there is no file in the form. Add some as `file`.")
        files = []
        for upload in body.files:
            key = await keep_file(site, agent.workspace, upload)
            files.append({"name": upload.name, "blob": key, "size": upload.size})
        async with site.db.transaction(agent.workspace.id) as tx:
            for file in files:
                await tx.run("insert_blob", key=file["blob"], mime="application/octet-stream", size=file["size"])
            import_id = await tx.value("start_import", total=len(files), files=files)
            args = {"workspace_id": agent.workspace.id, "import_id": str(import_id)}
            await tx.defer("ingest", queue="knowledge", lock=f"knowledge {agent.workspace.id}", args=args)
    return ImportStarted(import_id=import_id)


@router.get("/agent/knowledge/imports/{import_id}")
async def show_import(site: SiteDep, agent: AgentDep, import_id: UUID) -> ImportView:
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await tx.one("import_state", id=import_id)
    if row is None:
        raise NotFound("there is no such import.")
    return ImportView.model_validate(row)


@router.delete("/agent/knowledge/{article_id:path}", status_code=204)
async def delete_article(site: SiteDep, agent: AgentDep, article_id: str) -> None:
    wanted = article_id.replace("\x00", "")
    async with site.db.transaction(agent.workspace.id) as tx:  # as knowledge.ingest.remove, without its decoders
        await tx.run("lock_knowledge")
        await tx.run("subtract_article_terms", article=wanted)
        if not await tx.run("delete_article", article=wanted):
            raise NotFound("there is no such article.")


# Questions --------------------------------------------------------------------------------------------------------


@router.post("/ask", openapi_extra=form(text="text", language="text", image="file", audio="file"))
async def ask(request: Request, site: SiteDep, agent: AgentDep) -> JSONResponse:
    """One question, answered as a conversation would: `{answer, citations, handoff, artifacts, language, timings_ms}`.

    A worker answers it: the models live there, and this process stays small and quick.
    """
    return await _question(request, site, agent, "ask")


@router.post("/retrieve", openapi_extra=form(text="text", language="text", k="number", image="file", audio="file"))
async def retrieve(request: Request, site: SiteDep, agent: AgentDep) -> JSONResponse:
    """The `k` best passages for a question: `[{article_id, chunk_id, title, text, score}]`."""
    return await _question(request, site, agent, "retrieve")


async def _question(request: Request, site: Site, agent: Agent, kind: str) -> JSONResponse:
    site.rates.messages.take(agent.id)
    query = await _read_question(request, site, agent)
    if not (query["text"].strip() or query.get("image") or query.get("audio")):
        raise InputError("the question is empty. Send text, image or audio.")
    async with site.db.transaction(agent.workspace.id) as tx:
        question_id = str(await tx.value("insert_question", kind=kind, asked=query))
        args = {"workspace_id": agent.workspace.id, "question_id": question_id}
        await tx.defer("answer_question", queue="media", args=args)
    row = await _answer(site, agent, question_id)
    async with site.db.transaction(agent.workspace.id) as tx:
        await tx.run("delete_question", id=question_id)
    if row is None:
        raise Unavailable(f"no worker answered within {_PATIENCE_S:.0f} s. Is one running?")
    if row["error"]:
        code = str(row["error"]["code"])
        raise _ERRORS.get(code, InputError)(str(row["error"]["message"]), code=code)
    return JSONResponse(row["answer"])


async def _read_question(request: Request, site: Site, agent: Agent) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("multipart/"):
        return parse(QuestionRequest, await request.body()).model_dump()
    async with multipart(
        request, folder=site.incoming, max_files=2, max_bytes=_QUESTION_BYTES, max_field=4 * MAX_TEXT
    ) as body:
        sent = parse(QuestionRequest, {name: value for name, value in body.fields.items() if value != ""})
        query = sent.model_dump()
        for upload in body.files:
            stored = await store_file(site, agent.workspace, upload)
            if stored.kind not in {"image", "audio"}:
                raise MediaError(f"{upload.name!r} is neither a picture nor sound.", code="unsupported_type")
            async with site.db.transaction(agent.workspace.id) as tx:
                await tx.run("insert_blob", key=stored.blob_key, mime=stored.mime, size=stored.size)
            query[stored.kind] = stored.blob_key
    return query


async def _answer(site: Site, agent: Agent, question_id: str) -> dict[str, Any] | None:
    end = time.monotonic() + _PATIENCE_S
    async with site.bus.conversation(question_id) as wake:
        with site.streaming(wake, who=agent.id):
            while not site.closing:
                async with site.db.transaction(agent.workspace.id) as tx:
                    row = await tx.one("question", id=question_id)
                if row is None or row["answer"] is not None or row["error"] is not None:
                    return row
                if time.monotonic() >= end:
                    return None
                await wake.wait(min(5.0, max(0.0, end - time.monotonic())))
    return None


# System -----------------------------------------------------------------------------------------------------------


@router.get("/agent/system")
async def show_system(site: SiteDep, agent: AgentDep) -> SystemView:
    """Which models are there, what waits in the queues of the whole instance, and the version."""
    async with site.db.transaction(agent.workspace.id) as tx:
        counted = {row["name"]: row for row in await tx.all("queue_counts")}
    features = await asyncio.to_thread(weights.status)  # hashes every weight, once a process
    models = [
        ModelView(feature=f.name, available=f.available, reason=f.reason or None, model=_model(f.name))
        for f in features
    ]
    settings = site.settings
    missing = None if settings.llm_url else "DUOMO_LLM_URL is not set; answers quote the knowledge"
    models.append(ModelView(feature="llm", available=not missing, reason=missing, model=settings.llm_model))
    queues = [
        QueueView.model_validate({"name": name, "waiting": 0, "running": 0, "failed": 0} | counted.get(name, {}))
        for name in QUEUES
    ]
    return SystemView(models=models, queues=queues, version=VERSION)


def _model(feature: str) -> str | None:
    return ", ".join(w.name for w in weights.manifest().values() if w.feature == feature) or None


# Health -----------------------------------------------------------------------------------------------------------


@health.get("/healthz")
async def alive() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@health.get("/readyz")
async def ready(site: SiteDep) -> JSONResponse:
    """200 when the database answers and a worker has given a sign of life in the last 30 s; 503 says what is not."""
    state = {"database": True, "worker": False}
    try:
        async with site.db.transaction(None) as tx:
            state["worker"] = bool(await tx.value("worker_alive"))
    except DuomoError:
        state["database"] = False
    return JSONResponse(state, status_code=200 if all(state.values()) else 503)
