"""What the data engine is worth to a model of three modalities: what to label next, and what was labelled wrong.

    python -m bench.learn.learning --data ../shared/data

`bench/data_engine.py` asks the same of texts; here the toolkit's own model learns the trimodal digits.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common import write
from bench.learn import tasks
from bench.learn.measure import CACHE
from duomo.learn.curate import budget_curve, label_errors
from duomo.learn.encoders import Encoded, encode
from duomo.learn.model import Model
from duomo.learn.task import Task, load_task

WHAT = (
    "share right on the 300 development rows by number of labels, by fused entropy x disagreement of modalities or "
    "drawn at random (two seeds); planted label errors found among 800 rows"
)
BUDGETS = (40, 80, 120, 200, 320)
SEEDS = (0, 1)
NOISE = (0.05, 0.1)
Rows = NDArray[np.int64]


def fitted(encoded: Encoded, task: Task, labels: list[str | None]) -> Model:
    names = [str(row) for row in range(len(labels))]
    return Model(task).fit_features(encoded.features, encoded.views, {"digit": labels}, names, ids=names)


def curve(encoded: Encoded, labels: list[str], task: Task, pool: Rows, dev: Rows) -> list[dict[str, Any]]:
    """Late fusion of experts: what a team would run after every round of labelling."""
    quick = replace(task, fusion="late", training=replace(task.training, folds=3, epochs=20))
    classes = sorted(set(labels))

    def predict(rows: Rows, wanted: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        taken = replace(encoded, features=encoded.features.take(rows))
        model = fitted(taken, quick, [labels[row] for row in rows])
        scores = model.scores(encoded.features.take(wanted))["digit"]
        columns = [classes.index(name) for name in model.heads["digit"].labels]
        fused = np.zeros((len(wanted), len(classes)))
        fused[:, columns] = np.exp(scores.fused)
        single = np.zeros((len(wanted), scores.unimodal.shape[1], len(classes)))
        single[..., columns] = np.exp(scores.unimodal)
        return fused / fused.sum(-1, keepdims=True), single / single.sum(-1, keepdims=True)

    truth = np.array([classes.index(label) for label in labels])
    together = np.concatenate(
        [view / np.linalg.norm(view, axis=1, keepdims=True).clip(1e-9) for view in encoded.features.dense.values()], 1
    )
    found = budget_curve(predict, truth, together, pool=pool, test=dev, budgets=BUDGETS, seeds=SEEDS)
    return [asdict(point) for point in found]


def planted(encoded: Encoded, labels: list[str], task: Task, pool: Rows, share: float) -> dict[str, Any]:
    """Labels changed at random; found by confident learning on what the folds' models said."""
    random = np.random.default_rng(7)
    given = [labels[row] for row in pool]
    wrong = set(random.permutation(len(pool))[: round(share * len(pool))].tolist())
    for row in wrong:
        given[row] = str(random.choice([c for c in sorted(set(labels)) if c != given[row]]))
    model = fitted(replace(encoded, features=encoded.features.take(pool)), task, list(given))
    rows = model.oof["digit.rows"]
    chances = np.exp(model.oof["digit.fused"].astype(np.float64))
    ids = [str(row) for row in rows]
    found = label_errors(chances / chances.sum(1, keepdims=True), model.oof["digit.targets"].astype(np.int64), ids)
    seen = wrong & set(rows.tolist())
    first = {int(error.id) for error in found[: len(seen)]}
    return {
        "planted": len(seen),
        "reported": len(found),
        "recall": round(len(seen & {int(error.id) for error in found}) / len(seen), 3),
        "precision_of_as_many_as_planted": round(len(seen & first) / max(1, len(first)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    written = tasks.write("trimodal", data=arguments.data)
    task, train, dev = load_task(written.task), written.samples("train"), written.samples("dev")
    encoded = encode([*train, *dev], task.modalities, cache=arguments.cache, workers=1)
    labels = [str(sample.labels["digit"]) for sample in [*train, *dev]]
    pool, apart = np.arange(len(train)), np.arange(len(train), len(labels))
    errors = {str(share): planted(encoded, labels, task, pool, share) for share in NOISE}
    print(errors, flush=True)
    points = curve(encoded, labels, task, pool, apart)
    print(points)
    write("learn_learning", what=WHAT, figures={"label_errors": errors, "budget": points}, data="trimodal of tasks.py")


if __name__ == "__main__":
    main()
