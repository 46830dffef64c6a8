"""The job process: turns, media, knowledge, housekeeping.

A job may be killed at any line. Another worker notices by the missing heartbeat, and the job runs again; after
`attempts` runs its customer is given a person instead. Jobs are therefore written to be run twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status

from duomo import store
from duomo.errors import ConfigError, DuomoError, InputError, StoreUnavailable, Unavailable
from duomo.knowledge import ingest as ingestion
from duomo.knowledge import lexicon
from duomo.knowledge.retrieve import Retriever
from duomo.models.embed import MiniLM, MultilingualE5
from duomo.models.encoders import Models as Networks
from duomo.models.llm import Capabilities, OpenAICompatible
from duomo.models.perceive import load_perception
from duomo.settings import Settings
from duomo.settings import load as load_settings
from duomo.store.blobs import Blobs
from duomo.store.jobs import QUEUES, make_app
from duomo.store.postgres import Database, Workspace
from duomo.support import conversation, drift, explaining, model_archive, perceive, proposals, rollout, turn
from duomo.support import improve as improving
from duomo.support.answer import Answerer, Remembering
from duomo.support.ask import Asking, ask, retrieve
from duomo.support.confidence import Calibration
from duomo.support.generate import Writer
from duomo.support.perceive import Senses
from duomo.support.predict import Reader
from duomo.support.turn import Desk

logger = logging.getLogger("duomo.worker")

DATABASE_GONE = (StoreUnavailable, ConnectorException, psycopg.OperationalError)

ATTEMPTS = 3  # runs of a job before it is given up
ATTEMPTS_OF: Mapping[str, int] = {"improve": 10}
"""Of jobs that go on where they were: in the hours of a training workers are restarted, which is not its fault."""
HEARTBEAT_S = 2.0
STALLED_S: Mapping[str, float] = {
    "turns": 6.0,
    "media": 20.0,
    "knowledge": 30.0,
    "housekeeping": 30.0,
    "training": 30.0,
}
"""Seconds without a heartbeat after which a queue's jobs are run by somebody else."""
CONCURRENCY: Mapping[str, int] = {"turns": 8, "media": 2}
APART = ("training",)
"""Queues whose jobs take hours: each is worked on one job at a time, in no other queue's place."""
UNUSED_S = 3600.0  # age at which a file or row that nothing names is swept, and a streamed answer's pieces go
SWEEP_EVERY_S = 600.0
WARM_EVERY_S = 60.0
WATCH_EVERY_S = 60.0
WARMED = 1500  # passages of a workspace whose sentences are encoded before they are asked for
DONE_KEPT_H = 24
POLL_S = 2.0  # beside the notices, for jobs whose time comes


def make_llm(settings: Settings) -> OpenAICompatible | None:
    """
    Raises:
        ConfigError: an address without a model, or an unknown capability.
    """
    if settings.llm_url is None:
        return None
    if not settings.llm_model:
        raise ConfigError("DUOMO_LLM_URL is set and DUOMO_LLM_MODEL is not. Name the model to ask.")
    capabilities = Capabilities.parse(settings.llm_capabilities)
    return OpenAICompatible(
        settings.llm_url, model=settings.llm_model, key=settings.llm_key or "", capabilities=capabilities
    )


@dataclass(frozen=True, slots=True)
class Work:
    """What this process can do: what its queues need is there, the rest is None."""

    db: Database
    blobs: Blobs
    desk: Desk | None = None
    senses: Senses | None = None
    asking: Asking | None = None
    knowledge: ingestion.Models | None = None
    reader: Reader | None = None
    home: Path = Path()  # below which models and the files of trainings lie


def load(db: Database, blobs: Blobs, queues: Sequence[str], settings: Settings) -> Work:
    """Load and warm up the models that `queues` need."""
    encoders = load_encoders()
    answerer, retriever = make_answerer(db, encoders, settings)
    repair = functools.partial(lexicon.repair, db)
    text, english = encoders
    if "media" not in queues and "knowledge" not in queues:
        reader = Reader(settings.home, Networks(text=text, english=english))
        desk = Desk(db, blobs, answerer, reader) if "turns" in queues else None
        return Work(db, blobs, desk, reader=reader, home=settings.home)
    perception = load_perception()
    reader = Reader(
        settings.home,
        Networks(text=text, english=english, speech=perception.speech, pictures=perception.pictures),
    )
    desk = Desk(db, blobs, answerer, reader) if "turns" in queues else None
    senses = Senses(db, blobs, perception, repair, reader)
    asking = Asking(answerer, retriever, lambda: perception, repair, reader)
    models = ingestion.Models(
        text, english, pictures=perception.pictures, reader=perception.ocr, speech=perception.speech
    )
    return Work(db, blobs, desk, senses, asking, models, reader, settings.home)


