"""Workers that are killed in the middle of a job: what they were doing is done once, or a person is called."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from duomo import settings, worker
from duomo.errors import ConfigError
from duomo.store.blobs import Blobs
from duomo.store.jobs import QUEUES
from duomo.store.postgres import Database, Workspace
from tests.conftest import reachable
from tests.support.conftest import Customer, desk, new_customer
from tests.support.test_turn import file_of, png

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
async def customer(db: Database, workspace: Workspace) -> Customer:
    return await new_customer(db, workspace)


@pytest.fixture
async def alone(dsn: str) -> None:
    """Jobs that other tests left are not this worker's business."""
    async with await Database.open(dsn) as db:
        async with db.transaction(None) as tx:
            await tx.connection.execute("DELETE FROM procrastinate_jobs")
    return


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return reachable(tmp_path)


@pytest.fixture
def start(dsn: str, place: Path, alone: None) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_one() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_process", dsn, str(place), "turns,media,housekeeping,training"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


async def until(true: Callable[[], object], *, within_s: float = 60) -> None:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        found = true()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"did not come true within {within_s} s")


async def test_a_worker_killed_in_a_turn_leaves_one_answer(customer: Customer, start: Start, place: Path) -> None:
    await customer.says("what does delivery cost")
    first = start()
    await until(lambda: (place / "in-turn").exists())
    first.kill()
    first.wait()
    assert await customer.told() == []
    start()
    await until(customer.told)
    await asyncio.sleep(1)
    assert await customer.told() == [("answer", "Delivery to Hong Kong costs ¥35. [1]")]


async def test_a_worker_killed_while_looking_at_a_picture_leaves_one_reading_and_one_answer(
    customer: Customer, workspace: Workspace, start: Start, place: Path
) -> None:
    await customer.says("what is this", file_of(Blobs(place / "media"), workspace, png()))
    first = start()
    await until(lambda: (place / "in-perceive").exists())
    first.kill()
    first.wait()
    (place / "in-turn").touch()
    start()

    async def said() -> list[str]:
        return [kind for kind, _ in await customer.told() if kind != "holding"]  # on a busy machine it takes long

    await until(said)
    message = (await customer.messages())[0]
    assert [a.artifact.text for a in message.parts[0].artifacts] == ["E21"]
    assert await said() == ["answer"]


async def test_a_message_that_kills_every_worker_gets_a_person(customer: Customer, start: Start, place: Path) -> None:
    (place / "deadly").touch()
    await customer.says("what does delivery cost")
    for _ in range(worker.ATTEMPTS):
        process = start()
        await until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
    start()
    await until(customer.told)
    assert [kind for kind, _ in await customer.told()] == ["handoff"]
    assert await customer.status() == "open"


async def train(customer: Customer, *ids: str) -> None:
    async with customer.db.transaction(customer.workspace.id) as tx:
        for id in ids:
            arguments = {"workspace_id": customer.workspace.id, "improvement_id": id}
            await tx.defer("improve", queue="training", lock=f"improve {id}", args=arguments)


async def test_a_training_whose_worker_is_killed_runs_again(customer: Customer, start: Start, place: Path) -> None:
    await train(customer, "one")
    first = start()
    await until(lambda: list(place.glob("training-one-*")))
    first.kill()
    second = start()
    await until(lambda: (place / f"training-one-{second.pid}").exists())


async def test_however_many_trainings_there_are_customers_are_answered(
    customer: Customer, start: Start, place: Path
) -> None:
    await train(customer, *(str(number) for number in range(worker.CONCURRENCY["turns"])))
    (place / "in-turn").touch()
    start()
    await until(lambda: list(place.glob("training-*")))
    await customer.says("what does delivery cost")
    await until(customer.told)
    assert [kind for kind, _ in await customer.told()] == ["answer"]
    assert len(list(place.glob("training-*"))) == 1  # one after the other


def test_every_queue_has_its_time_after_which_a_job_is_lost() -> None:
    assert worker.STALLED_S.keys() == set(QUEUES)


async def test_what_goes_wrong_in_one_workspace_or_once_ends_no_watch(
    db: Database, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = [str((await db.create_workspace(f"test-{uuid.uuid4().hex}", {})).id) for _ in range(2)]
    seen: list[str] = []

    async def look(db: Database, workspace_id: str) -> None:
        if workspace_id == broken:
            raise ZeroDivisionError
        seen.append(workspace_id)

    for module, name in ((worker.rollout, "watch"), (worker.drift, "look"), (worker.improving, "keep_schedule")):
        monkeypatch.setattr(module, name, look)
    await worker.watch(worker.Work(db, blobs))
    assert seen.count(sound) == 3 - (find_spec("torch") is None)
    assert f"workspace={broken} failed: ZeroDivisionError in test_worker.py" in caplog.text

    async def fail() -> None:
        seen.append("again")
        if seen.count("again") == 2:
            done.set()
        raise ZeroDivisionError

    done = asyncio.Event()
    loop = asyncio.ensure_future(worker._every(0.0, fail))
    await asyncio.wait_for(done.wait(), 30)
    loop.cancel()


async def test_a_worker_asked_to_stop_ends_well(start: Start) -> None:
    process = start()
    process.terminate()
    assert process.wait(30) == 0


async def test_a_job_that_keeps_failing_calls_a_person(
    customer: Customer, db: Database, blobs: Blobs, dsn: str
) -> None:
    work = worker.Work(db, blobs, desk(db, blobs))
    await customer.says("what does delivery cost")
    arguments = {"workspace_id": customer.workspace.id, "conversation_id": customer.conversation_id}
    await worker.give_up(work, "turn", arguments)
    assert [kind for kind, _ in await customer.told()] == ["handoff"]
    await worker.give_up(work, "turn", arguments)  # once
    assert [kind for kind, _ in await customer.told()] == ["handoff"]


async def test_files_that_nothing_names_are_swept_and_others_stay(
    db: Database, workspace: Workspace, place: Path
) -> None:
    blobs = Blobs(place / "media")
    customer = await new_customer(db, workspace)
    kept = file_of(blobs, workspace, png())
    await customer.says("", kept)
    unused = blobs.put(workspace.id, b"left over from an upload that was never finished")
    async with db.transaction(workspace.id) as tx:
        await tx.run("insert_blob", key=unused, mime="image/png", size=1)
    await worker.sweep(worker.Work(db, blobs), older_than_s=3600)
    assert set(blobs.keys(workspace.id)) == {kept.blob_key, unused}  # too young
    await worker.sweep(worker.Work(db, blobs), older_than_s=-1)
    assert set(blobs.keys(workspace.id)) == {kept.blob_key}


def test_a_language_model_needs_a_name() -> None:
    with pytest.raises(ConfigError, match=r"DUOMO_LLM_MODEL is not. Name the model to ask"):
        worker.make_llm(settings.load({"DUOMO_LLM_URL": "http://localhost/v1"}))
    assert worker.make_llm(settings.load({})) is None
