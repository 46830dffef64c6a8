"""Does it help retrieval to know the intent? The demo's questions, with the shipped model's intent and without.

    python bench/intent_retrieval.py [--part dev] [--weights 0 0.02 0.03 0.05 0.1 0.2]

By weight of the expected articles: how often a right article comes first, and how often it is among the first three and
ten. The weight was chosen on `dev`; `heldout` is for reporting. Writes bench/results/intent_retrieval_PART.json.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
from common import write
from questions import DEMO, Asked, read, shop, topic

from duomo.knowledge.retrieve import Query, Retriever, Weights
from duomo.media.text import normalise
from duomo.models.encoders import Encoders, Models
from duomo.models.understanding import load
from duomo.support.answer import CANDIDATES, PER_ARTICLE, expected_articles
from duomo.support.outcome import Question
from duomo.support.policy import Policy
from duomo.support.predict import Loaded, Turn, Understood, read_turn

FIRST = (1, 3, 10)


async def measure(part: str, weights: list[float]) -> dict[str, Any]:
    questions = [asked for asked in read(part) if asked.article_ids]
    policy = Policy.parse((DEMO / "policy.yaml").read_text("utf-8"))
    found: dict[float, list[int]] = {}
    async with shop() as demo:
        understanding = load(DEMO / "understanding" / "model")
        encoders = Encoders.for_views(understanding.views, models=Models(text=demo.text, english=demo.english))
        loaded = Loaded(understanding, encoders)
        said = [_understood(loaded, asked) for asked in questions]
        for weight in weights:
            retriever = Retriever(demo.db, demo.text, demo.english, weights=replace(Weights(), expected=weight))
            found[weight] = []
            for asked, understood in zip(questions, said, strict=True):
                question = Question(asked.text, asked.lang, policy=policy, understood=understood)
                query = Query(
                    normalise(asked.text), asked.lang, k=CANDIDATES, per_article=PER_ARTICLE,
                    expected=expected_articles(question) if weight else {},
                )  # fmt: skip
                passages = await retriever.retrieve(demo.workspace.id, query)
                topics = list(dict.fromkeys(topic(p.article_id) for p in passages))
                ranks = [n for n, one in enumerate(topics) if one in asked.article_ids]
                found[weight].append(min(ranks, default=10_000))
    return {
        "questions": len(questions),
        "by_weight": {str(w): _figures(np.array(r), questions) for w, r in found.items()},
    }


def _understood(loaded: Loaded, asked: Asked) -> Understood:
    row = {"id": "", "fingerprint": "", "name": "", "role": "active"}
    return read_turn(loaded, row, Turn(asked.text))


def _figures(ranks: np.ndarray, questions: list[Asked]) -> dict[str, float]:
    figures = {f"first_{n}": round(float((ranks < n).mean()), 4) for n in FIRST}
    for language in ("zh", "en"):
        here = np.array([asked.lang == language for asked in questions])
        figures |= {f"first_{n}_{language}": round(float((ranks[here] < n).mean()), 4) for n in FIRST}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="dev", choices=("dev", "heldout"))
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.02, 0.03, 0.05, 0.1, 0.2])
    options = parser.parse_args()
    figures = asyncio.run(measure(options.part, options.weights))
    for weight, row in figures["by_weight"].items():
        print(weight, row)
    write(
        f"intent_retrieval_{options.part}", figures=figures,
        data=f"scenarios/customer_service/questions/{options.part}.jsonl",
        what="share of answerable questions whose right article comes first, among 3, among 10, by the weight of the "
        "articles that the shipped model's intent expects",
    )  # fmt: skip


if __name__ == "__main__":
    main()
