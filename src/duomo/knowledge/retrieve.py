"""Find the passages of a workspace's knowledge that answer a question, written, spoken or photographed.

Three searches propose candidates: nearest vectors (two encoders), rare words, and, for speech, sounds. Then every
candidate gets all the evidence, whichever search proposed it, and one weighted sum ranks them: a candidate that only
one search found is not punished for the others' short lists, as it would be by fusing ranks.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from duomo.knowledge.index import quoted, terms, unpacked
from duomo.media.text import pinyin_tokens
from duomo.models.embed import TextEmbedder, Vectors
from duomo.store.postgres import Database, Tx, pg_array, vector
from duomo.types import Language, Passage

VECTOR_CANDIDATES = 40  # of each encoder
WORD_CANDIDATES = 40
SENTENCES_OF = 48  # candidates whose sentences are compared one by one
PICTURE_CANDIDATES = 5  # articles
EXPECTED_CANDIDATES = 40
COMMON = 0.05  # share of the chunks above which a word only counts, but proposes nothing
POSTINGS = 2500  # chunks read through the word index for one query, about
EXACT_BELOW = 2000  # chunks in a workspace; up to here comparing every vector is as fast as the index
EXACT_BESIDE_OTHERS = 20_000  # the same where most chunks are other workspaces': the index would walk through theirs
MOST = 0.5
SIZE_KEPT_S = 60.0  # how long the size of the whole table is believed
SATURATION = 1.2  # BM25's k1
LENGTH = 0.5  # BM25's b; chunks differ little in length
ZETA = math.pi**2 / 6  # `ts_rank` of a word that stands n times is 1 + 1/4 + ... + 1/n**2, divided by this


@dataclass(frozen=True, slots=True)
class Query:
    """A question.

    Attributes:
        text: may be empty when there are pictures.
        language: the customer's.
        spoken: the text is a transcript, so words that sound alike count too (Chinese).
        images: (pictures, dim), their embeddings.
        k: how many passages to return.
        per_article: passages of one article before the next article's first.
        prefer_language: give an article in the customer's language where the same topic has one.
        expected: topic, or id of an article without one, -> how likely it is to be wanted, [0, 1]: what a trained
            model's intent says.
    """

    text: str
    language: Language
    spoken: bool = False
    images: Sequence[Vectors] = ()
    k: int = 10
    per_article: int = 1
    prefer_language: bool = True
    expected: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each piece of evidence counts. Learned by bench/retrieval.py on the development halves."""

    cosine: float = 0.2
    cosine_en: float = 0.1
    sentence: float = 0.8
    sentence_en: float = 0.3
    words: float = 0.1  # the cosines of good and bad passages lie about as close together
    pinyin: float = 0.03
    image: float = 0.2
    expected: float = 0.03  # bench/intent_retrieval.py


@dataclass(slots=True)
class Candidate:
    """A chunk with the evidence for it; what is missing is 0."""

    id: str
    article_id: str
    language: Language
    topic: str | None
    cosine: float = 0.0  # multilingual encoder, [-1, 1]
    cosine_en: float = 0.0  # English encoder, English chunks and queries only
    sentence: float = 0.0  # cosine of the sentence nearest to the question, multilingual encoder
    sentence_en: float = 0.0
    bm25: float = 0.0  # share of the most that BM25 could give this query, [0, 1]
    coverage: float = 0.0  # IDF-weighted share of the query's words that the chunk holds, [0, 1]
    pinyin: float = 0.0  # the same for syllable pairs
    image: float = 0.0  # best cosine of the query's pictures with the article's
    expected: float = 0.0  # how likely the intent wants this article, [0, 1]
    score: float = 0.0
    picture: str | None = None  # the article's picture that is most like the query's


@dataclass(frozen=True, slots=True)
class Encoded:
    """A question's vectors, (dim,) float32 unit; None without text, or for English where it is not asked in English."""

    text: Vectors | None
    english: Vectors | None


