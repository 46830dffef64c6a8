"""Why a message was said: what stands in the records at once, what each piece of it was worth on demand."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from duomo.server.auth import AgentDep
from duomo.server.site import SiteDep
from duomo.support import why as reasons

router = APIRouter(prefix="/agent", tags=["agent"])


class ExplanationView(BaseModel):
    state: Literal["none", "queued", "done", "failed"]
    reason: str
    body: dict[str, Any] | None


class WhyView(BaseModel):
    """docs/protocol.md, "Why"."""

    message_id: UUID
    conversation_id: UUID
    kind: str
    outcome: str
    summary: dict[str, list[str]]
    asked: list[UUID]
    understood: dict[str, Any] | None
    heads: dict[str, Any]
    policy: dict[str, Any] | None
    otherwise: dict[str, list[dict[str, Any]]]
    facts: dict[str, Any]
    sources: dict[str, Any]
    versions: dict[str, Any]
    decision: dict[str, Any]
    explanation: ExplanationView


@router.get("/conversations/{cid}/messages/{mid}/why")
async def show_why(site: SiteDep, agent: AgentDep, cid: UUID, mid: UUID) -> WhyView:
    """Why the assistant said this: summary, evidence, policy row, alternatives, versions; the explanation, if made."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return WhyView.model_validate(await reasons.why(tx, str(cid), str(mid)))


@router.post("/conversations/{cid}/messages/{mid}/why", status_code=202)
async def ask_why(site: SiteDep, agent: AgentDep, cid: UUID, mid: UUID) -> WhyView:
    """Have every word, region and second weighed when there is time; ask again until `explanation.state` is done."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await reasons.queue(tx, agent.workspace.id, str(cid), str(mid))
        return WhyView.model_validate(await reasons.why(tx, str(cid), str(mid)))
