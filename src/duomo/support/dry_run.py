"""What past turns would have become under another policy, and what that says of the week to come.

The facts of every decision are stored, so a past turn is decided again exactly. What the customer would have said next
is not known, and nobody pretends to: from the first turn of a conversation that comes out otherwise, the rest of it is
left out, and how it would have ended is taken from how other conversations go on, under the same policy, after a turn
of that kind (an answer, a question back) that comes out as it did. Those were other questions, as a rule surer ones: a
policy that answers much more than the past one did will hand over somewhat more than is told here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duomo.store.postgres import Row, Tx, pg_array
from duomo.support.policy import Do, Facts, Policy, Ruling

DAYS = 28
WEEK = timedelta(days=7)
EXAMPLES = 20
DRAWS = 20_000
WEEKS_DIFFER = 0.15  # log-odds; scale of the half-Cauchy prior on how far one week's rate lies from another's
SAID: Mapping[str, Do] = {"answer": "answer", "clarify": "clarify", "handoff": "hand_over"}
ENDS: tuple[Do, ...] = ("answer", "clarify", "hand_over")

Floats = NDArray[np.float64]
End = int
"""How a conversation ends: 0 to 2 as in `ENDS`; 3, 4: not known after an answer, after a question back."""


@dataclass(frozen=True, slots=True)
class PastTurn:
    """
    Attributes:
        do: what was done.
        facts: None where the policy was not asked: it stays as it was.
        ruling: what the policy of then said: row, name, do, team, priority, version.
    """

    message_id: str
    conversation_id: str
    at: datetime
    do: Do
    facts: Facts | None = None
    ruling: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """Of turns, or of conversations by their end: handed over at some time, else answered, else only asked back."""

    n: int
    answer: float
    clarify: float
    hand_over: float


@dataclass(frozen=True, slots=True)
class Change:
    """A turn that would have come out otherwise: done otherwise, or handed to another team or with another priority."""

    message_id: str
    conversation_id: str
    at: datetime
    was: Mapping[str, Any]
    becomes: Mapping[str, Any]
    facts: Facts
    text: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Hand-overs of the conversations that begin in the following week.

    Attributes:
        rate, low, high: share of them, with a 95 % prediction interval.
        conversations: how many are expected.
        weeks: of the past that it rests on; from one alone nothing is known of how weeks differ.
    """

    rate: float
    low: float
    high: float
    conversations: float
    weeks: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """
    Attributes:
        undecided: turns that the policy was not asked about.
        changed: turns that would be answered, asked back or handed over otherwise.
        rerouted: hand-overs that would go to another team or with another priority.
        assumed: conversations whose end is taken from others, since a turn of theirs would come out otherwise.
        moves: (what was done, what would be) -> turns.
        next_week: None without a conversation to go by.
    """

    since: datetime
    until: datetime
    turns: int
    conversations: int
    undecided: int
    changed: int
    rerouted: int
    assumed: int
    turns_now: Shares
    turns_then: Shares
    conversations_now: Shares
    conversations_then: Shares
    moves: Mapping[tuple[Do, Do], int]
    rows: Mapping[int, int]  # row of the new policy -> turns that it decides
    examples: tuple[Change, ...]
    next_week: Prediction | None

    def as_dict(self) -> dict[str, Any]:
        told = {
            **asdict(self),
            "moves": [{"from": a, "to": b, "turns": n} for (a, b), n in self.moves.items()],
            "rows": [{"row": row, "turns": n} for row, n in sorted(self.rows.items())],
            "examples": [
                {**asdict(change), "at": change.at.isoformat(), "facts": change.facts.as_dict()}
                for change in self.examples
            ],
        }
        return told | {"since": self.since.isoformat(), "until": self.until.isoformat()}


async def dry_run(
    tx: Tx,
    policy: Policy,
    *,
    days: float = DAYS,
    since: datetime | None = None,
    until: datetime | None = None,
    week: timedelta = WEEK,
) -> DryRun:
    """Decide the turns of a period again, under `policy`.

    Args:
        days: of the period, back from `until`, unless `since` says where it begins.
        week: how long the following week is, in which the hand-over rate is predicted.
    """
    until = until or datetime.now(UTC)
    since = since or until - timedelta(days=days)
    turns = await past_turns(tx, since, until)
    found = await asyncio.to_thread(compare, turns, policy, since=since, until=until, week=week)
    rows = await tx.all("policy_questions", ids=pg_array(change.message_id for change in found.examples))
    texts = {str(row["id"]): row["text"] for row in rows}
    examples = tuple(replace(change, text=texts.get(change.message_id, "")[:500]) for change in found.examples)
    return replace(found, examples=examples)


async def past_turns(tx: Tx, since: datetime, until: datetime) -> list[PastTurn]:
    return [_turn(row) for row in await tx.all("policy_turns", since=since, until=until)]


