"""What nobody had an answer for, as proposals: intents that the model lacks, articles that the knowledge lacks.

    turns without an answer or without an understanding -> clusters (a process of its own) -> proposals

A cluster of which the model understood most is an article that is missing; another one is an intent. A person decides:
an accepted intent is added to the labels, and its turns are labelled; an accepted article becomes a draft.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from psycopg.types.json import Jsonb

from duomo.errors import Conflict, InputError, NotFound, Unavailable
from duomo.models.language import detect_language
from duomo.store.postgres import Database, Row, Tx
from duomo.support import drafts
from duomo.support.labels import PLACED, Title, add_intent
from duomo.support.review import load_vectors

DAYS = 60  # turns older than this are not looked at
TURNS = 6000  # newest ones that are
MIN_SIZE = 6  # turns of a cluster
COHESION = 0.3  # mean cosine of members and centre below which a cluster is a mixture
SAME = 0.5  # share of a cluster's turns that stand in an earlier proposal from which on it is that one
EXAMPLES = 8
TIMEOUT_S = 600.0
UNANSWERED = ("low_confidence", "repeated_failure")
"""Reasons of a hand-over that say that no answer was there."""

Kind = Literal["intent", "article"]


@dataclass(frozen=True, slots=True)
class Turn:
    message_id: str
    text: str
    understood: bool  # the model, or a person, knows what it wants
    answered: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    terms: Sequence[str]
    cohesion: float
    members: Sequence[str]  # message ids, nearest to the centre first


async def run_discovery(db: Database, home: Path, workspace_id: str) -> int:
    """Look for clusters and store what is new in them as proposals.

    Returns:
        How many proposals were made or grew.
    Raises:
        Unavailable: the packages of training are not installed, or the process failed.
    """
    async with db.transaction(workspace_id) as tx:
        turns = await load_turns(tx)
        vectors = (await load_vectors(tx, [turn.message_id for turn in turns])).get("text")
    points: np.ndarray | None = None
    if vectors is not None and 2 * len(vectors.rows) >= len(turns):
        turns, points = [turns[int(row)] for row in vectors.rows], vectors.values
    by_id = {turn.message_id: turn for turn in turns}
    made = 0
    # Once more without what the model understands: among many known questions a few new ones form no cluster.
    everything = np.arange(len(turns))
    strange = np.array([row for row, turn in enumerate(turns) if not turn.understood], dtype=np.int64)
    for rows in (everything, strange) if len(strange) < len(turns) else (everything,):
        if len(rows) < MIN_SIZE:
            continue
        clusters = await discover(home, [turns[row] for row in rows], None if points is None else points[rows])
        async with db.transaction(workspace_id) as tx:
            await tx.one("lock_proposals")
            made += await store(tx, clusters, by_id)
    return made


async def load_turns(tx: Tx) -> list[Turn]:
    """Turns that asked something and found no answer, or that the model did not understand; newest first."""
    rows = await tx.all("turns_asked", head=PLACED, days=DAYS, limit=TURNS)
    turns = [_turn(row) for row in rows if row["text"].strip()]
    return [turn for turn in turns if not (turn.understood and turn.answered)]


def _turn(row: Row) -> Turn:
    said, label = row["said"], row["label"]
    if label is not None:
        understood = label != row["out_of_scope"]
    elif said is None:
        understood = True  # nothing can lack an intent where nobody asks for one
    else:
        outside = said["label"] == row["out_of_scope"] or float(said.get("out_of_scope") or 0) >= 0.5
        understood = not outside and not said["abstain"]
    unanswered = row["kind"] == "clarify" or (row["kind"] == "handoff" and row["reason"] in UNANSWERED)
    return Turn(str(row["message_id"]), row["text"], understood, not unanswered)


# Discovery, in a process of its own -------------------------------------------------------------------------------


async def discover(home: Path, turns: Sequence[Turn], points: np.ndarray | None) -> list[Cluster]:
    """Clusters of turns, by `learn.discover` in another process, which ends with this task.

    Args:
        points: (turns, d) embeddings; None: the process encodes the texts.
    """
    folder = home / "training"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = Path(tempfile.mkdtemp(dir=folder, prefix="discover-"))
    try:
        await asyncio.to_thread(_write_job, place, turns, points)
        await _run(place)
        found = json.loads((place / "found.json").read_text(encoding="utf-8"))
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    return [Cluster(**cluster) for cluster in found["clusters"]]


def _write_job(place: Path, turns: Sequence[Turn], points: np.ndarray | None) -> None:
    if points is not None:
        np.save(place / "vectors.npy", points, allow_pickle=False)
    job = {
        "ids": [turn.message_id for turn in turns],
        "texts": [turn.text for turn in turns],
        "vectors": None if points is None else str(place / "vectors.npy"),
        "min_size": MIN_SIZE,
        "found": str(place / "found.json"),
    }
    (place / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")


async def _run(place: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "duomo.learn.proposing", str(place / "job.json"),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise Unavailable(f"discovery took longer than {TIMEOUT_S:.0f} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["without a word"]
        raise Unavailable(f"discovery ended with {process.returncode}: {last[0]}")


# Proposals --------------------------------------------------------------------------------------------------------


async def store(tx: Tx, clusters: Sequence[Cluster], turns: Mapping[str, Turn]) -> int:
    """Make proposals of clusters; one that was proposed grows, one that was dismissed or accepted is not made again."""
    earlier = await tx.all("proposals_made")
    changed = 0
    for cluster in clusters:
        if cluster.cohesion < COHESION:
            continue
        kind = kind_of([turns[member] for member in cluster.members])
        if kind is None:
            continue
        known = _same(cluster, kind, earlier)
        values = {"name": cluster.name, "terms": list(cluster.terms), "messages": list(cluster.members),
                  "cohesion": cluster.cohesion, "kind": kind}  # fmt: skip
        if known is None:
            changed += await tx.run("insert_proposal", **values)
        elif known["state"] == "open":
            changed += await tx.run("update_proposal", id=known["id"], **values)
    return changed


def kind_of(turns: Sequence[Turn]) -> Kind | None:
    """What a cluster lacks; None: neither, for most of it."""
    if 2 * sum(not turn.understood for turn in turns) >= len(turns):
        return "intent"
    return "article" if 2 * sum(not turn.answered for turn in turns) >= len(turns) else None


def _same(cluster: Cluster, kind: Kind, earlier: Sequence[Row]) -> Row | None:
    """The earlier proposal that holds most of the cluster's turns; an open one that the cluster holds most of.

    What was accepted settles its own kind: the turns of a new intent may still lack an article.
    """
    members = set(cluster.members)
    shares = []
    for row in earlier:
        if row["state"] == "accepted" and row["kind"] != kind:
            continue
        common = len(members & set(row["messages"]))
        share = common / len(members)
        if row["state"] == "open":
            share = max(share, common / max(len(row["messages"]), 1))
        shares.append((share, row))
    best = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= SAME else None


async def listed(tx: Tx) -> list[Row]:
    """Open ones first, the largest of them first; then the decided ones, newest first. With examples."""
    return await _with_examples(tx, await tx.all("proposals", id=None))


async def shown(tx: Tx, id: str) -> Row:
    """
    Raises:
        NotFound: no such proposal.
    """
    rows = await _with_examples(tx, await tx.all("proposals", id=id))
    if not rows:
        raise NotFound("there is no such proposal.")
    return rows[0]


async def _with_examples(tx: Tx, rows: Sequence[Row]) -> list[Row]:
    wanted = [message for row in rows for message in row["messages"][:EXAMPLES]]
    found = {str(r["message_id"]): r for r in await tx.all("turn_texts", ids=[str(i) for i in wanted])}
    return [
        {**row, "size": len(row["messages"]),
         "examples": [found[message] for message in row["messages"][:EXAMPLES] if message in found]}
        for row in rows
    ]  # fmt: skip


async def accept(
    tx: Tx, *, id: str, name: str | None, title: Title, members: Sequence[str] | None, agent_id: str
) -> int:
    """Make an intent or a draft of a proposal. Accepting it again, as the same, does nothing.

    Args:
        name: of the intent, e.g. "trade_in".
        members: the turns that are of it; None: all of the proposal's.
    Returns:
        How many of them a person has called something else, which they stay.
    Raises:
        NotFound: no such proposal.
        InputError: an intent without a name, or a member that is not the proposal's.
        Conflict: it is decided otherwise.
    """
    row = await _open(tx, id, accepting=True)
    if row["state"] == "accepted":
        if row["kind"] == "intent" and name not in (None, row["became"]):
            raise Conflict(f"this proposal was accepted as {row['became']!r} already.")
        return 0
    if row["kind"] == "article":
        became, kept = await _draft(tx, row, title, agent_id), 0
    else:
        became, kept = await _intent(tx, row, name, title, members, agent_id)
    await tx.run("decide_proposal", id=id, state="accepted", became=became, agent_id=agent_id)
    return kept


async def dismiss(tx: Tx, *, id: str, agent_id: str) -> None:
    """
    Raises:
        NotFound: no such proposal.
        Conflict: it was accepted.
    """
    row = await _open(tx, id, accepting=False)
    if row["state"] == "open":
        await tx.run("decide_proposal", id=id, state="dismissed", became=None, agent_id=agent_id)


async def _open(tx: Tx, id: str, *, accepting: bool) -> Row:
    row = await tx.one("proposal_for_update", id=id)
    if row is None:
        raise NotFound("there is no such proposal.")
    if row["state"] == ("dismissed" if accepting else "accepted"):
        raise Conflict(f"this proposal was {row['state']} already.")
    return row


async def _intent(
    tx: Tx, row: Row, name: str | None, title: Title, members: Sequence[str] | None, agent_id: str
) -> tuple[str, int]:
    """Returns: the intent's name, and how many of the members are called something else."""
    if not name:
        raise InputError("an intent needs a `name`: small letters, digits and _, e.g. trade_in.")
    chosen = row["messages"] if members is None else list(dict.fromkeys(members))
    if strange := set(chosen) - set(row["messages"]):
        raise InputError(f"{len(strange)} of the members are not of this proposal.")
    known = await add_intent(tx, head=PLACED, name=name, title=title)
    if name == known.out_of_scope:
        raise InputError(f"{name!r} says that nothing fits. Give the intent a name of its own.")
    called = {str(label["message_id"]): label["name"] for label in await tx.all("labels_in", head=PLACED, ids=chosen)}
    labels = [
        {"id": str(uuid.uuid5(uuid.UUID(str(row["id"])), message)), "message_id": message, "head": PLACED,
         "value": Jsonb(name), "agent_id": agent_id, "proposal": str(row["id"])}
        for message in chosen
        if message not in called
    ]  # fmt: skip
    await tx.many("insert_discovered", labels)
    return name, sum(label != name for label in called.values())


async def _draft(tx: Tx, row: Row, title: Title, agent_id: str) -> str:
    examples = await tx.all("turn_texts", ids=row["messages"][:EXAMPLES])
    questions = [str(example["text"]) for example in examples]
    (language, _), *_ = Counter(detect_language(text) for text in questions).most_common(1) or [("zh", 0)]
    heading = title.get(language) or (questions[0] if questions else row["name"])
    return await drafts.from_questions(tx, title=heading, questions=questions, language=language, agent_id=agent_id)
