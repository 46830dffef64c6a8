"""Which turns people look at next, so that every minute of theirs teaches the next model most.

    value = entropy x (1 + disagreement) x frequency, then k-centre greedy away from what is labelled already

Entropy is of what the model said when it answered; disagreement is between its modalities; frequent is a turn like
which there are many. Of the best by value ever the one farthest from those taken comes next, so that nobody labels one
question in many wordings. Among them are labels that look wrong (every fifth place) and second opinions on what
somebody else labelled (every tenth), as far as there are any.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from duomo.errors import InputError
from duomo.learn.curate import Array, Indices, spread
from duomo.models.features import Floats
from duomo.store.postgres import Database, Row, Tx, pg_array
from duomo.support import registry
from duomo.support.labels import label_sets
from duomo.support.policy import load_policy

CANDIDATES = 5000  # newest turns that compete
REMEMBERED = 1000  # newest labelled turns that others are kept away from
COMPARED = 1000  # turns that stand for all when neighbours are counted
ALIKE = 0.65  # cosine of centred embeddings from which two turns count as the same question
DAMPED = 0.5  # power of the frequency: undamped it asks about what is common long after that is known (bench/review.py)
RECHECK_EVERY, SECOND_EVERY = 5, 10  # places
STALE = 0.5  # weight of what a model said that answers no more: its successor may know better
UNKNOWN_HEAD = 1.0  # entropy where nothing was said

Why = Literal["value", "recheck", "second"]


@dataclass(frozen=True, slots=True)
class Ranked:
    row: int
    value: float  # entropy * (1 + disagreement) * frequency, [0, 2]
    entropy: float  # as a share of the most there can be, [0, 1]
    disagreement: float  # [0, 1]
    frequency: float  # how many turns are like it, (0, 1]; 1: the most common one


@dataclass(frozen=True, slots=True)
class Item:
    """A turn to look at. `shown` is its row of `turns_to_show`, `suspect` of a recheck its row of `suspects`."""

    why: Why
    message_id: str
    ranked: Ranked | None
    shown: Row
    suspect: Row | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    items: list[Item]
    unlabelled: int  # up to CANDIDATES
    labelled: int
    rechecks: int
    seconds: int


async def queue(db: Database, workspace_id: str, *, head: str, agent_id: str, limit: int) -> Queue:
    """What this agent should look at next, most valuable first.

    Raises:
        InputError: no such head.
    """
    async with db.transaction(workspace_id) as tx:
        known = next((one for one in await label_sets(tx) if one.head == head), None)
        if known is None:
            raise InputError(f"there is no head {head!r}.")
        count = sum(label.known and label.name != known.out_of_scope for label in known.labels)
        models = [row for role, row in (await registry.current(tx)).items() if role != "shadow"]
        read = any(head in row["manifest"]["heads"] for row in models)
        turns = await tx.binary("turns_to_label" if read else "turns_unread", head=head, limit=CANDIDATES)
        turns = _newest_of_each(turns)
        vectors = await load_vectors(tx, [turn["message_id"] for turn in turns])
        labelled = await load_vectors(
            tx, [r["message_id"] for r in await tx.all("labelled", head=head, limit=REMEMBERED)]
        )
        suspects = await tx.all("suspects_to_check", head=head)
        share = (await load_policy(tx)).learning.second_opinions
        asked = {row["message_id"] for row in suspects}
        seconds = await tx.all("second_opinions_to_ask", head=head, agent_id=agent_id, share=share)
        seconds = [row for row in seconds if row["message_id"] not in asked]
        done = await tx.value("labelled_count", head=head)
    said = [turn["said"] for turn in turns]
    now = {str(row["id"]) for row in models}
    stale = [str(turn["model_id"]) not in now for turn in turns]
    ranked = await asyncio.to_thread(rank, said, count, vectors, labelled, limit, stale=stale)
    chosen: list[tuple[Why, str, Ranked | None, Row | None]] = [
        (why, str(turns[found.row]["message_id"] if isinstance(found, Ranked) else found["message_id"]),
         found if isinstance(found, Ranked) else None, found if isinstance(found, dict) else None)
        for why, found in mixed(ranked, suspects, seconds, limit)
    ]  # fmt: skip
    async with db.transaction(workspace_id) as tx:
        rows = await tx.all("turns_to_show", ids=pg_array(message_id for _, message_id, _, _ in chosen))
    shown = {str(row["message_id"]): row for row in rows}
    items = [
        Item(why, message_id, found, shown[message_id], other if why == "recheck" else None)
        for why, message_id, found, other in chosen
        if message_id in shown
    ]
    return Queue(items, len(turns), done, len(suspects), len(seconds))


def mixed(
    ranked: Sequence[Ranked], suspects: Sequence[Row], seconds: Sequence[Row], limit: int
) -> list[tuple[Why, Ranked | Row]]:
    """Rechecks and second opinions at their places; where one kind has run out, the next one moves up."""
    left: dict[Why, list[Any]] = {"value": list(ranked), "recheck": list(suspects), "second": list(seconds)}
    found: list[tuple[Why, Ranked | Row]] = []
    for place in range(1, limit + 1):
        wanted: Why = "second" if not place % SECOND_EVERY else "recheck" if not place % RECHECK_EVERY else "value"
        order: tuple[Why, ...] = (wanted, "value", "recheck", "second")
        why = next((kind for kind in order if left[kind]), None)
        if why is None:
            break
        found.append((why, left[why].pop(0)))
    return found


# Value ------------------------------------------------------------------------------------------------------------


def rank(
    said: Sequence[Mapping[str, Any]],
    labels: int,
    vectors: Mapping[str, Vectors],
    labelled: Mapping[str, Vectors],
    budget: int,
    *,
    stale: Sequence[bool] | None = None,
) -> list[Ranked]:
    """The turns to label, in that order.

    Args:
        said: what the model said of each, the object H of docs/protocol.md.
        labels: how many labels the model knows, the one for none of them left out.
        vectors: modality -> the rows that have it, as `load_vectors` gives them.
        labelled: the same of turns that are labelled.
    """
    if not said:
        return []
    unsure = np.array([entropy(one, labels) for one in said])
    apart = np.array([min(max(float(one.get("conflict") or 0), 0), 1) for one in said])
    points, taken = side_by_side(vectors, len(said), labelled)
    often = frequency(points)
    value = unsure * (1 + apart) * often
    if stale is not None:
        value = np.where(np.asarray(stale), STALE * value, value)
    distance = _distance(points, taken)
    chosen = spread(points, value, budget, distance=distance)
    return [Ranked(row, *(float(one[row]) for one in (value, unsure, apart, often))) for row in chosen]


def entropy(said: Mapping[str, Any], labels: int) -> float:
    """How unsure the model was, as a share of the most there can be, [0, 1].

    Of a class: over its likeliest labels, what is left spread evenly over the others; or over whether any label fits
    at all, where that is less sure. Of several labels: the mean over them. Of a number: whether it abstained.
    """
    confidence = said.get("confidence")
    if isinstance(confidence, Mapping):
        return sum(map(_binary, confidence.values())) / max(len(confidence), 1)
    top = [max(float(chance), 0.0) for _, chance in said.get("top") or ()]
    if not top:
        return UNKNOWN_HEAD if said.get("abstain", True) else UNKNOWN_HEAD / 2
    others = max(labels - len(top), 0)
    rest = max(1 - sum(top), 0.0) / others if others else 0.0
    terms = sum(_term(chance) for chance in top) + others * _term(rest)
    return max(min(terms / math.log(max(labels, len(top), 2)), 1.0), _binary(float(said.get("out_of_scope") or 0)))


def frequency(points: Floats) -> Array:
    """(n,) how common what a turn says is: the root of 1 + ln(1 + neighbours) as a share of the most common one's."""
    step = max(1, -(-len(points) // COMPARED))
    some = points[::step]
    neighbours = (points @ some.T >= ALIKE).sum(axis=1) * step  # itself among them
    weight = 1 + np.log1p(np.maximum(neighbours - 1, 0))
    return np.asarray((weight / weight.max(initial=1.0)) ** DAMPED, dtype=np.float64)


def _term(chance: float) -> float:
    return -chance * math.log(chance) if chance > 0 else 0.0


def _binary(chance: float) -> float:
    chance = min(max(chance, 0.0), 1.0)
    return (_term(chance) + _term(1 - chance)) / math.log(2)


def _distance(points: Floats, taken: Floats) -> Array | None:
    """(n,) cosine distance to the nearest labelled turn."""
    if not len(taken):
        return None
    nearest = np.full(len(points), -1.0)
    for start in range(0, len(taken), 256):
        nearest = np.maximum(nearest, (points @ taken[start : start + 256].T).max(axis=1))
    return np.asarray(1 - nearest, dtype=np.float64)


# Vectors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of one modality: `values[i]` is of the turn at place `rows[i]`."""

    rows: Indices
    values: Floats


async def load_vectors(tx: Tx, message_ids: Sequence[Any]) -> dict[str, Vectors]:
    """Modality -> its vectors; of encoders that changed, those of the size that most have."""
    place = {str(message_id): at for at, message_id in enumerate(message_ids)}
    found: dict[str, list[tuple[int, Floats]]] = {}
    for row in await tx.binary("embeddings_of", ids=pg_array(message_ids)):
        found.setdefault(row["modality"], []).append((place[str(row["message_id"])], _halves(row["vector"])))
    return {modality: _of_one_size(pairs) for modality, pairs in sorted(found.items())}


def _halves(raw: bytes) -> Floats:
    """pgvector's halfvec as it travels: two bytes of dimensions, two of nothing, then float16, big endian."""
    return np.frombuffer(raw, dtype=">f2", offset=4).astype(np.float32)


def _of_one_size(pairs: Sequence[tuple[int, Floats]]) -> Vectors:
    size, _ = Counter(len(value) for _, value in pairs).most_common(1)[0]
    kept = [(row, value) for row, value in pairs if len(value) == size]
    return Vectors(np.array([row for row, _ in kept], dtype=np.int64), np.stack([value for _, value in kept]))


def side_by_side(
    vectors: Mapping[str, Vectors], count: int, labelled: Mapping[str, Vectors] | None = None
) -> tuple[Floats, Floats]:
    """(count, d) points of turns, and (m, d) of the labelled ones; each of length 1, or 0 without any vector.

    Each modality is centred, or every two texts would be alike (cosines of E5 start at .7), and of length 1.
    """
    labelled = labelled or {}
    m = max((int(one.rows.max(initial=-1)) + 1 for one in labelled.values()), default=0)
    here: list[Floats] = [np.zeros((count, 1), np.float32)]
    there: list[Floats] = [np.zeros((m, 1), np.float32)]
    for modality, one in vectors.items():
        size = one.values.shape[1]
        others = labelled.get(modality)
        if others is None or others.values.shape[1] != size:
            others = Vectors(np.empty(0, np.int64), np.empty((0, size), np.float32))
        centre = np.concatenate([one.values, others.values]).mean(axis=0)
        here.append(_placed(one, count, centre))
        there.append(_placed(others, m, centre))
    return _unit(np.hstack(here)), _unit(np.hstack(there))


def _placed(vectors: Vectors, count: int, centre: Floats) -> Floats:
    rows: Floats = np.zeros((count, vectors.values.shape[1]), np.float32)
    rows[vectors.rows] = _unit(vectors.values - centre)
    return rows


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-6)
    return unit


def _newest_of_each(rows: Sequence[Row]) -> list[Row]:
    found: dict[Any, Row] = {}
    for row in rows:  # newest first
        found.setdefault(row["message_id"], row)
    return list(found.values())


# Agreement --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people say the same of the same turns.

    Attributes:
        kappa: Cohen's; None where it is not defined: no pairs, or both always say one and the same label.
        by_label: (label, said by the first, by the second, by both).
    """

    pairs: int
    agreed: int
    kappa: float | None
    by_label: list[tuple[str, int, int, int]]


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Of (first, second) labels.

    Source: Cohen 1960, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20(1).
    """
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    both = Counter(a for a, b in pairs if a == b)
    n, agreed = len(pairs), both.total()
    by_chance = sum(first[label] * second[label] for label in first) / max(n * n, 1)
    kappa = (agreed / n - by_chance) / (1 - by_chance) if n and by_chance < 1 else None
    labels = sorted(first.keys() | second.keys(), key=lambda label: (-first[label] - second[label], label))
    return Agreement(n, agreed, kappa, [(label, first[label], second[label], both[label]) for label in labels])


async def load_agreement(tx: Tx, *, head: str) -> tuple[Agreement, list[Row]]:
    """Of every second opinion and the label that held when it was given; and the pairs that differ, newest first."""
    rows = await tx.all("opinion_pairs", head=head)
    found = agreement([(_text(row["first"]), _text(row["second"])) for row in rows])
    return found, [row for row in rows if row["first"] != row["second"]]


def _text(value: Any) -> str:
    return " + ".join(sorted(map(str, value))) if isinstance(value, list) else str(value)