class Retriever:
    """Hybrid retrieval over one database.

    Args:
        text: encodes queries in every language.
        english: encodes English queries a second time, where articles were ingested with it.
    """

    def __init__(
        self, db: Database, text: TextEmbedder, english: TextEmbedder | None = None, *, weights: Weights = Weights()
    ) -> None:
        self._db = db
        self._text = text
        self._english = english
        self._weights = weights
        self._all, self._sized = 0.0, -math.inf  # chunks of all workspaces, and when they were counted

    async def retrieve(self, workspace_id: str, query: Query) -> list[Passage]:
        """The best passages, best first; none when the workspace has no knowledge."""
        encoded = await asyncio.to_thread(self._encode, query)
        async with self._db.transaction(workspace_id) as tx:
            candidates = await self._candidates(tx, query, encoded)
            rank(candidates, self._weights)
            if query.prefer_language:
                candidates = await self._translate(tx, candidates, query, encoded)
            chosen = diversify(candidates, k=query.k, per_article=query.per_article)
            return await self._passages(tx, chosen)

    async def candidates(self, workspace_id: str, query: Query) -> list[Candidate]:
        """Every chunk that some search proposed, with its evidence, not ranked: what weights are learned from."""
        encoded = await asyncio.to_thread(self._encode, query)
        async with self._db.transaction(workspace_id) as tx:
            return await self._candidates(tx, query, encoded)

    def _encode(self, query: Query) -> Encoded:
        if not query.text.strip():
            return Encoded(None, None)
        text = self._text.encode([query.text], kind="query")[0]
        if self._english is None or query.language != "en":
            return Encoded(text, None)
        return Encoded(text, self._english.encode([query.text], kind="query")[0])

    async def _candidates(self, tx: Tx, query: Query, encoded: Encoded) -> list[Candidate]:
        words = Counted(terms(query.text))
        sounds = Counted(pinyin_tokens(query.text) if query.spoken and query.language == "zh" else ())
        await _count(tx, words, sounds)
        exact = "_exact" if await self._exact(tx, words.documents) else ""
        found: dict[str, None] = {}
        for name, value in (("nearest_chunks", encoded.text), ("nearest_chunks_en", encoded.english)):
            if value is not None:
                rows = await tx.all(name + exact, embedding=vector(value), limit=VECTOR_CANDIDATES)
                found.update(dict.fromkeys(str(row["id"]) for row in rows))
        for name, counted in (("chunks_with_tokens", words), ("chunks_with_pinyin", sounds)):
            if proposing := counted.rare():
                rows = await tx.all(
                    name,
                    tokens=pg_array([quoted(token) for token in proposing]),
                    weights=pg_array([counted.idf[token] for token in proposing]),
                    each=POSTINGS // 2,
                    limit=WORD_CANDIDATES,
                )
                found.update(dict.fromkeys(str(row["id"]) for row in rows))
        pictures = await self._pictures(tx, query.images)
        if pictures:
            rows = await tx.all("chunks_of_articles", articles=pg_array(pictures))
            found.update(dict.fromkeys(str(row["id"]) for row in rows))
        if query.expected:
            rows = await tx.all("chunks_expected", topics=pg_array(query.expected), limit=EXPECTED_CANDIDATES)
            found.update(dict.fromkeys(str(row["id"]) for row in rows))
        if not found:
            return []
        candidates = await _evidence(tx, found, words, sounds, encoded)
        for candidate in candidates:
            candidate.image, candidate.picture = pictures.get(candidate.article_id, (0.0, None))
            candidate.expected = query.expected.get(candidate.topic or candidate.article_id, 0.0)
        rank(candidates, self._weights)
        await _read_sentences(tx, candidates, encoded)
        return candidates

    async def _exact(self, tx: Tx, documents: int) -> bool:
        """Whether to compare every vector of the workspace instead of asking the index over all workspaces."""
        if documents <= EXACT_BELOW or documents > EXACT_BESIDE_OTHERS:
            return documents <= EXACT_BELOW
        if time.monotonic() - self._sized > SIZE_KEPT_S:
            self._sized, self._all = time.monotonic(), float(await tx.value("chunks_in_all"))
        return documents < MOST * self._all

    async def _pictures(self, tx: Tx, images: Iterable[Vectors]) -> dict[str, tuple[float, str | None]]:
        """article -> (cosine, blob key) of its picture that is nearest to one of `images`."""
        best: dict[str, tuple[float, str | None]] = {}
        for image in images:
            rows = await tx.all("nearest_pictures", embedding=vector(image), dim=len(image), limit=PICTURE_CANDIDATES)
            for row in rows:
                if row["cosine"] > best.get(row["article_id"], (0.0, None))[0]:
                    best[row["article_id"]] = (float(row["cosine"]), row["blob"])
        return best

    async def _translate(self, tx: Tx, ranked: list[Candidate], query: Query, encoded: Encoded) -> list[Candidate]:
        """Put an article in the customer's language in the place of its translation, with the better score of both."""
        head = diversify(ranked, k=query.k, per_article=1)
        foreign = {c.topic: c for c in reversed(head) if c.topic and c.language != query.language}
        if not foreign:
            return ranked
        rows = await tx.all("translations", topics=pg_array(foreign), language=query.language)
        own = {row["id"]: row["topic"] for row in rows}
        if not own:
            return ranked
        missing = set(own) - {c.article_id for c in ranked}
        if missing:
            ids = [str(row["id"]) for row in await tx.all("chunks_of_articles", articles=pg_array(missing))]
            words, sounds = Counted(terms(query.text)), Counted(())
            await _count(tx, words, sounds)
            more = await _evidence(tx, ids, words, sounds, encoded)
            await _read_sentences(tx, more, encoded)
            for candidate in more:
                candidate.expected = query.expected.get(candidate.topic or candidate.article_id, 0.0)
            rank(more, self._weights)
            ranked = ranked + more
        best: dict[str, float] = {}
        for candidate in ranked:
            if candidate.article_id in own:
                topic = own[candidate.article_id]
                best[topic] = max(best.get(topic, -math.inf), candidate.score)
        replaced = {foreign[topic].article_id for topic in best}
        for candidate in ranked:
            if candidate.article_id in own:
                topic = own[candidate.article_id]
                candidate.score += max(0.0, foreign[topic].score - best[topic])
        kept = [c for c in ranked if c.article_id not in replaced]
        return sorted(kept, key=lambda c: (-c.score, c.id))

    async def _passages(self, tx: Tx, chosen: Sequence[Candidate]) -> list[Passage]:
        rows = await tx.all("chunk_passages", ids=pg_array([c.id for c in chosen]))
        by_id = {row["id"]: row for row in rows}
        return [_passage(by_id[c.id], c) for c in chosen]


