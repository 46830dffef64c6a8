"""Whether customers still write, show and say what the active model knows.

A model comes with what is usual for it (`models.reference`, made with the candidate by `learn/reference.py`); where it
does not, its first window of live turns is. Every quarter of a window the latest turns are compared with that, each
modality by its embeddings, all of them by confidence and by what is out of scope, and the result kept in
`drift_windows`. An alarm says it once, is taken back when it is over, and stays quiet after a person has seen it until
it was over once.

    distance of a modality: |x - y|^2 / (|x - y|^2 + tr S + tr T), of the mean embeddings x, y and covariances S, T of
    the window and of what is usual, each without the part that is chance: the share of the squared distance between a
    turn of now and one of then that is due to the change, [0, 1]. Unlike the cosine between the means it does not
    depend on how narrow a cone an encoder's vectors lie in.
    significance: the same |x - y|^2 in bootstrap samples of the window, moved so that nothing has changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duomo.store.postgres import Database, Row, Tx
from duomo.support.alarms import end_alarm, raise_alarm
from duomo.support.policy import load_policy
from duomo.support.policy_sections import Drift
from duomo.support.registry import current

logger = logging.getLogger("duomo.drift")

Doubles = NDArray[np.float64]

STEPS = 4  # comparisons a window
SAMPLES = 999  # of the bootstrap
CONFIDENCE = 0.1  # of mean confidence that may be lost
OUT_OF_SCOPE = 0.1  # that the rate of turns out of scope may rise
OVER = 0.5  # of the distance that raises an alarm; below it, it is over


@dataclass(frozen=True, slots=True)
class Usual:
    """Where turns usually lie: enough to compare others with, and small."""

    n: int
    mean: Doubles  # (dim,)
    spread: float  # mean squared distance from it

    @classmethod
    def of(cls, vectors: Doubles) -> Usual:
        """Of (n, dim) vectors of length 1."""
        mean = vectors.mean(axis=0)
        return cls(len(vectors), mean, float(((vectors - mean) ** 2).sum(axis=1).mean()))

    @classmethod
    def read(cls, stated: Mapping[str, Any]) -> Usual:
        """Of an entry of `reference["modalities"]`: vectors of length 1 with a mean of length l vary by 1 - l^2."""
        length = 1 - float(stated["distance"])
        return cls(int(stated["n"]), np.asarray(stated["mean"], dtype=np.float64) * length, 1 - length**2)

    def as_dict(self) -> dict[str, Any]:
        length = float(np.linalg.norm(self.mean))
        mean = [round(float(value), 5) for value in self.mean / max(length, 1e-12)]
        return {"n": self.n, "mean": mean, "distance": round(1 - length, 5)}


@dataclass(frozen=True, slots=True)
class Change:
    """
    Attributes:
        size: of a modality its distance, of confidence and out of scope the difference to the worse.
        p: how likely as large a one is without a change.
    """

    size: float
    p: float


def distance(vectors: Doubles, usual: Usual, *, seed: int = 0) -> Change:
    """How far (n, dim) vectors of length 1 are from what is usual, n >= 2."""
    now = Usual.of(vectors)
    n, m = now.n, usual.n
    spread, was = now.spread * n / (n - 1), usual.spread * m / max(m - 1, 1)
    apart = float(((now.mean - usual.mean) ** 2).sum())
    true = max(0.0, apart - spread / n - was / m)
    centred = vectors - now.mean
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=SAMPLES)  # (SAMPLES, n)
    moved = (counts / n) @ centred  # (SAMPLES, dim), the means of samples of a window that did not change
    by_chance = (moved**2).sum(axis=1) * (n / (n - 1) + n / m)
    p = (1 + int((by_chance >= apart).sum())) / (1 + SAMPLES)
    return Change(true / max(true + spread + was, 1e-12), p)


def lower(values: Sequence[float], usual: Mapping[str, Any]) -> Change:
    """How far a mean fell; Welch's test. `usual`: n, confidence, deviation."""
    now, n = np.asarray(values, dtype=np.float64), len(values)
    size = float(usual["confidence"]) - float(now.mean())
    error = math.sqrt(float(now.var(ddof=1)) / n + float(usual["deviation"]) ** 2 / int(usual["n"]))
    return Change(size, _above(size / error) if error else float(size <= 0))


def higher(count: int, of: int, usual: Mapping[str, Any]) -> Change:
    """How far a share rose; the pooled two-sample test. `usual`: n, out_of_scope."""
    was, m = float(usual["out_of_scope"]), int(usual["n"])
    size = count / of - was
    pooled = (count + was * m) / (of + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / m))
    return Change(size, _above(size / error) if error else float(size <= 0))