def _turn(row: Row) -> PastTurn:
    facts = Facts.of(row["facts"]) if row["facts"] else None
    return PastTurn(
        str(row["id"]), str(row["conversation_id"]), row["created_at"], SAID[row["kind"]], facts, row["policy"]
    )  # fmt: skip


def compare(
    turns: Sequence[PastTurn],
    policy: Policy,
    *,
    since: datetime,
    until: datetime,
    week: timedelta = WEEK,
    seed: int = 0,
) -> DryRun:
    """
    Args:
        turns: of a period, those of each conversation in their order.
    """
    by_conversation: defaultdict[str, list[PastTurn]] = defaultdict(list)
    for turn in turns:
        by_conversation[turn.conversation_id].append(turn)
    decided = {turn.message_id: policy.decide(turn.facts) for turn in turns if turn.facts}
    becomes = {turn.message_id: _becomes(turn, decided.get(turn.message_id)) for turn in turns}
    moves: defaultdict[tuple[Do, Do], int] = defaultdict(int)
    rows: defaultdict[int, int] = defaultdict(int)
    for turn in turns:
        moves[turn.do, becomes[turn.message_id]] += 1
    for ruling in decided.values():
        rows[ruling.row] += 1
    goes_on = _goes_on(by_conversation.values(), becomes)
    ends = [_end(talk, becomes) for talk in by_conversation.values()]
    changes = [
        Change(turn.message_id, turn.conversation_id, turn.at, turn.ruling or {"do": turn.do}, ruling.as_dict(),
               turn.facts)
        for turn in turns
        if turn.facts and _differs(turn, ruling := decided[turn.message_id])
    ]  # fmt: skip
    changed = [change for change in changes if becomes[change.message_id] != change.was.get("do")]
    known = np.vstack([np.eye(3), _fates(goes_on / goes_on.sum(axis=1, keepdims=True))])  # (end, known end)
    starts = [min(turn.at for turn in talk) for talk in by_conversation.values()]
    return DryRun(
        since=since,
        until=until,
        turns=len(turns),
        conversations=len(by_conversation),
        undecided=len(turns) - len(decided),
        changed=sum(n for (a, b), n in moves.items() if a != b),
        rerouted=len(changes) - len(changed),
        assumed=sum(end > 2 for end in ends),
        turns_now=_shares([_sure(turn.do) for turn in turns]),
        turns_then=_shares([_sure(becomes[turn.message_id]) for turn in turns]),
        conversations_now=_shares([_sure(_fate([turn.do for turn in talk])) for talk in by_conversation.values()]),
        conversations_then=_shares([known[end] for end in ends]),
        moves=dict(moves),
        rows=dict(rows),
        examples=tuple(_spread(changed or changes)),
        next_week=_predict(ends, goes_on, starts, until=until, week=week, seed=seed) if ends else None,
    )


def _becomes(turn: PastTurn, ruling: Ruling | None) -> Do:
    """The new word where it differs from the old one; where it does not, what was done: a language model that found
    nothing to say has handed over what was to be answered, and would again."""
    if ruling is None or (turn.ruling and turn.ruling.get("do") == ruling.do):
        return turn.do
    return ruling.do


def _differs(turn: PastTurn, ruling: Ruling) -> bool:
    was = turn.ruling or {"do": turn.do}
    names = ("do", "team", "priority") if ruling.do == "hand_over" else ("do",)
    return any(was.get(name, getattr(ruling, name)) != getattr(ruling, name) for name in names)


def _fate(done: Sequence[Do]) -> Do:
    """How a conversation ended, from what was done in it."""
    return next(do for do in ("hand_over", "answer", "clarify") if do in done)


def _end(talk: Sequence[PastTurn], becomes: Mapping[str, Do]) -> End:
    """How a conversation would end, or after what turn its end is not known."""
    done: list[Do] = []
    for turn in talk:
        now = becomes[turn.message_id]
        done.append(now)
        if now != turn.do and "hand_over" not in done:
            return ENDS.index(now) + 3
        if now != turn.do:
            break
    return ENDS.index(_fate(done))


def _goes_on(talks: Iterable[Sequence[PastTurn]], becomes: Mapping[str, Do]) -> Floats:
    """(2, 5): how often conversations end how from an answer (row 0) and from a question back (row 1) on, of those that
    come out as they did; and one more, shared evenly between the ends that are known."""
    counts = np.array([[0.5, 0, 0.5, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0]])
    for talk in talks:
        for i, turn in enumerate(talk):
            if turn.do != "hand_over" and turn.do == becomes[turn.message_id]:
                counts[ENDS.index(turn.do), _end(talk[i:], becomes)] += 1
    return counts


def _fates(chances: Floats) -> Floats:
    """From the chances of each end, those of the ends that are known.

    What follows a turn may come to a turn after which the end is not known again: f = known + unknown f.

    Args:
        chances: (..., 2, 5), as `_goes_on` counts.
    Returns:
        (..., 2, 3)
    """
    solved = np.linalg.solve(np.eye(2) - chances[..., 3:], chances[..., :3])
    return np.asarray(solved, dtype=np.float64)


