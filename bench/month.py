"""A simulated month of the demo shop: customers write, speak and show, people label 50 turns a week, the model learns.

    python bench/month.py --at DIR --speak-with ../speech/bin/python --voices ../speech/package/voices
    python bench/month.py --at DIR --conversations 40 --afterwards 20 --arms 1          a small run

Starts a service of its own in DIR/home with the shipped model and streams the conversations of `month_script.py`
through the public API. At the end of each week but the last the loop runs as an owner would run it: what `discover`
proposed is accepted where it is a new intent, the head of the review queue is labelled with the script's truth until 50
labels are given, `duomo improve` trains and promotes, the policy's dry run predicts next week's hand-overs. The same
number of labels drawn at random from the same stored turns trains other models beside it, in the same way; both are
measured on conversations that come when the month is over.

A week's figures are of live predictions on its own turns, made before anybody labelled one of them. Everything done is
in DIR; a run that was stopped goes on where it was. Clocks are moved, not waited for: after each week all times in the
database are set back by seven days.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import common
import httpx2
import month_script
import numpy as np
import psycopg
from month_chart import chart

from duomo import store
from duomo.client import Customer, is_reply
from duomo.demo import SCENARIO, UNDERSTANDING, kept_sign_in
from duomo.errors import Unavailable
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from duomo.support.export_samples import export, held_out
from duomo.support.policy_sections import Learning

BUDGET = 50  # labels a week
MOST_MEMBERS = 12  # of a proposal that are labelled when it is accepted; the rest of the budget goes to the queue
MIXED = 0.35  # share of a proposal's turns that are of one hidden intent, from which a person sees it and picks those
AT_ONCE = 3  # customers at a time
PATIENCE_S = 240.0
WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of a run lies."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def media(self) -> Path:
        return self.root / "media"

    def load(self, name: str) -> Any:
        file = self.root / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def save(self, name: str, value: Any) -> None:
        fresh = self.root / f".{name}.json"
        fresh.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(fresh, self.root / f"{name}.json")

    def append(self, name: str, value: Any) -> None:
        with (self.root / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")

    def lines(self, name: str) -> list[Any]:
        file = self.root / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


# The service ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def service(place: Place, port: int) -> Iterator[str]:
    """`duomo run`, until it is ready and as long as it is needed. Yields: its address."""
    place.home.mkdir(parents=True, exist_ok=True)
    place.root.chmod(0o711)  # run by root, the database is somebody else
    file = place.root / "service.log"
    log = file.open("w")
    environment = {**os.environ, "DUOMO_VISITORS_PER_MINUTE": "100000", "DUOMO_SESSION_HOURS": "100000"}
    command = [sys.executable, "-m", "duomo.cli", "run", "--home", str(place.home), "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 1800
        while f"{address}/console" not in file.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the service did not start; {file} says why")
            time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait(60)


class Agent:
    """The shop's owner at the console's API."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self._csrf = ""

    async def sign_in(self, place: Place) -> None:
        known = kept_sign_in(place.home)
        assert known is not None
        body = {"workspace": known.workspace, "email": known.email, "password": known.password}
        answer = await self.http.post("/api/v1/agent/session", json=body)
        answer.raise_for_status()
        self._csrf = answer.json()["csrf"]

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-CSRF-Token": self._csrf}
        answer = await self.http.request(method, f"/api/v1/agent/{path}", json=body, headers=headers, timeout=120)
        if not answer.is_success:
            raise Unavailable(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None


async def settle_policy(agent: Agent) -> None:
    """A new model answers at once: the month is too short for shadows and canaries, which have tests of their own."""
    now = await agent.call("GET", "policy")
    text = re.sub(r"(shadow_turns|canary_turns): \d+", r"\1: 0", now["text"])
    text = re.sub(r"schedule: \w+", "schedule: 'off'", text)
    if text != now["text"]:
        body = {"text": text, "note": "a simulated month", "base_version": now["version"]}
        await agent.call("PUT", "policy", body)


# Customers ------------------------------------------------------------------------------------------------------------


async def stream(place: Place, http: httpx2.AsyncClient, talks: Sequence[month_script.Conversation]) -> None:
    """Let them come, a few at a time; who came already does not come again."""
    seen = {row["talk"] for row in place.lines("talks")}
    waiting = [talk for talk in talks if talk.id not in seen]
    gate, began = asyncio.Semaphore(AT_ONCE), time.monotonic()
    done = 0

    async def one(talk: month_script.Conversation) -> None:
        nonlocal done
        async with gate:
            place.append("talks", await play(place, http, talk))
        done += 1
        if not done % 20:
            rate = (time.monotonic() - began) / done
            print(f"  week {talk.week}: {done} of {len(waiting)}, {rate:.2f} s a conversation", flush=True)

    await asyncio.gather(*(one(talk) for talk in waiting))


async def play(place: Place, http: httpx2.AsyncClient, talk: month_script.Conversation) -> dict[str, Any]:
    """One conversation; it ends early when a person takes over.

    Asked back, a customer picks the option that is about their matter; where there is none, they want a person.
    """
    customer = await Customer.arrive(http, language=talk.language, patience_s=PATIENCE_S)
    turns: list[dict[str, Any]] = []

    async def say(turn: month_script.Turn, *, scripted: bool = True) -> dict[str, Any]:
        began = time.monotonic()
        files = [place.media / name for name in turn.files]
        stored = await customer.say(turn.text, files=files, language=talk.language)
        event = await customer.until(is_reply, timeout_s=PATIENCE_S)
        reply: dict[str, Any] = event["data"]
        cited = [str(one.get("article_id", "")).rpartition("/")[2] for one in reply.get("citations", ())]
        turns.append(
            {"message_id": stored["id"], "intent": turn.intent, "line": turn.line, "scripted": scripted,
             "kind": reply["kind"], "cited": cited, "seconds": round(time.monotonic() - began, 2)}
        )  # fmt: skip
        return reply

    for turn in talk.turns:
        reply = await say(turn)
        if reply["kind"] == "clarify":
            right = [option for option in reply["options"] if titles().get(option) in articles_of(turn.intent)]
            words = right[0] if right else WANTS_A_PERSON[talk.language]
            reply = await say(month_script.Turn(turn.intent, "picked", text=words), scripted=False)
        if reply["kind"] == "handoff":
            break
    return {
        "talk": talk.id, "week": talk.week, "language": talk.language, "conversation": customer.conversation,
        "turns": turns,
    }  # fmt: skip


WANTS_A_PERSON = {"zh": "转人工", "en": "talk to a person"}


@cache
def titles() -> dict[str, str]:
    """Of the shop's articles: title -> file name, which is the same in both languages."""
    found = {}
    for file in (SCENARIO / "articles").glob("*/*.md"):
        title = next(line for line in file.read_text("utf-8").splitlines() if line.startswith("title:"))
        found[title.removeprefix("title:").strip().strip('"')] = file.stem
    return found


@cache
def articles_of(intent: str) -> frozenset[str]:
    return frozenset(
        article for one in month_script.demo.intents() if one["name"] == intent for article in one["articles"]
    )


# The clock ------------------------------------------------------------------------------------------------------------

STILL = ("agent_sessions", "agents", "instance", "workspaces", "part_views")


def spread_over_week(dsn: str, talks: Sequence[Mapping[str, Any]]) -> None:
    """Set the times of a week's conversations as if they had come evenly in the seven days before now."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")  # no trigger takes this for news
        columns = _times(connection)
        of_message = {"artifacts", "parts", "embeddings"}
        for number, talk in enumerate(talks):
            back = f"{WEEK_S * (1 - (number + 0.5) / len(talks)):.0f} seconds"
            for table, names in columns.items():
                if table in STILL:
                    continue
                sets = ", ".join(f"{name} = {name} - %(back)s::interval" for name in names)
                if table == "conversations":
                    where = "id = %(id)s"
                elif table in of_message:
                    messages = "SELECT id FROM messages WHERE conversation_id = %(id)s"
                    parts = f"SELECT id FROM parts WHERE message_id IN ({messages})"
                    where = f"part_id IN ({parts})" if table == "artifacts" else f"message_id IN ({messages})"
                elif _has_conversation(connection, table):
                    where = "conversation_id = %(id)s"
                else:
                    continue
                connection.execute(
                    f"UPDATE {table} SET {sets} WHERE {where}", {"back": back, "id": talk["conversation"]}
                )


def set_back(dsn: str) -> None:
    """A week goes by: every time in the database is seven days earlier."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        for table, names in _times(connection).items():
            if table not in STILL:
                sets = ", ".join(f"{name} = {name} - interval '7 days'" for name in names)
                connection.execute(f"UPDATE {table} SET {sets}")


def _times(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t "
        "USING (table_schema, table_name) WHERE t.table_type = 'BASE TABLE' AND c.table_schema = current_schema() "
        "AND c.data_type = 'timestamp with time zone' AND c.table_name NOT LIKE 'procrastinate%'"
    ).fetchall()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for table, column in rows:
        found[table].append(column)
    return found


def _has_conversation(connection: psycopg.Connection[Any], table: str) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s "
            "AND column_name = 'conversation_id'",
            (table,),
        ).fetchone()
    )


