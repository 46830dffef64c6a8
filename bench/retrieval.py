"""Recall of hybrid retrieval against plain BM25 on three public help collections, and from Chinese to English.

    python bench/retrieval.py --data ../shared/data --home /tmp/retrieval [--tune]

The collections have no official test part, so their queries are halved by hash: weights are chosen on the development
halves (`--tune` searches them), every published figure is of the test halves. Records go in as JSONL without titles:
in help_center the title is the query itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import itertools
import json
import math
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from duomo import store
from duomo.knowledge.index import terms
from duomo.knowledge.ingest import Models, ingest
from duomo.knowledge.retrieve import Candidate, Query, Retriever, Weights, diversify, rank
from duomo.knowledge.sources import Source
from duomo.models.embed import MiniLM, MultilingualE5, TextEmbedder
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database
from duomo.types import Language

SETS: Mapping[str, tuple[str, Language]] = {
    "zh": ("faq-zh/help_center", "zh"),
    "en": ("faq-en/help_center", "en"),
    "tidb": ("faq-zh/tidb_docs", "zh"),
}
FLOORS = {"zh": 0.76, "en": 0.80, "tidb": 0.73}  # recall@10 of BM25 as the data's own notes give it
CUTS = (1, 5, 10)


@dataclass(frozen=True)
class Asked:
    id: str
    text: str
    group: str  # resampled together: the questions of one page
    relevant: frozenset[str]

    @property
    def is_test(self) -> bool:
        return hashlib.sha256(self.id.encode()).digest()[0] % 2 == 1


def queries(folder: Path) -> list[Asked]:
    relevant: defaultdict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        relevant[row["query"]].add(row["doc"])
    rows = map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        Asked(row["id"], row["text"], row.get("path", row["id"]), frozenset(relevant[row["id"]]))
        for row in rows
        if row["id"] in relevant
    ]


def records(folder: Path) -> list[tuple[str, str]]:
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return [(row["id"], row["text"]) for row in map(json.loads, file)]


# --- the baseline


class BM25:
    """Robertson's BM25 over whole records, with the tokens of the product; k1 = 1.2, b = 0.75."""

    def __init__(self, documents: Sequence[tuple[str, str]]) -> None:
        self.ids = [identity for identity, _ in documents]
        counts = [Counter(terms(text)) for _, text in documents]
        lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
        norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
        postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, count in enumerate(counts):
            for token, frequency in count.items():
                postings[token].append((row, frequency))
        self.postings = {}
        for token, found in postings.items():
            rows = np.array([row for row, _ in found])
            frequency = np.array([f for _, f in found], dtype=np.float64)
            idf = math.log1p((len(counts) - len(found) + 0.5) / (len(found) + 0.5))
            self.postings[token] = (rows, idf * frequency * 2.2 / (frequency + norm[rows]))

    def search(self, text: str, k: int) -> list[str]:
        scores = np.zeros(len(self.ids))
        for token in set(terms(text)):
            if token in self.postings:
                rows, weights = self.postings[token]
                scores[rows] += weights
        best = np.argsort(-scores, kind="stable")[:k]
        return [self.ids[row] for row in best if scores[row] > 0]


# --- figures


Ranking = Mapping[str, Sequence[str]]  # query -> article ids, best first


