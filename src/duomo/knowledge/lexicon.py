"""The names, models and codes of a workspace's own knowledge, by which a transcript is repaired."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from duomo.knowledge import repair as repairing
from duomo.knowledge.chunk import plain
from duomo.knowledge.repair import LONGEST, Lexicon, code_key, codes, keys, sound
from duomo.media.text import CJK
from duomo.store.postgres import Database, pg_array

TERM_WORDS = 3  # words that one term may join: 收货 + 地址
BODY_LIMIT = 2_000_000  # characters of article text searched for terms; of a larger knowledge only the headings are
REPEATED = 3  # times a term must occur in texts when it is in no heading
MOST_TERMS = 20_000

_HAN_RUN = re.compile(f"[{CJK}]+")
_HEADING = re.compile(r"^#{1,6}\s+(.+)$", re.MULTILINE)
_EMPTY = frozenset("的了吗呢吧啊是在和与或及也就都而但把被让给我你您他她它们这那哪谁怎什不没很")
"""Characters that start or end no name."""


async def rebuild(db: Database, workspace_id: str) -> None:
    """Collect the lexicon anew from the articles."""
    async with db.transaction(workspace_id) as tx:
        rows = await tx.all("article_texts", limit=BODY_LIMIT)
    found = collect((row["title"], row["text"]) for row in rows)
    async with db.transaction(workspace_id) as tx:
        await tx.run("lock_knowledge")
        await tx.run("clear_lexicon")
        await tx.many("put_lexicon_term", found)


async def load(db: Database, workspace_id: str, transcript: str) -> Lexicon:
    """As much of the lexicon as the transcript could be repaired with."""
    wanted, pairs = keys(transcript)
    if not wanted:
        return Lexicon()
    async with db.transaction(workspace_id) as tx:
        rows = await tx.all("lexicon_terms", keys=pg_array(wanted))
        known = await tx.all("term_frequencies", tokens=pg_array(pairs))
    terms: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        terms[row["pinyin"]].append(row["term"])
    return Lexicon(terms, frozenset(row["token"] for row in known if row["df"] > 0), is_word)


async def repair(db: Database, workspace_id: str, text: str, language: str | None = None) -> str:
    """The transcript with the workspace's own words put right. `language` does not matter: codes are said in both."""
    return repairing.repair(text, await load(db, workspace_id, text)).text


def collect(articles: Iterable[tuple[str, str]]) -> list[Mapping[str, Any]]:
    """Rows {term, pinyin, weight} of the lexicon table, from (title, Markdown text) of articles."""
    headings: Counter[str] = Counter()
    bodies: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for title, text in articles:
        above = "\n".join([title, *_HEADING.findall(text)])
        headings.update(_terms(above))
        words = plain(text)
        bodies.update(_terms(words))
        named.update(codes(f"{title}\n{words}"))
    weights: dict[str, float] = {}
    for term in headings.keys() | {term for term, times in bodies.items() if times >= REPEATED}:
        weights[term] = headings[term] + 0.2 * bodies[term]
    chosen = sorted(weights, key=lambda term: (-weights[term], term))[:MOST_TERMS]
    rows = [{"term": term, "pinyin": sound(term), "weight": weights[term]} for term in chosen]
    spelled: dict[str, tuple[int, str]] = {}  # several spellings of one code: the most frequent stands
    for code, times in named.items():
        spelled[code_key(code)] = max(spelled.get(code_key(code), (0, "")), (times, code))
    return [
        *rows,
        *({"term": c, "pinyin": key, "weight": float(n)} for key, (n, c) in spelled.items() if c not in weights),
    ]


def _terms(text: str) -> set[str]:
    """Chinese words of a text, and neighbouring ones joined."""
    found: set[str] = set()
    for run in _HAN_RUN.findall(text):
        words = _cut(run)
        for first in range(len(words)):
            for last in range(first + 1, min(first + TERM_WORDS, len(words)) + 1):
                term = "".join(words[first:last])
                whole = all(len(word) > 1 for word in words[first:last]) or last - first == 1
                if 2 <= len(term) <= LONGEST and whole and term[0] not in _EMPTY and term[-1] not in _EMPTY:
                    found.add(term)
    return found


def is_word(text: str) -> bool:
    """Whether the Chinese dictionary has it."""
    return bool(_dictionary().FREQ.get(text, 0))


def _cut(run: str) -> list[str]:
    return list(_dictionary().cut(run, HMM=False))


@cache
def _dictionary() -> Any:
    import jieba  # type: ignore[import-untyped]  # 85 MB and two seconds: loaded by the first process that hears Chinese or ingests it

    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba.dt
