"""Which models there are and which one answers, how those on trial do, drift, and alarms."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field

from duomo.errors import ConfigError, Denied, DuomoError, InputError, ModelUnavailable, NotFound, Unavailable
from duomo.server.auth import Agent, AgentDep
from duomo.server.docs import form
from duomo.server.incoming import parse
from duomo.server.shapes import MAX_NAME, Name
from duomo.server.site import Site, SiteDep
from duomo.server.uploads import multipart
from duomo.store.postgres import Row, Tx
from duomo.support import alarms, model_archive, registry, rollout
from duomo.support.policy import load_policy

router = APIRouter(prefix="/agent", tags=["agent"])

_PATIENCE_S = 120.0  # for a worker to open a model
_LISTED = 200
_WINDOWS = 60  # of drift, a subject
_ERRORS: dict[str, type[DuomoError]] = {kind.code: kind for kind in (ConfigError, ModelUnavailable)}

Role = Literal["active", "canary", "shadow"]
Reason = Annotated[
    str, Field(min_length=1, max_length=1_000), AfterValidator(lambda text: text.replace("\x00", "").strip())
]


class ReachedView(BaseModel):
    """What a head reached when it was trained."""

    name: str
    type: str
    labels: int
    measure: str | None
    reached: float | None  # on rows that nothing was decided by, or out of fold
    rows: int | None


class RegisteredView(BaseModel):
    id: UUID
    fingerprint: str
    name: str
    origin: Literal["shipped", "folder", "improve"]
    roles: list[Role]
    taken_back: bool  # for what it did in conversations
    modalities: list[str]
    heads: list[ReachedView]
    duomo: str
    agent: str | None
    created_at: datetime


class DeployedView(BaseModel):
    """Who has a role, and how it does there."""

    model_id: UUID
    share: float | None
    began_at: datetime
    began_by: str
    reason: str
    trial: dict[str, Any] | None


class ModelsView(BaseModel):
    models: list[RegisteredView]
    roles: dict[Role, DeployedView]
    rollout: dict[str, Any]  # what the policy says of it


class PeriodView(BaseModel):
    """One line of the history: a model had a role from when to when."""

    id: UUID
    model_id: UUID
    name: str
    fingerprint: str
    role: Role
    share: float | None
    began_at: datetime
    began_by: str
    agent: str | None
    reason: str
    ended_at: datetime | None
    ended_by: str | None
    ended_reason: str | None


class DeployRequest(BaseModel):
    role: Role
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    reason: Reason


class RollbackRequest(BaseModel):
    reason: Reason


class RetireRequest(BaseModel):
    role: Role
    reason: Reason


class UploadRequest(BaseModel):
    name: Annotated[Name, Field(max_length=MAX_NAME)] = ""


class AlarmView(BaseModel):
    id: UUID
    kind: str
    subject: str
    data: dict[str, Any]
    created_at: datetime
    cleared_at: datetime | None
    agent: str | None  # who has seen it; none: it was over by itself


class WindowView(BaseModel):
    upto: int
    figures: dict[str, Any]
    drifted: bool
    created_at: datetime


class DriftView(BaseModel):
    window: int
    subjects: dict[str, list[WindowView]]


# Models -----------------------------------------------------------------------------------------------------------


@router.get("/models")
async def list_models(site: SiteDep, agent: AgentDep) -> ModelsView:
    """Every model with what it reached in training; who has which role, and how those on trial do right now."""
    async with site.db.transaction(agent.workspace.id) as tx:
        policy = await load_policy(tx)
        rows = await tx.all("models", limit=_LISTED)
        now = await registry.current(tx)
        trials = await rollout.trials(tx, policy.rollout)
        models = [await _registered(tx, row) for row in rows]
    roles = {
        role: DeployedView(
            model_id=row["id"],
            share=row["share"],
            began_at=row["began_at"],
            began_by=row["began_by"],
            reason=row["reason"],
            trial=trials[role].as_dict() if role in trials else None,
        )
        for role, row in now.items()
    }
    wanted = policy.rollout
    said = {
        "shadow_turns": wanted.shadow_turns,
        "canary_share": wanted.canary_share,
        "canary_turns": wanted.canary_turns,
    }
    return ModelsView(models=models, roles=roles, rollout=said)


@router.get("/models/history")
async def show_history(site: SiteDep, agent: AgentDep) -> list[PeriodView]:
    """Which model had which role from when to when, by whom and why; newest first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        rows = await registry.history(tx, limit=_LISTED)
    return [PeriodView.model_validate(row | {"agent": row["agent_name"]}) for row in rows]


@router.post("/models/{model_id}/deploy")
async def deploy_model(site: SiteDep, agent: AgentDep, model_id: UUID, sent: DeployRequest) -> ModelsView:
    """Give a model a role. Owners only; the reason is kept with it."""
    must_own(agent)
    async with site.db.transaction(agent.workspace.id) as tx:
        share = sent.share
        if sent.role == "canary" and share is None:
            share = (await load_policy(tx)).rollout.canary_share
        await registry.deploy(
            tx, str(model_id), sent.role, share=share, by="agent", agent_id=agent.id, reason=sent.reason
        )
    return await list_models(site, agent)


@router.post("/models/rollback")
async def roll_back(site: SiteDep, agent: AgentDep, sent: RollbackRequest) -> ModelsView:
    """The former model is active again, and the one that was does not come back by itself. Owners only."""
    must_own(agent)
    async with site.db.transaction(agent.workspace.id) as tx:
        await rollout.roll_back(tx, agent_id=agent.id, reason=sent.reason)
    return await list_models(site, agent)