def _above(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


# Looking ----------------------------------------------------------------------------------------------------------


async def look(db: Database, workspace_id: str) -> list[str]:
    """Compare the windows that are full, raise alarms and take them back. Run it every minute; mostly nothing is due.

    Returns:
        What changed, for the log.
    """
    async with db.transaction(workspace_id) as tx:
        active = (await current(tx)).get("active")
        if active is None:
            return []
        rule = (await load_policy(tx)).drift
        done = []
        for row in await tx.all("drift_counts", id=active["id"]):
            compare = _heads if row["subject"] == "confidence" else _modality
            done.append(await compare(tx, active["id"], row, rule))
    said = [sentence for sentences in done for sentence in sentences]
    for sentence in said:
        logger.warning("workspace=%s %s", workspace_id, sentence)
    return said


async def _modality(tx: Tx, model_id: Any, counted: Row, rule: Drift) -> list[str]:
    modality = counted["subject"]
    if not _due(counted, rule):
        return []
    stated = await tx.value("model_usual", id=model_id, of="modalities", name=modality)
    skip = 0 if stated else counted["turns"] - rule.window  # what is usual comes from the first ones
    rows = await tx.all("drift_vectors", id=model_id, modality=modality, skip=skip, limit=rule.window)
    numbers = [row["vector"].strip("[]").split(",") for row in rows]
    dim = len(stated["mean"]) if stated else len(numbers[0])
    vectors = np.array([row for row in numbers if len(row) == dim], dtype=np.float64)  # a shadow may see otherwise
    if len(vectors) < max(2, rule.window // 2):
        return []
    if stated is None:
        await tx.run("set_model_usual", id=model_id, of="modalities", name=modality, usual=Usual.of(vectors).as_dict())
        return []
    usual = Usual.read(stated)
    upto = counted["upto"] + counted["fresh"]
    change = await asyncio.to_thread(distance, vectors, usual, seed=upto)
    figures = {
        "distance": round(change.size, 4), "p": round(change.p, 5), "from": rule.distance, "turns": len(vectors),
        "usual_turns": usual.n, "confidence": _rounded_mean([row["confidence"] for row in rows]),
        "out_of_scope": _rounded_mean([float(row["out_of_scope"]) for row in rows]),
    }  # fmt: skip
    return await _conclude(tx, model_id, modality, upto, change, rule.distance, rule, figures)


async def _heads(tx: Tx, model_id: Any, counted: Row, rule: Drift) -> list[str]:
    if not _due(counted, rule):
        return []
    usual = await tx.value("model_usual", id=model_id, of="heads", name="intent")
    upto = counted["upto"] + counted["fresh"]
    skip = 0 if usual else counted["turns"] - rule.window
    rows = await tx.all("drift_turns", id=model_id, skip=skip, limit=rule.window)
    sure = [float(row["confidence"]) for row in rows if row["confidence"] is not None]
    beyond = sum(bool(row["out_of_scope"]) for row in rows)
    if len(sure) < 2:
        return []
    if usual is None:
        spread = float(np.std(sure))
        first = {
            "n": len(rows), "confidence": float(np.mean(sure)), "deviation": spread, "out_of_scope": beyond / len(rows)
        }  # fmt: skip
        await tx.run("set_model_usual", id=model_id, of="heads", name="intent", usual=first)
        return []
    told = []
    changes = (
        ("confidence", lower(sure, usual), CONFIDENCE, float(np.mean(sure))),
        ("out_of_scope", higher(beyond, len(rows), usual), OUT_OF_SCOPE, beyond / len(rows)),
    )
    for subject, change, limit, now in changes:
        figures = {
            "now": round(now, 4), "usual": round(float(usual[subject]), 4), "p": round(change.p, 5), "from": limit,
            "turns": len(rows), "usual_turns": usual["n"], "distance": round(change.size, 4),
        }  # fmt: skip
        told += await _conclude(tx, model_id, subject, upto, change, limit, rule, figures)
    return told


def _due(counted: Row, rule: Drift) -> bool:
    """Whether a window is full, and a quarter of it came since somebody looked."""
    return bool(counted["turns"] >= rule.window and counted["fresh"] >= max(1, rule.window // STEPS))


async def _conclude(
    tx: Tx, model_id: Any, subject: str, upto: int, change: Change, limit: float, rule: Drift, figures: Row
) -> list[str]:
    significant = change.p <= rule.significance
    drifted = significant and change.size >= limit
    over = not significant or change.size < limit * OVER
    seen = drifted and await tx.value("seen_and_not_over", kind="drift", subject=subject)
    await tx.run("add_drift_window", id=model_id, subject=subject, upto=upto, figures=dict(figures), drifted=drifted)
    sentence = f"{subject} drifted by {change.size:.3f} (p {change.p:.4f})"
    if drifted and not seen:
        return [sentence] if await raise_alarm(tx, "drift", subject, {**figures, "model_id": str(model_id)}) else []
    if over and await end_alarm(tx, "drift", subject):
        return [f"{subject} is as usual"]
    return []


def _rounded_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
