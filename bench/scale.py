"""How long hybrid retrieval takes in a workspace of 100,000 chunks, the question's encoding included.

    python bench/retrieval.py --data ../shared/data --home /tmp/retrieval     # encodes about 22,000 real chunks
    python bench/scale.py --data ../shared/data --home /tmp/retrieval

The chunks are those of three public help collections, each as often as needed, in a server of their own. Every copy
has its own vectors, the original's mixed with those of another chunk of its language (cosine with the original about
0.99), and the original's words: words keep their document frequency as a share, so that their lists of chunks are as
long as in 100,000 real ones. The questions are real.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from common import write
from retrieval import SETS, queries

from duomo import store
from duomo.knowledge import retrieve
from duomo.knowledge.chunk import plain
from duomo.knowledge.index import packed, statements
from duomo.knowledge.retrieve import Query, Retriever
from duomo.models.embed import MiniLM, MultilingualE5, Vectors
from duomo.store.postgres import Database, Tx, vector

CHUNKS = 100_000
MIXED = 0.25  # share of the other chunk; noise in all directions would push the copies away from every question
WORKSPACE = "scale"

Row = dict[str, Any]


def real_chunks(dsn: str) -> list[Row]:
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(
            "SELECT c.article_id, c.language, c.heading, c.text, c.search::text AS search, c.pinyin::text AS pinyin, "
            "c.embedding::text AS embedding, c.embedding_en::text AS embedding_en "
            "FROM chunks c JOIN workspaces w ON w.id = c.workspace_id WHERE w.name LIKE 'retrieval-%' ORDER BY c.id"
        ).fetchall()


def fill(dsn: str, workspace: str, base: list[Row]) -> None:
    """Copy chunks into the workspace, which is empty, until there are `CHUNKS`."""
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP INDEX chunks_embedding")  # built at once it is the same index, sooner
        connection.execute("DROP INDEX chunks_embedding_en")
        connection.execute("SET maintenance_work_mem = '1GB'")
        _copy(connection, workspace, base)
        connection.execute("CREATE INDEX chunks_embedding ON chunks USING hnsw (embedding halfvec_ip_ops)")
        connection.execute("CREATE INDEX chunks_embedding_en ON chunks USING hnsw (embedding_en halfvec_ip_ops)")
        connection.execute(
            "INSERT INTO terms (workspace_id, token, df) "
            "SELECT %(w)s::uuid, lexeme, count(*) FROM chunks, unnest(search) GROUP BY lexeme "
            "UNION ALL SELECT %(w)s::uuid, '~' || lexeme, count(*) FROM chunks, unnest(pinyin) GROUP BY lexeme "
            "UNION ALL SELECT %(w)s::uuid, '', count(*) FROM chunks "
            "UNION ALL SELECT %(w)s::uuid, ' ', sum(length(search)) FROM chunks",
            {"w": workspace},
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE chunks, terms, articles")


def _copy(connection: psycopg.Connection[Any], workspace: str, base: list[Row]) -> None:
    random = np.random.default_rng(11)
    vectors = [_numbers(row["embedding"]) for row in base]
    english = [None if row["embedding_en"] is None else _numbers(row["embedding_en"]) for row in base]
    peers: defaultdict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(base):
        peers[row["language"]].append(i)
    with connection.cursor() as cursor:
        columns = "workspace_id, id, source, title, language, uri, text, content_hash"
        with cursor.copy(f"COPY articles ({columns}) FROM STDIN") as copy:
            for number in range(-(-CHUNKS // len(base))):
                for article, language in dict.fromkeys((row["article_id"], row["language"]) for row in base):
                    copy.write_row(
                        (workspace, f"{number}/{language}/{article}", "bench", article, language, article, "", "bench")
                    )
        columns = (
            "workspace_id, article_id, position, origin, language, heading, text, search, pinyin, "
            "embedding, embedding_en, sentences, sentences_en"
        )
        with cursor.copy(f"COPY chunks ({columns}) FROM STDIN") as copy:
            for number in range(CHUNKS):
                i = number % len(base)
                row = base[i]
                other = int(random.choice(peers[row["language"]]))
                count = max(1, len(statements(plain(row["text"]))))
                near, parts = _mixed(vectors[i], vectors[other], count, random)
                near_en, parts_en = _mixed(english[i], english[other], count, random)
                article = f"{number // len(base)}/{row['language']}/{row['article_id']}"
                words = (row["heading"], row["text"], row["search"], row["pinyin"])
                copy.write_row((workspace, article, i, "text", row["language"], *words, near, near_en, parts, parts_en))


def _numbers(text: str) -> Vectors:
    return np.array(text.strip("[]").split(","), dtype=np.float32)


def _mixed(
    original: Vectors | None, other: Vectors | None, count: int, random: np.random.Generator
) -> tuple[str | None, bytes | None]:
    """A vector beside the original, and as many for sentences."""
    if original is None or other is None:
        return None, None
    shares = MIXED * random.uniform(0.5, 1.5, size=(count + 1, 1)).astype(np.float32)
    mixed = (1 - shares) * original + shares * other  # (1 + count, dim)
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return vector(mixed[0]), packed(mixed[1:])


class Watch:
    """How long each statement takes, in ms."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> Watch:
        self._original = {name: getattr(Tx, name) for name in ("all", "binary") if hasattr(Tx, name)}
        for name, original in self._original.items():
            setattr(Tx, name, self._timed(original))
        return self

    def __exit__(self, *_: object) -> None:
        for name, original in self._original.items():
            setattr(Tx, name, original)

    def _timed(self, original: Any) -> Any:
        async def run(tx: Tx, query: str, **parameters: Any) -> Any:
            began = time.perf_counter()
            try:
                return await original(tx, query, **parameters)
            finally:
                self.taken[query].append((time.perf_counter() - began) * 1000)

        return run


