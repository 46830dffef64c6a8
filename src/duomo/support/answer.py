"""From a question to what is said: an answer quoted from the knowledge base, a question back, or a person.

Nothing here is made up. Without a language model every word shown is quoted or a fixed sentence; with one, a sentence
that cites nothing is taken out before it is shown (`generate.py`).
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from duomo.errors import LLMUnavailable
from duomo.knowledge.chunk import plain
from duomo.knowledge.retrieve import Query
from duomo.media.text import normalise
from duomo.models.embed import Kind, TextEmbedder, Vectors
from duomo.support import wording
from duomo.support.confidence import Calibration, features
from duomo.support.extract import tighten, units
from duomo.support.generate import Writer
from duomo.support.intent import SMALL_TALK, Intent, intent_of, is_dangerous
from duomo.support.outcome import Delta, Outcome, Question, Reason, cite, numbered
from duomo.support.policy import Facts, Policy, Ruling
from duomo.support.predict import Understood
from duomo.support.thesaurus import expanded
from duomo.types import Citation, Language, Passage

CANDIDATES = 12  # passages looked at
PER_ARTICLE = 2  # of one article
ENGLISH = 0.25  # weight of the English encoder beside the multilingual one when sentences are compared
QUOTED = 2  # passages shown at most
SECOND = 0.97  # share of the first one's score that a second passage needs to be quoted too
OPTIONS = 3  # of a clarifying question
SURE = 0.8  # an intent less sure expects no article (bench/intent_retrieval.py)
ASKS_FOR_PEOPLE: tuple[Intent, ...] = ("person", "unhelped")
OUTCOMES = {"answer": "answer", "clarify": "clarify", "hand_over": "handoff"}
"""Name of what is done in a decision's record."""


class Retrieves(Protocol):
    async def retrieve(self, workspace_id: str, query: Query) -> list[Passage]: ...


