"""Past turns once more: what another model, policy or article makes of them, and whether an answer can be made again.

What the customer wrote, what was heard and read in their files, and the vectors of those files are stored; a turn is
understood from them as it was then, searched and decided anew. Nothing is said and nothing is stored. Answers are
quoted: how a language model would word them is no part of it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from duomo.errors import InputError, NotFound
from duomo.knowledge import ingest as ingestion
from duomo.knowledge.ingest import ingest
from duomo.knowledge.sources import Source
from duomo.models.encoders import Encoders, Models
from duomo.models.manifest import sha256
from duomo.models.understanding import load
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Row, Tx, pg_array
from duomo.support import turn
from duomo.support.answer import Answerer
from duomo.support.conversation import Settings, load_messages
from duomo.support.outcome import Outcome, Question
from duomo.support.past import answered_by, words_of
from duomo.support.policy import Policy, load_policy, policy_of
from duomo.support.predict import Loaded, Reader
from duomo.support.registry import current
from duomo.support.scratch import scratch
from duomo.types import Message

DONE = {"answer": "answer", "clarify": "clarify", "handoff": "hand_over"}
"""Kind of a message -> what was done."""

NEAR = 0.005  # two confidences that are called the same


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a turn.

    Attributes:
        confidence: of the intent.
        sources: articles that were quoted, in their order.
        knowledge: probability that the best passage answers.
    """

    do: str
    intent: str | None = None
    confidence: float | None = None
    sources: tuple[str, ...] = ()
    knowledge: float | None = None
    team: str | None = None
    priority: str | None = None
    rule: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"sources": list(self.sources)}


@dataclass(frozen=True, slots=True)
class Past:
    """A turn that is over.

    Attributes:
        said: what the bot said.
        asked: what it answered; empty where that is not known.
        failures: turns in a row without an answer before it.
        labels: what people said of it: intent, source (an article's id, or "": none is right), handoff (whether
            there should have been one).
    """

    said: Message
    asked: tuple[Message, ...]
    earlier: tuple[Message, ...]
    failures: int
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(words_of(message) for message in self.asked)


@dataclass(frozen=True, slots=True)
class Setup:
    """With what turns are run again.

    Attributes:
        answerer: without a language model.
        model: a row of `models`; None: none.
        searched: the workspace whose knowledge is searched: the turns' own, or a scratch one.
    """

    answerer: Answerer
    reader: Reader | None
    model: Row | None
    policy: Policy
    searched: str

    def as_dict(self) -> dict[str, Any]:
        model = self.model and {"name": self.model["name"], "fingerprint": self.model["fingerprint"]}
        return {"model": model, "policy": self.policy.version}


@dataclass(frozen=True, slots=True)
class Replayed:
    """One turn, then and now."""

    past: Past
    before: Told
    after: Told

    @property
    def changed(self) -> tuple[str, ...]:
        """Of intent, source, decision."""
        before, after = self.before, self.after
        found = []
        if before.intent is not None and after.intent != before.intent:
            found.append("intent")
        if before.do == after.do == "answer" and before.sources != after.sources:
            found.append("source")
        to_others = before.do == "hand_over" and (before.team, before.priority) != (after.team, after.priority)
        if before.do != after.do or (to_others and before.rule is not None):
            found.append("decision")
        return tuple(found)

    def right(self, told: Told) -> dict[str, bool]:
        """Whether it was as people said it should have been, for what they said something of."""
        labels, found = self.past.labels, {}
        if "intent" in labels and told.intent is not None:
            found["intent"] = told.intent == labels["intent"]
        if "source" in labels:
            found["source"] = labels["source"] in told.sources if labels["source"] else not told.sources
        if "handoff" in labels:
            found["handoff"] = (told.do == "hand_over") is labels["handoff"]
        return found

    def as_dict(self, *, texts: bool) -> dict[str, Any]:
        shown = {
            "conversation_id": self.past.said.conversation_id,
            "message_id": self.past.said.id,
            "changed": list(self.changed),
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "labels": dict(self.past.labels),
        }
        return {**shown, "text": self.past.text} if texts else shown