def load_asking(db: Database, home: Path, environment: Mapping[str, str]) -> Asking:
    """What `support.ask` needs, for a command; models that look and listen are loaded when a file comes."""
    encoders = load_encoders()
    answerer, retriever = make_answerer(db, encoders, load_settings(environment, home=home))
    reader = Reader(home, Networks(text=encoders[0], english=encoders[1]))
    repair = functools.partial(lexicon.repair, db)
    return Asking(answerer, retriever, functools.cache(load_perception), repair, reader)


Encoders = tuple[Remembering, Remembering]
"""Multilingual, English."""


def load_encoders() -> Encoders:
    encoders = Remembering(MultilingualE5()), Remembering(MiniLM())
    for encoder in encoders:
        encoder.encode(["How do I return an order? 怎么退货？"], kind="query")  # the first run of a graph is slow
    return encoders


def make_answerer(db: Database, encoders: Encoders, settings: Settings) -> tuple[Answerer, Retriever]:
    text, english = encoders
    llm = make_llm(settings)
    retriever = Retriever(db, text, english)
    writer = Writer(llm) if llm else None
    return Answerer(retriever, text, english, calibration=Calibration.shipped(), writer=writer), retriever


# Jobs -------------------------------------------------------------------------------------------------------------


def register(app: procrastinate.App, work: Work) -> None:
    """Make the tasks known to `app`; their names and arguments are what `Tx.defer` is given."""

    async def run_turn(workspace_id: str, conversation_id: str, again: Mapping[str, Any] | None = None) -> None:
        assert work.desk
        await turn.run_turn(work.desk, workspace_id, conversation_id, again=again)

    async def listen(workspace_id: str, conversation_id: str) -> None:
        assert work.desk
        await turn.listen(work.desk, workspace_id, conversation_id)

    async def turn_deadline(workspace_id: str, conversation_id: str) -> None:
        assert work.desk
        await turn.hold(work.desk, workspace_id, conversation_id)

    async def perceive_part(workspace_id: str, part_id: str) -> None:
        assert work.senses
        await perceive.perceive_part(work.senses, workspace_id, part_id)

    async def wake_snoozed(workspace_id: str, conversation_id: str) -> None:
        async with work.db.transaction(workspace_id) as tx:
            await conversation.wake(tx, conversation_id)

    async def ingest(workspace_id: str, import_id: str) -> None:
        assert work.knowledge
        await ingestion.run_import(work.db, workspace_id, import_id, models=work.knowledge, blobs=work.blobs)

    async def answer_question(workspace_id: str, question_id: str) -> None:
        assert work.asking
        await _answer_question(work.db, work.blobs, work.asking, workspace_id, question_id)

    async def explain(workspace_id: str, message_id: str) -> None:
        assert work.reader
        await explaining.explain_message(work.db, work.blobs, workspace_id, message_id, reader=work.reader)

    async def discover(workspace_id: str) -> None:
        await proposals.run_discovery(work.db, work.home, workspace_id)

    async def take_model(workspace_id: str, question_id: str) -> None:
        await model_archive.take_over(work.db, work.home, workspace_id, question_id)

    async def improve(workspace_id: str, improvement_id: str) -> None:
        await improving.run(work.db, work.blobs, work.home, workspace_id, improvement_id)

    _task(app, "answer_question", answer_question, work)
    _task(app, "improve", improve, work)
    _task(app, "take_model", take_model, work)
    _task(app, "explain", explain, work)
    _task(app, "discover", discover, work)
    _task(app, "turn", run_turn, work)
    _task(app, "listen", listen, work)
    _task(app, "turn_deadline", turn_deadline, work)
    _task(app, "perceive", perceive_part, work)
    _task(app, "wake_snoozed", wake_snoozed, work)
    _task(app, "ingest", ingest, work)


def attempts(task: str) -> int:
    return ATTEMPTS_OF.get(task, ATTEMPTS)


def _task(app: procrastinate.App, name: str, run: Callable[..., Awaitable[None]], work: Work) -> None:
    retry = procrastinate.RetryStrategy(max_attempts=attempts(name) - 1, linear_wait=1)

    async def job(context: procrastinate.JobContext, /, **arguments: Any) -> None:
        try:
            await run(**arguments)
        # The edge of a job: logged once, by its ids, and run again or given up.
        except Exception as error:
            logger.error("job %s %s failed in run %d: %s", name, context.job.id, context.job.attempts + 1, _what(error))
            if context.job.attempts + 1 >= attempts(name):
                await give_up(work, name, arguments)
            raise

    app.task(name=name, retry=retry, pass_context=True)(job)