class Counted:
    """The query's tokens with how rare each is.

    Attributes:
        idf: token -> inverse document frequency, Robertson and Sparck Jones' as in BM25 (never negative).
        documents: chunks in the workspace.
        length: mean number of different words of a chunk.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(dict.fromkeys(tokens))
        self.idf: dict[str, float] = {}
        self.df: dict[str, int] = {}
        self.documents = 0
        self.length = 1.0

    def count(self, df: Mapping[str, int], *, documents: int, length: float) -> None:
        self.documents, self.length = documents, max(length, 1.0)
        self.df = {token: df.get(token, 0) for token in self.tokens}
        self.idf = {token: math.log1p((documents - n + 0.5) / (n + 0.5)) for token, n in self.df.items()}

    @property
    def total(self) -> float:
        return sum(self.idf.values()) or 1.0

    def rare(self) -> list[str]:
        """The tokens that propose candidates: the rarest, as long as reading their chunks stays cheap."""
        known = sorted((token for token in self.tokens if self.df[token]), key=lambda token: self.df[token])
        chosen: list[str] = []
        read = 0
        for token in known:
            read += self.df[token]
            if chosen and (read > POSTINGS or self.df[token] > COMMON * self.documents + 20):
                break
            chosen.append(token)
        return chosen


async def _count(tx: Tx, words: Counted, sounds: Counted) -> None:
    asked = ["", " ", *words.tokens, *(f"~{token}" for token in sounds.tokens)]
    df = {row["token"]: row["df"] for row in await tx.all("term_frequencies", tokens=pg_array(asked))}
    documents = df.get("", 0)
    length = df.get(" ", 0) / max(documents, 1)
    words.count(df, documents=documents, length=length)
    sounds.count({token: df.get(f"~{token}", 0) for token in sounds.tokens}, documents=documents, length=length)


async def _evidence(tx: Tx, ids: Iterable[str], words: Counted, sounds: Counted, encoded: Encoded) -> list[Candidate]:
    rows = await tx.all(
        "chunk_evidence",
        ids=pg_array(ids),
        embedding=None if encoded.text is None else vector(encoded.text),
        embedding_en=None if encoded.english is None else vector(encoded.english),
        tokens=pg_array([quoted(token) for token in words.tokens]),
        syllables=pg_array([quoted(token) for token in sounds.tokens]),
    )
    return [_candidate(row, words, sounds) for row in rows]


async def _read_sentences(tx: Tx, candidates: Sequence[Candidate], encoded: Encoded) -> None:
    """Compare the question with each sentence of the first candidates: a long chunk hides the one that answers.

    The others keep the chunk's own cosine, which is lower than its best sentence's as a rule.
    """
    for candidate in candidates:
        candidate.sentence, candidate.sentence_en = candidate.cosine, candidate.cosine_en
    if encoded.text is None:
        return
    first = {candidate.id: candidate for candidate in candidates[:SENTENCES_OF]}
    for row in await tx.binary("chunk_sentences", ids=pg_array(first), english=encoded.english is not None):
        candidate = first[str(row["id"])]
        candidate.sentence = _nearest(row["sentences"], encoded.text, candidate.cosine)
        if encoded.english is not None:
            candidate.sentence_en = _nearest(row["sentences_en"], encoded.english, candidate.cosine_en)


def _nearest(sentences: bytes | None, question: Vectors, otherwise: float) -> float:
    return float((unpacked(sentences, dim=len(question)) @ question).max()) if sentences else otherwise


def _candidate(row: Mapping[str, Any], words: Counted, sounds: Counted) -> Candidate:
    norm = SATURATION * (1 - LENGTH + LENGTH * row["lexemes"] / words.length)
    matched = {token: _times(rank) for token, rank in zip(words.tokens, row["ranks"], strict=True) if rank > 0}
    heard = [token for token, found in zip(sounds.tokens, row["heard"], strict=True) if found]
    return Candidate(
        id=row["id"],
        article_id=row["article_id"],
        language=row["language"],
        topic=row["topic"],
        cosine=float(row["cosine"] or 0.0),
        cosine_en=float(row["cosine_en"] or 0.0),
        bm25=sum(words.idf[token] * often / (often + norm) for token, often in matched.items()) / words.total,
        coverage=sum(words.idf[token] for token in matched) / words.total,
        pinyin=sum(sounds.idf[token] for token in heard) / sounds.total,
    )


def _times(ts_rank: float) -> float:
    """How often the word stands there: what is missing of the sum to infinity is about 1 / (n + 1/2)."""
    return 1 / max(ZETA * (1 - ts_rank), 0.01) - 0.5


def rank(candidates: list[Candidate], weights: Weights) -> None:
    """Score and sort in place, best first."""
    for c in candidates:
        c.score = (
            weights.cosine * c.cosine
            + weights.cosine_en * c.cosine_en
            + weights.sentence * c.sentence
            + weights.sentence_en * c.sentence_en
            + weights.words * c.bm25
            + weights.pinyin * c.pinyin
            + weights.image * c.image
            + weights.expected * c.expected
        )
    candidates.sort(key=lambda c: (-c.score, c.id))


def diversify(ranked: Sequence[Candidate], *, k: int, per_article: int) -> list[Candidate]:
    """The first `k`, at most `per_article` of one article; then the articles' further chunks, while places are left."""
    taken: defaultdict[str, int] = defaultdict(int)
    first: list[Candidate] = []
    further: list[Candidate] = []
    for candidate in ranked:
        taken[candidate.article_id] += 1
        (first if taken[candidate.article_id] <= per_article else further).append(candidate)
    return (first + further)[:k]


def _passage(row: Mapping[str, Any], candidate: Candidate) -> Passage:
    return Passage(
        article_id=candidate.article_id,
        chunk_id=candidate.id,
        title=row["title"],
        text=row["text"],
        uri=row["uri"],
        language=candidate.language,
        position=row["position"],
        score=candidate.score,
        picture=candidate.picture or row["picture"],
        origin=row["origin"],
        signals={
            "cosine": candidate.cosine,
            "cosine_en": candidate.cosine_en,
            "sentence": candidate.sentence,
            "sentence_en": candidate.sentence_en,
            "bm25": candidate.bm25,
            "coverage": candidate.coverage,
            "pinyin": candidate.pinyin,
            "image": candidate.image,
            "expected": candidate.expected,
        },
    )