@dataclass(frozen=True, slots=True)
class Share:
    """k of n, with the interval that holds the share of all such turns 19 times in 20 (Wilson)."""

    n: int
    k: int

    @property
    def share(self) -> float:
        return self.k / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.n:
            return 0.0, 1.0
        z, p = 1.96, self.share
        middle = (p + z * z / (2 * self.n)) / (1 + z * z / self.n)
        half = z * math.sqrt(p * (1 - p) / self.n + z * z / (4 * self.n * self.n)) / (1 + z * z / self.n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {"n": self.n, "k": self.k, "share": round(self.share, 4), "low": round(low, 4), "high": round(high, 4)}


@dataclass(frozen=True, slots=True)
class Replay:
    """All turns, then and now.

    Attributes:
        unknown: turns left out because it is not known any more what they answered.
        unseen: turns with a picture or sound whose vectors this model needs and which are not stored: it read the rest.
    """

    turns: Sequence[Replayed]
    unknown: int = 0
    unseen: int = 0

    @property
    def changed(self) -> list[Replayed]:
        return [one for one in self.turns if one.changed]

    def counts(self) -> dict[str, int]:
        every = [one.changed for one in self.turns]
        named = {f"other_{what}": sum(what in one for one in every) for what in ("intent", "source", "decision")}
        now = sum(one.before.intent is None and one.after.intent is not None for one in self.turns)
        told = {"turns": len(every), "same": sum(not one for one in every), **named, "understood_now": now}
        return {**told, "unknown": self.unknown, "unseen": self.unseen}

    def handed_over(self) -> dict[str, Any]:
        then = [one.before.do == "hand_over" for one in self.turns]
        now = [one.after.do == "hand_over" for one in self.turns]
        both = list(zip(then, now, strict=True))
        return {
            "before": Share(len(then), sum(then)),
            "after": Share(len(now), sum(now)),
            "to_people": sum(b and not a for a, b in both),
            "from_people": sum(a and not b for a, b in both),
        }

    def labelled(self) -> dict[str, dict[str, Any]]:
        """Of the turns that people said something of: right then, right now."""
        found: dict[str, dict[str, Any]] = {}
        for what in ("intent", "source", "handoff"):
            pairs = [
                (was.get(what), now[what])
                for one in self.turns
                for was, now in [(one.right(one.before), one.right(one.after))]
                if what in now
            ]
            known = [was for was, _ in pairs if was is not None]
            if pairs:
                found[what] = {
                    "before": Share(len(known), sum(known)),
                    "after": Share(len(pairs), sum(now for _, now in pairs)),
                    "mended": sum(now and was is False for was, now in pairs),
                    "broken": sum(was is True and not now for was, now in pairs),
                }
        return found

    def as_dict(self, *, texts: bool = False) -> dict[str, Any]:
        return {
            "counts": self.counts(),
            "handed_over": _plain(self.handed_over()),
            "labelled": {what: _plain(found) for what, found in self.labelled().items()},
            "changed": [one.as_dict(texts=texts) for one in self.changed],
        }


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.as_dict() if isinstance(value, Share) else value for name, value in found.items()}


# What there was ---------------------------------------------------------------------------------------------------


async def past_turns(
    db: Database,
    workspace_id: str,
    *,
    since: datetime | None = None,
    conversation_id: str | None = None,
    limit: int = 1000,
) -> list[Past]:
    """The newest turns, oldest first, with what people said of them."""
    async with db.transaction(workspace_id) as tx:
        rows = await tx.all("past_turns", since=since, conversation_id=conversation_id, limit=limit)
        wanted = {str(row["id"]) for row in rows}
        found: list[Past] = []
        for conversation in dict.fromkeys(str(row["conversation_id"]) for row in reversed(rows)):
            messages = await load_messages(tx, conversation)
            found += [_past(said, messages) for said in messages if said.id in wanted]
        ids = [id for past in found for id in (past.said.id, *(message.id for message in past.asked))]
        labels: dict[str, dict[str, Any]] = {}
        for row in await tx.all("labels_of_turns", ids=pg_array(ids)):
            what = row["head"] if row["kind"] == "head" else row["kind"]
            labels.setdefault(str(row["message_id"]), {})[what] = row["value"]
    return [_labelled(past, labels) for past in found]