# The loop -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    intent: str
    line: str
    week: int
    conversation: str


def truths(place: Place) -> dict[str, Truth]:
    """By message id."""
    return {
        turn["message_id"]: Truth(turn["intent"], turn["line"], talk["week"], talk["conversation"])
        for talk in place.lines("talks")
        for turn in talk["turns"]
        if turn["scripted"]
    }


async def close_week(place: Place, agent: Agent, week: int, used: dict[str, Any]) -> None:
    """Discover, label, improve; every step is remembered, so that none is done twice."""
    state = await look(place, agent, week)

    def keep() -> None:
        place.save(f"week{week}", state)

    await label(agent, truths(place), state, week, keep)
    if "improved" not in state:
        state["improved"] = await improve(place, agent, week)
        keep()
    used[str(week)] = state


async def look(place: Place, agent: Agent, week: int) -> dict[str, Any]:
    """Discover, and accept what is new; after the last week too, to see what the month has shown."""
    state = place.load(f"week{week}") or {"labels": [], "accepted": [], "dismissed": 0, "skipped": 0}
    if "discovered" not in state:
        state["discovered"] = await discover(agent)
        place.save(f"week{week}", state)
    if "decided" not in state:
        await decide(agent, truths(place), state, week)
        state["decided"] = True
        place.save(f"week{week}", state)
    return state


