"""The next model, from labels to its first role, with the real training process and a real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from duomo import worker
from duomo.errors import Conflict, InputError, NotFound, StoreUnavailable
from duomo.learn.candidate import Job
from duomo.store.jobs import make_app
from duomo.store.postgres import Database, Row, Workspace
from duomo.support import improve, registry
from duomo.support.policy import Policy, save_policy
from duomo.support.policy_sections import Rollout
from tests.support import exported
from tests.support.conftest import Customer, new_agent
from tests.support.learning import contact_who_is, conversation_of, label, new_turn
from tests.support.live import new_model, use
from tests.support.shop_talk import SAID, questions

AT_ONCE = "rollout: {shadow_turns: 0, canary_turns: 0}\n"
TABLE = Policy.shipped().text.rstrip() + "\n"


async def labelled(
    db: Database, workspace: Workspace, count: int, *, apart: bool = False, skip: int = 0, shuffled: bool = False
) -> list[str]:
    """Labelled turns of every intent, each by a customer of its own; shuffled: with a label of another."""
    intents, ids = list(SAID), []
    for number, intent in enumerate(intents):
        for row, text in enumerate(questions(intent, skip + count)[skip:]):
            customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=apart))
            given = intents[(number + (1 + row % 3 if shuffled else 0)) % len(intents)]
            ids.append(await new_turn(customer, text, labels={"intent": given}))
    return ids


async def started(db: Database, workspace: Workspace) -> str:
    async with db.transaction(workspace.id) as tx:
        return str((await improve.start(tx, workspace.id, by="command"))["id"])


async def improved(db: Database, workspace: Workspace, blobs, home: Path):
    return await improve.run(db, blobs, home, workspace.id, await started(db, workspace))


async def roles(db: Database, workspace: Workspace) -> dict[str, str]:
    async with db.transaction(workspace.id) as tx:
        return {role: str(row["id"]) for role, row in (await registry.current(tx)).items()}


async def count(db: Database, workspace: Workspace, table: str) -> int:
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute(f"SELECT count(*) AS n FROM {table}")
        return int((await cursor.fetchone())["n"])


@pytest.mark.timeout(900)
async def test_labels_become_a_model_and_a_worse_one_is_refused_until_an_owner_says_otherwise(
    db, workspace, blobs, tmp_path
):
    # the first model, of what people labelled
    await labelled(db, workspace, 8)
    await labelled(db, workspace, 3, apart=True, skip=8)
    first = await improved(db, workspace, blobs, tmp_path)

    assert (first["state"], first["counts"]["train"], first["counts"]["held_out_labelled"]) == ("promoted", 32, 12)
    active = str(first["model_id"])
    assert await roles(db, workspace) == {"active": active}
    assert {gate["gate"]: gate["passed"] for gate in first["gates"]} == {
        "evidence": True, "labels": True, "guessing": True, "gain": True,
    }  # fmt: skip
    assert improve.report(tmp_path, workspace.id, str(first["id"])).read_text().startswith("<!doctype html>")
    left = {path.name for path in improve.folder_of(tmp_path, workspace.id, str(first["id"])).iterdir()}
    assert left == {"report.html", "result.json", "train.log", "lock"}

    # nothing was labelled since: no training
    again = await improved(db, workspace, blobs, tmp_path)
    assert (again["state"], again["model_id"]) == ("nothing_new", None)

    # many wrong labels
    await labelled(db, workspace, 14, skip=11, shuffled=True)
    await labelled(db, workspace, 4, apart=True, skip=11)
    refused = await improved(db, workspace, blobs, tmp_path)

    assert refused["state"] == "refused"
    assert "accuracy" in [gate["gate"] for gate in refused["gates"] if not gate["passed"]]
    assert refused["comparison"]["comparison"]["heads"]["intent"]["figures"]["accuracy"]["value"] < -0.1
    assert await roles(db, workspace) == {"active": active}
    async with db.transaction(workspace.id) as tx:
        [alarm] = await tx.all("alarms", limit=10)
    assert (alarm["kind"], alarm["data"]["improvement_id"]) == ("improve", str(refused["id"]))

    # an owner decides otherwise, in writing
    owner = await new_agent(db, workspace)
    async with db.transaction(workspace.id) as tx:
        with pytest.raises(InputError, match="write in a sentence"):
            await improve.decide(tx, str(refused["id"]), owner=owner, words="  ok ")
        with pytest.raises(Conflict, match="this one is promoted"):
            await improve.decide(tx, str(first["id"]), owner=owner, words="because I want to")
        with pytest.raises(NotFound):
            await improve.decide(tx, owner, owner=owner, words="because I want to")
    words = "The held-out labels are the wrong ones."
    async with db.transaction(workspace.id) as tx:
        decided = await improve.decide(tx, str(refused["id"]), owner=owner, words=words)
    assert (decided["state"], decided["verdict"], str(decided["agent_id"])) == ("promoted", words, owner)
    assert await roles(db, workspace) == {"active": active, "shadow": str(refused["model_id"])}
    async with db.transaction(workspace.id) as tx:
        newest = (await registry.history(tx))[0]
    assert (newest["reason"], newest["began_by"], str(newest["agent_id"])) == (words, "agent", owner)


async def test_nothing_labelled_is_nothing_new(db, workspace, blobs, tmp_path):
    row = await improved(db, workspace, blobs, tmp_path)

    assert (row["state"], row["verdict"]) == ("nothing_new", "nobody has labelled a turn that may teach.")


async def test_reports_of_runs_older_than_the_turns_they_show_go(db, workspace, blobs, tmp_path):
    for name, age in (("old", 366), ("recent", 364)):
        folder = improve.folder_of(tmp_path, workspace.id, name)
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("turns that were wrong")
        os.utime(folder, (time.time() - age * 86400,) * 2)

    row = await improved(db, workspace, blobs, tmp_path)

    left = {path.name for path in improve.folder_of(tmp_path, workspace.id, "old").parent.iterdir()}
    assert left == {"recent", str(row["id"])}


def files(home: Path, workspace: Workspace, run: str) -> set[str]:
    return {path.name for path in improve.folder_of(home, workspace.id, run).iterdir()}


async def test_what_customers_wrote_goes_with_a_run_that_is_given_up(db, workspace, blobs, tmp_path, monkeypatch):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "My secret question", labels={"intent": "track_order"})

    async def full(work: improve.Run, row: Row) -> None:
        (work.folder / "train.log").write_text("no space left")
        raise OSError(28, "no space left on device")

    monkeypatch.setitem(improve.STEPS, "training", full)
    run = await started(db, workspace)
    with pytest.raises(OSError, match="no space left"):
        await improve.run(db, blobs, tmp_path, workspace.id, run)
    assert {"samples", "job.json"} < files(tmp_path, workspace, run)

    await worker.give_up(
        worker.Work(db, blobs, home=tmp_path), "improve", {"workspace_id": workspace.id, "improvement_id": run}
    )
    assert files(tmp_path, workspace, run) == {"train.log", "lock"}


async def test_a_training_outlives_more_restarts_of_its_worker_than_a_turn_does(
    db, dsn, workspace, blobs, tmp_path, monkeypatch
):
    async def state(*, worker_died: bool) -> tuple[str, str]:
        """Of the job and the run; the job's worker is gone, or it failed in a worker."""
        async with db.transaction(workspace.id) as tx:
            if worker_died:
                await tx.connection.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL")
        if worker_died:
            await worker.rescue(app, work, ["training"])
        else:
            await app.run_worker_async(queues=["training"], wait=False, install_signal_handlers=False)
        async with db.transaction(workspace.id) as tx:
            cursor = await tx.connection.execute("SELECT status FROM procrastinate_jobs")
            return (await cursor.fetchone())["status"], (await improve.load(tx, run))["state"]

    async def away(*_: object) -> None:
        raise StoreUnavailable("PostgreSQL went away.")

    monkeypatch.setattr(improve, "run", away)
    async with db.transaction(None) as tx:
        await tx.connection.execute("DELETE FROM procrastinate_jobs")
    run, app, work = await started(db, workspace), make_app(dsn), worker.Work(db, blobs, home=tmp_path)
    worker.register(app, work)
    async with app.open_async():
        died = [await state(worker_died=True) for _ in range(worker.ATTEMPTS + 1)]
        assert died == [("todo", "queued")] * (worker.ATTEMPTS + 1)
        assert await state(worker_died=False) == ("todo", "queued")
        while (last := await state(worker_died=True)) == ("todo", "queued"):
            died.append(last)
    assert (last, len(died)) == (("failed", "failed"), worker.ATTEMPTS_OF["improve"] - 2)