def _past(said: Message, messages: Sequence[Message]) -> Past:
    asked = answered_by(said, messages)
    earlier = tuple(m for m in messages if asked and m.seq < asked[0].seq)
    facts = said.decision.get("facts") or {}
    failures = facts.get("failures")
    return Past(said, tuple(asked), earlier, _failures(earlier) if failures is None else int(failures))


def _failures(earlier: Sequence[Message]) -> int:
    """Turns in a row, up to now, that asked back or handed over."""
    count = 0
    for message in reversed(earlier):
        if message.author == "bot" and message.kind in DONE:
            if message.kind == "answer":
                break
            count += 1
    return count


def _labelled(past: Past, labels: Mapping[str, Mapping[str, Any]]) -> Past:
    of_messages = [labels.get(message.id, {}) for message in past.asked]
    intents = [found["intent"] for found in of_messages if "intent" in found]
    found = {k: v for k, v in labels.get(past.said.id, {}).items() if k in ("source", "handoff")}
    if intents:
        found["intent"] = intents[-1]
    return Past(past.said, past.asked, past.earlier, past.failures, found)


def told_then(past: Past) -> Told:
    said = past.said
    return _told(said.kind, [c.article_id for c in said.citations], said.decision, said.decision.get("understood"))


def _told(kind: str, cited: Iterable[str], decision: Mapping[str, Any], understood: Any) -> Told:
    policy = decision.get("policy") or {}
    intent = ((understood or {}).get("heads") or {}).get("intent") or {}
    handed = kind == "handoff"
    return Told(
        do=DONE[kind],
        intent=intent.get("label"),
        confidence=intent.get("confidence"),
        sources=tuple(dict.fromkeys(cited)),
        knowledge=decision.get("confidence"),
        team=policy.get("team") if handed else None,
        priority=policy.get("priority") if handed else None,
        rule=policy.get("name"),
    )


# Running it again -------------------------------------------------------------------------------------------------


async def replay(
    db: Database,
    blobs: Blobs,
    workspace_id: str,
    pasts: Sequence[Past],
    setup: Setup,
    *,
    against: Setup | None = None,
    note: Callable[[int], None] = lambda done: None,
) -> Replay:
    """Run turns again.

    Args:
        against: compare with what this makes of them instead of with what came of them then.
        note: told after every turn how many are done.
    """
    turns, unknown, unseen = [], 0, 0
    for done, past in enumerate(pasts, start=1):
        if not past.asked:
            unknown += 1
            continue
        before = told_then(past) if against is None else (await _again(db, blobs, workspace_id, past, against))[0]
        after, question, _ = await _again(db, blobs, workspace_id, past, setup)
        unseen += await _lacks_vectors(setup, workspace_id, past, question)
        turns.append(Replayed(past, before, after))
        note(done)
    return Replay(turns, unknown, unseen)


async def _again(
    db: Database, blobs: Blobs, workspace_id: str, past: Past, setup: Setup
) -> tuple[Told, Question, Outcome]:
    desk = turn.Desk(db, blobs, setup.answerer, setup.reader)
    language = next((m.language for m in reversed(past.earlier) if m.author == "bot" and m.language), None)
    pending = turn.Pending(
        row={"id": past.said.conversation_id, "language": language, "failures": past.failures, "answered_seq": 0},
        settings=Settings(),
        earlier=past.earlier[-turn.EARLIER :],
        messages=past.asked,
        upto=past.asked[-1].seq,
        key="replay",
        policy=setup.policy,
        models={} if setup.model is None else {"active": setup.model},
    )
    question, _ = await turn.understand(desk, workspace_id, pending)
    outcome: Outcome | None = None
    async for event in setup.answerer.answer(setup.searched, question):
        if isinstance(event, Outcome):
            outcome = event
    assert outcome is not None
    read = None if turn.said_nothing(outcome, question) else question.understood
    understood = read.record(past.asked[-1].id) if read else None
    told = _told(outcome.kind, [c.article_id for c in outcome.citations], outcome.decision, understood)
    return told, question, outcome


