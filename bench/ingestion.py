"""How many passages of 370 Chinese characters are read, encoded and stored in a second, one after the other.

python bench/ingestion.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from common import write
from retrieval import SETS, records

from duomo import store
from duomo.knowledge.ingest import Models, ingest
from duomo.knowledge.sources import Source
from duomo.models.embed import MiniLM, MultilingualE5
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database

CHARACTERS = 370
PASSAGES = 300


def passages(data: Path) -> list[str]:
    """Stretches of Chinese prose of that length from the documentation, markup and Latin words taken out."""
    prose = "".join(re.sub(r"[^\u3400-\u9fff，。；：、！？]", "", text) for _, text in records(data / SETS["tidb"][0]))
    return [prose[start : start + CHARACTERS] for start in range(0, CHARACTERS * PASSAGES, CHARACTERS)]


async def run(arguments: argparse.Namespace, home: Path) -> None:
    models = Models(MultilingualE5(), MiniLM())
    lines = [json.dumps({"id": n, "title": "", "text": t}) for n, t in enumerate(passages(arguments.data))]
    source = Source("passages.jsonl", lambda: "\n".join(lines).encode())
    with store.open_home(home, None) as dsn:
        async with await Database.open(dsn) as db:
            workspace = (await db.create_workspace("ingestion", {})).id
            figures = {"passages": PASSAGES, "characters": CHARACTERS}
            for name in ("first", "again, unchanged"):
                began = time.perf_counter()
                report = await ingest(db, workspace, [source], models=models, blobs=Blobs(home / "media"))
                took = time.perf_counter() - began
                figures[name] = {
                    "seconds": round(took, 1),
                    "passages_per_s": round(PASSAGES / took, 1),
                    "added": report.added,
                    "unchanged": report.unchanged,
                }
                print(name, figures[name])
    write(
        "ingestion",
        what="passages read, encoded, indexed and stored in a second, one process, one thread in the encoder",
        figures=figures,
        data="faq-zh/tidb_docs, Chinese prose cut every 370 characters",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    if not (arguments.data / SETS["tidb"][0]).is_dir():
        sys.exit(f"the data sets are not at {arguments.data}; give their folder with --data")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # started by root, the server runs as another user
        asyncio.run(run(arguments, Path(folder)))


if __name__ == "__main__":
    main()
