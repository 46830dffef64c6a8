"""How long the figures of an evaluation take with their intervals, and how often the intervals hold the truth.

    python bench/evaluation.py

The rows are drawn, so that the truth is known: each figure of 300,000 rows from the same source.
"""

from __future__ import annotations

import time

import numpy as np

from bench.common import write
from duomo.learn.metrics import Decisions, class_formula, measure

ROWS, RESAMPLES = 5000, 1000
TRIALS, SMALL = 200, 400
FIGURES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "log_loss", "brier", "ece", "auroc", "aurc")


def drawn(random: np.random.Generator, rows: int, classes: int, *, sharpness: float = 1.3) -> Decisions:
    """Labels drawn from known probabilities, and a model that is too sure of them by `sharpness`."""
    logits = random.normal(size=(rows, classes)) * 1.5
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (chances.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    claimed = np.exp(logits * sharpness) / np.exp(logits * sharpness).sum(axis=1, keepdims=True)
    return Decisions(true, claimed.argmax(axis=1), claimed, classes)


def seconds(classes: int) -> float:
    rows = drawn(np.random.default_rng(classes), ROWS, classes)
    start = time.process_time()  # the machine may be shared
    measure(class_formula(rows), groups=np.arange(ROWS), resamples=RESAMPLES)
    return round(time.process_time() - start, 2)


def holding(*, classes: int = 8) -> dict[str, float]:
    """Share of trials whose interval holds the truth; 0.95 is the aim."""
    random = np.random.default_rng(0)
    whole = measure(class_formula(drawn(random, 300_000, classes)), groups=np.arange(300_000), resamples=0).figures
    hits = dict.fromkeys(FIGURES, 0)
    for trial in range(TRIALS):
        formula = class_formula(drawn(random, SMALL, classes))
        found = measure(formula, groups=np.arange(SMALL), resamples=400, seed=trial).figures
        for name in FIGURES:
            figure, truth = found[name], whole[name].value
            if figure.low is not None and figure.high is not None and truth is not None:
                hits[name] += figure.low <= truth <= figure.high
    return {name: count / TRIALS for name, count in hits.items()}


def main() -> None:
    figures = {
        f"cpu_seconds_{ROWS}_rows_{RESAMPLES}_resamples": {
            f"{classes} classes": seconds(classes) for classes in (10, 77, 150)
        },
        f"intervals_that_hold_the_truth_{SMALL}_rows": holding(),
    }
    print(
        write("evaluation", what=(__doc__ or "").splitlines()[0], figures=figures, data="drawn by the script, seeded")
    )
    print(figures)


if __name__ == "__main__":
    main()