async def test_housekeeping_clears_away_what_a_killed_process_left_of_an_ended_run(db, workspace, blobs, tmp_path):
    async def begun() -> str:
        run = await started(db, workspace)
        (improve.folder_of(tmp_path, workspace.id, run) / "samples").mkdir(parents=True)
        return run

    ended = await begun()
    await improve.fail(db, workspace.id, ended, "its worker died before it could tidy")
    worked_on = await begun()
    await improve.fail(db, workspace.id, worked_on, "given up, but a command works on it")
    under_way = await begun()
    with improve._locked(improve.folder_of(tmp_path, workspace.id, worked_on)):
        await worker.sweep(worker.Work(db, blobs, home=tmp_path))

    left = [files(tmp_path, workspace, run) for run in (ended, worked_on, under_way)]
    assert left == [{"lock"}, {"samples", "lock"}, {"samples"}]


async def test_what_cannot_be_learned_from_fails_and_says_why(db, workspace, blobs, tmp_path):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?", labels={"intent": "track_order"})

    row = await improved(db, workspace, blobs, tmp_path)

    assert row["state"] == "failed"
    assert row["verdict"].startswith("head intent: ")
    assert await roles(db, workspace) == {}
    assert await count(db, workspace, "alarms") == 1


async def test_where_training_is_not_installed_a_run_says_what_to_install(db, workspace, blobs, tmp_path, monkeypatch):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?", labels={"intent": "track_order"})
    monkeypatch.setattr(improve, "find_spec", lambda name: None)

    row = await improved(db, workspace, blobs, tmp_path)

    assert row["state"] == "failed"
    assert row["verdict"].endswith("pip install 'duomo[train]'")


