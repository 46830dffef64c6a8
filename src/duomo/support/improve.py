"""From what people labelled to the next model, and only forward where nothing got worse.

    queued -> exporting -> training -> comparing -> promoted | refused | nothing_new | failed

A run is a row of `improvements` and a folder below HOME/improve. Every step may be killed at any line and done again:
exporting writes the same files, training keeps its stages, registering finds the same model, and the last transaction
moves suspects, roles and state together. Where another model became active meanwhile, comparing goes back to exporting.
One process works on a run at a time, by a lock on its folder; the database has one run under way at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from duomo.errors import Conflict, DuomoError, InputError, NotFound, StoreUnavailable, Unavailable
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Tx
from duomo.support import gates, registry
from duomo.support.alarms import end_alarm, raise_alarm
from duomo.support.export_samples import export, moment
from duomo.support.policy import Policy, load_policy
from duomo.support.policy_sections import Rollout
from duomo.support.registry import Role
from duomo.support.rollout import taken_back

logger = logging.getLogger("duomo.improve")

By = Literal["schedule", "agent", "command"]
Say = Callable[[str], None]

UNDER_WAY = ("queued", "exporting", "training", "comparing")
DAYS: Mapping[str, int] = {"daily": 1, "weekly": 7}
DAYS_AFTER_FAILURE = 1  # disks are full and machines are off for hours, not for weeks
PATIENCE = 4  # intervals of the schedule that a model may be tried for before the next one takes its place
KILLS = 3  # of the training process in one run of the job, by whoever kills it: out of memory, say
AGAIN = 2  # times that a run begins anew because another model became active meanwhile
WAIT_S = 0.5  # between looks at whether another process has done it
MODULE = "duomo.learn.candidate"
NICE = 10
SUBJECT = "improve"  # of the alarm
KEPT = ("report.html", "result.json", "train.log", "lock")
LEAST_WORDS = 10  # characters of an owner's reason

_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What a run works with."""

    db: Database
    blobs: Blobs
    home: Path
    workspace_id: str
    id: str
    say: Say = lambda _: None

    @property
    def folder(self) -> Path:
        return folder_of(self.home, self.workspace_id, self.id)

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def job(self) -> Path:
        return self.folder / "job.json"

    async def row(self) -> Row:
        async with self.db.transaction(self.workspace_id) as tx:
            return await load(tx, self.id)


def folder_of(home: Path, workspace_id: str, improvement_id: str) -> Path:
    return home / "improve" / str(workspace_id) / str(improvement_id)


async def start(tx: Tx, workspace_id: str, *, by: By, agent_id: str | None = None) -> Row:
    """Begin a run and its job, or find the one that is under way; it goes on if its job was lost."""
    row = await tx.one("insert_improvement", began_by=by, agent_id=agent_id)
    row = row or await tx.one("improvement_under_way")
    assert row is not None
    if not await tx.value("improvement_has_job", id=str(row["id"])):
        await tx.defer(
            "improve", queue="training", lock=f"improve {workspace_id}",
            args={"workspace_id": str(workspace_id), "improvement_id": str(row["id"])},
        )  # fmt: skip
    return row


async def due(tx: Tx, policy: Policy) -> bool:
    """Whether the policy's schedule wants a run, or one is under way whose job was lost."""
    running = await tx.one("improvement_under_way")
    if running is not None:
        return not await tx.value("improvement_has_job", id=str(running["id"]))
    days = DAYS.get(policy.learning.schedule)
    if days is None:
        return False
    waits = {"days": days, "after_failure": DAYS_AFTER_FAILURE, "patience": PATIENCE * days}
    return bool(await tx.value("improvement_due", **waits))


async def keep_schedule(db: Database, workspace_id: str) -> Row | None:
    """Begin what is due; to be called every now and then."""
    async with db.transaction(workspace_id) as tx:
        if await due(tx, await load_policy(tx)):
            return await start(tx, workspace_id, by="schedule")
    return None


async def load(tx: Tx, improvement_id: str) -> Row:
    """
    Raises:
        NotFound: no such run in this workspace.
    """
    row = await tx.one("improvement", id=improvement_id)
    if row is None:
        raise NotFound("there is no such improvement.")
    return row


async def run(
    db: Database, blobs: Blobs, home: Path, workspace_id: str, improvement_id: str, *, say: Say = lambda _: None
) -> Row:
    """Do what is left of a run, or wait for the process that does it.

    Args:
        say: is told what is being done.
    Returns:
        The row as it ended.
    """
    work = Run(db, blobs, home, str(workspace_id), str(improvement_id), say)
    async with _alone(work):
        while (row := await work.row())["state"] in UNDER_WAY:
            try:
                await STEPS[row["state"]](work, row)
            except StoreUnavailable:
                raise  # the job runs again
            except DuomoError as error:
                await fail(db, workspace_id, improvement_id, str(error))
        await asyncio.to_thread(_tidy, work.folder)
    return row


