"""The data engine on public questions: planted label errors, labels saved by choosing, and intents nobody named.

    python bench/data_engine.py [--data ../shared/data] [--rows 3000]

Training parts alone are read. The model is a logistic regression on the text's two dense views, side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import common
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.model_selection import KFold

from duomo.learn.curate import budget_curve, label_errors
from duomo.learn.discover import discover, text_embeddings
from duomo.models.embed import MiniLM, MultilingualE5
from duomo.models.features import Features

SEEDS = (0, 1, 2)
NOISE = (0.0, 0.05, 0.1, 0.2)  # share of labels made wrong
BUDGETS = (150, 300, 450, 600, 900, 1200)
HIDDEN = 20  # intents to be found again
OTHERS = 200  # questions of no intent among them

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def records(path: Path) -> list[tuple[str, str]]:
    """(text, label), each text once."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return list({row["text"]: (row["text"], str(row.get("label") or row.get("intent") or "")) for row in rows}.values())


def drawn(rows: list[tuple[str, str]], count: int, seed: int) -> list[tuple[str, str]]:
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[at] for at in order]


class Views:
    """Encodes each text once."""

    def __init__(self) -> None:
        self._encoders = {"text.e5": MultilingualE5(), "text.minilm": MiniLM()}

    def of(self, texts: list[str]) -> Features:
        dense = {name: encoder.encode(texts, kind="query") for name, encoder in self._encoders.items()}
        return Features(("text",), np.ones((len(texts), 1), np.bool_), dense)


def classifier(points: Floats, labels: Labels, count: int, rows: Floats) -> NDArray[np.float64]:
    """(rows, count) probabilities."""
    model = LogisticRegression(C=10, max_iter=100).fit(points, labels)
    probabilities = np.zeros((len(rows), count))
    probabilities[:, model.classes_] = model.predict_proba(rows)
    return probabilities


def planted_errors(points: Floats, truth: Labels, share: float) -> dict[str, float | int]:
    """Wrong labels drawn evenly. Precision counts planted errors alone: the set's own count as false alarms."""
    count = int(truth.max()) + 1
    rng = np.random.default_rng(0)
    wrong = rng.random(len(truth)) < share
    given = np.where(wrong, (truth + rng.integers(1, count, len(truth))) % count, truth)
    probabilities = np.zeros((len(truth), count))
    for train, test in KFold(5, shuffle=True, random_state=0).split(points):
        probabilities[test] = classifier(points[train], given[train], count, points[test])
    found = label_errors(probabilities, given, [str(at) for at in range(len(truth))])
    rows = [one.index for one in found]
    hits = [one for one in found if wrong[one.index]]
    planted = int(wrong.sum())
    return {
        "planted": planted,
        "reported": len(found),
        "recall": round(len(hits) / planted, 3) if planted else 0.0,
        "precision_of_as_many_as_planted": round(float(wrong[rows[:planted]].mean()), 3) if planted else 0.0,
        "right_suggestions": round(float(np.mean([one.suggested == truth[one.index] for one in hits])), 3)
        if hits
        else 0.0,
    }