async def _lacks_vectors(setup: Setup, workspace_id: str, past: Past, question: Question) -> bool:
    """Whether the model could not look at a file that it would have looked at."""
    if setup.reader is None or setup.model is None or question.understood is None:
        return False
    loaded = await setup.reader.loaded(workspace_id, setup.model["fingerprint"])
    kinds = {part.kind for message in past.asked for part in message.parts if part.state == "ready"}
    wanted = kinds & {"image", "audio"} & set(loaded.understanding.modalities if loaded else ())
    return not wanted <= set(question.understood.pattern.split("+"))


# With what ----------------------------------------------------------------------------------------------------------


class OneModel(Reader):
    """A reader that has a model from a folder beside those of the workspace."""

    def __init__(self, home: Path, models: Models, folder: Path) -> None:
        """
        Raises:
            ModelUnavailable, ConfigError: it does not open; says why.
        """
        super().__init__(home, models)
        understanding = load(folder)
        inside = folder if (folder / "manifest.json").is_file() else folder / "onnx"
        fingerprint = sha256(inside / "manifest.json")
        self.row: Row = {"id": fingerprint, "fingerprint": fingerprint, "name": folder.name, "role": "active"}
        self._own = Loaded(understanding, Encoders.for_views(understanding.views, models=models))

    async def loaded(self, workspace_id: str, fingerprint: str) -> Loaded | None:
        if fingerprint == self.row["fingerprint"]:
            return self._own
        return await super().loaded(workspace_id, fingerprint)


async def model_called(tx: Tx, called: str) -> Row:
    """A model of the workspace by its id, name, or the beginning of its fingerprint.

    Raises:
        NotFound: there is none.
        InputError: there are several.
    """
    rows = await tx.all("models_called", called=called)
    if not rows:
        raise NotFound(
            f"there is no model {called!r} here, nor such a folder. `duomo model list` names those there are."
        )
    if len(rows) > 1:
        raise InputError(f"{called!r} may be several models. Give the whole fingerprint, or the id.")
    return {**rows[0], "role": "active"}


async def policy_of_version(tx: Tx, version: int) -> Policy:
    """A policy of the workspace; version 0 is the one that holds where there is none.

    Raises:
        NotFound: no such version.
    """
    row = await tx.one("policy_version", version=version) if version else None
    if version and row is None:
        raise NotFound(f"there is no version {version} of the policy.")
    return policy_of(row)


async def what_holds(tx: Tx) -> tuple[Row | None, Policy]:
    """The active model and the policy of the transaction's workspace."""
    return (await current(tx)).get("active"), await load_policy(tx)