async def fail(db: Database, workspace_id: str, improvement_id: str, why: str) -> None:
    """End a run that cannot be finished; the active model stays. Of an ended one nothing changes."""
    async with db.transaction(workspace_id) as tx:
        if await _finish(tx, improvement_id, "failed", why):
            await raise_alarm(tx, "improve", SUBJECT, {"improvement_id": str(improvement_id), "why": why})


async def give_up(db: Database, home: Path, workspace_id: str, improvement_id: str) -> None:
    """Its job failed for good."""
    await fail(db, workspace_id, improvement_id, "the training could not be finished; the logs say why.")
    await asyncio.to_thread(_tidy_left, folder_of(home, workspace_id, improvement_id))


async def clear_away(db: Database, home: Path, workspace_id: str) -> None:
    """Delete reports that are older than the turns they show may be, and what a killed process left of an ended run."""
    async with db.transaction(workspace_id) as tx:
        policy = await load_policy(tx)
        running = await tx.one("improvement_under_way")
    keep = None if running is None else str(running["id"])
    days = policy.learning.retention_days
    await asyncio.to_thread(_clear_away, home / "improve" / str(workspace_id), keep, older_than_days=days)


async def decide(tx: Tx, improvement_id: str, *, owner: str, words: str) -> Row:
    """An owner promotes a refused candidate, in writing. That they are an owner is the caller's to check.

    Raises:
        InputError: no reason.
        NotFound: no such run.
        Conflict: it was not refused, or has no candidate.
    """
    if len(words.strip()) < LEAST_WORDS:
        raise InputError("write in a sentence why this model shall answer although a gate refused it.")
    await tx.one("lock_models")
    row = await tx.one("improvement_for_update", id=improvement_id)
    if row is None:
        raise NotFound("there is no such improvement.")
    if row["state"] != "refused" or row["model_id"] is None:
        raise Conflict(f"only a refused candidate can be promoted by an owner; this one is {row['state']}.")
    policy = await load_policy(tx)
    await _deploy(tx, str(row["model_id"]), policy.rollout, by="agent", agent_id=owner, reason=words.strip())
    await tx.run("promote_improvement", id=improvement_id, verdict=words.strip(), agent_id=owner)
    await end_alarm(tx, "improve", SUBJECT)
    return await load(tx, improvement_id)


def first_role(rollout: Rollout, *, active: bool) -> Role:
    """Where a model that passed begins; without an active one there is nothing to try it against."""
    if active and rollout.shadow_turns > 0:
        return "shadow"
    if active and rollout.canary_turns > 0 and rollout.canary_share > 0:
        return "canary"
    return "active"


