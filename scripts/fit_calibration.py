"""Fit `support/calibration.json` on the demo's development questions; held-out questions are never read here.

    python scripts/fit_calibration.py [--most-wrong 0.05]

Every answerable question is used twice, once with its right articles taken out of what was found: then whatever comes
first is wrong, and as near to right as wrong answers get. And every question is asked with the thesaurus and without:
its authors knew these questions, so thresholds are chosen as if it knew nothing of them. Probabilities are out of fold
(folds by article, so that no fold knows another's topics); the thresholds are chosen on them, then the coefficients
are fitted on everything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from questions import Asked, read, shop, topic

from duomo.support.answer import Answerer, Found
from duomo.support.confidence import FEATURES, Calibration
from duomo.support.outcome import Question
from duomo.types import LANGUAGES, Language

TARGET = Path(__file__).parents[1] / "src/duomo/support/calibration.json"
FOLDS = 10
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
CLARIFY = 0.3  # share of the answering threshold from which it asks back
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    group: str  # what must not be in two folds
    features: Sequence[float]
    correct: bool
    natural: bool  # asked of the whole knowledge, without the thesaurus: thresholds are chosen on these


async def collect(part: Sequence[Asked]) -> dict[Language, list[Case]]:
    cases: dict[Language, list[Case]] = {language: [] for language in LANGUAGES}
    async with shop() as demo:
        shipped = Calibration.shipped()
        helped = Answerer(demo.retriever, demo.text, demo.english, calibration=shipped)
        alone = Answerer(demo.retriever, demo.text, demo.english, calibration=shipped, reword=str)
        for asked in part:
            for answerer in (helped, alone):
                found = await answerer.search(demo.workspace.id, Question(asked.text, asked.lang))
                cases[asked.lang] += _cases(asked, found, answerer, natural=answerer is alone)
    return cases


def _cases(asked: Asked, found: Found, answerer: Answerer, *, natural: bool) -> list[Case]:
    if not found.passages:
        return []
    group = asked.article_ids[0] if asked.article_ids else asked.id
    right = asked.is_answered_by(answerer.cite(found))
    cases = [Case(group, _row(answerer, found), right, natural)]
    others, other = (
        [p for p in passages if topic(p.article_id) not in asked.article_ids]
        for passages in (found.passages, found.other)
    )
    if asked.article_ids and others:
        cases.append(Case(group, _row(answerer, replace(found, passages=others, other=other)), False, False))
    return cases


def _row(answerer: Answerer, found: Found) -> list[float]:
    given = answerer.evidence(found)
    return [given[name] for name in FEATURES]


def fit(x: Floats, y: Floats, penalty: float) -> tuple[Floats, Floats, Floats, float]:
    """Logistic regression by Newton's method on standardised features: mean, scale, weights, bias."""
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    z = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    w = np.zeros(z.shape[1])
    ridge = np.full(z.shape[1], penalty * len(x))
    ridge[-1] = 1e-6
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(z @ w, -30, 30)))
        gradient = z.T @ (p - y) + ridge * w
        hessian = (z.T * (p * (1 - p))) @ z + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    return mean, scale, w[:-1], float(w[-1])


def out_of_fold(cases: Sequence[Case], penalty: float) -> Floats:
    x, y = _arrays(cases)
    groups = sorted({case.group for case in cases})
    np.random.default_rng(7).shuffle(groups)
    fold = {group: i % FOLDS for i, group in enumerate(groups)}
    where = np.array([fold[case.group] for case in cases])
    p = np.zeros(len(cases))
    for k in range(FOLDS):
        mean, scale, w, bias = fit(x[where != k], y[where != k], penalty)
        p[where == k] = 1 / (1 + np.exp(-((x[where == k] - mean) / scale @ w + bias)))
    return p


def _arrays(cases: Sequence[Case]) -> tuple[Floats, Floats]:
    return np.array([case.features for case in cases]), np.array([float(case.correct) for case in cases])


def threshold(p: Floats, y: Floats, most_wrong: float) -> float:
    """The lowest threshold from which on the share of all questions answered wrongly is surely at most `most_wrong`.

    Surely: the upper end of its one-sided 90 % Wilson interval, since few questions say little about a small share.
    """
    for t in np.unique(np.round(p, 3)):
        if _upper(int(((p >= t) & (y == 0)).sum()), len(p)) <= most_wrong:
            return float(t)
    return 1.0


def _upper(count: int, of: int, z: float = 1.2816) -> float:
    share = count / of
    middle = share + z * z / (2 * of)
    return float((middle + z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))) / (1 + z * z / of))


def model(cases: Sequence[Case], most_wrong: float) -> dict[str, object]:
    _, y = _arrays(cases)
    loss = {c: _log_loss(out_of_fold(cases, c), y) for c in PENALTIES}
    penalty = min(loss, key=lambda c: loss[c])
    natural = np.array([case.natural for case in cases])
    p = out_of_fold(cases, penalty)
    answer = threshold(p[natural], y[natural], most_wrong)
    shown = p[natural] >= answer
    print(
        f"  penalty {penalty}, log loss {loss[penalty]:.3f}, threshold {answer:.3f}: of {natural.sum()} questions "
        f"{(shown & (y[natural] == 1)).sum()} right, {(shown & (y[natural] == 0)).sum()} wrong"
    )
    mean, scale, w, bias = fit(*_arrays(cases), penalty)
    named = lambda values: {name: round(float(v), 5) for name, v in zip(FEATURES, values, strict=True)}  # noqa: E731
    return {
        "weights": named(w), "mean": named(mean), "scale": named(scale), "bias": round(bias, 5),
        "answer": round(answer, 3), "clarify": round(answer * CLARIFY, 3),
    }  # fmt: skip


def _log_loss(p: Floats, y: Floats) -> float:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most-wrong", type=float, default=0.05, help="share of all questions answered wrongly")
    options = parser.parse_args()
    questions = read("dev")
    cases = asyncio.run(collect(questions))
    fitted = {}
    for language in LANGUAGES:
        print(f"{language}: {len(cases[language])} cases")
        fitted[language] = model(cases[language], options.most_wrong)
    version = f"dev-{len(questions)}"
    TARGET.write_text(json.dumps({"version": version, "languages": fitted}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