# As it was ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """Whether a past answer could be made again from the versions it names.

    Attributes:
        missing: what of them is not there any more; then it was not tried.
        differs: what came out otherwise; empty: decision, sources and words are the same.
        notes: what was made anew for it, so that a difference may come from there.
    """

    past: Past
    missing: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not self.missing and not self.differs

    def as_dict(self) -> dict[str, Any]:
        shown = {"conversation_id": self.past.said.conversation_id, "message_id": self.past.said.id, "same": self.same}
        return {**shown, **{name: list(getattr(self, name)) for name in ("missing", "differs", "notes")}}


async def as_it_was(
    db: Database,
    blobs: Blobs,
    workspace_id: str,
    pasts: Sequence[Past],
    *,
    answerer: Answerer,
    calibration: str,
    reader: Reader,
    models: Callable[[], ingestion.Models],
    note: Callable[[int], None] = lambda done: None,
) -> list[Made]:
    """Make past answers again from the versions that they name, and compare.

    Args:
        calibration: version of the answerer's.
        models: reads articles; asked for when some have changed since.
    """
    made: list[Made] = []
    by_version: dict[int, list[Past]] = {}
    for past in pasts:
        if missing := _unnamed(past, calibration):
            made.append(Made(past, missing))
        else:
            by_version.setdefault(int(past.said.decision["knowledge"]), []).append(past)
    for version, group in sorted(by_version.items()):
        async with _knowledge_then(db, blobs, workspace_id, version, models) as (searched, notes):
            for past in group:
                made.append(await _made(db, blobs, workspace_id, past, answerer, reader, searched, notes))
                note(len(made))
    order = {past.said.id: place for place, past in enumerate(pasts)}
    return sorted(made, key=lambda one: order[one.past.said.id])


def _unnamed(past: Past, calibration: str) -> tuple[str, ...]:
    """What keeps an answer from being made again, as far as it says so itself."""
    decision, missing = past.said.decision, []
    if not past.asked:
        missing.append("the messages that it answers")
    for name, what in (("knowledge", "version of the knowledge"), ("policy", "version of the policy")):
        if decision.get(name) is None:
            missing.append(f"it names no {what}")
    if decision.get("calibration") not in (None, calibration):
        missing.append(f"the calibration {decision['calibration']}, of another release")
    if decision.get("writer"):
        missing.append("the language model that worded it")
    return tuple(missing)


async def _made(
    db: Database,
    blobs: Blobs,
    workspace_id: str,
    past: Past,
    answerer: Answerer,
    reader: Reader,
    searched: str,
    notes: tuple[str, ...],
) -> Made:
    decision = past.said.decision
    model: Row | None = None
    async with db.transaction(workspace_id) as tx:
        version = int(decision["policy"]["version"])
        row = await tx.one("policy_version", version=version) if version else None
        if stated := decision.get("model"):
            model = await tx.one("model_with_fingerprint", fingerprint=stated["fingerprint"])
    missing = []
    if version and row is None:
        missing.append(f"version {version} of the policy")
    if stated and (model is None or await reader.loaded(workspace_id, stated["fingerprint"]) is None):
        missing.append(f"the model {stated['name']} ({stated['fingerprint'][:12]})")
    if missing:
        return Made(past, tuple(missing))
    chosen = None if model is None else {**model, "role": "active"}
    setup = Setup(answerer, reader, chosen, policy_of(row), searched)
    told, question, outcome = await _again(db, blobs, workspace_id, past, setup)
    if await _lacks_vectors(setup, workspace_id, past, question):
        return Made(past, ("the vectors of its files",))
    if (asked := decision.get("asked")) is not None and asked != outcome.decision.get("asked", asked):
        return Made(past, ("the words as they were read then: what was heard or read was corrected since",))
    return Made(past, differs=_differences(past, told, outcome), notes=notes)


def _differences(past: Past, told: Told, outcome: Outcome) -> tuple[str, ...]:
    then, found = told_then(past), []
    for name in ("do", "rule", "team", "priority", "intent", "sources"):
        was, now = getattr(then, name), getattr(told, name)
        if was != now:
            found.append(f"{name}: {_shown(was)} → {_shown(now)}")
    for name in ("confidence", "knowledge"):
        was, now = getattr(then, name), getattr(told, name)
        if (was is None) is not (now is None) or (was is not None and now is not None and abs(was - now) > NEAR):
            found.append(f"{name}: {_shown(was)} → {_shown(now)}")
    if not found and past.said.text != outcome.text:
        found.append("words: the quotation is cut otherwise")
    return tuple(found)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(value) or "none" if isinstance(value, tuple) else "none" if value is None else str(value)


@contextlib.asynccontextmanager
async def _knowledge_then(
    db: Database, blobs: Blobs, workspace_id: str, version: int, models: Callable[[], ingestion.Models]
) -> AsyncIterator[tuple[str, tuple[str, ...]]]:
    """A workspace with the knowledge of a version, and what of it had to be made anew."""
    async with db.transaction(workspace_id) as tx:
        now = await tx.value("knowledge_version") or 0
        changed = await tx.all("articles_then", version=version)
    if now == version:
        yield workspace_id, ()
        return
    async with scratch(db, workspace_id, version=version) as copy:
        notes: tuple[str, ...] = ()
        if changed:
            report = await ingest(db, copy, [records(changed)], models=models(), blobs=blobs)
            notes = (f"{len(changed)} articles that have changed since were read again from their text",)
            if pictured := sum("](blob:" in row["text"] for row in changed):
                notes += (f"the pictures of {pictured} of them are not kept",)
            if report.failed:
                notes += (f"{len(report.failed)} of them could not be read",)
        yield copy, notes


def records(rows: Iterable[Row]) -> Source:
    """Stored articles as a file of records."""
    keys = ("id", "title", "text", "uri", "language", "topic")
    lines = [json.dumps({key: row[key] for key in keys}, ensure_ascii=False) for row in rows]
    data = "\n".join(lines).encode()
    return Source("history.jsonl", lambda: data)