def spread(taken: list[float]) -> dict[str, float]:
    return {"p50_ms": round(float(np.percentile(taken, 50)), 1), "p95_ms": round(float(np.percentile(taken, 95)), 1)}


async def recall(db: Database, workspace: str, encoder: MultilingualE5, asked: list[str]) -> float:
    """Share of the true nearest chunks that the vector index finds."""
    found = 0.0
    for text in asked:
        near = vector(encoder.encode([text], kind="query")[0])
        async with db.transaction(workspace) as tx:
            limit = retrieve.VECTOR_CANDIDATES
            exact = {row["id"] for row in await tx.all("nearest_chunks_exact", embedding=near, limit=limit)}
            index = {row["id"] for row in await tx.all("nearest_chunks", embedding=near, limit=limit)}
        found += len(exact & index) / len(exact)
    return found / len(asked)


async def run(arguments: argparse.Namespace) -> None:
    text, english = MultilingualE5(), MiniLM()
    with store.open_home(arguments.home, None) as dsn:
        base = await asyncio.to_thread(real_chunks, dsn)
    if not base:
        sys.exit("there are no chunks to copy; run bench/retrieval.py with the same --home first")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o711)  # started by root, the server runs as another user
        dsn = stack.enter_context(store.open_home(home, None))
        async with await Database.open(dsn) as db:
            workspace = (await db.create_workspace(WORKSPACE, {})).id
            await asyncio.to_thread(fill, dsn, workspace, base)
            retriever = Retriever(db, text, english)
            figures: dict[str, Any] = {"chunks": CHUNKS, "real_chunks": len(base)}
            everything: list[float] = []
            with Watch() as watch:
                for name, (folder, language) in SETS.items():
                    asked = [q.text for q in queries(arguments.data / folder)][:: arguments.every]
                    for spoken in (False, True) if language == "zh" else (False,):
                        taken = []
                        for question in asked:
                            began = time.perf_counter()
                            await retriever.retrieve(workspace, Query(question, language, spoken=spoken))
                            taken.append((time.perf_counter() - began) * 1000)
                        everything += taken[5:]  # the first ones fill caches
                        figures[f"{name}{' spoken' if spoken else ''}"] = spread(taken[5:])
            figures["all"] = spread(everything) | {"questions": len(everything)}
            figures["statements"] = {name: spread(taken) for name, taken in sorted(watch.taken.items())}
            sample = [q.text for q in queries(arguments.data / SETS["tidb"][0])][:50]
            figures["vector_index_recall"] = round(await recall(db, workspace, text, sample), 4)
    for name, value in figures.items():
        print(name, value)
    write(
        "scale",
        what="time of one hybrid retrieval among 100,000 chunks, the encoding of the question included, one at a time",
        figures=figures,
        data="copies of the chunks of faq-zh/help_center, faq-en/help_center and faq-zh/tidb_docs, their vectors "
        "mixed with others'; their real questions",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--home", type=Path, required=True, help="of bench/retrieval.py")
    parser.add_argument("--every", type=int, default=3, help="ask every nth question")
    arguments = parser.parse_args()
    if not (arguments.data / SETS["zh"][0]).is_dir():
        sys.exit(f"the data sets are not at {arguments.data}; give their folder with --data")
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
