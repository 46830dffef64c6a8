"""How the service does: figures of the conversations begun in a period, over time and by one dimension.

What a conversation counts as stands in one place, the view `conversation_facts`; here it is only counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args

import numpy as np

from duomo.errors import InputError
from duomo.store.postgres import Database, Row, Tx, pg_array
from duomo.support.interval import Share, share

By = Literal["intent", "channel", "language", "modality", "team"]
Step = Literal["day", "week"]
Outcome = Literal["confirmed", "stood", "settling", "reopened", "open", "no_reaction"]
"""confirmed: the customer said that it helped · stood: resolved, and not reopened within 72 h · settling: resolved less
than 72 h ago · reopened: within 72 h · open: with people · no_reaction: answered, and the customer said no more."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

EARLIEST = date(1970, 1, 1)  # that a period may end on
LONGEST_DAYS = 731
WEEKS_FROM = 63  # days; a longer period is shown by the week
TOPICS = 8  # unanswered topics shown
EXAMPLES = 3  # of each
_UNANSWERED = 5_000  # newest ones looked at
_NEWEST = 60  # of a topic, among which its examples are chosen
_CSV_PAGE = 5_000  # conversations


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of a time zone, both ends included.

    Attributes:
        only: a group the figures are narrowed to, as (dimension, name); the name None is "not known".
    """

    since: date
    until: date
    tz: str = "UTC"
    step: Step = "day"
    only: tuple[By, str | None] | None = None

    @classmethod
    def of(
        cls, since: date, until: date, *, tz: str, step: Step | None = None, only: tuple[By, str | None] | None = None
    ) -> Period:
        """
        Raises:
            InputError: it ends before it begins, or is longer than two years.
        """
        days = (until - since).days + 1
        if days < 1:
            raise InputError(f"the period ends on {until}, before it begins on {since}. Exchange the two.")
        if days > LONGEST_DAYS:
            raise InputError(f"the period has {days} days, at most {LONGEST_DAYS} are shown. Choose a shorter one.")
        return cls(since, until, tz, step or ("week" if days > WEEKS_FROM else "day"), only)

    @property
    def bounds(self) -> dict[str, Any]:
        return {"since": self.since, "until": self.until, "tz": self.tz}

    @property
    def cut(self) -> dict[str, Any]:
        """The bounds, and the group it is narrowed to."""
        only_by, only = self.only or (None, None)
        return {**self.bounds, "only_by": only_by, "only": only}

    def starts(self) -> list[date]:
        """First days of the steps of the period; a week begins on Monday."""
        first = self.since - timedelta(days=self.since.weekday() if self.step == "week" else 0)
        width = 7 if self.step == "week" else 1
        return [first + timedelta(days=d) for d in range(0, (self.until - first).days + 1, width)]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that something took."""

    n: int
    median_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True)
class Csat:
    n: int
    mean: float | None  # of 1 to 5
    satisfied: Share  # gave 4 or 5
    scores: tuple[int, int, int, int, int]  # how many gave 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of some conversations. `resolved_bot` and `resolved_people` add up to `resolved`: shares of all."""

    conversations: int
    resolved: Share
    resolved_bot: Share
    resolved_people: Share
    handed_over: Share
    outcomes: Mapping[Outcome, int]
    waiting: int  # for a person's first reply
    first_bot: Times
    first_people: Times  # from the hand-over on
    handling: Times  # from the hand-over to the last resolve
    csat: Csat