async def discover(agent: Agent) -> int:
    """Returns: the number of proposals there are, when the job has ended."""
    await agent.call("POST", "discover")
    before, still = -1, 0
    for _ in range(120):
        await asyncio.sleep(3)
        found = len(await agent.call("GET", "proposals"))
        still = still + 1 if found == before else 0
        before = found
        if still >= 8:
            break
    return before


async def decide(agent: Agent, truth: Mapping[str, Truth], state: dict[str, Any], week: int) -> None:
    """Accept a proposal in which a hidden intent is the most frequent and hard to overlook, with its turns."""
    titles = {one["name"]: one["title"] for one in month_script.demo.intents()}
    for proposal in await agent.call("GET", "proposals"):
        if proposal["state"] != "open" or proposal["kind"] != "intent":
            continue
        names = [truth[str(id)].intent if str(id) in truth else "?" for id in proposal["messages"]]
        best = max(set(names), key=names.count)
        share = names.count(best) / len(names)
        if best not in month_script.hidden():
            continue
        if share < MIXED:
            state.setdefault("mixed", []).append({"of": best, "share": round(share, 2), "size": len(names)})
            continue
        mine = [str(id) for id in proposal["messages"] if str(id) in truth and truth[str(id)].intent == best]
        left = min(MOST_MEMBERS, BUDGET - len(state["labels"]))
        members = mine[:left]
        body = {"action": "accept", "name": best, "title": titles[best], "members": members}
        await agent.call("POST", f"proposals/{proposal['id']}", body)
        state["labels"] += [{"message_id": id, "by": "discover", "value": best} for id in members]
        state["accepted"].append(
            {"intent": best, "size": len(names), "share": round(share, 2), "terms": proposal["terms"], "week": week}
        )


