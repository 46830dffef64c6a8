"""Where to stop answering: at each threshold on the knowledge's confidence, how much is answered and how much of that
is wrong, from what people said about past turns; and the lowest threshold that keeps a wished risk.

What counts. A turn is judged by whether an answer from the passage that was put first is right, whatever was done with
it, so that turns that were handed over count too. The first of these that is there decides:
1. the source that an agent named: right if it is the article that was put first (or the same article in another
   language), wrong if it is another one, or none of them;
2. an agent's "should have been handed over": wrong; "should not have been", of an answer: right;
3. an agent's better answer to what was answered: wrong;
4. the customer's thumb on an answer: up is right, down is wrong.
Anything else, such as a better answer to a question that was handed over, says nothing about the first passage.

Who is judged is not drawn by lot: the review queue asks about unclear turns first, and thumbs come from the pleased and
the angry. The share answered is of all turns; the share wrong is of the judged ones, and holds for others as far as
they are alike.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import yaml

from duomo.learn import yaml_file
from duomo.store.postgres import Row, Tx
from duomo.support.interval import Share, share
from duomo.support.policy import SOURCE, Facts, Policy, load_policy
from duomo.types import LANGUAGES, Language

DAYS = 90
GRID = tuple(round(step / 100, 2) for step in range(101))
RISK = 0.1
CONFIDENCE = 0.95
STARTS = 4
NEVER = 2.0  # a threshold that no confidence reaches

By = Literal["agent", "customer"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A searched question.

    Attributes:
        right: whether an answer from the first passage is right; None: nobody said.
        by: who said so.
    """

    facts: Facts
    right: bool | None = None
    by: By | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """
    Attributes:
        answered, asked: share of all searched questions that would be answered, asked back.
        wrong: of the judged ones among the answered.
    """

    threshold: float
    answered: float
    asked: float
    wrong: Share


@dataclass(frozen=True, slots=True)
class Suggestion:
    """
    Attributes:
        threshold: the lowest at which the share wrong stays within `risk`, at `confidence`; None: none is known to.
        needed: judged turns among the answered that are needed at the least, were all of them right.
    """

    risk: float
    confidence: float
    threshold: float | None
    needed: int


@dataclass(frozen=True, slots=True)
class Curve:
    """
    Attributes:
        now: the threshold that holds, by language; the calibration's where the policy says none.
    """

    turns: int
    by_agents: int
    by_customers: int
    now: dict[Language, float]
    points: tuple[Point, ...]
    suggestion: Suggestion

    def as_dict(self) -> dict[str, Any]:
        points = [{**asdict(point), "wrong": point.wrong._asdict()} for point in self.points]
        return {**asdict(replace(self, points=())), "points": points}


async def load_curve(
    tx: Tx, *, language: Language | None = None, days: float = DAYS, until: datetime | None = None, risk: float = RISK
) -> Curve:
    """The curve of the policy that holds, from the last `days`."""
    until = until or datetime.now(UTC)
    rows = await tx.all("judged_turns", since=until - timedelta(days=days), until=until, language=language)
    policy = await load_policy(tx)
    return await asyncio.to_thread(lambda: curve([judged(row) for row in rows], policy, risk=risk))


def judged(row: Row) -> Judged:
    """What people said of a turn; see the module's words."""
    facts = Facts.of(row["facts"])
    kinds = row["kinds"] or ()
    if "source" in kinds:
        return Judged(facts, bool(row["same"]), "agent")
    if "handoff" in kinds and (row["handoff"] or row["kind"] == "answer"):
        return Judged(facts, not row["handoff"], "agent")
    if row["kind"] != "answer":
        return Judged(facts)
    if "answer" in kinds:
        return Judged(facts, False, "agent")
    return Judged(facts, row["feedback"] == "up", "customer") if row["feedback"] else Judged(facts)