@dataclass(frozen=True, slots=True)
class Example:
    message_id: str
    conversation_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Topic:
    """What customers asked about and got no answer to."""

    kind: Literal["proposal", "intent", "unknown"]
    name: str | None
    n: int  # hand-overs
    examples: Sequence[Example]  # nearest to the topic's middle first


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the bot's intent was the one a person chose; the messages people look at are no random sample.

    Attributes:
        by_intent: (what people said, share of it the bot said too, what the bot said instead most often).
    """

    overall: Share
    by_intent: Sequence[tuple[str, Share, str | None]]


@dataclass(frozen=True, slots=True)
class Version:
    """A model or policy that was in force."""

    kind: Literal["model", "policy"]
    name: str
    version: str
    role: str | None
    share: float | None
    began_at: datetime
    ended_at: datetime | None
    note: str


async def check_time_zone(tx: Tx, name: str) -> None:
    """
    Raises:
        InputError: PostgreSQL knows no such zone.
    """
    if not await tx.value("known_time_zone", name=name):
        raise InputError(f"there is no time zone {name!r}. Give one as Asia/Shanghai or UTC.")


async def over_time(tx: Tx, period: Period) -> tuple[Figures, list[tuple[date, Figures]]]:
    """All of it, and by the day or week; steps in which nothing happened are there too."""
    rows = await _figures(tx, period, "time")
    found = {row["key"]: figures(row) for row in rows if not row["every"]}
    total = next(figures(row) for row in rows if row["every"])
    return total, [(start, found.get(start.isoformat()) or figures({})) for start in period.starts()]


async def by_group(tx: Tx, period: Period, by: By) -> list[tuple[str | None, Figures]]:
    """The groups of a dimension, the largest first; None is what could not be told."""
    return [(row["key"], figures(row)) for row in await _figures(tx, period, by) if not row["every"]]


async def _figures(tx: Tx, period: Period, by: str) -> list[Row]:
    return await tx.all("insight_figures", **period.cut, step=period.step, by=by)


def figures(row: Mapping[str, Any]) -> Figures:
    """Figures from counts; what is missing is zero."""

    def count(name: str) -> int:
        return int(row.get(name) or 0)

    def times(name: str) -> Times:
        median, p90 = row.get(f"{name}_s") or (None, None)
        return Times(count(f"{name}_n"), median, p90)

    n = count("conversations")
    scores = tuple(count(f"csat_{score}") for score in range(1, 6))
    return Figures(
        conversations=n,
        resolved=share(count("verified"), n),
        resolved_bot=share(count("verified_bot"), n),
        resolved_people=share(count("verified_people"), n),
        handed_over=share(count("handed_over"), n),
        outcomes={name: count(name) for name in OUTCOMES},
        waiting=count("waiting"),
        first_bot=times("bot"),
        first_people=times("people"),
        handling=times("handling"),
        csat=Csat(count("csat_n"), row.get("csat_mean"), share(scores[3] + scores[4], sum(scores)), scores),  # type: ignore[arg-type]
    )


async def unanswered(tx: Tx, period: Period) -> list[Topic]:
    """The topics the bot handed over most, each with the questions nearest to its middle."""
    rows = await tx.all("insight_unanswered", **period.bounds, limit=_UNANSWERED)
    topics: defaultdict[tuple[Literal["proposal", "intent", "unknown"], str | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row["proposal"]:
            topics["proposal", row["proposal"]].append(row)
        else:
            topics["intent" if row["intent"] else "unknown", row["intent"]].append(row)
    largest = sorted(topics.items(), key=lambda item: (-len(item[1]), item[0][0], item[0][1] or ""))[:TOPICS]
    ids = [row["message_id"] for _, members in largest for row in members[:_NEWEST]]
    found = await tx.binary("insight_vectors", message_ids=pg_array(ids))
    vectors = {row["message_id"]: np.asarray(row["vector"], dtype=np.float32) for row in found}
    return [
        Topic(kind, name, len(members), [_example(row) for row in nearest(members[:_NEWEST], vectors)])
        for (kind, name), members in largest
    ]


def nearest(rows: Sequence[Row], vectors: Mapping[Any, np.ndarray]) -> list[Row]:
    """The rows whose vectors are nearest to the mean of all, and not twice the same words; without vectors the newest.

    Vectors of another length than most come from an encoder that is no longer used: they are left out.
    """
    lengths = Counter(vectors[row["message_id"]].shape for row in rows if row["message_id"] in vectors)
    usual = lengths.most_common(1)[0][0] if lengths else None
    known = [row for row in rows if row["message_id"] in vectors and vectors[row["message_id"]].shape == usual]
    if known:
        matrix = np.stack([vectors[row["message_id"]] for row in known])  # (rows, dim), each of length 1
        order = np.argsort(-(matrix @ matrix.mean(axis=0)), kind="stable")
        rows = [known[i] for i in order]
    different = {row["text"].strip().casefold(): row for row in reversed(rows) if row["text"].strip()}
    return list(reversed(different.values()))[:EXAMPLES]


def _example(row: Row) -> Example:
    return Example(str(row["message_id"]), str(row["conversation_id"]), row["text"][:300])


async def agreement(tx: Tx, period: Period) -> Agreement:
    """Of the messages whose intent a person has said."""
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in await tx.all("insight_agreement", **period.bounds):
        said[row["label"]][row["predicted"] or ""] += row["n"]
    by_intent = []
    for label, predicted in said.items():
        instead = [(n, name) for name, n in predicted.items() if name not in (label, "")]
        most = max(instead, key=lambda pair: (pair[0], pair[1]))[1] if instead else None
        by_intent.append((label, share(predicted[label], predicted.total()), most))
    by_intent.sort(key=lambda entry: (-entry[1].n, entry[0]))
    return Agreement(share(sum(s.k for _, s, _ in by_intent), sum(s.n for _, s, _ in by_intent)), by_intent)


async def versions(tx: Tx, period: Period) -> list[Version]:
    """Models that answered and policies that held, oldest first."""
    return [Version(**row) for row in await tx.all("insight_versions", **period.bounds)]


async def conversations(db: Database, workspace_id: str, period: Period) -> AsyncIterator[list[Row]]:
    """The facts of every conversation of the period, oldest first, a page after the other."""
    after: tuple[datetime | None, Any] = (None, None)
    while True:
        async with db.transaction(workspace_id) as tx:
            rows = await tx.all(
                "insight_conversations", **period.cut, after_at=after[0], after_id=after[1], limit=_CSV_PAGE
            )
        if rows:
            yield rows
        if len(rows) < _CSV_PAGE:
            return
        after = (rows[-1]["created_at"], rows[-1]["id"])