async def label(agent: Agent, truth: Mapping[str, Truth], state: dict[str, Any], week: int, keep: Any) -> None:
    """The head of the review queue, with the script's truth. A turn of an intent that has no name yet is left."""
    done = {one["message_id"] for one in state["labels"]}
    while len(state["labels"]) < BUDGET:
        sets = await agent.call("GET", "label-sets")
        known = {one["name"] for labels in sets if labels["head"] == "intent" for one in labels["labels"]}
        left = BUDGET - len(state["labels"])
        queue = await agent.call("GET", f"review?head=intent&limit={min(100, left + 40)}")
        fresh = [item for item in queue["items"] if item["why"] == "value" and str(item["message_id"]) not in done]
        given = 0
        for item in fresh:
            if len(state["labels"]) >= BUDGET:
                break
            id = str(item["message_id"])
            if id not in truth:
                continue
            if truth[id].intent not in known:
                state["skipped"] += 1
                continue
            body = {"message_id": id, "kind": "head", "head": "intent", "value": truth[id].intent, "origin": "review"}
            name = uuid.uuid5(uuid.NAMESPACE_OID, f"month {week} {id}")
            await agent.call("PUT", f"conversations/{item['conversation_id']}/labels/{name}", body)
            state["labels"].append({"message_id": id, "by": "review", "value": truth[id].intent})
            done.add(id)
            given += 1
            keep()
        if not given:
            break


async def improve(place: Place, agent: Agent, week: int) -> dict[str, Any]:
    """`duomo improve`, and what came of it."""
    began = time.monotonic()
    command = [sys.executable, "-m", "duomo.cli", "improve", "--home", str(place.home), "--json"]
    with (place.root / "improve.log").open("a") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
        said, _ = await process.communicate()
    lines = said.decode().strip().splitlines()
    row = json.loads(lines[-1]) if lines else {"state": "failed", "verdict": "it said nothing"}
    kept = ("id", "state", "verdict", "gates", "counts", "model_id")
    return {**{name: row.get(name) for name in kept}, "seconds": round(time.monotonic() - began)}


# Figures --------------------------------------------------------------------------------------------------------------


def predicted(dsn: str) -> dict[str, dict[str, Any]]:
    """What the active model said live, by message id."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT p.message_id, p.pattern, p.heads, p.duration_ms, m.name, m.fingerprint FROM predictions p "
            "JOIN models m ON m.id = p.model_id WHERE p.role = 'active'"
        ).fetchall()
    return {
        str(id): {"pattern": pattern, "head": heads["intent"], "ms": ms, "model": f"{name} {fingerprint[:8]}"}
        for id, pattern, heads, ms, name, fingerprint in rows
    }


def week_figures(place: Place, dsn: str, week: int) -> dict[str, Any]:
    """Of the week's own turns, all of them predicted before one of them was labelled."""
    said = predicted(dsn)
    labelled = {one["message_id"] for w in range(1, week) for one in (place.load(f"week{w}") or {}).get("labels", ())}
    truth = truths(place)
    seen = {truth[id].line for id in labelled if id in truth}
    right: defaultdict[str, list[bool]] = defaultdict(list)
    answers: list[bool] = []
    talks = [talk for talk in place.lines("talks") if talk["week"] == week]
    unread = 0
    for talk in talks:
        for turn in talk["turns"]:
            found = said.get(turn["message_id"])
            if turn["kind"] == "answer" and turn["cited"]:
                answers.append(any(article in articles_of(turn["intent"]) for article in turn["cited"]))
            if not turn["scripted"]:
                continue
            if found is None:
                unread += 1  # small talk and calls for a person need no model
                continue
            correct = found["head"]["label"] == turn["intent"]
            sure = not (found["head"]["abstain"] or found["head"]["out_of_scope"] >= 0.5)
            if sure:
                right["of those it is sure of"].append(correct)
            hidden = turn["intent"] in month_script.hidden()
            for key in ("all", f"pattern {found['pattern']}", f"language {talk['language']}",
                        "hidden intents" if hidden else "known intents",
                        "ways of asking seen" if turn["line"] in seen else "ways of asking new"):  # fmt: skip
                right[key].append(correct)
    handed = sum(any(turn["kind"] == "handoff" for turn in talk["turns"]) for talk in talks)
    turns = sum(len(talk["turns"]) for talk in talks)
    return {
        "week": week,
        "conversations": len(talks),
        "turns": turns,
        "not_read": unread,
        "accuracy": {key: share(values) for key, values in sorted(right.items())},
        "answered": len(answers),
        "wrong_answers": sum(not one for one in answers),
        "handed_over": handed,
        "handover_rate": round(handed / max(len(talks), 1), 4),
        "models": sorted({said[turn["message_id"]]["model"] for talk in talks for turn in talk["turns"]
                          if turn["message_id"] in said}),
        "model_ms": round(float(np.median([one["ms"] for one in said.values()])), 2) if said else None,
    }  # fmt: skip