async def _answer_question(db: Database, blobs: Blobs, asking: Asking, workspace_id: str, question_id: str) -> None:
    """Answer what somebody asked over REST and waits for; what they did wrong is their answer too."""
    async with db.transaction(workspace_id) as tx:
        row = await tx.one("question", id=question_id)
        settings = await tx.value("workspace_settings")
    if row is None or row["answer"] is not None or row["error"] is not None:
        return
    query = row["query"]
    files = {
        kind: await asyncio.to_thread(blobs.get, workspace_id, query[kind]) if query.get(kind) else None
        for kind in ("image", "audio")
    }
    workspace = Workspace(workspace_id, "", settings)
    answer: Any = None
    error: dict[str, str] | None = None
    try:
        if row["kind"] == "retrieve":
            answer = await retrieve(
                db, workspace, text=query["text"], language=query.get("language"), k=query["k"], models=asking, **files
            )
        else:
            answer = await ask(
                db, workspace, text=query["text"], language=query.get("language"), models=asking, **files
            )
    except (InputError, Unavailable) as refused:
        error = {"code": refused.code, "message": str(refused)}
    async with db.transaction(workspace_id) as tx:
        await tx.run("answer_question", id=question_id, answer=answer, error=error)


async def give_up(work: Work, task: str, arguments: Mapping[str, Any]) -> None:
    """Nobody may be left waiting for a job that will not run again."""
    if task == "perceive" and work.senses:
        await perceive.refuse_part(work.senses, arguments["workspace_id"], arguments["part_id"])
    elif task in ("turn", "turn_deadline"):
        await turn.give_up(work.db, arguments["workspace_id"], arguments["conversation_id"])
    elif task == "improve":
        await improving.give_up(work.db, work.home, arguments["workspace_id"], arguments["improvement_id"])
    elif task == "explain":
        await explaining.give_up(work.db, arguments["workspace_id"], arguments["message_id"])


def _what(error: Exception) -> str:
    """An error without anything a customer wrote in it."""
    return f"{type(error).__name__} {error.code}" if isinstance(error, DuomoError) else type(error).__name__


# Housekeeping -----------------------------------------------------------------------------------------------------


async def rescue(app: procrastinate.App, work: Work, queues: Sequence[str]) -> int:
    """Run again what a dead worker left, or give it up when it has killed as many as it may.

    Returns:
        How many jobs it found.
    """
    found = 0
    for queue in queues:
        for job in await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=STALLED_S[queue]):
            found += 1
            if job.attempts + 1 < attempts(job.task_name):
                logger.warning("job %s %s lost its worker; it runs again", job.task_name, job.id)
                await app.job_manager.retry_job(job)
                continue
            logger.error("job %s %s is given up after run %d", job.task_name, job.id, job.attempts + 1)
            await give_up(work, job.task_name, job.task_kwargs)
            await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
    return found


async def sweep(work: Work, *, older_than_s: float = UNUSED_S) -> None:
    """Remove what nothing names any more: files, rows of files, pieces of streamed answers, what trainings left."""
    for workspace_id in await _workspaces(work):
        with _apart(f"sweeping workspace={workspace_id}"):
            async with work.db.transaction(workspace_id) as tx:
                await tx.run("delete_old_deltas", older_than_s=older_than_s)
                await tx.run("delete_unused_blobs", older_than_s=older_than_s)
                known = {row["key"] for row in await tx.all("blob_keys")}
            await asyncio.to_thread(work.blobs.sweep, workspace_id, known, older_than_s=older_than_s)
            await improving.clear_away(work.db, work.home, workspace_id)


async def warm(work: Work) -> None:
    """Encode the sentences of small knowledge bases in idle time; of large ones, as they are asked for."""
    assert work.desk
    for workspace_id in await _workspaces(work):
        async with work.db.transaction(workspace_id) as tx:
            passages = await tx.all("passages_to_warm", limit=WARMED + 1)
        for row in passages if len(passages) <= WARMED else ():
            began = time.monotonic()
            await asyncio.to_thread(work.desk.answerer.remember, row["title"], row["text"], row["language"])
            await asyncio.sleep(time.monotonic() - began)  # half of one core at most


async def watch(work: Work) -> None:
    """See how the models do that are being tried, whether what comes is still what they were trained on, and whether
    it is time for the next one."""
    looks: list[Callable[[Database, str], Awaitable[object]]] = [rollout.watch, drift.look]
    if find_spec("torch"):  # without the packages of training nobody expects a new model
        looks.append(improving.keep_schedule)
    for workspace_id in await _workspaces(work):
        for look in looks:
            with _apart(f"{look.__module__} workspace={workspace_id}"):
                await look(work.db, workspace_id)


async def _workspaces(work: Work) -> list[str]:
    async with work.db.transaction(None) as tx:
        return [str(row["id"]) for row in await tx.all("workspace_ids")]


