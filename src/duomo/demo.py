"""The demo workspace: an imaginary electronics shop with its articles, its agents and its scripted customers."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from duomo.knowledge.ingest import Models, Report, ingest
from duomo.knowledge.sources import sources_from_paths
from duomo.models.manifest import sha256
from duomo.server.auth import save_agent
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.support import registry
from duomo.support.policy import load_policy, save_policy

SCENARIO = Path(str(resources.files("duomo"))) / "scenarios" / "customer_service"
UNDERSTANDING = SCENARIO / "understanding"
NAME = "demo"
EMAIL = "owner@lanting.example"
SECOND_EMAIL = "agent@lanting.example"  # to see what two agents see of each other; the same password
_SIGN_IN = "demo-sign-in.json"


@dataclass(frozen=True)
class SignIn:
    """How to enter the console; kept in the home directory, readable by its owner only."""

    workspace: str
    email: str
    password: str


def kept_sign_in(home: Path) -> SignIn | None:
    """How to enter the console of the demo that was loaded into `home`, if one was."""
    file = home / _SIGN_IN
    return SignIn(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


async def prepare(db: Database, home: Path) -> SignIn:
    """Make the workspace with its settings, canned replies and agents, where that has not been done."""
    described = json.loads((SCENARIO / "workspace.json").read_text(encoding="utf-8"))
    settings = {key: described[key] for key in ("title", "greeting", "languages", "suggestions")}
    intents = json.loads((UNDERSTANDING / "intents.json").read_text(encoding="utf-8"))
    settings |= {"bot_name": described["bot"]["label"], "intents": [one for one in intents if not one["hidden"]]}
    workspace = await db.create_workspace(NAME, settings)
    async with db.transaction(workspace.id) as tx:
        if not (await load_policy(tx)).version:
            text = (SCENARIO / "policy.yaml").read_text(encoding="utf-8")
            await save_policy(tx, text, note="shipped with Duomo")
        if not await tx.all("canned_replies"):
            for reply in json.loads((SCENARIO / "canned_replies.json").read_text(encoding="utf-8")):
                title = " · ".join(reply["title"].values())
                await tx.run(
                    "upsert_canned_reply", id=uuid.uuid4(), shortcut=reply["shortcut"], title=title, text=reply["text"]
                )
    await _activate(db, workspace, home)
    return await _sign_in(db, workspace, home)


async def _activate(db: Database, workspace: Workspace, home: Path) -> None:
    """Let the shipped model answer, unless somebody chose another one, or took this one out of use."""
    if workspace.settings.get("shipped_model") == sha256(UNDERSTANDING / "model" / registry.MANIFEST):
        return
    row = await registry.register(
        db, home, workspace.id, UNDERSTANDING / "model",
        origin="shipped", name="Lanting", samples=UNDERSTANDING / "samples.jsonl.gz",
    )  # fmt: skip
    async with db.transaction(workspace.id) as tx:
        active = (await registry.current(tx)).get("active")
        if active is None or active["origin"] == "shipped":
            await registry.deploy(tx, str(row["id"]), "active", by="agent", reason="shipped with Duomo")
        await tx.run("update_workspace_settings", id=workspace.id, settings={"shipped_model": row["fingerprint"]})


async def _sign_in(db: Database, workspace: Workspace, home: Path) -> SignIn:
    file = home / _SIGN_IN
    async with db.transaction(workspace.id) as tx:
        known = {agent["email"] for agent in await tx.all("agents")}
    if EMAIL in known and (kept := kept_sign_in(home)):
        return kept
    sign_in = SignIn(workspace.name, EMAIL, secrets.token_urlsafe(9))
    async with db.transaction(workspace.id) as tx:
        await save_agent(tx, email=EMAIL, name="Mei", password=sign_in.password, role="owner")
        await save_agent(tx, email=SECOND_EMAIL, name="Tom", password=sign_in.password)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(sign_in.__dict__, stream)
    return sign_in


async def load_articles(
    db: Database,
    workspace: Workspace,
    *,
    models: Models,
    blobs: Blobs,
    progress: Callable[[Report], Awaitable[None]] | None = None,
) -> Report:
    """Read the shop's articles; those that are stored already cost nothing."""
    sources = sources_from_paths([SCENARIO / "articles"])
    report = await ingest(db, workspace.id, sources, models=models, blobs=blobs, progress=progress)
    async with db.transaction(workspace.id) as tx:
        await tx.run("update_workspace_settings", id=workspace.id, settings={"demo_content": _content()})
    return report


def is_loaded(workspace: Workspace) -> bool:
    """Whether the articles of this version were read to the end; asked at every start, so no model is loaded for it."""
    return workspace.settings.get("demo_content") == _content()


def _content() -> str:
    digest = hashlib.sha256()
    for file in sorted((SCENARIO / "articles").rglob("*")):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