def share(values: Sequence[bool]) -> dict[str, Any]:
    """With the Wilson interval of 95 %."""
    n, p, z = len(values), sum(values) / max(len(values), 1), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"right": round(p, 4), "low": round(middle - half, 4), "high": round(middle + half, 4), "turns": n}


# Labels drawn at random, beside it ------------------------------------------------------------------------------------


async def snapshot(place: Place, dsn: str, week: int) -> None:
    """All turns until now as samples, as `duomo improve` exports them, for models trained beside the live ones."""
    folder = place.root / "arms" / f"turns{week}"
    if (folder / "facts.json").is_file():
        return
    async with await Database.open(dsn) as db:
        workspace = await db.workspace("demo")
        await export(db, Blobs(place.home / "media"), workspace.id, folder, learning=Learning())


def rows_of(place: Place, week: int) -> dict[str, dict[str, Any]]:
    folder = place.root / "arms" / f"turns{week}"
    found = {}
    for split in ("train", "unlabelled", "heldout"):
        for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            found[row["id"]] = row
    return found


def arm_labels(place: Place, name: str, week: int, truth: Mapping[str, Truth]) -> dict[str, str]:
    """All labels of an arm until the end of a week."""
    labels: dict[str, str] = {}
    for w in range(1, week + 1):
        if name == "active":
            labels |= {one["message_id"]: one["value"] for one in place.load(f"week{w}")["labels"]}
            continue
        pool = sorted(id for id in rows_of(place, w) if id in truth and id not in labels)
        drawn = random.Random(f"{name} {w}").sample(pool, min(BUDGET, len(pool)))
        labels |= {id: truth[id].intent for id in drawn}
    return labels