async def _every(seconds: float, do: Callable[[], Awaitable[object]], *, at_once: bool = False) -> None:
    while True:
        await asyncio.sleep(0 if at_once else seconds)
        at_once = False
        try:
            with _apart("housekeeping"):
                await do()
        except DATABASE_GONE as error:
            logger.warning("housekeeping waits for the database: %s", type(error).__name__)


@contextlib.contextmanager
def _apart(what: str) -> Iterator[None]:
    """What goes wrong in here is logged and ends nothing else; it is tried again the next time."""
    try:
        yield
    except DATABASE_GONE:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        logger.exception("%s failed: %s in %s:%s", what, _what(error), Path(last.filename).name, last.lineno)


# The process ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _side_by_side(*loops: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run(
    dsn: str,
    queues: Sequence[str],
    settings: Settings,
    *,
    ready: Callable[[], None],
    load: Callable[[Database, Blobs, Sequence[str], Settings], Work] = load,
) -> None:
    """Work on `queues` until SIGTERM or SIGINT; what is under way is finished first."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    at_once = sum(lane.concurrency for lane in lanes(queues))
    async with await Database.open(dsn, min_size=1, max_size=at_once + 2, name="duomo-worker") as db:
        work = await asyncio.to_thread(load, db, Blobs(settings.home / "media"), queues, settings)
        ready()
        while not stop.is_set():
            try:
                await _serve(dsn, queues, work, stop)
            except DATABASE_GONE as error:
                logger.warning("the database went away (%s); trying again", type(error).__name__)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.5)


@dataclass(frozen=True, slots=True)
class Lane:
    """Queues that share places, and how many."""

    queues: Sequence[str]
    concurrency: int


def lanes(queues: Sequence[str]) -> list[Lane]:
    together = [queue for queue in queues if queue not in APART]
    shared = [Lane(together, max(CONCURRENCY.get(queue, 1) for queue in together))] if together else []
    return [*shared, *(Lane([queue], 1) for queue in queues if queue in APART)]


async def _serve(dsn: str, queues: Sequence[str], work: Work, stop: asyncio.Event) -> None:
    """Until `stop`, or a lane's worker ends because its connection did."""
    served = lanes(queues)
    app = make_app(dsn, max_size=sum(lane.concurrency + 2 for lane in served) + 1)
    register(app, work)
    async with app.open_async():
        async with _side_by_side(
            _every(HEARTBEAT_S, lambda: rescue(app, work, queues)),
            *([_every(WARM_EVERY_S, lambda: warm(work), at_once=True)] if work.desk else []),
            *([_every(SWEEP_EVERY_S, lambda: _tidy(app, work))] if "housekeeping" in queues else []),
            *([_every(WATCH_EVERY_S, lambda: watch(work))] if "housekeeping" in queues else []),
        ):
            workers = {
                asyncio.ensure_future(
                    app.run_worker_async(
                        queues=list(lane.queues), name="-".join(lane.queues), concurrency=lane.concurrency,
                        install_signal_handlers=False, update_heartbeat_interval=HEARTBEAT_S,
                        fetch_job_polling_interval=POLL_S, stalled_worker_timeout=max(STALLED_S.values()),
                        delete_jobs="successful", shutdown_graceful_timeout=8.0,
                    )
                )
                for lane in served
            }  # fmt: skip
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({*workers, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            for one in workers:
                one.cancel()
            results = await asyncio.gather(*workers, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result


async def _tidy(app: procrastinate.App, work: Work) -> None:
    await sweep(work)
    await app.job_manager.delete_old_jobs(nb_hours=DONE_KEPT_H, include_failed=False)


class JsonLines(logging.Formatter):
    """A line of JSON a record; messages carry ids, never what people wrote."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "said": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m duomo.worker", description="Work on Duomo's jobs.")
    parser.add_argument("--queues", default=",".join(QUEUES), help=f"of {', '.join(QUEUES)}")
    parser.add_argument("--home", type=Path, default=None, help="default: DUOMO_HOME, or ~/.duomo")
    options = parser.parse_args(arguments)
    queues = [queue.strip() for queue in options.queues.split(",") if queue.strip()]
    if unknown := set(queues) - set(QUEUES) or not queues:
        parser.error(f"--queues {options.queues}: choose from {', '.join(QUEUES)} ({unknown})")
    if "turns" not in queues:
        os.nice(5)  # nobody's picture may slow down somebody's text
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    settings = load_settings(os.environ, home=options.home)
    with store.open_home(settings.home, settings.database_url) as dsn:
        asyncio.run(run(dsn, queues, settings, ready=lambda: print("ready", flush=True)))


if __name__ == "__main__":
    main()