async def test_the_policy_says_what_unlabelled_turns_teach_and_another_word_is_news(
    db, workspace, blobs, tmp_path, monkeypatch
):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?", labels={"intent": "track_order"})
    asked: list[str] = []

    async def noted(work: improve.Run) -> tuple[int, str]:
        asked.append(Job.read(work.job).mode)
        return 2, "stopped"

    monkeypatch.setattr(improve, "_process", noted)
    for mode in ("self-supervised", "semi-supervised"):
        async with db.transaction(workspace.id) as tx:
            await save_policy(tx, f"{TABLE}learning: {{mode: {mode}}}\n")
        row = await improved(db, workspace, blobs, tmp_path)
        assert (row["state"], row["verdict"]) == ("failed", "stopped")
    assert asked == ["self-supervised", "semi-supervised"]


async def test_what_was_labelled_while_a_model_was_trained_is_news_for_the_next_one(
    db, workspace, blobs, tmp_path, monkeypatch
):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    before = await new_turn(customer, "Where is it?", labels={"intent": "track_order"})
    seen: list[list[str]] = []
    learned: dict[str, str] = {}

    async def trained(work: improve.Run, row: Row) -> None:
        """The first run's model is the active one; meanwhile people label, and days later an owner decides."""
        job = Job.read(work.job)
        facts = json.loads((work.samples / "facts.json").read_text("utf-8"))
        seen.append(sorted(id for id, one in facts.items() if one["labelled_at"] > (job.seen_before or "")))
        if not learned:
            learned["while"] = await new_turn(customer, "And my invoice?", labels={"intent": "invoice"})
            model = await new_model(db, workspace, "m", origin="improve")
            await use(db, workspace, model, "active")
            async with db.transaction(work.workspace_id) as tx:
                await tx.run("finish_improvement", id=work.id, state="refused", verdict="", model_id=model,
                             comparison=None, gates=None)  # fmt: skip
                await tx.run("promote_improvement", id=work.id, verdict="It is right.", agent_id=None)
        else:
            await improve.fail(db, work.workspace_id, work.id, "stopped")

    monkeypatch.setitem(improve.STEPS, "training", trained)
    for _ in range(2):
        await improved(db, workspace, blobs, tmp_path)

    assert seen == [[before], [learned["while"]]]


async def test_a_run_begins_anew_when_another_model_became_active_and_not_for_ever(
    db, workspace, blobs, tmp_path, monkeypatch
):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?", labels={"intent": "track_order"})
    await use(db, workspace, await new_model(db, workspace, "of the export"), "active")
    against: list[str] = []

    async def trained(work: improve.Run, row: Row) -> None:
        """Meanwhile a canary passed, `overtaken` times."""
        async with db.transaction(work.workspace_id) as tx:
            against.append((await tx.one("model", id=row["base_id"]))["name"])
            await tx.run("step_improvement", id=work.id, state="comparing", base_id=row["base_id"], counts=None)
        if len(against) <= overtaken:
            model = await new_model(db, workspace, f"canary {len(against)}")
            await use(db, workspace, model, "active", by="rollout")
        exported.export(work.folder / "onnx")
        result = {"base": {"rows": 0, "heads": {}}, "comparison": {"heads": {}, "against": True}, "suspects": []}
        told = {"reference": {}, "labels": {}, "trained": {}, "notes": []}
        (work.folder / "result.json").write_text(json.dumps(result | told))

    monkeypatch.setitem(improve.STEPS, "training", trained)
    monkeypatch.setattr(registry, "_try", lambda folder: None)
    overtaken = improve.AGAIN
    row = await improved(db, workspace, blobs, tmp_path)
    assert (row["state"], row["verdict"]) == ("refused", "no labelled row is left to measure the candidate on.")
    assert against == ["of the export", "canary 1", "canary 2"]
    assert (row["counts"]["again"], row["counts"]["train"]) == (2, 1)

    await new_turn(customer, "And my invoice?", labels={"intent": "invoice"})
    overtaken, against[:] = improve.AGAIN + 1, []
    row = await improved(db, workspace, blobs, tmp_path)
    assert (row["state"], row["verdict"]) == ("failed", "the active model changed meanwhile. Run it again.")
    assert len(against) == 1 + improve.AGAIN
    async with db.transaction(workspace.id) as tx:
        [alarm] = await tx.all("alarms", limit=10)
    assert (alarm["kind"], alarm["data"]["improvement_id"]) == ("improve", str(row["id"]))