class Remembering:
    """A text encoder that keeps its latest vectors: a question is encoded once a turn, a popular sentence once."""

    def __init__(self, inner: TextEmbedder, *, entries: int = 20_000) -> None:
        self._inner = inner
        self._kept: OrderedDict[tuple[Kind, str], Vectors] = OrderedDict()
        self._entries = entries
        self.name, self.version, self.dim = inner.name, inner.version, inner.dim

    def encode(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        for i, text in enumerate(texts):
            row = self._kept.get((kind, text))
            if row is None:
                row = self._inner.encode([text], kind=kind)[0]
                self._kept[kind, text] = row
                while len(self._kept) > self._entries:
                    self._kept.popitem(last=False)
            rows[i] = row
        return rows

    def encode_parts(self, heading: str, parts: Sequence[str]) -> tuple[Vectors, Vectors]:
        return self._inner.encode_parts(heading, parts)  # of articles that are read in, once each


class Answerer:
    """Answers from one knowledge base.

    Args:
        text, english: the encoders the knowledge was ingested with; give the same objects to retrieval, so that a
            question is encoded once.
        reword: says a question in the words of articles.
        writer: words answers from passages with a language model; without it, or when it fails, passages are quoted.
    """

    def __init__(
        self,
        retriever: Retrieves,
        text: TextEmbedder,
        english: TextEmbedder | None = None,
        *,
        calibration: Calibration,
        writer: Writer | None = None,
        reword: Callable[[str], str] = expanded,
    ) -> None:
        self._retriever = retriever
        self._text = text
        self._english = english
        self._calibration = calibration
        self._writer = writer
        self._reword = reword

    @property
    def streams(self) -> bool:
        return self._writer is not None

    async def answer(self, workspace_id: str, question: Question) -> AsyncGenerator[Delta | Outcome]:
        """Deltas of an answer that a language model writes, if any; then one Outcome, which says all of it."""
        wish = intent_of(question.text) if question.text.strip() and not question.chosen else "question"
        if said := small_talk(question, wish):
            yield said
            return
        if wish in ASKS_FOR_PEOPLE:
            yield _handed(self._facts(question, wish, None), question)
            return
        if not _searchable(question):
            unread = replace(question, sent=())
            yield _handed(self._facts(unread, wish, None), unread) if question.failures else _unreadable(question)
            return
        started = time.perf_counter()
        found = await self.search(workspace_id, question)
        decision = self._decide(question, wish, found, writes=self._writer is not None)
        decision.timings["retrieve"] = _ms(started)
        if wish == "emergency":
            yield await self._emergency(question, found, decision)
            return
        if self._writer and found.passages and decision.ruling.do == "answer":
            try:
                async for event in self._writer.write(question, found.passages, decision.record()):
                    yield _routed(event, decision.ruling) if isinstance(event, Outcome) else event
                return
            except LLMUnavailable as error:
                decision = replace(
                    self._decide(question, wish, found, writes=False),
                    timings=decision.timings,
                    notes={"llm": str(error)},
                )
        started = time.perf_counter()
        outcome = await self._quoted(question, found, decision.ruling)
        decision.timings["extract"] = _ms(started)
        yield replace(outcome, decision=decision.record())

    async def search(self, workspace_id: str, question: Question) -> Found:
        """The passages for a question, in its own words or in those of articles, whichever are surer.

        One that leans on the question before is read with it and without.
        """
        readings = [normalise(search_text(question))]  # the same words as the trained model reads: encoded once
        if question.earlier:
            readings.append(f"{question.earlier} {readings[0]}")
        best: Found | None = None
        for reading in readings:
            texts = list(dict.fromkeys([reading, self._reword(reading)]))
            lists = [await self._retrieve(workspace_id, question, text) for text in texts]
            for text, passages in zip(texts, lists, strict=True):
                other = next((found for found in lists if found is not passages), ())
                found = Found(reading, text, question.language, passages, other)
                if passages:
                    evidence = await asyncio.to_thread(self.evidence, found)
                    found = replace(found, probability=self._calibration[question.language].probability(evidence))
                if best is None or found.probability > best.probability:
                    best = found
        assert best is not None
        return best

    def remember(self, title: str, passage: str, language: Language) -> None:
        """Encode a passage's sentences before somebody asks for it: a first answer from it is then quick. Blocks."""
        self._cosines(
            Found("", "", language, ()), title, [plain(unit.text) for unit in units(passage)] or [plain(passage)]
        )

    async def _retrieve(self, workspace_id: str, question: Question, text: str) -> list[Passage]:
        query = Query(
            text=text,
            language=question.language,
            spoken=question.spoken,
            images=question.images,
            k=CANDIDATES,
            per_article=PER_ARTICLE,
            expected=expected_articles(question),
        )
        passages = await self._retriever.retrieve(workspace_id, query)
        return [p for p in passages if p.title == question.chosen] or passages if question.chosen else passages

    def evidence(self, found: Found) -> dict[str, float]:
        """What the confidence in the first of the passages rests on. Blocks."""
        title, text = found.article(found.passages[0])
        pieces = [plain(unit.text) for unit in units(text)] or [plain(text)]
        cosines, english = self._cosines(found, title, pieces)
        return features(
            found.text, found.language, found.passages, found.other,
            sentence=float(cosines.max()), sentence_en=float(english.max()),
        )  # fmt: skip

    def _cosines(self, found: Found, title: str, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """(texts,) cosines with the question, of each encoder: each text under the title it stands under."""
        titled = [f"{title}: {text}" for text in texts]
        cosines = self._text.encode(titled, kind="passage") @ self._text.encode([found.asked], kind="query")[0]
        if self._english is None or found.language != "en":
            return cosines, np.zeros(len(texts), dtype=np.float32)
        english = self._english.encode(titled, kind="passage") @ self._english.encode([found.asked], kind="query")[0]
        return cosines, english

    def _decide(self, question: Question, wish: Intent, found: Found, *, writes: bool) -> Decision:
        facts = replace(self._facts(question, wish, found), writes=writes)
        policy = question.policy or Policy.shipped()
        return Decision(policy.version, policy.decide(facts), facts, found, self._calibration.version)

    def _facts(self, question: Question, wish: Intent, found: Found | None) -> Facts:
        model = self._calibration[question.language]
        known = {} if question.understood is None else understood_facts(question.understood)
        return Facts(
            wish=wish, language=question.language, sent=question.sent, failures=question.failures,
            knowledge=found.probability if found and found.passages else None, chosen=bool(question.chosen),
            answer_from=model.answer, clarify_from=model.clarify, **known,
        )  # fmt: skip

    async def _quoted(self, question: Question, found: Found, ruling: Ruling) -> Outcome:
        if ruling.do == "answer":
            citations = await asyncio.to_thread(self.cite, found)
            return Outcome("answer", numbered(citations), citations)
        if ruling.do == "clarify":
            options = list(dict.fromkeys(p.title for p in found.passages))[:OPTIONS]
            return Outcome("clarify", wording.sentence("clarify", question.language), options=options, failed=True)
        return _to_people(ruling, question.language)

    async def _emergency(self, question: Question, found: Found, decision: Decision) -> Outcome:
        """What the knowledge says of this danger, where it says something, and a person in any case."""
        safety = [p for p in found.passages if is_dangerous(p.title)] or [
            p for p in found.passages[:3] if is_dangerous(p.text)
        ]
        citations = await asyncio.to_thread(self.cite, replace(found, passages=safety[:1]))
        outcome = _to_people(decision.ruling, question.language)
        full = "\n\n".join([outcome.text, numbered(citations)]) if citations else outcome.text
        record = decision.record() | {"outcome": "emergency"}
        return replace(outcome, text=full, citations=citations, failed=False, decision=record)

    def cite(self, found: Found) -> list[Citation]:
        """What is quoted: the best article's passages tightened, and those of a second one of the same strength."""
        citations: list[Citation] = []
        for first in _first_of_each_article(found.passages)[:QUOTED]:
            if citations and first.score < SECOND * found.passages[0].score:
                break
            title, text = found.article(first)
            closeness = functools.partial(self._closeness, found, title)
            citations.append(cite(first, tighten(found.asked, text, closeness=closeness)))
        return citations

    def _closeness(self, found: Found, title: str, texts: Sequence[str]) -> Vectors:
        cosines, english = self._cosines(found, title, texts)
        closeness: Vectors = cosines + ENGLISH * english
        return closeness


@dataclass(frozen=True, slots=True)
class Found:
    """What was searched for, what came, and how likely the first one answers.

    Attributes:
        asked: the reading of the question.
        text: what was searched with: the reading, or the same in the words of articles too.
        other: what the other of the two found, where they differ.
    """

    asked: str
    text: str
    language: Language
    passages: Sequence[Passage]
    other: Sequence[Passage] = ()
    probability: float = 0.0

    def article(self, passage: Passage) -> tuple[str, str]:
        """The title, and all that was found, of the article a passage belongs to.

        What was read in its pictures finds an article; it is quoted only where nothing else was found.
        """
        parts = sorted((p for p in self.passages if p.article_id == passage.article_id), key=lambda p: p.position)
        written = [p for p in parts if p.origin != "ocr"]
        return passage.title, "\n\n".join(p.text for p in written or parts)


@dataclass(slots=True)
class Decision:
    """Why it was decided so."""

    policy: int  # version
    ruling: Ruling
    facts: Facts
    found: Found
    calibration: str
    timings: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        return {
            "outcome": OUTCOMES[self.ruling.do],
            "asked": self.found.asked,
            "searched": self.found.text,
            "confidence": round(self.found.probability, 4),
            "answer_from": self.ruling.answer_from,
            "clarify_from": self.ruling.clarify_from,
            "calibration": self.calibration,
            "facts": self.facts.as_dict(),
            "policy": ruled(self.policy, self.ruling),
            "candidates": [
                {
                    "article_id": p.article_id,
                    "title": p.title,
                    "text": p.text[:200],
                    "score": round(p.score, 4),
                    **{k: round(v, 4) for k, v in p.signals.items()},
                }
                for p in self.found.passages[:5]
            ],
            "timings_ms": dict(self.timings),
            **self.notes,
        }


def ruled(version: int, ruling: Ruling) -> dict[str, Any]:
    """The row of the policy that decided, for the record."""
    named = ("row", "name", "do", "team", "priority", "reason")
    return {"version": version, **{name: getattr(ruling, name) for name in named}}


def understood_facts(understood: Understood) -> dict[str, Any]:
    """What a policy looks at of what a model said."""
    heads = {name: head["label"] for name, head in understood.heads.items()}
    found: dict[str, Any] = {"heads": heads, "urgency": heads.get("urgency")}
    if (intent := understood.heads.get("intent")) is not None:
        found |= {name: intent[name] for name in ("confidence", "abstain", "conflict")}
        found |= {"intent": intent["label"], "intent_set": tuple(intent["set"])}
        found["out_of_scope"] = intent["out_of_scope"] >= 0.5
    return found


def _first_of_each_article(passages: Sequence[Passage]) -> list[Passage]:
    first: dict[str, Passage] = {}
    for passage in passages:
        first.setdefault(passage.article_id, passage)
    return list(first.values())


def small_talk(question: Question, intent: Intent) -> Outcome | None:
    """What needs no knowledge: a greeting returned."""
    if intent in SMALL_TALK and not question.images and not question.seen:
        return Outcome("answer", wording.sentence(intent, question.language), decision={"outcome": intent})
    return None


def _handed(facts: Facts, question: Question) -> Outcome:
    """To people, without a search."""
    policy = question.policy or Policy.shipped()
    ruling = policy.decide(facts)
    record = {"outcome": "handoff", "reason": ruling.reason, "facts": facts.as_dict()}
    record["policy"] = ruled(policy.version, ruling)
    return replace(_to_people(ruling, question.language), failed=False, decision=record)


def _to_people(ruling: Ruling, language: Language) -> Outcome:
    reason: Reason = ruling.reason or "low_confidence"
    text = wording.sentence(f"handoff_{reason}", language)
    return Outcome("handoff", text, handoff=reason, failed=True, team=ruling.team, priority=ruling.priority)


def _routed(outcome: Outcome, ruling: Ruling) -> Outcome:
    """A hand-over of the writer's, to the team and with the priority of the row that let it try."""
    return replace(outcome, team=ruling.team, priority=ruling.priority) if outcome.handoff else outcome


def _searchable(question: Question) -> bool:
    return bool(question.text.strip() or question.seen.strip() or len(question.images))


def expected_articles(question: Question) -> dict[str, float]:
    """Which articles the intent wants, where the policy names them and the model is sure of it."""
    intent = question.understood.heads.get("intent") if question.understood else None
    if intent is None or question.policy is None or intent["abstain"] or intent["confidence"] < SURE:
        return {}
    return dict.fromkeys(question.policy.expected_articles(intent["label"]), intent["confidence"])


def search_text(question: Question) -> str:
    """What is written or said decides; what a picture shows is added, cut so that it cannot drown the question."""
    chosen = f"{question.earlier} {question.chosen}".strip() if question.chosen else question.text
    seen = " ".join(word for word in question.seen.split() if not FURNITURE.fullmatch(word))[:SEEN]
    return f"{chosen} {seen}".strip()


SEEN = 300  # characters of a picture's or document's text that take part in the search
FURNITURE = re.compile(r"\d{1,2}:\d{2}|[345]G|LTE|\d{1,3}%|.", re.IGNORECASE)
"""What stands on every screen, whatever it shows: clock, network, battery, single signs."""


def _unreadable(question: Question) -> Outcome:
    """Nothing to search with: only files that could not be read, or silence."""
    if question.unreadable:
        what = wording.parts(question.unreadable, question.language)
        text = wording.sentence("refused", question.language, what=what)
    else:
        text = wording.sentence("nothing_heard", question.language)
    return Outcome("answer", text, failed=True, decision={"outcome": "unreadable"})


def _ms(since: float) -> int:
    return round((time.perf_counter() - since) * 1000)
