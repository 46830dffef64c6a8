"""Which trained models a workspace has, and which of them answers.

A model is an exported folder, copied below HOME/models so that nobody changes it any more; its identity is the
fingerprint of its manifest, which holds the hashes of its files. A deployment gives a model a role: `active` answers,
`canary` answers a share of the conversations, `shadow` only listens. Roles change in one transaction, one change after
the other, and the database holds at most one model of a role: whatever is killed, one model is active.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from duomo.errors import Conflict, InputError, ModelUnavailable, NotFound
from duomo.models.encoders import Encoders
from duomo.models.manifest import Manifest, sha256
from duomo.models.understanding import load
from duomo.store.postgres import Database, Row, Tx

Role = Literal["active", "canary", "shadow"]
Origin = Literal["shipped", "folder", "improve"]
By = Literal["agent", "improve", "rollout", "rollback"]

MANIFEST = "manifest.json"


def folder_of(home: Path, workspace_id: str, fingerprint: str) -> Path:
    """Where a registered model lies."""
    return home / "models" / str(workspace_id) / fingerprint


async def register(
    db: Database,
    home: Path,
    workspace_id: str,
    folder: Path,
    *,
    origin: Origin,
    name: str,
    samples: Path | None = None,
    reference: Mapping[str, Any] | None = None,
    agent_id: str | None = None,
) -> Row:
    """Take a model over; one that is there already is found again.

    Args:
        folder: what `duomo export --onnx` wrote, or a model's folder that has it as `onnx/`.
        samples: the samples.jsonl that it was trained from, for the next training to begin with.
        reference: what is usual in its training rows, for drift.
    Returns:
        Its row of `models`.
    Raises:
        ModelUnavailable, ConfigError: it does not open; says why.
        InputError: it was not exported.
    """
    source = _exported(folder)
    await asyncio.to_thread(_try, source)  # it shall not fail in a conversation
    fingerprint = await asyncio.to_thread(_copy, source, home, workspace_id)
    manifest = Manifest.read(folder_of(home, workspace_id, fingerprint) / MANIFEST)
    async with db.transaction(workspace_id) as tx:
        row = await tx.one(
            "insert_model", fingerprint=fingerprint, name=name, origin=origin, manifest=manifest.as_dict(),
            samples=None if samples is None else _absolute(samples), agent_id=agent_id,
            reference=None if reference is None else dict(reference),
        )  # fmt: skip
    assert row is not None
    return row


async def current(tx: Tx) -> dict[Role, Row]:
    """By role: its deployment and model as one row; a role nobody has is absent."""
    return {row["role"]: row for row in await tx.all("models_now")}


async def deploy(
    tx: Tx,
    model_id: str,
    role: Role,
    *,
    share: float | None = None,
    by: By,
    agent_id: str | None = None,
    reason: str = "",
) -> Row:
    """Give a model a role; who had it loses it, and a model that becomes active leaves its other roles.

    Args:
        share: of the conversations, (0, 1]; of a canary only.
    Raises:
        NotFound: no such model in this workspace.
        InputError: a share where none belongs, or none where one does.
        Conflict: the active model would become something less; activate another one instead.
    """
    if (role == "canary") != (share is not None) or not (share is None or 0 < share <= 1):
        raise InputError(f"a canary takes a share above 0 and up to 1, other roles none; came {role} with {share}.")
    await tx.one("lock_models")
    if await tx.one("model", id=model_id) is None:
        raise NotFound("there is no such model in this workspace.")
    for other, now in (await current(tx)).items():
        same = str(now["id"]) == str(model_id)
        if same and other == "active" and role != "active":
            raise Conflict("this model is the active one. Activate another, then give this one the role.")
        if other != role and same and by == "rollback":  # not what is taken back: what answers again leaves its trial
            await tx.run("end_deployment", role=other, by="rollout", reason="")
        elif same or other == role:
            await tx.run("end_deployment", role=other, by=by, reason=reason)
    row = await tx.one(
        "begin_deployment", model_id=model_id, role=role, share=share, by=by, agent_id=agent_id, reason=reason
    )
    assert row is not None
    return row


async def retire(tx: Tx, role: Role, *, by: By, reason: str = "") -> bool:
    """Take a role from whoever has it. Without an active model conversations go on as before there was one."""
    await tx.one("lock_models")
    return bool(await tx.run("end_deployment", role=role, by=by, reason=reason))


async def history(tx: Tx, *, limit: int = 200) -> list[Row]:
    """Every deployment, newest first."""
    return await tx.all("deployments", limit=limit)


def _absolute(path: Path) -> str:
    return str(path.resolve())


def _try(folder: Path) -> None:
    """Check every hash, open every graph, and find every encoder."""
    Encoders.for_views(load(folder).views)


def _exported(folder: Path) -> Path:
    for candidate in (folder, folder / "onnx"):
        if (candidate / MANIFEST).is_file():
            return candidate
    if (folder / "model.json").is_file():
        raise InputError(f"{folder} is trained but not exported. Run `duomo export {folder} --onnx` first.")
    raise InputError(f"{folder} holds no {MANIFEST}. Name the folder that `duomo export --onnx` wrote.")


def _copy(source: Path, home: Path, workspace_id: str) -> str:
    """Copy what the manifest names; the folder appears whole or not at all. A copy that was damaged is replaced."""
    manifest = Manifest.read(source / MANIFEST)
    fingerprint = sha256(source / MANIFEST)
    target = folder_of(home, workspace_id, fingerprint)
    if _is_whole(target, fingerprint):
        return fingerprint
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    damaged = fresh.with_name(fresh.name.replace("new", "damaged"))
    try:
        for name in (MANIFEST, *manifest.files):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, fresh / name)
            _sync(fresh / name)
        manifest.check(fresh)
        _sync(fresh)
        if target.is_dir() and not _is_whole(target, fingerprint):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.rename(target, damaged)
        try:
            os.rename(fresh, target)
        except OSError:
            if not target.is_dir():  # another process was faster with the same model
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(damaged, ignore_errors=True)
    _sync(target.parent)
    return fingerprint


def _is_whole(copy: Path, fingerprint: str) -> bool:
    try:
        if sha256(copy / MANIFEST) == fingerprint:
            Manifest.read(copy / MANIFEST).check(copy)
            return True
    except (OSError, ModelUnavailable):
        pass
    return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