async def test_one_run_at_a_time_and_a_lost_job_is_queued_again(db, workspace):
    first, second = await started(db, workspace), await started(db, workspace)
    assert first == second
    jobs = "procrastinate_jobs WHERE args ->> 'improvement_id' = '" + first + "'"
    assert await count(db, workspace, jobs) == 1

    async with db.transaction(workspace.id) as tx:
        assert not await improve.due(tx, await improve.load_policy(tx))
        await tx.connection.execute(f"DELETE FROM {jobs}")
        assert await improve.due(tx, await improve.load_policy(tx))
    assert str((await improve.keep_schedule(db, workspace.id))["id"]) == first
    assert await count(db, workspace, jobs) == 1


async def test_the_policy_says_how_often(db, workspace, tmp_path):
    assert await improve.keep_schedule(db, workspace.id) is None  # nobody has labelled anything
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?")
    await said_before(customer, days=6)
    assert await improve.keep_schedule(db, workspace.id) is None
    await said_before(customer, days=8)

    row = await improve.keep_schedule(db, workspace.id)
    assert row["began_by"] == "schedule"
    await improve.give_up(db, tmp_path, workspace.id, str(row["id"]))
    assert await improve.keep_schedule(db, workspace.id) is None

    async def due_after(days: float, *, state: str = "refused") -> bool:
        async with db.transaction(workspace.id) as tx:
            await tx.connection.execute(
                "UPDATE improvements SET state = %s, created_at = now() - %s * interval '1 day'", (state, days)
            )
            return await improve.due(tx, await improve.load_policy(tx))

    assert [await due_after(days) for days in (6, 8)] == [False, True]
    assert [await due_after(days, state="failed") for days in (0.9, 1.1)] == [False, True]
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, TABLE + "learning: {schedule: daily}\n")
    assert await due_after(2)
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, TABLE + "learning: {schedule: off}\n")
    assert not await due_after(100)


@pytest.mark.parametrize("role", ["shadow", "canary"])
async def test_the_schedule_waits_for_a_model_that_is_being_tried_and_not_for_ever(db, workspace, role):
    customer = await conversation_of(db, workspace, await contact_who_is(db, workspace, apart=False))
    await new_turn(customer, "Where is it?")
    await said_before(customer, days=8)

    async def due_when_tried_for(days: int) -> bool:
        async with db.transaction(workspace.id) as tx:
            await tx.connection.execute(
                "UPDATE deployments SET began_at = now() - %s * interval '1 day' WHERE role = %s", (days, role)
            )
            return await improve.due(tx, await improve.load_policy(tx))

    share = 0.1 if role == "canary" else None
    by_hand, learned = await new_model(db, workspace, "a"), await new_model(db, workspace, "b", origin="improve")
    await use(db, workspace, by_hand, role, share=share)
    assert await due_when_tried_for(1)
    await use(db, workspace, learned, "active")
    assert await due_when_tried_for(1)
    await use(db, workspace, by_hand, "active")
    await use(db, workspace, learned, role, share=share)
    assert [await due_when_tried_for(days) for days in (1, 27, 29)] == [False, False, True]
    assert (await started(db, workspace)) is not None  # who begins it is not made to wait


async def said_before(customer: Customer, *, days: int) -> None:
    """A label that is so old."""
    [message, *_] = await customer.messages()
    async with customer.db.transaction(customer.workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin, created_at) VALUES "
            "(gen_random_uuid(), %s, %s, 'head', 'intent', '\"invoice\"', 'review', now() - %s * interval '1 day')",
            (customer.conversation_id, message.id, days),
        )


