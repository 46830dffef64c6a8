"""`duomo improve`: from what people labelled to the next model, or just to samples."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duomo.cli.learning import _need_train as need_training
from duomo.cli.service import _workspace as open_workspace
from duomo.errors import Unavailable

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.store.postgres import Row


def improve(given: argparse.Namespace) -> None:
    """Train on what people labelled, compare with the active model, promote if nothing that matters got worse."""
    asyncio.run(_export(given) if given.export else _improve(given))


async def _export(given: argparse.Namespace) -> None:
    from duomo.store.blobs import Blobs
    from duomo.support.export_samples import export
    from duomo.support.policy import load_policy

    async with open_workspace(given) as (db, workspace, settings):
        async with db.transaction(workspace.id) as tx:
            policy = await load_policy(tx)
        blobs = Blobs(settings.home / "media")
        found = await export(db, blobs, workspace.id, given.export.resolve(), learning=policy.learning)
    if given.json:
        print(json.dumps({"folder": str(found.folder), "counts": found.counts}))
        return
    print(f"{found.folder}: {_counted(found.counts)}")


async def _improve(given: argparse.Namespace) -> None:
    from duomo.store.blobs import Blobs
    from duomo.support import improve as improving

    need_training()
    async with open_workspace(given) as (db, workspace, settings):
        async with db.transaction(workspace.id) as tx:
            begun = await improving.start(tx, workspace.id, by="command")
        row = await improving.run(
            db, Blobs(settings.home / "media"), settings.home, workspace.id, str(begun["id"]), say=_say
        )
        folder = improving.folder_of(settings.home, workspace.id, str(row["id"]))
    if given.json:
        print(json.dumps(_plain(row), ensure_ascii=False, default=str))
    else:
        _tell(row, folder / "report.html")
    if row["state"] == "failed":
        raise Unavailable(row["verdict"])


def _tell(row: Row, report: Path) -> None:
    if counts := row["counts"]:
        print(_counted(counts))
    for gate in row["gates"] or []:
        print(f"  {'ok  ' if gate['passed'] else 'FAIL'} {gate['gate']:<14}{gate['why']}")
    print(f"{row['state'].replace('_', ' ')}: {row['verdict']}")
    if row["state"] == "refused":
        print("An owner may promote it in writing, in the console under Models.")
    if report.is_file():
        print(f"report: {report}")


def _plain(row: Row) -> dict[str, Any]:
    names = ("id", "state", "counts", "base_id", "model_id", "fingerprint", "comparison", "gates", "verdict")
    return {name: row[name] for name in (*names, "created_at", "finished_at")}


def _counted(counts: Mapping[str, Any]) -> str:
    left = ", ".join(f"{n} by {why}" for why, n in counts["left_out"].items())
    return (
        f"{counts['turns']} turns: {counts['train']} labelled, {counts['unlabelled']} not, {counts['held_out']} held "
        f"out ({counts['held_out_labelled']} labelled); {counts['pictures']} pictures, {counts['sounds']} voice notes"
        + (f"; messages left out: {left}" if left else "")
    )


def _say(text: str) -> None:
    print(f"duomo: {text}", file=sys.stderr, flush=True)


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    command = add(improve, common)
    command.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")
    command.add_argument("--export", type=Path, metavar="DIR", help="write the samples there, and train nothing")
    command.add_argument("--json", action="store_true")
