"""`duomo model`: which trained models a workspace has, and which one answers."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duomo.cli.service import _workspace as open_workspace
from duomo.errors import InputError, NotFound

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.settings import Settings
    from duomo.store.postgres import Database, Row, Tx, Workspace
    from duomo.support.registry import Role


def model(given: argparse.Namespace) -> None:
    """Activate a trained model, list them, try one on a share of the conversations, go back, see history and drift."""
    asyncio.run(_run(given))


async def _run(given: argparse.Namespace) -> None:
    async with open_workspace(given) as (db, workspace, settings):
        said, lines = await _ACTIONS[given.action](given, db, workspace, settings)
    if given.json:
        print(json.dumps(said, ensure_ascii=False, default=str))
        return
    for line in lines:
        print(line)


Said = tuple[Any, list[str]]
"""What `--json` prints, and the lines otherwise."""


async def _activate(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    from duomo.support import registry

    if given.model is None:
        raise InputError("name the folder of an exported model, or a model of `duomo model list`.")
    folder, name = Path(given.model), given.name
    origin: registry.Origin = "folder"
    if not folder.exists():  # noqa: ASYNC240 - nobody else waits here
        if "/" in given.model or given.model.startswith("."):
            raise InputError(f"there is no folder {given.model}.")
        async with db.transaction(workspace.id) as tx:
            known = await _find(tx, given.model)
        folder = registry.folder_of(settings.home, workspace.id, known["fingerprint"])
        origin, name = known["origin"], known["name"]
    row: Row = await registry.register(
        db, settings.home, workspace.id, folder, origin=origin, name=name or _name_of(folder),
        samples=_samples(given.samples, folder, settings.home, workspace),
    )  # fmt: skip
    said, teaches = _plain(row) | {"samples": row["samples"]}, _teaches(row)
    async with db.transaction(workspace.id) as tx:
        now = (await registry.current(tx)).get("active")
        if now is not None and now["id"] == row["id"]:
            return said, [f"{row['name']} ({_short(row)}) is active already", teaches]
        await registry.deploy(tx, str(row["id"]), "active", by="agent", reason=given.reason)
    heads = row["manifest"].get("heads", {})
    reads = ", ".join(row["manifest"].get("modalities", ()))
    says = ", ".join(f"{name} ({len(head['labels'])})" for name, head in heads.items())
    return said, [f"active: {row['name']} ({_short(row)}), reads {reads}, says {says}", teaches]


def _samples(path: Path | None, folder: Path, home: Path, workspace: Workspace) -> Path | None:
    """What a model was trained from, copied to where the workers find it.

    Raises:
        InputError: it cannot be read, or teaches nothing that the model says.
    """
    if path is None:
        return None
    from duomo.learn.samples import keep_samples, read_rows
    from duomo.learn.task import Head
    from duomo.models.understanding import load

    manifest = load(folder).manifest
    assert manifest is not None
    heads = [Head(head.name, head.type) for head in manifest.heads.values()]
    rows = read_rows(path, heads=heads, group=manifest.task.get("group", "group"))
    samples = [row.sample for row in rows if row.split in (None, "train")]
    if not any(sample.labels.get(head.name) is not None for sample in samples for head in heads):
        says = ", ".join(manifest.heads)
        raise InputError(
            f"{path} holds no training sample with a label of {says}. Name what the model was trained from."
        )
    return keep_samples(samples, home / "samples" / str(workspace.id))


def _teaches(row: Row) -> str:
    if row["samples"]:
        return f"duomo improve begins with {row['samples']}"
    return (
        "duomo improve will learn from conversations alone. Let it begin with what this model was trained from: "
        f"duomo model activate {_short(row)} --samples FILE"
    )


async def _list(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    async with db.transaction(workspace.id) as tx:
        rows = await tx.all("models", limit=200)
    lines = [
        f"{_short(row)}  {row['created_at']:%Y-%m-%d %H:%M}  {row['origin']:<8} "
        f"{','.join(row['roles'] or []) or '-':<8} {row['name']}"
        for row in rows
    ]
    said = [_plain(row) | {"roles": row["roles"] or []} for row in rows]
    return said, lines or ["there are no models. Activate one: duomo model activate FOLDER"]


async def _deploy(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    from duomo.support import registry
    from duomo.support.policy import load_policy

    if given.model is None or given.role is None:
        raise InputError("say which: duomo model deploy MODEL --role active|canary|shadow [--share 0.1].")
    async with db.transaction(workspace.id) as tx:
        row = await _find(tx, given.model)
        share = given.share
        if given.role == "canary" and share is None:
            share = (await load_policy(tx)).rollout.canary_share
        await registry.deploy(tx, str(row["id"]), given.role, share=share, by="agent", reason=given.reason)
    of = f" for {share:.0%} of the conversations" if share else ""
    return _plain(row) | {"role": given.role, "share": share}, [f"{given.role}: {row['name']} ({_short(row)}){of}"]


async def _retire(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    from duomo.support import registry

    role: Role | None = given.role
    if role is None:
        raise InputError("say which: duomo model retire --role active|canary|shadow.")
    async with db.transaction(workspace.id) as tx:
        if not await registry.retire(tx, role, by="agent", reason=given.reason):
            raise NotFound(f"no model is {role}.")
    return {"role": role}, [f"no model is {role} any more"]


async def _rollback(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    from duomo.support.rollout import roll_back

    async with db.transaction(workspace.id) as tx:
        row = await roll_back(tx, agent_id=None, reason=given.reason or "by command")
    return {"id": row["model_id"], "name": row["name"]}, [f"active again: {row['name']} ({_short(row)})"]


async def _history(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    from duomo.support import registry

    async with db.transaction(workspace.id) as tx:
        rows = await registry.history(tx)
    lines = []
    for row in rows:
        until = f"{row['ended_at']:%Y-%m-%d %H:%M}" if row["ended_at"] else "now"
        why = "; ".join(filter(None, (row["reason"], row["ended_reason"] and f"until: {row['ended_reason']}")))
        lines.append(
            f"{row['began_at']:%Y-%m-%d %H:%M} – {until:<16}  {row['role']:<6} {row['name']} ({_short(row)}) "
            f"by {row['agent_name'] or row['began_by']}{f'  {why}' if why else ''}"
        )
    return rows, lines or ["no model was ever used"]


async def _drift(given: argparse.Namespace, db: Database, workspace: Workspace, settings: Settings) -> Said:
    async with db.transaction(workspace.id) as tx:
        rows = await tx.all("drift_history", limit=1)
        alarms = [row for row in await tx.all("alarms", limit=100) if row["cleared_at"] is None]
    lines = [
        f"{row['subject']:<13} {row['figures']['distance']:.3f} of {row['figures']['from']:.3f}, "
        f"p {row['figures']['p']:.4f}, {row['figures']['turns']} turns{'  DRIFTED' if row['drifted'] else ''}"
        for row in rows
    ]
    lines += [f"alarm since {row['created_at']:%Y-%m-%d %H:%M}: {row['kind']} {row['subject']}" for row in alarms]
    return {"windows": rows, "alarms": alarms}, lines or ["no window of turns is full yet"]


_ACTIONS: dict[str, Callable[[argparse.Namespace, Database, Workspace, Settings], Awaitable[Said]]] = {
    "activate": _activate, "list": _list, "deploy": _deploy, "retire": _retire, "rollback": _rollback,
    "history": _history, "drift": _drift,
}  # fmt: skip


async def _find(tx: Tx, wanted: str) -> Row:
    """The model of a name, an id or the first characters of a fingerprint.

    Raises:
        NotFound: none; says which there are.
        InputError: more than one.
    """
    rows = await tx.all("models", limit=1000)
    found = [row for row in rows if str(row["id"]) == wanted or row["fingerprint"].startswith(wanted.lower())]
    found = found or [row for row in rows if row["name"] == wanted]
    if len(found) > 1:
        raise InputError(f"{wanted!r} may be {', '.join(map(_short, found))}. Give more characters.")
    if not found:
        there = ", ".join(f"{row['name']} ({_short(row)})" for row in rows[:10]) or "none yet"
        raise NotFound(f"there is no folder and no model {wanted!r} (there are: {there}).")
    return found[0]


def _name_of(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name == "onnx" else folder.name


def _short(row: Row) -> str:
    return str(row["fingerprint"])[:12]


def _plain(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "fingerprint", "name", "origin", "created_at")}


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the command of this module."""
    command = add(model, common)
    command.add_argument("action", choices=list(_ACTIONS))
    command.add_argument("model", nargs="?", metavar="FOLDER|MODEL", help="an exported folder; a name or fingerprint")
    command.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")
    command.add_argument("--name", help="of a model that is taken over (default: the folder's)")
    command.add_argument(
        "--samples", type=Path, metavar="FILE", help="it was trained from; the next one begins with them"
    )
    command.add_argument("--role", choices=("active", "canary", "shadow"))
    command.add_argument("--share", type=float, metavar="0..1", help="of the conversations, of a canary")
    command.add_argument("--reason", default="", help="kept in the history")
    command.add_argument("--json", action="store_true")