@pytest.mark.parametrize(
    ("rollout", "active", "role"),
    [
        (Rollout(), True, "shadow"),
        (Rollout(), False, "active"),
        (Rollout(shadow_turns=0), True, "canary"),
        (Rollout(shadow_turns=0, canary_turns=0), True, "active"),
        (Rollout(shadow_turns=0, canary_share=0.0), True, "active"),
    ],
)
def test_a_model_that_passed_begins_at_the_first_stage_there_is(rollout, active, role):
    assert improve.first_role(rollout, active=active) == role


# Killed -----------------------------------------------------------------------------------------------------------


class Killed:
    """A process that works on a run and kills itself before one of its statements, or is killed in its training."""

    def __init__(self, db: Database, home: Path, workspace: Workspace, improvement_id: str) -> None:
        self.command = [sys.executable, "-m", "tests.support.improving_process", db.dsn, str(home), workspace.id]
        self.command.append(improvement_id)
        self.folder = improve.folder_of(home, workspace.id, improvement_id)

    def at(self, statement: str, *, nth: int = 1) -> int:
        return subprocess.run([*self.command, statement, str(nth)], timeout=240).returncode

    def while_training(self) -> tuple[int, bool]:
        """Returns: its exit code, and whether the training process has ended with it."""
        process = subprocess.Popen([*self.command, "-", "0"])
        progress = self.folder / "progress.json"
        while process.poll() is None and not (progress.exists() and '"training"' in progress.read_text()):
            time.sleep(0.01)
        children = _children(process.pid)
        process.kill()
        code = process.wait()
        for _ in range(100):
            if not any(_alive(child) for child in children):
                break
            time.sleep(0.05)
        return code, bool(children) and not any(_alive(child) for child in children)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timeout(900)
async def test_killed_anywhere_one_model_is_active_no_label_is_lost_and_a_rerun_finishes(db, workspace, blobs, home):
    await labelled(db, workspace, 8)
    await labelled(db, workspace, 3, apart=True, skip=8)
    first = await improved(db, workspace, blobs, home)
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, TABLE + AT_ONCE)
    mine = await labelled(db, workspace, 6, skip=11)
    await label(await conversation_of_message(db, workspace, mine[0]), mine[0], "track_order", origin="recheck")
    labels = await count(db, workspace, "labels")
    killed = Killed(db, home, workspace, await started(db, workspace))

    async def nothing_changed() -> None:
        assert await roles(db, workspace) == {"active": str(first["model_id"])}
        assert await count(db, workspace, "labels") == labels

    assert killed.at("labels_to_learn_from") == -signal.SIGKILL  # exporting
    await nothing_changed()
    assert killed.at("step_improvement", nth=3) == -signal.SIGKILL  # everything is written, the step is not told
    await nothing_changed()
    assert killed.while_training() == (-signal.SIGKILL, True)
    await nothing_changed()
    # trained, and killed: before it is told, registered, finished, deployed, and just before the end
    for statement in ("step_improvement", "insert_model", "finish_improvement", "end_deployment", "begin_deployment"):
        assert killed.at(statement) == -signal.SIGKILL
        await nothing_changed()
    assert killed.at("end_alarm") == -signal.SIGKILL
    await nothing_changed()
    assert killed.at("-", nth=0) == 0

    async with db.transaction(workspace.id) as tx:
        done = await improve.load(tx, killed.command[-1])
    assert (done["state"], done["verdict"]) != ("failed", done["verdict"])
    assert await roles(db, workspace) == {"active": str(done["model_id"])}
    assert await count(db, workspace, "labels") == labels
    assert await count(db, workspace, "models") == 2
    assert await count(db, workspace, "improvements WHERE state = 'promoted'") == 2


async def conversation_of_message(db: Database, workspace: Workspace, message_id: str):
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute("SELECT conversation_id FROM messages WHERE id = %s", (message_id,))
        return Customer(db, workspace, str((await cursor.fetchone())["conversation_id"]))


@pytest.mark.timeout(900)
async def test_the_training_process_killed_alone_goes_on_and_ends(db, workspace, blobs, tmp_path):
    await labelled(db, workspace, 8)
    run = asyncio.create_task(improved(db, workspace, blobs, tmp_path))
    while not (children := [pid for pid in _children(os.getpid()) if _trains(pid)]):
        await asyncio.sleep(0.02)
        assert not run.done()
    os.kill(children[0], signal.SIGKILL)

    assert (await run)["state"] == "promoted"


def _trains(pid: int) -> bool:
    try:
        return b"duomo.learn.candidate" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
