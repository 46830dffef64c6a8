"""What to do about the data: labels that look wrong, samples that are there twice, samples worth labelling next.

All from out-of-fold predictions and embeddings; nothing here trains or reads files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duomo.errors import InputError
from duomo.models.features import Floats

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# --- label errors


@dataclass(frozen=True, slots=True)
class LabelError:
    id: str
    index: int  # row
    given: int  # label, as an index into the head's labels
    suggested: int
    confidence: float  # the model's probability of the given label, [0, 1]
    margin: float  # probability of the suggested label less that of the given one, (0, 1]

    def as_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        return {**asdict(self), "given": labels[self.given], "suggested": labels[self.suggested]}


def label_errors(probabilities: Floats | Array, labels: NDArray[Any], ids: Sequence[str]) -> list[LabelError]:
    """Samples whose label is probably wrong, most suspicious first, by confident learning.

    How many there are is estimated by counting: a sample is confidently of class j when its probability of j reaches
    the mean probability of j among the samples labelled j (`confident_joint`). Which they are, is ranked by the
    probability of the given label. With planted errors this finds 98 of 100 where taking the counted samples
    themselves finds 70 (docs/experiments.md).

    Args:
        probabilities: (n, C) out of fold: by a model that did not learn from the sample. Calibrated or not.
        labels: (n,) index of the given label; negative: not labelled, and passed over.
    Returns:
        At most as many as estimated, each with another most probable label, least probable given label first.

    Source: Northcutt, Jiang, Chuang 2021, Confident Learning, arXiv:1911.00068, equations 1 and 2, and the ranking by
    self-confidence of Northcutt et al. 2021, Pervasive Label Errors, arXiv:2103.14749.
    """
    probabilities, given = _checked(probabilities), np.asarray(labels, dtype=np.int64)
    if not len(probabilities) == len(given) == len(ids):
        raise InputError(f"{len(probabilities)} probabilities, {len(given)} labels and {len(ids)} ids; one row of each")
    if given.max(initial=-1) >= probabilities.shape[1]:
        raise InputError(f"label {given.max()} of {probabilities.shape[1]} classes; labels count from 0")
    estimated = round((1 - float(np.trace(confident_joint(probabilities, given)))) * int((given >= 0).sum()))
    suggested = probabilities.argmax(axis=1)
    suspected = np.flatnonzero((given >= 0) & (suggested != given))
    own = probabilities[suspected, given[suspected]]
    margin = probabilities[suspected, suggested[suspected]] - own
    ranked = np.lexsort((-margin, own))[:estimated]
    return [_error(ids, int(suspected[at]), given, suggested, own[at], margin[at]) for at in ranked if margin[at] > 0]


def _error(
    ids: Sequence[str], row: int, given: Indices, suggested: Indices, own: np.float64, margin: np.float64
) -> LabelError:
    return LabelError(ids[row], row, int(given[row]), int(suggested[row]), float(own), float(margin))


def thresholds(probabilities: Array, labels: Indices) -> Array:
    """(C,) mean probability of each class among the samples labelled so; above 1 for a class without any."""
    count = probabilities.shape[1]
    rows = np.flatnonzero(labels >= 0)
    sums = np.bincount(labels[rows], weights=probabilities[rows, labels[rows]], minlength=count)
    sizes = np.bincount(labels[rows], minlength=count)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), 2.0)


def confident_joint(probabilities: Floats | Array, labels: NDArray[Any]) -> Array:
    """(C, C) estimated joint distribution of given (rows) and true (columns) labels: where people confuse classes."""
    probabilities, given = _checked(probabilities), np.asarray(labels, dtype=np.int64)
    count = probabilities.shape[1]
    confident = probabilities >= thresholds(probabilities, given)
    rows = np.flatnonzero((given >= 0) & confident.any(axis=1))
    true = np.where(confident, probabilities, -1.0).argmax(axis=1)
    counts = np.zeros((count, count))
    np.add.at(counts, (given[rows], true[rows]), 1)
    sizes = np.bincount(given[given >= 0], minlength=count)
    unseen = (counts.sum(axis=1) == 0) & (sizes > 0)  # nothing counted speaks against their labels
    counts[unseen, unseen] = 1
    joint = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * sizes[:, None]
    return np.asarray(joint / joint.sum()) if joint.sum() else np.eye(count) / count


def _checked(probabilities: Floats | Array) -> Array:
    array = np.asarray(probabilities, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all() or (array < -1e-6).any() or (array > 1 + 1e-6).any():
        raise InputError(f"probabilities of shape {array.shape} with values in [0, 1] are wanted as (n, C)")
    return array


# --- duplicates


@dataclass(frozen=True, slots=True)
class Pair:
    first: int  # row
    second: int  # row, above first
    cosine: float


def duplicates(embeddings: Floats, threshold: float = 0.97, *, block: int = 1024, most: int = 100_000) -> list[Pair]:
    """Pairs of rows that say the same, by cosine, most similar first.

    Args:
        embeddings: (n, d). Rows of zeros (nothing to compare) pair with none.
        block: rows compared at a time; memory is block * n.
        most: pairs kept.
    """
    rows = np.asarray(embeddings, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    pairs: list[Pair] = []
    for start in range(0, len(rows), block):
        cosines = rows[start : start + block] @ rows[start:].T  # (block, what follows)
        first, second = np.nonzero(np.triu(cosines >= threshold, k=1))
        pairs += map(Pair, (first + start).tolist(), (second + start).tolist(), cosines[first, second].tolist())
        if len(pairs) > 2 * most:
            pairs = sorted(pairs, key=_most_similar)[:most]
    return sorted(pairs, key=_most_similar)[:most]


def _most_similar(pair: Pair) -> tuple[float, int, int]:
    return -pair.cosine, pair.first, pair.second


# --- what to label next


@dataclass(frozen=True, slots=True)
class Choice:
    index: int  # row
    score: float  # entropy with disagreement, [0, 2]
    entropy: float  # of the fused prediction, as a share of the most there can be
    disagreement: float  # between the modalities, as a share of the most there can be


def select_to_label(
    probabilities: Floats | Array, unimodal: Floats | Array | None, embeddings: Floats, budget: int
) -> list[Choice]:
    """The samples whose labels would teach most, in the order to label them.

    Scores are entropy * (1 + disagreement): a sample is worth asking about when the model is unsure, and more so when
    its modalities contradict each other. Of the best by score, k-centre greedy takes ever the one farthest from those
    taken, so that the budget is not spent on one question asked in many ways.

    Args:
        probabilities: (n, C) fused.
        unimodal: (n, K, C) of each modality alone; NaN where it is missing. None: one modality.
        embeddings: (n, d), compared by cosine.

    Source: Sener and Savarese 2018, Active Learning for CNNs: A Core-Set Approach, arXiv:1708.00489, algorithm 1,
    among the uncertain ones only.
    """
    probabilities = _checked(probabilities)
    if len(probabilities) != len(embeddings):
        raise InputError(f"{len(probabilities)} probabilities and {len(embeddings)} embeddings; one row of each")
    unsure = entropy(probabilities)
    apart = np.zeros(len(probabilities)) if unimodal is None else disagreement(unimodal)
    score = unsure * (1 + apart)
    budget = min(max(budget, 0), len(score))
    chosen = spread(_unit(embeddings), score, budget, pool=POOL * budget)
    return [Choice(int(row), float(score[row]), float(unsure[row]), float(apart[row])) for row in chosen]


def entropy(probabilities: Array) -> Array:
    """(n, C) -> (n,) Shannon entropy divided by ln C, [0, 1]."""
    terms = -probabilities * np.log(np.maximum(probabilities, 1e-12))
    whole: Array = np.clip(terms.sum(axis=-1) / np.log(max(probabilities.shape[-1], 2)), 0, 1)
    return whole


def disagreement(unimodal: Floats | Array) -> Array:
    """(n, K, C) -> (n,) generalised Jensen-Shannon divergence of the modalities that are there, [0, 1].

    Entropy of their mean less the mean of their entropies, divided by the most that so many can reach. 0 where fewer
    than two are there.

    Source: Lin 1991, Divergence measures based on the Shannon entropy, equation 5.1, with equal weights.
    """
    rows = np.asarray(unimodal, dtype=np.float64)
    there: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=2))  # (n, K)
    count = there.sum(axis=1)
    filled = np.where(there[:, :, None], rows, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)[:, None]
    entropies = -(filled * np.log(np.maximum(filled, 1e-12))).sum(axis=2)  # 0 for a missing one
    between = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=1) - entropies.sum(axis=1) / np.maximum(count, 1)
    most = np.log(np.clip(count, 2, max(rows.shape[2], 2)))
    return np.asarray(np.where(count > 1, np.clip(between / most, 0, 1), 0.0))


POOL = 5
"""Times the budget: as many of the best by score compete for it."""


def spread(
    points: Floats, score: Array, budget: int, *, pool: int | None = None, distance: Array | None = None
) -> list[int]:
    """Greedy k-centre among the best: ever the row with the highest score times distance to those taken.

    Args:
        points: (n, d) of length 1, or 0 where there is nothing to compare: such rows are as far as can be from all.
        pool: as many of the best by score compete; None: all.
        distance: (n,) cosine distance to the nearest row that was taken before, as far as one was.
    Returns:
        At most `budget` rows, in the order taken.
    """
    far = np.full(len(score), 2.0) if distance is None else np.maximum(distance, 0)  # 2: the farthest there is
    candidates = np.argsort(-score * far, kind="stable")[:pool]
    weight = score[candidates] / max(score[candidates].max(initial=0.0), 1e-12)
    near, far = points[candidates], far[candidates]
    free = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(budget, len(candidates)):
        best = int(np.where(free, far * weight, -1).argmax())
        far = np.minimum(far, np.maximum(1 - near @ near[best], 0))
        chosen.append(best)
        free[best] = False
    return [int(candidates[at]) for at in chosen]


def _unit(rows: Floats) -> Floats:
    unit: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


# --- budget curve

Predict = Callable[[Indices, Indices], tuple[Floats | Array, Floats | Array | None]]
"""Rows to learn from, rows to predict -> fused probabilities (n, C), and unimodal ones (n, K, C) or None."""


@dataclass(frozen=True, slots=True)
class BudgetPoint:
    labels: int
    chosen: float  # mean accuracy with samples chosen by `select_to_label`
    random: float  # with samples drawn at random
    chosen_std: float  # over seeds
    random_std: float


def budget_curve(
    predict: Predict,
    labels: NDArray[Any],
    embeddings: Floats,
    *,
    pool: Indices,
    test: Indices,
    budgets: Sequence[int],
    seeds: Sequence[int] = (0, 1, 2),
) -> list[BudgetPoint]:
    """What choosing would have been worth: label `pool` step by step, by choice and at random, and compare.

    Both start from the same random samples: the first of `budgets`.

    Args:
        predict: fits a model and predicts; called twice for every budget and seed.
        labels: (n,) of all rows.
        embeddings: (n, d) of all rows.
        pool: rows that may be labelled.
        test: rows to measure accuracy on, none of them in `pool`.
        budgets: numbers of labels, ascending.
    """
    truth = np.asarray(labels, dtype=np.int64)
    steps = list(budgets)
    if not steps or steps[0] < 1 or steps[-1] > len(pool) or steps != sorted(set(steps)):
        raise InputError(f"budgets are {steps}; wanted: ascending numbers from 1 to the pool's {len(pool)}")
    if np.intersect1d(pool, test).size:
        raise InputError("rows of the test stand in the pool as well; what was learnt cannot be measured on them")
    runs = [_simulated(predict, truth, embeddings, pool, test, steps, np.random.default_rng(seed)) for seed in seeds]
    accuracy = np.array(runs)  # (seed, budget, chosen | random)
    mean, std = accuracy.mean(axis=0), accuracy.std(axis=0)
    return [
        BudgetPoint(budget, *map(float, (mean[at, 0], mean[at, 1], std[at, 0], std[at, 1])))
        for at, budget in enumerate(steps)
    ]


def _simulated(
    predict: Predict,
    truth: Indices,
    embeddings: Floats,
    pool: Indices,
    test: Indices,
    budgets: list[int],
    rng: np.random.Generator,
) -> list[tuple[float, float]]:
    order = rng.permutation(pool)
    chosen = order[: budgets[0]]
    curve = []
    for at, budget in enumerate(budgets):
        drawn = order[:budget]
        rest = np.setdiff1d(pool, chosen)
        fused, unimodal = predict(chosen, np.concatenate([test, rest]))
        by_choice = _accuracy(fused[: len(test)], truth[test])
        at_random = by_choice if at == 0 else _accuracy(predict(drawn, test)[0], truth[test])
        curve.append((by_choice, at_random))
        if at + 1 < len(budgets):
            apart = None if unimodal is None else unimodal[len(test) :]
            more = select_to_label(fused[len(test) :], apart, embeddings[rest], budgets[at + 1] - budget)
            chosen = np.concatenate([chosen, rest[[choice.index for choice in more]]])
    return curve


def _accuracy(probabilities: Floats | Array, truth: Indices) -> float:
    return float((np.asarray(probabilities).argmax(axis=1) == truth).mean())