def figures(asked: Sequence[Asked], ranking: Ranking, *, samples: int = 2000) -> dict[str, Any]:
    """recall@1/5/10 and MRR@10, each with a 95 % interval by bootstrap over groups."""
    per_query = np.array([_scores(query, ranking[query.id]) for query in asked])  # (queries, cuts + 1)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, query in enumerate(asked):
        groups[query.group].append(row)
    sums = np.array([per_query[rows].sum(axis=0) for rows in groups.values()])
    sizes = np.array([len(rows) for rows in groups.values()])
    drawn = np.random.default_rng(7).integers(0, len(sums), size=(samples, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)[:, None]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    names = [*(f"recall@{cut}" for cut in CUTS), "mrr@10"]
    mean = per_query.mean(axis=0)
    return {
        name: {"value": round(float(mean[i]), 3), "low": round(float(low[i]), 3), "high": round(float(high[i]), 3)}
        for i, name in enumerate(names)
    } | {"queries": len(asked)}


def _scores(query: Asked, found: Sequence[str]) -> list[float]:
    recalls = [len(query.relevant & set(found[:cut])) / len(query.relevant) for cut in CUTS]
    first = next((place for place, identity in enumerate(found[:10], start=1) if identity in query.relevant), 0)
    return [*recalls, 1 / first if first else 0.0]


# --- running


Evidence = Mapping[str, list[Candidate]]


async def gather(retriever: Retriever, workspace_id: str, asked: Sequence[Asked], language: Language) -> Evidence:
    return {q.id: await retriever.candidates(workspace_id, Query(q.text, language)) for q in asked}


def ranked(evidence: Evidence, weights: Weights) -> dict[str, list[str]]:
    found = {}
    for identity, candidates in evidence.items():
        rank(candidates, weights)
        found[identity] = [c.article_id for c in diversify(candidates, k=10, per_article=1)]
    return found


VARIANTS: Mapping[str, Callable[[Weights], Weights]] = {
    "fused": lambda w: w,
    "dense, both encoders": lambda w: replace(w, words=0.0),
    "dense, multilingual": lambda w: replace(w, words=0.0, cosine_en=0.0, sentence_en=0.0),
    "dense, whole chunks": lambda w: replace(w, words=0.0, sentence=0.0, sentence_en=0.0, cosine=1.0, cosine_en=0.2),
    "words": lambda w: replace(w, cosine=0.0, cosine_en=0.0, sentence=0.0, sentence_en=0.0),
}


async def fill(db: Database, name: str, folder: Path, models: Models, home: Path) -> str:
    workspace = await db.create_workspace(f"retrieval-{name}", {})
    lines = (json.dumps({"id": i, "text": t, "uri": i}, ensure_ascii=False) for i, t in records(folder))
    data = "\n".join(lines).encode()

    async def progress(report: Any) -> None:
        if report.done % 500 == 0:
            print(f"  {name}: {report.done}/{report.total}", file=sys.stderr, flush=True)

    began = time.perf_counter()
    source = Source(f"{name}.jsonl", lambda: data)
    report = await ingest(db, workspace.id, [source], models=models, blobs=Blobs(home / "media"), progress=progress)
    print(f"{name}: {report.added} added, {report.unchanged} unchanged, {len(report.failed)} failed, "
          f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
    return workspace.id


async def run(arguments: argparse.Namespace, home: Path, text: TextEmbedder, english: TextEmbedder) -> None:
    models = Models(text, english)
    with store.open_home(home, None) as dsn:
        async with await Database.open(dsn) as db:
            retriever = Retriever(db, text, english)
            asked = {name: queries(arguments.data / folder) for name, (folder, _) in SETS.items()}
            ids = {name: await fill(db, name, arguments.data / f, models, home) for name, (f, _) in SETS.items()}
            evidence = {
                name: await gather(retriever, ids[name], asked[name], language) for name, (_, language) in SETS.items()
            }
            both = {q.id for q in asked["en"]}
            crossing = [q for q in asked["zh"] if q.id in both]
            evidence["zh→en"] = await gather(retriever, ids["en"], crossing, "zh")
            asked["zh→en"] = crossing
    if arguments.tune:
        tune({name: [q for q in asked[name] if not q.is_test] for name in asked}, evidence)
    report(arguments, asked, evidence)


def report(arguments: argparse.Namespace, asked: Mapping[str, list[Asked]], evidence: Mapping[str, Evidence]) -> None:
    results: dict[str, Any] = {}
    for name, everything in asked.items():
        baseline = BM25(records(arguments.data / SETS[name][0])) if name in SETS else None
        for half in ("dev", "test"):
            chosen = [query for query in everything if query.is_test == (half == "test")]
            found = {
                variant: figures(chosen, ranked(evidence[name], change(Weights())))
                for variant, change in VARIANTS.items()
            }
            if baseline is not None:
                found["bm25"] = figures(chosen, {query.id: baseline.search(query.text, 10) for query in chosen})
            for variant, values in found.items():
                print(f"{name:6} {half:4} {variant:22} {row(values)}  n={values['queries']}")
            if half == "test":
                results[name] = found | {"published BM25": {"recall@10": FLOORS.get(name)}}
    write(
        "retrieval",
        what="recall and MRR of articles on the test halves of the queries, with 95 % bootstrap intervals",
        figures=results,
        data="faq-zh/help_center, faq-en/help_center, faq-zh/tidb_docs; queries halved by SHA-256 of their id",
    )


def row(values: Mapping[str, Any]) -> str:
    found = {name: value for name, value in values.items() if name != "queries"}
    return "  ".join(f"{name} {v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for name, v in found.items())


def tune(dev: Mapping[str, list[Asked]], evidence: Mapping[str, Evidence]) -> None:
    """Print the weights with the best mean of recall@10 and MRR over the development halves."""
    tried = []
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the sentences in the cosine
    for sentence, english, words in itertools.product(shares, (0.1, 0.2, 0.3), (0.0, 0.03, 0.05, 0.07)):
        weights = Weights(
            cosine=1 - sentence, sentence=sentence, cosine_en=english * (1 - sentence), sentence_en=english * sentence,
            words=words,
        )  # fmt: skip
        scores = {}
        for name, chosen in dev.items():
            found = figures(chosen, ranked(evidence[name], weights), samples=2)
            scores[name] = round((found["recall@10"]["value"] + found["mrr@10"]["value"]) / 2, 4)
        tried.append((float(np.mean(list(scores.values()))), scores, weights))
    for score, scores, weights in sorted(tried, key=lambda found: -found[0])[:12]:
        print(f"{score:.4f}  {weights}  {scores}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--home", type=Path, help="kept between runs, so that unchanged records are not encoded again")
    parser.add_argument("--tune", action="store_true", help="search the weights on the development halves")
    arguments = parser.parse_args()
    if not (arguments.data / SETS["zh"][0]).is_dir():
        sys.exit(f"the data sets are not at {arguments.data}; give their folder with --data")
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(arguments, home, MultilingualE5(), MiniLM()))


if __name__ == "__main__":
    main()