def train_arm(place: Place, name: str, week: int, truth: Mapping[str, Truth]) -> Path:
    """Train as `duomo improve` does, from the shipped samples and an arm's labels. Returns: the exported folder."""
    out = place.root / "arms" / f"{name}-{week}"
    if (out / "result.json").is_file():
        return out / "onnx"
    labels, rows = arm_labels(place, name, week, truth), rows_of(place, week)
    samples = out / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    turns = place.root / "arms" / f"turns{week}"
    with contextlib.suppress(FileExistsError):
        (samples / "media").symlink_to((turns / "media").resolve())
    facts = json.loads((turns / "facts.json").read_text("utf-8"))
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "unlabelled": [], "heldout": []}
    for id, row in rows.items():
        own = {key: value for key, value in row.items() if key != "labels"}
        if id in labels:
            own["labels"] = {"intent": labels[id]}
            facts.setdefault(id, {"language": "zh", "team": None})["labelled_at"] = "2100-01-01T00:00:00+00:00"
        elif id in facts:
            facts[id]["labelled_at"] = None
        apart = held_out(row["group"])
        parts["heldout" if apart else "train" if id in labels else "unlabelled"].append(own)
    facts = {id: fact | {"labelled_at": fact.get("labelled_at") or ""} for id, fact in facts.items()}
    for part, own_rows in parts.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own_rows)
        (samples / f"{part}.jsonl").write_text(text, encoding="utf-8")
    (samples / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    job = {
        "samples": str(samples), "out": str(out), "cache": str(place.home / "cache" / "features"),
        "base": str(UNDERSTANDING / "samples.jsonl.gz"), "active": str(UNDERSTANDING / "model"),
        "intents": {"intent": sorted(month_script.hidden())}, "seen_before": None, "threads": 1, "resamples": 50,
        "min_rows": 0,  # measured on who comes afterwards, not on what was labelled
    }  # fmt: skip
    (out / "job.json").write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (out / "train.log").open("a") as log:
        subprocess.run(
            [sys.executable, "-m", "duomo.learn.candidate", str(out / "job.json")],
            check=True, stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    return out / "onnx"


def arm_answers(place: Place, folder: Path, truth: Mapping[str, Truth]) -> dict[str, bool]:
    """Of an exported model, by message id: whether it is right about those who came when the month was over."""
    from duomo.learn.encoders import encode
    from duomo.models.encoders import Encoders
    from duomo.models.understanding import load
    from duomo.types import Sample

    week = month_script.WEEKS + 1
    rows = [row for id, row in rows_of(place, week).items() if id in truth and truth[id].week == week]
    base = place.root / "arms" / f"turns{week}"
    samples = [
        Sample(row["id"], text=row.get("text") or None, **{k: base / row[k] for k in ("image", "audio") if k in row})
        for row in rows
    ]
    model = load(folder)
    cache = place.home / "cache" / "features"
    encoded = encode(samples, cache=cache, workers=1, encoders=Encoders.for_views(model.views))
    found = model.predict(encoded.features, shares=False)
    return {
        one.id: sample.heads["intent"].label == truth[one.id].intent for one, sample in zip(samples, found, strict=True)
    }


def compared_arms(answers: Mapping[str, Mapping[str, bool]], truth: Mapping[str, Truth]) -> dict[str, Any]:
    """Each arm's accuracy, and how much more is right where labels were chosen than on average at random.

    The interval resamples conversations, the same for all arms.
    """
    ids = sorted(next(iter(answers.values())))
    hidden = np.array([truth[id].intent in month_script.hidden() for id in ids])
    talks = np.unique([truth[id].conversation for id in ids], return_inverse=True)[1]
    right = {name: np.array([of[id] for id in ids]) for name, of in answers.items()}
    found: dict[str, Any] = {
        name: {"all": share(list(own)), "known": share(list(own[~hidden])), "hidden": share(list(own[hidden]))}
        for name, own in right.items()
    }
    drawn = [own for name, own in right.items() if name.startswith("random")]
    if drawn:
        gain = right["active"].astype(float) - np.mean(drawn, axis=0)
        sums, counts = np.bincount(talks, gain), np.bincount(talks)
        picked = np.random.default_rng(0).integers(len(sums), size=(4000, len(sums)))
        low, high = np.percentile(sums[picked].sum(1) / counts[picked].sum(1), (2.5, 97.5))
        found["gain"] = {"mean": round(float(gain.mean()), 4), "low": round(low, 4), "high": round(high, 4)}
    return found


# All of it ------------------------------------------------------------------------------------------------------------


async def loop(
    place: Place,
    address: str,
    dsn: str,
    month: Sequence[month_script.Conversation],
    later: Sequence[month_script.Conversation],
) -> None:
    async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
        agent = Agent(http)
        await agent.sign_in(place)
        await settle_policy(agent)
        used: dict[str, Any] = {}
        for week in range(1, month_script.WEEKS + 1):
            talks = [talk for talk in month if talk.week == week]
            if not place.load(f"figures{week}"):
                await stream(place, http, talks)
                if not place.load(f"spread{week}"):
                    mine = [talk for talk in place.lines("talks") if talk["week"] == week]
                    await asyncio.to_thread(spread_over_week, dsn, mine)
                    place.save(f"spread{week}", True)
                place.save(f"figures{week}", await asyncio.to_thread(week_figures, place, dsn, week))
            figures = place.load(f"figures{week}")
            print(
                f"week {week}: {json.dumps(figures['accuracy'].get('all'))} handed {figures['handover_rate']}",
                flush=True,
            )
            await snapshot(place, dsn, week)
            if week == month_script.WEEKS:
                await look(place, agent, week)
                await stream(place, http, later)
                await snapshot(place, dsn, week + 1)
                break
            if not place.load(f"closed{week}"):
                await close_week(place, agent, week, used)
                place.save(f"forecast{week}", await forecast(agent))
                await asyncio.to_thread(set_back, dsn)
                place.save(f"closed{week}", True)


async def forecast(agent: Agent) -> dict[str, Any]:
    """What the dry run of the policy that holds says of next week."""
    now = await agent.call("GET", "policy")
    found = await agent.call("POST", "policy/dry-run", {"text": now["text"], "days": 28})
    return {"next_week": found["next_week"], "conversations": found["conversations"], "changed": found["changed"]}


@contextlib.asynccontextmanager
async def database(place: Place) -> AsyncIterator[str]:
    with store.open_home(place.home, None) as dsn:
        yield dsn


def arms(place: Place, count: int) -> dict[str, Any]:
    """Both ways of choosing, trained alike and measured alike, by week after which."""
    truth = truths(place)
    if not (place.root / f"arms/turns{month_script.WEEKS + 1}/facts.json").is_file():
        return {}
    found: dict[str, Any] = {}
    names = ["active", *(f"random{seed}" for seed in range(count))]
    for week in range(month_script.WEEKS):
        answers = place.load(f"answers{week}") or {}
        for name in names if week else ["start"]:
            if name not in answers:
                folder = train_arm(place, name, week, truth) if week else UNDERSTANDING / "model"
                answers[name] = arm_answers(place, folder, truth)
                place.save(f"answers{week}", answers)
                print(f"after week {week}, {name}: {share(list(answers[name].values()))}", flush=True)
        found[str(week)] = compared_arms(answers, truth)
    return found


def summary(place: Place, month: Sequence[month_script.Conversation], compared: Mapping[str, Any]) -> dict[str, Any]:
    weeks = []
    for week in range(1, month_script.WEEKS + 1):
        figures = place.load(f"figures{week}")
        if figures is None:
            break
        state, told = place.load(f"week{week}") or {}, place.load(f"forecast{week - 1}")
        figures["labels"] = {
            "used": len(state.get("labels", ())),
            "by_discover": sum(one["by"] == "discover" for one in state.get("labels", ())),
            "skipped": state.get("skipped", 0),
        }
        figures["discovered"] = state.get("accepted", [])
        figures["mixed_proposals"] = state.get("mixed", [])
        figures["improved"] = {
            k: (state.get("improved") or {}).get(k) for k in ("state", "verdict", "counts", "seconds")
        }
        if told and told["next_week"]:
            next_week = told["next_week"]
            figures["forecast"] = {
                **next_week,
                "happened": figures["handover_rate"],
                "inside": next_week["low"] <= figures["handover_rate"] <= next_week["high"],
            }
        weeks.append(figures)
    media = [name for talk in month for turn in talk.turns for name in turn.files]
    return {
        "conversations": sum(one["conversations"] for one in weeks),
        "turns": sum(one["turns"] for one in weeks),
        "with_pictures": sum(name.endswith("webp") for name in media),
        "with_voice": sum(name.endswith("ogg") for name in media),
        "budget": BUDGET,
        "start": "the shipped model",
        "weeks": weeks,
        "choosing": compared,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, required=True, metavar="DIR", help="of the run; outside the repository")
    parser.add_argument("--conversations", type=int, default=1600)
    parser.add_argument("--arms", type=int, default=3, help="times that labels are drawn at random (default: 3)")
    parser.add_argument("--afterwards", type=int, default=800, help="conversations that the arms are measured on")
    parser.add_argument("--seed", type=int, default=1, help="of who asks what when; gates were chosen looking at 2026")
    parser.add_argument("--port", type=int, default=8190)
    parser.add_argument("--speak-with", type=Path, help="the Python that has voices; see scripts/make_demo_samples.py")
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--only", choices=("live", "arms", "summary"), help="a part of it")
    given = parser.parse_args()
    place = Place(given.at.resolve())
    place.root.mkdir(parents=True, exist_ok=True)
    month = month_script.script(given.conversations, seed=given.seed)
    for week, talks, turns, pictures, voices in month_script.counted(month):
        print(f"week {week}: {talks} conversations, {turns} turns, {pictures} with a picture, {voices} spoken")
    if given.only in (None, "live"):
        month_script.prepare(place.media, python=given.speak_with, voices=given.voices)
        with service(place, given.port) as address, store.open_home(place.home, None) as dsn:
            later = month_script.afterwards(given.afterwards, seed=given.seed)
            asyncio.run(loop(place, address, dsn, month, later))
    compared = arms(place, given.arms) if given.only != "live" else {}
    found = summary(place, month, compared)
    place.save("month", found)
    if given.conversations >= 1500 and given.only != "live":
        data = "scripted customers of the demo shop (bench/month_script.py), synthesised voices, drawn pictures"
        common.write("month", what="a simulated month: the loop run weekly with 50 labels", figures=found, data=data)
        (common.RESULTS.parents[1] / "docs" / "images" / "month.svg").write_text(chart(found), encoding="utf-8")
    print(json.dumps(found["weeks"], ensure_ascii=False, indent=1)[:4000])


if __name__ == "__main__":
    main()
