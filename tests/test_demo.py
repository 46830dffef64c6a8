"""The demo workspace comes with a policy and a trained model, and respects what somebody chose instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from duomo import demo
from duomo.store.postgres import Database
from duomo.support import registry
from duomo.support.policy import load_policy, save_policy
from tests.conftest import reachable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return reachable(tmp_path)


async def roles(db: Database) -> dict[str, tuple[str, str]]:
    workspace = await db.workspace(demo.NAME)
    async with db.transaction(workspace.id) as tx:
        return {role: (row["origin"], row["name"]) for role, row in (await registry.current(tx)).items()}


async def test_the_shipped_model_and_policy_hold_from_the_start_until_somebody_chooses_others(
    db: Database, folder: Path
) -> None:
    await demo.prepare(db, folder)
    assert await roles(db) == {"active": ("shipped", "Lanting")}
    workspace = await db.workspace(demo.NAME)
    async with db.transaction(workspace.id) as tx:
        policy, row = await load_policy(tx), (await registry.current(tx))["active"]
    assert (policy.version, sorted(policy.teams)) == (1, ["billing", "orders", "repair", "returns", "technical"])
    kept = registry.folder_of(folder, workspace.id, row["fingerprint"])
    assert {file.name for file in kept.iterdir()} >= {"manifest.json", "model.onnx"}
    assert Path(row["samples"]).is_file()

    async with db.transaction(workspace.id) as tx:  # what somebody chose instead stays, whatever starts again
        saved = await save_policy(tx, policy.text + "\n# ours\n")
        await registry.retire(tx, "active", by="agent", reason="not yet")
    await demo.prepare(db, folder)
    assert await roles(db) == {}
    async with db.transaction(workspace.id) as tx:
        assert (await load_policy(tx)).version == saved.version