def progress(home: Path, workspace_id: str, improvement_id: str) -> dict[str, Any] | None:
    """What the training process said last: {stage, detail, done, total, at}."""
    try:
        found = json.loads((folder_of(home, workspace_id, improvement_id) / "progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def report(home: Path, workspace_id: str, improvement_id: str) -> Path:
    """The page that tells what was found.

    Raises:
        NotFound: there is none yet, or it has been cleared away.
    """
    path = folder_of(home, workspace_id, improvement_id) / "report.html"
    if not path.is_file():
        raise NotFound("there is no report of this improvement.")
    return path


# Steps ------------------------------------------------------------------------------------------------------------


async def _export(work: Run, row: Row) -> None:
    """Write what there is to learn from; end here where people have said nothing new."""
    work.say("exporting conversations")
    async with work.db.transaction(work.workspace_id) as tx:
        policy = await load_policy(tx)
        now = (await registry.current(tx)).get("active")
        active = now and await tx.one("model", id=now["id"])
        intents = await tx.all("intents")
        taught = active and await tx.one("improvement_of_model", model_id=active["id"])
        before = await tx.value("last_learned")
        exported_at = moment(await tx.value("clock"))  # earlier than the export reads labels: what it misses is fresh
        await _step(tx, work, "exporting", active)
    await clear_away(work.db, work.home, work.workspace_id)
    found = await export(work.db, work.blobs, work.workspace_id, work.samples, learning=policy.learning)
    taught_by = f"{found.identity} {active and active['samples']} {policy.learning.mode}"
    identity = hashlib.sha256(taught_by.encode()).hexdigest()
    again = row["counts"].get("again", 0)
    counts = found.counts | {"identity": identity, "exported_at": exported_at, "again": again}
    await asyncio.to_thread(_write_job, work, active, taught, intents, policy)
    async with work.db.transaction(work.workspace_id) as tx:
        await _step(tx, work, "exporting", active, counts=counts)
        if not found.counts["train"]:
            await _finish(tx, work.id, "nothing_new", "nobody has labelled a turn that may teach.")
        elif identity == before:
            await _finish(tx, work.id, "nothing_new", "nobody has labelled anything since the last run.")
        else:
            await _step(tx, work, "training", active)


def _write_job(work: Run, active: Row | None, taught: Row | None, intents: list[Row], policy: Policy) -> None:
    folder = None if active is None else registry.folder_of(work.home, work.workspace_id, active["fingerprint"])
    added: dict[str, list[str]] = {}
    for intent in intents:
        added.setdefault(intent["head"], []).append(intent["name"])
    job = {
        "samples": str(work.samples),
        "out": str(work.folder),
        "cache": str(work.home / "cache" / "features"),
        "base": active and active["samples"],
        "active": folder and str(folder),
        "intents": added,
        "seen_before": taught and taught["counts"]["exported_at"],
        "base_reached": ((active and active["reference"]) or {}).get("base") or {},
        "min_rows": policy.gates.min_slice,
        "mode": policy.learning.mode,
        "threads": max(1, (os.cpu_count() or 1) // 2),
    }
    fresh = work.job.with_name(".job.json")
    fresh.write_text(json.dumps(job, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(fresh, work.job)


async def _train(work: Run, row: Row) -> None:
    """Train in a process that ends with this one."""
    if not work.job.is_file():  # the folder is gone with a disk: begin again
        async with work.db.transaction(work.workspace_id) as tx:
            await tx.run("step_improvement", id=work.id, state="exporting", base_id=row["base_id"], counts=None)
        return
    if find_spec("torch") is None:
        raise Unavailable("training needs the extra [train]. Install it for the workers: pip install 'duomo[train]'")
    for _ in range(KILLS):
        code, said = await _process(work)
        if code == 0:
            break
        if code > 0:
            raise Unavailable(said or f"the training ended with code {code}.")
        logger.warning("improvement %s: the training was killed by signal %d; it goes on", work.id, -code)
    else:
        raise Unavailable(f"the training was killed {KILLS} times; is there enough memory?")
    async with work.db.transaction(work.workspace_id) as tx:
        await tx.run("step_improvement", id=work.id, state="comparing", base_id=row["base_id"], counts=None)


async def _process(work: Run) -> tuple[int, str]:
    """Returns: its exit code, negative for a signal, and the last line it said."""
    me = os.getpid()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, str(work.job),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: _last_no_longer_than(me),
    )  # fmt: skip
    telling = asyncio.create_task(_tell(work))
    try:
        _, errors = await child.communicate()
    finally:
        telling.cancel()
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode is not None
    lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    (work.folder / "train.log").write_bytes(errors)
    return child.returncode, lines[-1].strip() if lines else ""


async def _tell(work: Run) -> None:
    said = None
    while True:
        found = progress(work.home, work.workspace_id, work.id)
        if found and (found["stage"], found["detail"], found["done"]) != said:
            said = found["stage"], found["detail"], found["done"]
            of = f" {found['done']} of {found['total']}" if found["total"] else ""
            work.say(f"{found['stage']}{of} {found['detail']}".strip())
        await asyncio.sleep(1)


def _last_no_longer_than(parent: int) -> None:
    """Linux: the kernel ends this process with its parent, however that ends; and it lets others go first."""
    os.nice(NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


async def _compare(work: Run, row: Row) -> None:
    """Judge the candidate and give it its first role, all in one transaction."""
    try:
        result = json.loads((work.folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        async with work.db.transaction(work.workspace_id) as tx:
            await tx.run("step_improvement", id=work.id, state="training", base_id=row["base_id"], counts=None)
        return
    work.say("comparing")
    async with work.db.transaction(work.workspace_id) as tx:
        policy = await load_policy(tx)
        base = row["base_id"] and await tx.one("model", id=row["base_id"])
        if await _overtaken(tx, work, row):
            return
    verdict = gates.decide(result, policy.gates)
    began = {name: one["second"] for name, one in result["base"]["heads"].items()}
    samples = Path(base["samples"]) if base and base["samples"] else None
    model = await registry.register(
        work.db, work.home, work.workspace_id, work.folder / "onnx", origin="improve",
        name=f"{row['created_at']:%Y-%m-%d %H:%M}", samples=samples, reference=result["reference"] | {"base": began},
    )  # fmt: skip
    async with work.db.transaction(work.workspace_id) as tx:
        await tx.one("lock_models")
        if await _overtaken(tx, work, row):
            return
        same = row["base_id"] == model["id"]
        state, why = ("nothing_new", "the same model came out.") if same else (verdict.state, verdict.why)
        if state == "promoted" and await taken_back(tx, model["id"]):
            state, why = "refused", "this very model was taken back before; only an owner may let it answer again."
        told = {key: result[key] for key in ("labels", "comparison", "base", "trained", "notes")}
        looked = [gate.as_dict() for gate in verdict.gates]
        if not await _finish(tx, work.id, state, why, model["id"], comparison=told, looked=looked):
            return
        await tx.run("forget_suspects")
        for suspect in result["suspects"]:
            values = {key: suspect[key] for key in ("head", "given", "suggested", "confidence")}
            await tx.run("insert_suspect", message_id=suspect["id"], **values)
        await _conclude(tx, work, state, why, str(model["id"]), policy.rollout)


async def _overtaken(tx: Tx, work: Run, row: Row) -> bool:
    """Whether another model became active since the export; the run then begins anew, against that one.

    Raises:
        Conflict: it has done so `AGAIN` times.
    """
    active = (await registry.current(tx)).get("active")
    if (active and active["id"]) == row["base_id"]:
        return False
    again = row["counts"].get("again", 0) + 1
    if again > AGAIN:
        raise Conflict("the active model changed meanwhile. Run it again.")
    work.say("another model became active meanwhile; beginning anew")
    await _step(tx, work, "exporting", active, counts=row["counts"] | {"again": again})
    return True


async def _conclude(tx: Tx, work: Run, state: str, why: str, model_id: str, rollout: Rollout) -> None:
    if state == "promoted":
        await _deploy(tx, model_id, rollout, by="improve", agent_id=None, reason=why)
        await end_alarm(tx, "improve", SUBJECT)
    elif state == "refused":
        await raise_alarm(tx, "improve", SUBJECT, {"improvement_id": work.id, "why": why})


async def _deploy(
    tx: Tx, model_id: str, rollout: Rollout, *, by: registry.By, agent_id: str | None, reason: str
) -> None:
    active = "active" in await registry.current(tx)
    role = first_role(rollout, active=active)
    share = rollout.canary_share if role == "canary" else None
    await registry.deploy(tx, model_id, role, share=share, by=by, agent_id=agent_id, reason=reason)


STEPS: Mapping[str, Callable[[Run, Row], Awaitable[None]]] = {
    "queued": _export,
    "exporting": _export,
    "training": _train,
    "comparing": _compare,
}


async def _step(tx: Tx, work: Run, state: str, active: Row | None, *, counts: dict[str, Any] | None = None) -> None:
    base_id = None if active is None else active["id"]
    await tx.run("step_improvement", id=work.id, state=state, base_id=base_id, counts=counts)


async def _finish(
    tx: Tx,
    improvement_id: str,
    state: str,
    verdict: str,
    model_id: Any = None,
    *,
    comparison: dict[str, Any] | None = None,
    looked: list[dict[str, Any]] | None = None,
) -> bool:
    """End a run; False when it had ended."""
    values = {"state": state, "verdict": verdict, "model_id": model_id, "comparison": comparison, "gates": looked}
    return bool(await tx.run("finish_improvement", id=improvement_id, **values))


# Its folder -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _alone(work: Run) -> AsyncIterator[None]:
    """Wait until no other process works on this run; a process that dies lets go."""
    work.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = 0.0
    while True:
        with _locked(work.folder) as mine:
            if mine:
                yield
                return
        if time.monotonic() - said > 10:
            said = time.monotonic()
            work.say("another process works on it; waiting")
        await asyncio.sleep(WAIT_S)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """False: another process works in this folder."""
    with open(folder / "lock", "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _tidy(folder: Path) -> None:
    """Keep what people read; what customers wrote and the stages of training go."""
    for path in _left(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _tidy_left(folder: Path) -> None:
    """Tidy an ended run's folder, unless a process works on it still: that one does."""
    if folder.is_dir() and _left(folder):
        with _locked(folder) as mine:
            if mine:
                _tidy(folder)


def _left(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() or path.name not in KEPT]


def _clear_away(place: Path, keep: str | None, *, older_than_days: int) -> None:
    """Reports show turns that were wrong, so they go when the turns do."""
    border = time.time() - older_than_days * 86400
    for folder in place.iterdir() if place.is_dir() else ():
        if folder.name == keep:
            continue
        if folder.stat().st_mtime < border:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            _tidy_left(folder)
