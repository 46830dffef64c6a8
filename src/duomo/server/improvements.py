"""Runs that make the next model: what they found, which gates refused it, and an owner's word."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import AfterValidator, BaseModel, Field

from duomo.server.auth import Agent, AgentDep
from duomo.server.models import must_own
from duomo.server.site import Site, SiteDep
from duomo.store.postgres import Row
from duomo.support import improve

router = APIRouter(prefix="/agent/improvements", tags=["agent"])

_LISTED = 100
_REPORT = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data:",
    "Cache-Control": "private, no-cache",
}
"""The report is a page of its own with a script of its own, which may not act as the agent who reads it."""


class GateView(BaseModel):
    gate: str
    passed: bool
    why: str
    figures: dict[str, Any]


class ImprovementView(BaseModel):
    id: UUID
    state: str  # queued, exporting, training, comparing, promoted, refused, nothing_new, failed
    began_by: str
    agent: str | None
    counts: dict[str, Any]
    model_id: UUID | None
    model: str | None
    gates: list[GateView]
    verdict: str
    has_report: bool
    progress: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class ImprovementDetail(ImprovementView):
    comparison: dict[str, Any] | None


class DecideRequest(BaseModel):
    words: Annotated[str, Field(max_length=2_000), AfterValidator(lambda text: text.replace("\x00", ""))]


@router.get("")
async def list_improvements(site: SiteDep, agent: AgentDep) -> list[ImprovementView]:
    """The latest runs, newest first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await tx.all("improvements", limit=_LISTED)
    return await asyncio.to_thread(lambda: [ImprovementView(**_view(site, agent, row)) for row in rows])


@router.post("", status_code=202)
async def begin_improvement(site: SiteDep, agent: AgentDep) -> ImprovementDetail:
    """Train from what people have said until now, compare, and promote what is better. One at a time: again is once."""
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await improve.start(tx, agent.workspace.id, by="agent", agent_id=agent.id)
        row = await improve.load(tx, str(row["id"]))
    return await asyncio.to_thread(_detail, site, agent, row)


@router.get("/{improvement_id}")
async def show_improvement(site: SiteDep, agent: AgentDep, improvement_id: UUID) -> ImprovementDetail:
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await improve.load(tx, str(improvement_id))
    return await asyncio.to_thread(_detail, site, agent, row)


@router.get("/{improvement_id}/report", response_class=FileResponse)
async def show_report(site: SiteDep, agent: AgentDep, improvement_id: UUID) -> FileResponse:
    """The whole comparison as a page."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await improve.load(tx, str(improvement_id))  # of this workspace
    path = await asyncio.to_thread(improve.report, site.settings.home, agent.workspace.id, str(improvement_id))
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=_REPORT)


@router.post("/{improvement_id}/decide")
async def decide_improvement(
    site: SiteDep, agent: AgentDep, improvement_id: UUID, sent: DecideRequest
) -> ImprovementDetail:
    """Promote what a gate refused, in writing. Owners only."""
    must_own(agent)
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await improve.decide(tx, str(improvement_id), owner=agent.id, words=sent.words)
    return await asyncio.to_thread(_detail, site, agent, row)


def _detail(site: Site, agent: Agent, row: Row) -> ImprovementDetail:
    return ImprovementDetail(**_view(site, agent, row), comparison=row["comparison"])


def _view(site: Site, agent: Agent, row: Row) -> dict[str, Any]:
    home, workspace_id, run = site.settings.home, agent.workspace.id, str(row["id"])
    under_way = row["state"] in improve.UNDER_WAY
    return {
        **{name: row[name] for name in ("id", "state", "began_by", "counts", "verdict", "created_at", "finished_at")},
        "agent": row["agent_name"],
        "model_id": row["model_id"],
        "model": row["model_name"],
        "gates": row["gates"] or [],
        "has_report": (improve.folder_of(home, workspace_id, run) / "report.html").is_file(),
        "progress": improve.progress(home, workspace_id, run) if under_way else None,
    }
