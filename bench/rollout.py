"""How soon the watch finds a worse canary, how often it takes back a good one, and what drift says of known changes.

    python bench/rollout.py

Simulated: conversations fall to the canary by chance, each is bad by its model's rate; looked at after every bad event,
as the watch does or more often, until 200 canary conversations. Measured: the questions and photos of the demo shop.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import write
from PIL import Image, ImageEnhance

import duomo
from duomo.models.embed import EfficientNet, MultilingualE5
from duomo.support.drift import Usual, distance
from duomo.support.policy_sections import Rollout
from duomo.support.rollout import INDICATORS, LAST_LOOK
from duomo.support.sequential import evidence, tail

SHOP = Path(duomo.__file__).parent / "scenarios/customer_service"
RUNS = 400
RATES = ((0.3, 0.3), (0.3, 0.4), (0.3, 0.5), (0.3, 0.7), (0.1, 0.1), (0.1, 0.2), (0.1, 0.3), (0.1, 0.5))


def canary(active: float, tried: float, *, share: float, turns: int, significance: float, seed: int) -> int | None:
    """Canary conversations until it is taken back by one indicator; None: it became active."""
    draw, bad, of, had = random.Random(seed), 0, 0, 0
    needed = len(INDICATORS) / significance
    while had < turns:
        mine = draw.random() < share
        had += mine
        if draw.random() < (tried if mine else active):
            of, bad = of + 1, bad + mine
            if evidence(bad, of, null=share) >= needed:
                return had
    return had if tail(bad, of, null=share) <= LAST_LOOK / len(INDICATORS) else None


def canaries(share: float) -> list[dict[str, Any]]:
    rule = Rollout()
    figures = []
    for active, tried in RATES:
        how = {"share": share, "turns": rule.canary_turns, "significance": rule.rollback.significance}
        found = [canary(active, tried, seed=seed, **how) for seed in range(RUNS)]
        ended = [n for n in found if n is not None]
        figures.append({
            "share": share, "rate_active": active, "rate_canary": tried, "taken_back": len(ended) / RUNS,
            "before_the_last_look": sum(n < rule.canary_turns for n in ended) / RUNS,
            "median_canary_conversations": median(ended) if ended else None,
        })  # fmt: skip
    return figures


def texts() -> dict[str, float]:
    rows = [json.loads(line) for line in (SHOP / "questions/dev.jsonl").read_text("utf-8").splitlines()]
    random.Random(0).shuffle(rows)
    vectors = MultilingualE5().encode([row["text"] for row in rows], kind="query").astype(np.float64)
    about = [row["article_ids"][0] if row["article_ids"] else "" for row in rows]
    middle = sorted(about)[len(about) // 2]
    split = {
        "the same questions": np.arange(len(rows)) % 2 == 0,
        "questions about the other half of the articles": np.array([name < middle for name in about]),
        "questions in the other language": np.array([row["lang"] == "zh" for row in rows]),
    }
    return {name: round(distance(vectors[~here], Usual.of(vectors[here])).size, 4) for name, here in split.items()}


def photos() -> dict[str, float]:
    paths = sorted(
        [*(SHOP / "media").rglob("*.jpg"), *(SHOP / "media").rglob("*.png"), *(SHOP / "media").rglob("*.webp")]
    )
    pictures = [Image.open(path).convert("RGB").resize((224, 224)) for path in paths]
    network = EfficientNet()

    def encoded(light: float) -> np.ndarray:
        shown = [np.asarray(ImageEnhance.Brightness(picture).enhance(light)) for picture in pictures]
        rows = np.stack([np.asarray(network.encode(pixels), dtype=np.float64) for pixels in shown])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    usual = Usual.of(encoded(1.0)[::2])
    return {f"photos at {light:.0%} of their light": round(distance(encoded(light)[1::2], usual).size, 4)
            for light in (1.0, 0.5, 0.25, 0.1)}  # fmt: skip


if __name__ == "__main__":
    found = {"canaries": [*canaries(0.1), *canaries(0.3)], "drift": texts() | photos()}
    for row in found["canaries"]:
        print(row)
    for name, size in found["drift"].items():
        print(f"{size:.3f}  {name}")
    write("rollout", what="watching models: canaries taken back, and distances of drift", figures=found,
          data="simulated; questions/dev.jsonl and pictures of the demo shop")  # fmt: skip