@router.post("/models/retire")
async def retire_model(site: SiteDep, agent: AgentDep, sent: RetireRequest) -> ModelsView:
    """Take a role from whoever has it. Owners only. Without an active model conversations go on as without a model."""
    must_own(agent)
    async with site.db.transaction(agent.workspace.id) as tx:
        if not await registry.retire(tx, sent.role, by="agent", reason=sent.reason):
            raise NotFound(f"no model is {sent.role}.")
    return await list_models(site, agent)


@router.post("/models", status_code=201, openapi_extra=form(name="text", file="file"))
async def upload_model(request: Request, site: SiteDep, agent: AgentDep) -> RegisteredView:
    """Register an exported model that comes as a zip archive; it gets no role by that. Owners only."""
    must_own(agent)
    folder = site.incoming / f"model-{uuid.uuid4().hex}"
    async with multipart(
        request, folder=site.incoming, max_files=1, max_bytes=model_archive.MAX_BYTES, max_field=4 * MAX_NAME
    ) as body:
        sent = parse(UploadRequest, {name: value for name, value in body.fields.items() if value != ""})
        if not body.files:
            raise InputError("there is no file in the form. Add the zip archive of an exported model as `file`.")
        (upload,) = body.files
        name = sent.name.strip() or upload.name.removesuffix(".zip")
        try:
            async with site.storing:
                upload.file.seek(0)
                await asyncio.to_thread(model_archive.unpack, upload.file, folder)
            row = await _taken_over(site, agent, {"folder": folder.name, "name": name, "agent_id": agent.id})
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
    if row["error"]:
        raise _ERRORS.get(row["error"]["code"], InputError)(row["error"]["message"], code=row["error"]["code"])
    async with site.db.transaction(agent.workspace.id) as tx:
        found = [model for model in await tx.all("models", limit=_LISTED) if str(model["id"]) == row["answer"]["id"]]
        return await _registered(tx, found[0])


async def _taken_over(site: Site, agent: Agent, query: dict[str, Any]) -> Row:
    async with site.db.transaction(agent.workspace.id) as tx:
        question_id = str(await tx.value("insert_question", kind="model", asked=query))
        args = {"workspace_id": agent.workspace.id, "question_id": question_id}
        await tx.defer("take_model", queue="turns", args=args)
    end = time.monotonic() + _PATIENCE_S
    async with site.bus.conversation(question_id) as wake:
        with site.streaming(wake, who=agent.id):
            while not site.closing and time.monotonic() < end:
                async with site.db.transaction(agent.workspace.id) as tx:
                    row = await tx.one("question", id=question_id)
                if row is None or row["answer"] is not None or row["error"] is not None:
                    break
                await wake.wait(min(5.0, max(0.0, end - time.monotonic())))
            else:
                row = None
    async with site.db.transaction(agent.workspace.id) as tx:
        await tx.run("delete_question", id=question_id)
    if row is None:
        raise Unavailable(f"no worker took the model within {_PATIENCE_S:.0f} s. Is one running?")
    return row


def must_own(agent: Agent) -> None:
    """
    Raises:
        Denied: an agent who is not the owner.
    """
    if agent.role != "owner":
        raise Denied("only an owner decides which model answers. Ask one.")


async def _registered(tx: Tx, row: Row) -> RegisteredView:
    manifest = row["manifest"]
    reached = manifest.get("metrics", {})
    return RegisteredView(
        **{name: row[name] for name in ("id", "fingerprint", "name", "origin", "created_at")},
        roles=row["roles"] or [],
        taken_back=await rollout.taken_back(tx, row["id"]),
        modalities=list(manifest.get("modalities", ())),
        heads=[_head(name, head, reached.get(name, {})) for name, head in manifest.get("heads", {}).items()],
        duomo=str(manifest.get("duomo", "")),
        agent=row["agent_name"],
    )


def _head(name: str, head: dict[str, Any], reached: dict[str, Any]) -> ReachedView:
    untouched = "untouched" in reached
    return ReachedView(
        name=name,
        type=head["type"],
        labels=len(head["labels"]),
        measure=reached.get("measure"),
        reached=reached.get("untouched" if untouched else "out_of_fold"),
        rows=reached.get("untouched_rows" if untouched else "rows"),
    )


# Drift and alarms -------------------------------------------------------------------------------------------------


@router.get("/drift")
async def show_drift(site: SiteDep, agent: AgentDep) -> DriftView:
    """How far the active model's latest turns were from what is usual for it: by modality, confidence, out of scope."""
    async with site.db.transaction(agent.workspace.id) as tx:
        window = (await load_policy(tx)).drift.window
        rows = await tx.all("drift_history", limit=_WINDOWS)
    subjects: dict[str, list[WindowView]] = {}
    for row in rows:
        subjects.setdefault(row["subject"], []).append(WindowView.model_validate(row))
    return DriftView(window=window, subjects=subjects)


@router.get("/alarms")
async def list_alarms(site: SiteDep, agent: AgentDep) -> list[AlarmView]:
    """What somebody should look at: open ones first."""
    async with site.db.transaction(agent.workspace.id) as tx:
        return [_alarm(row) for row in await alarms.alarms(tx)]


@router.post("/alarms/{alarm_id}/clear")
async def clear_alarm(site: SiteDep, agent: AgentDep, alarm_id: UUID) -> list[AlarmView]:
    """Say that it was seen. It comes again only after it was over once."""
    async with site.db.transaction(agent.workspace.id) as tx:
        await alarms.clear_alarm(tx, str(alarm_id), agent_id=agent.id)
        return [_alarm(row) for row in await alarms.alarms(tx)]


def _alarm(row: Row) -> AlarmView:
    return AlarmView.model_validate(row | {"agent": row["agent_name"]})