def labels_saved(features: Features, points: Floats, truth: Labels) -> list[dict[str, float | int]]:
    """Active learning against chance; the two views stand for two modalities that may disagree."""
    count = int(truth.max()) + 1
    order = np.random.default_rng(1).permutation(len(truth))
    test, pool = order[: len(order) // 3], order[len(order) // 3 :]

    def predict(train: Labels, rows: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        alone = [classifier(view[train], truth[train], count, view[rows]) for view in features.dense.values()]
        return classifier(points[train], truth[train], count, points[rows]), np.stack(alone, axis=1)

    budgets = [budget for budget in BUDGETS if budget <= len(pool)]
    curve = budget_curve(predict, truth, points, pool=pool, test=test, budgets=budgets, seeds=SEEDS)
    return [
        {"labels": p.labels, "chosen": round(p.chosen, 4), "random": round(p.random, 4), "std": round(p.chosen_std, 4)}
        for p in curve
    ]


def discovered(views: Views, data: Path, seed: int) -> dict[str, float | int]:
    """Intents of CLINC150 without their labels, 10 to 69 questions each, among questions of no intent."""
    rng = np.random.default_rng(seed)
    rows = records(data / "intents-en/clinc150/train.jsonl")
    by_intent: dict[str, list[str]] = {}
    for text, intent in rows:
        by_intent.setdefault(intent, []).append(text)
    chosen = [
        (text, intent)
        for intent in rng.choice(sorted(by_intent), HIDDEN, replace=False)
        for text in rng.permutation(by_intent[intent])[: rng.integers(10, 70)]
    ]
    others = [t for name in ("oos_train", "oos_val") for t, _ in records(data / f"intents-en/clinc150/{name}.jsonl")]
    texts = [text for text, _ in chosen] + others[:OTHERS]
    truth = [intent for _, intent in chosen] + [""] * len(others[:OTHERS])
    return agreement(views, texts, truth)


def agreement(views: Views, texts: list[str], truth: list[str]) -> dict[str, float | int]:
    features = views.of(texts)
    started = time.process_time()
    found = discover([str(at) for at in range(len(texts))], texts, text_embeddings(features, texts))
    seconds = time.process_time() - started
    cluster = {int(id): at for at, one in enumerate(found.clusters) for id in one.members}
    inside = [at for at in range(len(texts)) if truth[at]]
    outside = [at for at in range(len(texts)) if not truth[at]]
    kept = [at for at in inside if at in cluster]
    gold, got = [truth[at] for at in kept], [cluster[at] for at in kept]
    return {
        "texts": len(texts),
        "intents": len({truth[at] for at in inside}),
        "clusters": len(found.clusters),
        "kept_of_intents": round(len(kept) / len(inside), 3),
        "left_out_of_others": round(sum(at not in cluster for at in outside) / max(len(outside), 1), 3),
        "ari_of_kept": round(float(adjusted_rand_score(gold, got)), 3),
        "nmi_of_kept": round(float(normalized_mutual_info_score(gold, got)), 3),
        "seconds": round(seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=3000, help="questions of each set to read")
    given = parser.parse_args()
    if not (given.data / "intents-en").is_dir():
        sys.exit(f"{given.data / 'intents-en'} is absent; give the folder of the public sets with --data")
    views = Views()
    figures: dict[str, Any] = {"rows": given.rows, "label_errors": {}, "discover": {}}
    for name, path in {
        "banking77": "intents-en/banking77/train.jsonl",
        "clinc150": "intents-en/clinc150/train.jsonl",
    }.items():
        rows = drawn(records(given.data / path), given.rows, seed=0)
        _, truth = np.unique([label for _, label in rows], return_inverse=True)
        texts = [text for text, _ in rows]
        features = views.of(texts)
        points = text_embeddings(features, texts)
        figures["label_errors"][name] = {str(share): planted_errors(points, truth, share) for share in NOISE}
        if name == "banking77":
            figures["labels_saved"] = {name: labels_saved(features, points, truth)}
            figures["discover"][name] = agreement(views, texts, [label for _, label in rows])
    figures["discover"]["clinc150"] = [discovered(views, given.data, seed) for seed in SEEDS]
    chinese = drawn(records(given.data / "intents-zh/smp2020/train.jsonl"), given.rows, seed=0)
    figures["discover"]["smp2020"] = agreement(views, [text for text, _ in chinese], [label for _, label in chinese])
    print(json.dumps(figures, indent=2))
    what = (
        "Label errors planted and found; accuracy by number of labels, chosen and at random; clusters against intents"
    )
    print(common.write("data_engine", what=what, figures=figures, data="BANKING77, CLINC150, SMP2020: training parts"))


if __name__ == "__main__":
    main()
