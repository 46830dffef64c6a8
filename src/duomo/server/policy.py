"""The policy: read it, check it, try it on past conversations, set its threshold, save it as the next version."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from duomo.errors import Denied, NotFound
from duomo.learn.yaml_file import Mistaken
from duomo.server.auth import Agent, AgentDep
from duomo.server.shapes import Name, PersonView
from duomo.server.site import SiteDep
from duomo.store.postgres import Row, Tx
from duomo.support import dry_run, threshold
from duomo.support.policy import Policy, policy_of, save_policy
from duomo.support.policy_names import unknown_names
from duomo.types import Language

MAX_POLICY = 100_000  # characters

router = APIRouter(prefix="/agent/policy", tags=["agent"])

PolicyText = Annotated[
    str, Field(max_length=MAX_POLICY), AfterValidator(lambda text: text.replace("\x00", "").replace("\r\n", "\n"))
]
Days = Annotated[float, Field(gt=0, le=3660)]


class MistakeView(BaseModel):
    line: int  # from 1
    message: str


class VersionView(BaseModel):
    """`version` 0: the workspace has none of its own, and the shipped one holds."""

    version: int
    note: str
    agent: PersonView | None
    created_at: datetime | None


class PolicyView(VersionView):
    text: str
    policy: dict[str, Any]  # every part of it, defaults included
    warnings: list[MistakeView]
    may_save: bool


class CheckRequest(BaseModel):
    text: PolicyText


class CheckView(BaseModel):
    """`policy` is null where there are mistakes."""

    mistakes: list[MistakeView]
    warnings: list[MistakeView]
    policy: dict[str, Any] | None


class SaveRequest(CheckRequest):
    note: Name = ""
    base_version: Annotated[int, Field(ge=0, le=2**31 - 1)]


class DryRunRequest(CheckRequest):
    days: Days = dry_run.DAYS


class ThresholdRequest(CheckRequest):
    answer_from: Annotated[float, Field(ge=0, le=1)]
    language: Language | None = None


class TextView(BaseModel):
    text: str


@router.get("")
async def show_policy(site: SiteDep, agent: AgentDep) -> PolicyView:
    """The one that holds."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return await _view(tx, agent, await tx.one("policy_now_by"))


@router.get("/history")
async def show_history(site: SiteDep, agent: AgentDep) -> list[VersionView]:
    """Every version, the newest first, without its text."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return [VersionView(**_saved(row)) for row in await tx.all("policy_history")]


@router.get("/history/{version}")
async def show_version(site: SiteDep, agent: AgentDep, version: Annotated[int, Path(ge=0, le=2**31 - 1)]) -> PolicyView:
    async with site.db.transaction(agent.workspace.id) as tx:
        row = await tx.one("policy_version", version=version)
        if row is None and version:
            raise NotFound(f"the policy has no version {version}.")
        return await _view(tx, agent, row)


@router.put("")
async def put_policy(site: SiteDep, agent: AgentDep, sent: SaveRequest) -> PolicyView:
    """Save the next version, of owners alone. 422 names every mistake with its line; 409 `changed_meanwhile` when the
    version that holds is not `base_version`."""
    if agent.role != "owner":
        raise Denied("the policy is saved by an owner. Ask one, or show them your dry run.")
    async with site.db.transaction(agent.workspace.id) as tx:
        await save_policy(tx, sent.text, sent.note, agent.id, base_version=sent.base_version)
        return await _view(tx, agent, await tx.one("policy_now_by"))


@router.post("/validate")
async def validate(site: SiteDep, agent: AgentDep, sent: CheckRequest) -> CheckView:
    """What is wrong with a text, line by line, and what it says."""
    try:
        policy = Policy.parse(sent.text)
    except Mistaken as error:
        told = [MistakeView(line=m.line, message=m.message) for m in error.mistakes]
        return CheckView(mistakes=told, warnings=[], policy=None)
    async with site.db.transaction(agent.workspace.id) as tx:
        return CheckView(mistakes=[], warnings=await _warnings(tx, policy), policy=policy.as_dict())


@router.post("/dry-run")
async def try_policy(site: SiteDep, agent: AgentDep, sent: DryRunRequest) -> dict[str, Any]:
    """What the turns of the last `days` would have become under a text, and the hand-overs of the week to come."""
    policy = Policy.parse(sent.text)
    async with site.db.transaction(agent.workspace.id) as tx:
        return (await dry_run.dry_run(tx, policy, days=sent.days)).as_dict()


@router.get("/thresholds")
async def show_thresholds(
    site: SiteDep,
    agent: AgentDep,
    language: Language | None = None,
    days: Annotated[float, Query(gt=0, le=3660)] = threshold.DAYS,
    risk: Annotated[float, Query(gt=0, lt=1)] = threshold.RISK,
) -> dict[str, Any]:
    """At each threshold: the share answered, the share of those wrong with its interval; and the one suggested."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return (await threshold.load_curve(tx, language=language, days=days, risk=risk)).as_dict()


@router.post("/thresholds")
async def write_threshold(agent: AgentDep, sent: ThresholdRequest) -> TextView:
    """A text with another threshold in it; nothing is saved."""
    return TextView(text=threshold.set_threshold(sent.text, sent.answer_from, language=sent.language))


async def _view(tx: Tx, agent: Agent, row: Row | None) -> PolicyView:
    policy = policy_of(row)
    return PolicyView(
        **_saved(row),
        text=policy.text,
        policy=policy.as_dict(),
        warnings=await _warnings(tx, policy),
        may_save=agent.role == "owner",
    )


def _saved(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"version": 0, "note": "", "agent": None, "created_at": None}
    by = PersonView(id=UUID(str(row["agent_id"])), name=row["agent_name"]) if row["agent_name"] else None
    return {"version": row["version"], "note": row["note"], "agent": by, "created_at": row["created_at"]}


async def _warnings(tx: Tx, policy: Policy) -> list[MistakeView]:
    told = sorted([*policy.warnings, *await unknown_names(tx, policy)], key=lambda mistake: mistake.line)
    return [MistakeView(line=mistake.line, message=mistake.message) for mistake in told]