def curve(turns: Sequence[Judged], policy: Policy, *, risk: float = RISK, confidence: float = CONFIDENCE) -> Curve:
    """The risk-coverage curve of a policy over its threshold `answer_from`.

    Source: El-Yaniv and Wiener 2010, On the foundations of noise-free selective classification, JMLR 11.
    """
    upto = np.array([answered_upto(policy, turn.facts) for turn in turns])
    unsure = policy.with_thresholds(answer_from=NEVER)
    asks = np.array([unsure.decide(turn.facts).do == "clarify" for turn in turns])
    known = np.array([turn.right is not None for turn in turns])
    wrong = np.array([turn.right is False for turn in turns])
    points = tuple(
        Point(
            threshold,
            answered=float(np.mean(upto >= threshold)),
            asked=float(np.mean(asks & (upto < threshold))),
            wrong=share(int(np.sum(wrong & (upto >= threshold))), int(np.sum(known & (upto >= threshold)))),
        )
        for threshold in (GRID if turns else ())
    )
    return Curve(
        turns=len(turns),
        by_agents=sum(turn.by == "agent" for turn in turns),
        by_customers=sum(turn.by == "customer" for turn in turns),
        now={turn.facts.language: _holds(policy, turn.facts) for turn in turns},
        points=points,
        suggestion=suggest(points, risk=risk, confidence=confidence),
    )


def answered_upto(policy: Policy, facts: Facts) -> float:
    """The highest threshold at which a question is answered: its confidence where the threshold decides; infinity where
    it is answered, and -1 where it is not, whatever the threshold."""
    row = policy.row_of(facts)
    if row.do == "hand_over" or facts.knowledge is None or not facts.sent:
        return -1.0
    if policy.with_thresholds(answer_from=NEVER).decide(facts).do == "answer":
        return math.inf
    if row.answer_from is not None or (row.do == "clarify" and facts.failures == 0):
        return -1.0
    return facts.knowledge


def _holds(policy: Policy, facts: Facts) -> float:
    own = policy.thresholds.get(facts.language)
    return facts.answer_from if own is None or own.answer_from is None else own.answer_from


def suggest(points: Sequence[Point], *, risk: float = RISK, confidence: float = CONFIDENCE) -> Suggestion:
    """The lowest threshold of which it is shown that at most `risk` of the answers are wrong.

    With probability `confidence` the true risk at the threshold that is given lies within `risk`, for turns drawn like
    the judged ones, although many thresholds are looked at: a threshold passes when so few wrong answers would be rare
    at a greater risk (exact binomial test), thresholds are tested from a high one down until one fails (fixed sequence,
    which needs no correction), and `STARTS` such sequences share the error between them. Where they begin depends on
    how many turns are judged, never on what was said of them.

    Source: Learn then Test, Angelopoulos, Bates, Candes, Jordan and Lei 2021, arXiv:2110.01052, section 2.3 and
    appendix on fixed-sequence testing from several starts.
    """
    error = (1 - confidence) / STARTS
    needed = math.ceil(math.log(error) / math.log1p(-risk)) if 0 < risk < 1 else 1
    down = sorted((point for point in points if point.wrong.n >= needed), key=lambda point: -point.threshold)
    passed: list[float] = []
    for start in range(STARTS):
        for point in down[len(down) * start // STARTS :]:
            if at_most(point.wrong.k, point.wrong.n, risk) > error:
                break
            passed.append(point.threshold)
    return Suggestion(risk, confidence, min(passed, default=None), needed)


def at_most(k: int, n: int, p: float) -> float:
    """The probability of at most `k` successes in `n` tries of probability `p`."""
    if p <= 0 or p >= 1:
        return float(p <= 0 or k >= n)
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return min(1.0, math.fsum(math.exp(log) for log in logs))


# Writing it into the policy ---------------------------------------------------------------------------------------


def set_threshold(text: str, answer_from: float, *, language: Language | None = None) -> str:
    """A policy's text with another threshold, for one language or both; the rest of the text stays as it is.

    Raises:
        Mistaken: the text is no policy.
    """
    policy = Policy.parse(text)
    wanted = {name: asdict(own) for name, own in policy.thresholds.items()}
    for name in (language,) if language else LANGUAGES:
        wanted[name] = wanted.get(name, {}) | {"answer_from": answer_from}
    lines = ["thresholds:"]
    for name in LANGUAGES:
        said = {key: value for key, value in wanted.get(name, {}).items() if value is not None}
        if said.get("clarify_from", 0) > said.get("answer_from", 1):
            said["clarify_from"] = said["answer_from"]
        if said:
            lines.append(f"  {name}: {{{', '.join(f'{key}: {value:g}' for key, value in said.items())}}}")
    block = "\n".join(lines)
    root = yaml_file.compose(text, SOURCE, shortest="")
    for key, value in root.value:
        if key.value == "thresholds":
            return text[: key.start_mark.index] + block + text[_end(value) :]
    return f"{text.rstrip()}\n\n{block}\n"


def _end(node: yaml.Node) -> int:
    """Where a value ends; a block's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