def _sure(do: Do) -> Floats:
    return np.array([float(do == end) for end in ENDS])


def _shares(fates: Sequence[Floats]) -> Shares:
    if not fates:
        return Shares(0, 0.0, 0.0, 0.0)
    answer, clarify, hand_over = np.mean(fates, axis=0)
    return Shares(len(fates), float(answer), float(clarify), float(hand_over))


def _spread(changes: Sequence[Change]) -> list[Change]:
    """Examples of every kind of change in turn, the newest of each first."""
    kinds: defaultdict[tuple[Any, Any], list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: change.at, reverse=True):
        kinds[change.was.get("do"), change.becomes["row"]].append(change)
    chosen: list[Change] = []
    while len(chosen) < EXAMPLES and any(kinds.values()):
        chosen += [kind.pop(0) for kind in kinds.values() if kind]
    return chosen[:EXAMPLES]


# The week to come -------------------------------------------------------------------------------------------------


def _predict(
    ends: Sequence[End], goes_on: Floats, starts: Sequence[datetime], *, until: datetime, week: timedelta, seed: int
) -> Prediction:
    """The hand-over rate of the following week: 95 % of such weeks should fall into the interval.

    Four things are not known, and each draw draws all of them:
    - the rate, since it is read off a sample: conversations are drawn again with replacement (a bootstrap);
    - how conversations go on after a turn that comes out otherwise: from the Dirichlet posterior of how others do;
    - how the next week differs from those before, in more than chance: a step on the log-odds whose spread is drawn
      from its posterior, a half-Cauchy prior of scale `WEEKS_DIFFER` and the likelihood of the past weeks' rates (the
      restricted likelihood of a random-effects model);
    - chance in the week itself: its number of conversations is Poisson, its hand-overs are binomial.
    What it cannot see: a change from outside (a new product, a new model) that is larger than weeks differed before.

    Source: the predictive distribution of a random-effects model, Higgins, Thompson and Spiegelhalter 2009, section 4,
    doi:10.1111/j.1467-985X.2008.00552.x.
    """
    rng = np.random.default_rng(seed)
    n = len(ends)
    counts = np.bincount(ends, minlength=5)
    drawn = rng.multinomial(n, counts / n, size=DRAWS)  # (draws, end)
    after = _fates(np.stack([_dirichlet(rng, row) for row in goes_on], axis=1))[..., 2]  # (draws, 2)
    handed = drawn[:, 2] + (drawn[:, 3:] * after).sum(axis=1)
    mean_after = _fates(goes_on / goes_on.sum(axis=1, keepdims=True))[:, 2]
    expected = np.array([0.0, 0.0, 1.0, *mean_after])[list(ends)]  # (conversations,)
    weeks = np.array([(until - start) // week for start in starts])
    step = rng.normal(size=DRAWS) * _week_to_week(expected, weeks, rng)
    rate = 1 / (1 + np.exp(-(np.log((handed + 0.5) / (n - handed + 0.5)) + step)))
    coming = n * week / max(until - min(starts), week / 7)
    conversations = np.maximum(1, rng.poisson(coming, size=DRAWS))
    low, high = np.quantile(rng.binomial(conversations, rate) / conversations, [0.025, 0.975])
    return Prediction(float(expected.mean()), float(low), float(high), float(coming), len(set(weeks.tolist())))


def _dirichlet(rng: np.random.Generator, counts: Floats) -> Floats:
    drawn = rng.gamma(counts, size=(DRAWS, len(counts)))  # an end that was never seen has no chance
    shares: Floats = drawn / drawn.sum(axis=1, keepdims=True)
    return shares


def _week_to_week(expected: Floats, weeks: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """(draws,): how far one week's log-odds lie from another's, from its posterior on a grid."""
    sizes = np.array([np.sum(weeks == week) for week in np.unique(weeks)], dtype=float)
    handed = np.array([expected[weeks == week].sum() for week in np.unique(weeks)])
    rates = (handed + 0.5) / (sizes + 1)
    logits, variances = np.log(rates / (1 - rates)), 1 / (sizes * rates * (1 - rates))
    grid = np.linspace(0, 2, 101)
    weights = 1 / (variances[None, :] + grid[:, None] ** 2)  # (grid, weeks)
    means = (weights * logits).sum(axis=1) / weights.sum(axis=1)
    fit = np.log(weights).sum(axis=1) - np.log(weights.sum(axis=1)) - (weights * (logits - means[:, None]) ** 2).sum(1)
    log_posterior = fit / 2 - np.log1p((grid / WEEKS_DIFFER) ** 2)
    posterior = np.exp(log_posterior - log_posterior.max())
    return rng.choice(grid, size=DRAWS, p=posterior / posterior.sum())
