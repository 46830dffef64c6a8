"""Runs that make the next model over REST: beginning one, reading it, and an owner's word."""

from __future__ import annotations

import uuid
from pathlib import Path

from duomo.store.postgres import Database, Workspace
from duomo.support import improve, registry
from tests.server.conftest import Person
from tests.server.test_models import owner  # noqa: F401 - a fixture
from tests.support.live import new_model, roles, use

GATES = [
    {"gate": "accuracy", "passed": True, "why": "intent: 0.91, before 0.90", "figures": {"n": 200}},
    {"gate": "slice", "passed": False, "why": "intent, invoice: lost 0.20", "figures": {"n": 40}},
]


async def refused(db: Database, workspace: Workspace, model_id: str) -> str:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(
            "INSERT INTO improvements (state, model_id, verdict, gates, finished_at) "
            "VALUES ('refused', %s, 'intent, invoice: lost 0.20', %s, now()) RETURNING id",
            (model_id, GATES),
        )
        return str((await cursor.fetchone() or {})["id"])


async def test_a_run_is_begun_once_and_shows_how_far_it_is(agent: Person, home: Path, workspace: Workspace) -> None:
    begun = await agent.post("improvements")
    assert begun.status_code == 202, begun.text
    run = begun.json()
    assert (run["state"], run["began_by"], run["agent"], run["progress"]) == ("queued", "agent", "Lin", None)
    assert (await agent.post("improvements")).json()["id"] == run["id"]
    folder = improve.folder_of(home, workspace.id, run["id"])
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text('{"stage": "training", "detail": "late"}')
    (listed,) = (await agent.get("improvements")).json()
    assert listed["progress"] == {"stage": "training", "detail": "late"}
    assert (await agent.get(f"improvements/{uuid.uuid4()}")).status_code == 404


async def test_the_report_may_not_act_as_who_reads_it(agent: Person, home: Path, workspace: Workspace) -> None:
    run = (await agent.post("improvements")).json()["id"]
    assert (await agent.get(f"improvements/{run}/report")).status_code == 404
    folder = improve.folder_of(home, workspace.id, run)
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<h1>Report</h1>")
    shown = await agent.get(f"improvements/{run}/report")
    assert (shown.status_code, shown.text, shown.headers["content-type"]) == (
        200, "<h1>Report</h1>", "text/html; charset=utf-8",
    )  # fmt: skip
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy


async def test_a_run_of_another_workspace_is_not_there(agent: Person, db: Database, home: Path) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    run = await refused(db, other, await new_model(db, other, "theirs"))
    for path in (f"improvements/{run}", f"improvements/{run}/report"):
        assert (await agent.get(path)).status_code == 404


async def test_an_owner_promotes_what_a_gate_refused_in_writing(
    owner: Person,  # noqa: F811
    agent: Person,
    db: Database,
    workspace: Workspace,
) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    run = await refused(db, workspace, new)
    shown = (await agent.get(f"improvements/{run}")).json()
    assert [(gate["gate"], gate["passed"]) for gate in shown["gates"]] == [("accuracy", True), ("slice", False)]
    words = {"words": "invoices go to another team from Monday on"}
    assert (await agent.post(f"improvements/{run}/decide", words)).status_code == 403
    assert (await owner.post(f"improvements/{run}/decide", {"words": "ok"})).status_code == 422
    decided = await owner.post(f"improvements/{run}/decide", words)
    assert (decided.status_code, decided.json()["state"], decided.json()["verdict"]) == (
        200,
        "promoted",
        words["words"],
    )
    assert await roles(db, workspace) == {"active": "old", "shadow": "new"}
    async with db.transaction(workspace.id) as tx:
        assert (await registry.history(tx))[0]["agent_name"] == "Ou"
    assert (await owner.post(f"improvements/{run}/decide", words)).status_code == 409
