"""Figures that judge a model, each with a grouped-bootstrap 95 % interval. The names are scikit-learn's.

Every formula takes row weights of shape (n, B), as scikit-learn's `sample_weight`, B of them at once: a column of ones
gives the figure itself, and B columns of bootstrap counts give B resampled figures in one pass. Nothing here resamples
rows, so 1,000 resamples of 5,000 rows cost about as much as a few matrix products.

The founding text's 准确率 = TP / (TP + FP) is *precision*; *accuracy* is the share of rows that are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Array = NDArray[Any]
Weights = NDArray[np.float32]
"""(n, B): how often each row counts, in each of B resamples."""
Formula = Callable[[Weights], Mapping[str, Array]]
"""Weights -> figures: (B,) each, or (C, B) for a figure a class; NaN where it is not defined."""

BINS = 15  # of the reliability diagram and ECE, of equal mass
TINY = 1e-15  # smallest probability in a logarithm
CELLS = 6_000_000  # weights held at once

RANGES = {
    "brier": (0.0, 2.0),
    "r2": (-np.inf, 1.0),
    "pearson": (-1.0, 1.0),
    "spearman": (-1.0, 1.0),
    **dict.fromkeys(("log_loss", "set_size", "mae", "rmse", "interval_width"), (0.0, np.inf)),
}
"""Where a figure lies, if not in [0, 1]."""

REASONS = {
    "auroc": "needs rows that have a label and rows that have not",
    "average_precision_macro": "needs rows that have a label",
    "coverage": "the model gives no prediction sets",
    "set_size": "the model gives no prediction sets",
    "accuracy_answered": "the model answered none of the rows",
    "r2": "needs two different values",
    "pearson": "needs two different values",
    "spearman": "needs two different values",
    "out_of_scope_recall": "no row is out of scope",
    "out_of_scope_precision": "the model called no row out of scope",
    "out_of_scope_auroc": "needs rows in scope and rows out of scope",
    "out_of_scope_fpr95": "needs rows in scope and rows out of scope",
    "in_scope_accuracy": "every row is out of scope",
}
"""Why a figure has no value."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval; all three None where it is not defined on the rows, with the reason."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def as_json(self) -> dict[str, float | str | None]:
        figure: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return figure if self.reason is None else {**figure, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on n rows."""

    n: int
    groups: int
    figures: Mapping[str, Figure]
    per_class: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two models on the same rows."""

    first: float
    second: float
    low: float  # of second - first, 95 %
    high: float
    p: float  # two-sided, that the two are equally good

    @property
    def value(self) -> float:
        return self.second - self.first

    def as_json(self) -> dict[str, float]:
        return {
            "first": self.first,
            "second": self.second,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "p": self.p,
        }


# --- the bootstrap


def group_index(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """(n,) number of each row's group, from 0. A row without a group is its own group."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(row if name is None else (name,), len(seen)) for row, name in enumerate(groups)],
                    dtype=np.int64)  # fmt: skip


def resampled(groups: NDArray[np.int64], *, resamples: int, seed: int) -> Iterator[Weights]:
    """Weights of bootstrap resamples: as many groups as there are, drawn with replacement, each with all its rows.

    Args:
        groups: (n,) index of each row's group.
    Yields:
        (n, B) float32 blocks, B summing to `resamples`; no block holds more than about CELLS values.
    """
    count = int(groups.max()) + 1
    block = max(1, min(resamples, CELLS // len(groups)))
    random = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = random.integers(0, count, size=(count, size), dtype=np.int64) * size + np.arange(size)
        counts = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)  # (groups, B)
        yield counts.astype(np.float32)[groups]


def measure(formula: Formula, *, groups: NDArray[np.int64], resamples: int = 1000, seed: int = 0) -> Measured:
    """The formula's figures over all rows, with intervals.

    The interval holds the middle 95 % of the resampled figures after their mean is moved onto the figure itself:
    resampling repeats rows, which pushes some figures to one side (ECE up by as much as its own size), and an interval
    that leaves out its own figure tells nobody anything. For means, such as accuracy, it is the percentile interval.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 10 and 13.
    """
    n = len(groups)
    if n == 0:
        return Measured(0, 0, {})
    with np.errstate(invalid="ignore", divide="ignore"):
        points = formula(np.ones((n, 1), dtype=np.float32))
        drawn = [formula(weights) for weights in resampled(groups, resamples=resamples, seed=seed)] if resamples else []
    figures: dict[str, Figure] = {}
    per_class: dict[str, tuple[Figure, ...]] = {}
    for name, point in points.items():
        samples = np.concatenate([block[name] for block in drawn], axis=-1) if drawn else point
        if point.ndim == 1:
            figures[name] = _figure(name, float(point[0]), samples)
        else:
            per_class[name] = tuple(
                _figure(name, float(value[0]), row) for value, row in zip(point, samples, strict=True)
            )
    return Measured(n, int(groups.max()) + 1, figures, per_class)


def paired(
    first: Formula, second: Formula, *, groups: NDArray[np.int64], resamples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """The differences between two models' figures where both have them, from the same resamples of the same rows.

    p is the share of resampled differences, moved to zero mean, that are at least as far from zero as the one found:
    never below 1 / (resamples + 1).

    Source: Efron & Tibshirani 1993, chapter 16.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        one = np.ones((len(groups), 1), dtype=np.float32)
        points = first(one), second(one)
        drawn = [(first(w), second(w)) for w in resampled(groups, resamples=resamples, seed=seed)]
    found = {}
    for name in (name for name in points[0] if name in points[1] and points[0][name].ndim == 1):
        a, b = (float(point[name][0]) for point in points)
        if not np.isfinite(a) or not np.isfinite(b):
            continue
        samples = np.concatenate([other[name] - this[name] for this, other in drawn])
        samples = samples[np.isfinite(samples)]
        low, high = interval(b - a, samples)
        far = np.abs(samples - samples.mean()) >= abs(b - a) - 1e-12 if len(samples) else np.zeros(0)
        found[name] = Difference(a, b, low, high, float((1 + far.sum()) / (1 + len(samples))))
    return found


def _figure(name: str, value: float, samples: Array) -> Figure:
    if not np.isfinite(value):
        return Figure(None, None, None, REASONS.get(name, "not defined on these rows"))
    low, high = interval(value, samples, bounds=RANGES.get(name, (0.0, 1.0)), leans=name == "ece")
    return Figure(value, low, high)


def interval(
    value: float, samples: Array, *, bounds: tuple[float, float] = (-np.inf, np.inf), leans: bool = False
) -> tuple[float, float]:
    """The 95 % interval around a value from its resampled values (NaN: not defined in that resample).

    Args:
        leans: the figure itself is off the truth about as far as its resamples are off the figure; the low end goes
            down by that once more.
    """
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return value, value
    shift = value - float(samples.mean())
    low, high = np.quantile(samples, [0.025, 0.975]) + shift
    low += min(shift, 0.0) if leans else 0.0
    return float(np.clip(low, *bounds)), float(np.clip(high, *bounds))


# --- sums under weights


def _ratio(above: Array, below: Array) -> Array:
    """above / below; NaN where below is 0."""
    out: Array = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(rows: Array, weights: Weights) -> Array:
    """(B,) weighted mean of (n,) rows."""
    return _ratio(rows.astype(np.float64) @ weights, weights.sum(axis=0, dtype=np.float64))


def _mean_over_classes(figures: Array, weights: Array | None = None) -> Array:
    """(B,) mean of (C, B) over the classes where it is defined."""
    defined = np.isfinite(figures)
    weights = defined.astype(np.float64) if weights is None else np.where(defined, weights, 0.0)
    return _ratio((np.where(defined, figures, 0.0) * weights).sum(axis=0), weights.sum(axis=0))


def _sums(keys: NDArray[np.int64], size: int, weights: Weights) -> Array:
    """(size, B) sums of the rows' weights by key; rows with a key below 0 count nowhere."""
    rows = np.flatnonzero(keys >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    by_key = sparse.csr_matrix((ones, (keys[rows], rows)), shape=(size, len(keys)))
    return np.asarray(by_key @ weights, dtype=np.float64)


def _rates(hits: Array, predicted: Array, true: Array, known: Array, *, absent: float) -> dict[str, Array]:
    """Precision, recall and F1: a class each (C, B), and micro, macro, weighted (B,).

    Zero by zero is 0, as in scikit-learn; but a class that has rows (`known`) and none of them in this resample has no
    recall there, else every rare class would pull the resampled means down. A class that is neither true nor predicted
    counts as `absent`: NaN (in no mean) among classes, 0 among the columns of several labels.
    """
    none = (true + predicted) == 0
    unseen = none | ((true == 0) & known[:, None])
    absent_class = np.where(known, np.nan, absent)[:, None]
    precision = np.where(none, absent_class, hits / np.maximum(predicted, TINY))
    recall = np.where(unseen, absent_class, hits / np.maximum(true, TINY))
    f1 = np.where(none, absent_class, 2 * hits / np.maximum(true + predicted, TINY))
    figures = {"precision": precision, "recall": recall, "f1": f1}
    right = hits.sum(axis=0)
    micro = {
        "precision": _ratio(right, predicted.sum(axis=0)),
        "recall": _ratio(right, true.sum(axis=0)),
        "f1": _ratio(2 * right, predicted.sum(axis=0) + true.sum(axis=0)),
    }
    means: dict[str, Array] = {}
    for name, figure in figures.items():
        # scikit-learn's 0, not "not defined", where nothing at all is true or predicted
        means[f"{name}_micro"] = np.nan_to_num(micro[name])
        means[f"{name}_macro"] = _mean_over_classes(figure)
        means[f"{name}_weighted"] = _mean_over_classes(figure, true)
    return means | figures


def _ranked(positive: NDArray[np.bool_], scores: Array, weights: Weights) -> tuple[Array, Array, Array]:
    """What AUROC and average precision need, at each distinct score of a positive row, ascending.

    Returns:
        (u, B) each: weight of the positives with that score; of the negatives below it; of the negatives equal to it.
    """
    levels, index = np.unique(scores[positive], return_inverse=True)
    keys = np.full(len(scores), -1, dtype=np.int64)
    keys[positive] = index
    hits = _sums(keys, len(levels), weights)
    keys[positive] = -1
    # Even keys lie between two levels, odd keys on one: a negative row's place among the positives.
    others = scores[~positive]
    keys[~positive] = np.searchsorted(levels, others, "left") + np.searchsorted(levels, others, "right")
    negatives = _sums(keys, 2 * len(levels) + 1, weights)
    return hits, np.cumsum(negatives, axis=0)[0:-1:2], negatives[1::2]


def auroc(positive: NDArray[np.bool_], scores: Array, weights: Weights) -> Array:
    """(B,) area under the ROC curve: the chance that a positive row scores above a negative one, ties half."""
    hits, below, equal = _ranked(positive, scores, weights)
    return _ratio((hits * (below + equal / 2)).sum(axis=0), hits.sum(axis=0) * weights[~positive].sum(axis=0))


def average_precision(positive: NDArray[np.bool_], scores: Array, weights: Weights) -> Array:
    """(B,) sum of precision over the steps of recall, without interpolation (scikit-learn's)."""
    hits, below, _ = _ranked(positive, scores, weights)
    true = np.cumsum(hits[::-1], axis=0)[::-1]  # (u, B) positives at or above the level
    false = weights[~positive].sum(axis=0, dtype=np.float64) - below
    return _ratio((hits * np.nan_to_num(_ratio(true, true + false))).sum(axis=0), hits.sum(axis=0))


# --- class heads


@dataclass(frozen=True, slots=True)
class Decisions:
    """A class head's answers beside the truth.

    Class indices below C are the model's labels, in the order of the columns of `probabilities`. C is out of scope for
    a head that asks, and indices from there on are labels that the model does not know.
    """

    true: NDArray[np.int64]  # (n,)
    predicted: NDArray[np.int64]  # (n,), at most C
    probabilities: Array  # (n, C), rows sum to 1
    classes: int  # how many there are, the model's and others
    sets: NDArray[np.bool_] | None = None  # (n, C): conformal prediction sets
    abstain: NDArray[np.bool_] | None = None  # (n,)
    out_of_scope: Array | None = None  # (n,) score, higher = less likely in scope; None: the head does not ask
    certainty: Array | None = None  # (n,) of the answers; None: the probability of the likeliest label

    @property
    def labels(self) -> int:
        return int(self.probabilities.shape[1])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) rows whose true label has a probability."""
        return self.true < self.labels

    @property
    def confidence(self) -> Array:
        """(n,) probability of the likeliest label."""
        return np.asarray(self.probabilities.max(axis=1, initial=0.0))

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.true)

    @property
    def order(self) -> Array:
        """(n,) by which the risk-coverage curve leaves rows to people: least certain first."""
        return self.confidence if self.certainty is None else self.certainty


def class_formula(rows: Decisions) -> Formula:
    """Every figure of a class head.

    `log_loss`, `brier`, `ece`, `top_3_accuracy`, `auroc`, `coverage` and `set_size` are over the rows whose label the
    model knows; all others are over all rows.
    """
    right = rows.right
    with_rows = np.bincount(rows.true, minlength=rows.classes) > 0
    known = np.flatnonzero(rows.known)
    steps = _steps(rows.order)

    def formula(weights: Weights) -> dict[str, Array]:
        true = _sums(rows.true, rows.classes, weights)
        predicted = _sums(rows.predicted, rows.classes, weights)
        hits = _sums(np.where(right, rows.true, -1), rows.classes, weights)
        rates = _rates(hits, predicted, true, with_rows, absent=np.nan)
        return {
            "accuracy": _mean(right, weights),
            # of the classes that have rows
            "balanced_accuracy": _mean_over_classes(np.where(with_rows[:, None], rates["recall"], np.nan)),
            **rates,
            **_probability_figures(rows, known, weights),
            **_abstention_figures(rows, right, weights),
            "aurc": _area_under_risk(right, steps, weights),
            **_scope_figures(rows, right, weights),
        }

    return formula


def _probability_figures(rows: Decisions, known: NDArray[np.intp], weights: Weights) -> dict[str, Array]:
    weights = weights[known] if len(known) < len(weights) else weights
    true, probabilities = rows.true[known], rows.probabilities[known].astype(np.float64)
    undefined = np.full(weights.shape[1], np.nan)
    if not len(known):
        names = ("log_loss", "brier", "ece", "ece_by_chance", "top_3_accuracy", "auroc", "coverage", "set_size")
        return dict.fromkeys(names, undefined)
    chosen = probabilities[np.arange(len(true)), true]
    # Sum over the labels; of two labels half of it, as scikit-learn does.
    brier = ((probabilities**2).sum(axis=1) - 2 * chosen + 1) / (2 if rows.labels == 2 else 1)
    above = (probabilities > chosen[:, None]).sum(axis=1)
    figures = {
        "log_loss": _mean(-np.log(np.clip(chosen, TINY, 1)), weights),
        "brier": _mean(brier, weights),
        "ece": _calibration_error(rows.confidence[known], probabilities.argmax(axis=1) == true, weights),
        "ece_by_chance": _calibration_by_chance(rows.confidence[known], weights),
        "top_3_accuracy": _mean(above < 3, weights),
        "auroc": _auroc_over_labels(true, probabilities, weights),
        "coverage": undefined,
        "set_size": undefined,
    }
    if rows.sets is not None:
        sets = rows.sets[known]
        figures["coverage"] = _mean(sets[np.arange(len(true)), true], weights)
        figures["set_size"] = _mean(sets.sum(axis=1), weights)
    return figures


def _auroc_over_labels(true: Array, probabilities: Array, weights: Weights) -> Array:
    """Of the second label when there are two, else the mean of each label against the rest."""
    columns = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [auroc(true == c, probabilities[:, c], weights) for c in columns if 0 < (true == c).sum() < len(true)]
    return _mean_over_classes(np.array(areas)) if areas else np.full(weights.shape[1], np.nan)


def bin_of(confidence: Array) -> NDArray[np.int64]:
    """(n,) bin of each row: BINS of equal mass, equal confidences never apart."""
    edges = np.quantile(confidence, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    return np.searchsorted(np.unique(edges), confidence, "left").astype(np.int64)


def _calibration_error(confidence: Array, right: NDArray[np.bool_], weights: Weights) -> Array:
    """Expected calibration error: |confidence - accuracy| of a bin, weighted by its mass.

    Source: Naeini et al. 2015; equal mass as in Nixon et al. 2019, arXiv:1904.01685.
    """
    bins = bin_of(confidence)
    gaps = _sums(bins, BINS, weights * (confidence - right).astype(np.float32)[:, None])
    return _ratio(np.abs(gaps).sum(axis=0), weights.sum(axis=0, dtype=np.float64))


def _calibration_by_chance(confidence: Array, weights: Weights) -> Array:
    """The ECE to expect of a model whose confidence is exactly right, on as many rows: the mean size of the sum of a
    bin's (confidence - right), which is about normal around zero."""
    variance = (confidence * (1 - confidence)).astype(np.float32)[:, None]
    spread = np.sqrt(2 / np.pi * _sums(bin_of(confidence), BINS, weights**2 * variance))
    return _ratio(spread.sum(axis=0), weights.sum(axis=0, dtype=np.float64))


def _abstention_figures(rows: Decisions, right: NDArray[np.bool_], weights: Weights) -> dict[str, Array]:
    if rows.abstain is None:
        return {}
    answered = ~rows.abstain
    share = _mean(rows.abstain, weights)
    return {"abstention_rate": share, "accuracy_answered": _ratio(_mean(right & answered, weights), 1 - share)}


def _steps(confidence: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order by falling confidence, and for each row in that order the place of the last one equally confident."""
    order = np.argsort(-confidence, kind="stable")
    falling = -confidence[order]
    return order, np.searchsorted(falling, falling, "right") - 1


def _area_under_risk(
    right: NDArray[np.bool_], steps: tuple[NDArray[np.intp], NDArray[np.intp]], weights: Weights
) -> Array:
    """AURC: the error among the rows at least as confident as each row, averaged over the rows.

    Source: Geifman & El-Yaniv 2017, arXiv:1705.08500.
    """
    order, last = steps
    ordered = weights[order]
    mass = np.cumsum(ordered, axis=0)
    errors = np.cumsum(ordered * ~right[order, None], axis=0)
    risk = (errors / np.maximum(mass, np.float32(TINY)))[last]
    return _ratio((ordered * risk).sum(axis=0, dtype=np.float64), mass[-1].astype(np.float64))


def _scope_figures(rows: Decisions, right: NDArray[np.bool_], weights: Weights) -> dict[str, Array]:
    """Positive = out of scope, except in FPR95 as the literature has it: of the rows out of scope, the share let
    through where 95 % of those in scope are (Liang et al. 2018, arXiv:1706.02690)."""
    if rows.out_of_scope is None:
        return {}
    outside, called = rows.true == rows.labels, rows.predicted == rows.labels
    both = _mean(outside & called, weights)
    precision, recall = _ratio(both, _mean(called, weights)), _ratio(both, _mean(outside, weights))
    undefined = np.full(weights.shape[1], np.nan)
    two = 0 < outside.sum() < len(outside)
    return {
        "in_scope_accuracy": _ratio(_mean(right & ~outside, weights), 1 - _mean(outside, weights)),
        "out_of_scope_recall": recall,
        "out_of_scope_precision": precision,
        "out_of_scope_f1": _ratio(2 * both, _mean(called, weights) + _mean(outside, weights)),
        "out_of_scope_auroc": auroc(outside, rows.out_of_scope, weights) if two else undefined,
        "out_of_scope_fpr95": _let_through(outside, rows.out_of_scope, weights) if two else undefined,
    }


def _let_through(outside: NDArray[np.bool_], scores: Array, weights: Weights) -> Array:
    order = np.argsort(scores, kind="stable")
    ordered, out = weights[order].astype(np.float64), outside[order, None]
    inside_share = np.cumsum(ordered * ~out, axis=0)
    at = np.argmax(inside_share >= 0.95 * inside_share[-1] - 1e-9, axis=0)  # (B,) the row that completes 95 %
    at = np.searchsorted(scores[order], scores[order][at], "right") - 1
    through = np.cumsum(ordered * out, axis=0)
    return _ratio(through[at, np.arange(len(at))], through[-1])


# --- heads of several labels, and of numbers


def multilabel_formula(true: NDArray[np.bool_], predicted: NDArray[np.bool_], scores: Array) -> Formula:
    """Every figure of a multilabel head; all arguments (n, C). `accuracy` is that of the whole set of labels, as in
    scikit-learn, also named `subset_accuracy`."""
    counts = true.sum(axis=1), predicted.sum(axis=1), (true & predicted).sum(axis=1)
    some = [c for c in range(true.shape[1]) if 0 < true[:, c].sum() < len(true)]
    exact: Array = np.all(true == predicted, axis=1)
    with_rows: Array = np.any(true, axis=0)

    def formula(weights: Weights) -> dict[str, Array]:
        true_sums, predicted_sums, hits = (part.T.astype(np.float64) @ weights
                                           for part in (true, predicted, true & predicted))  # fmt: skip
        of_true, of_predicted, both = counts
        undefined = np.full(weights.shape[1], np.nan)
        areas = np.array([auroc(true[:, c], scores[:, c], weights) for c in some])
        steps = np.array([average_precision(true[:, c], scores[:, c], weights)
                          for c in range(true.shape[1]) if true[:, c].any()])  # fmt: skip
        return {
            "accuracy": _mean(exact, weights),
            "subset_accuracy": _mean(exact, weights),
            "hamming_loss": _mean((true != predicted).mean(axis=1), weights),
            **_rates(hits, predicted_sums, true_sums, with_rows, absent=0.0),
            "precision_samples": _mean(both / np.maximum(of_predicted, 1), weights),
            "recall_samples": _mean(both / np.maximum(of_true, 1), weights),
            "f1_samples": _mean(2 * both / np.maximum(of_true + of_predicted, 1), weights),
            "auroc": _mean_over_classes(areas) if len(areas) else undefined,
            "average_precision_macro": _mean_over_classes(steps) if len(steps) else undefined,
        }

    return formula


def number_formula(true: Array, predicted: Array, intervals: Array | None = None) -> Formula:
    """Every figure of a number head.

    Args:
        true, predicted: (n,); MAE, RMSE and the intervals' width are in their unit.
        intervals: (n, 2) lowest and highest value that the model allows; infinite where it knows none.
    """
    true, predicted = true.astype(np.float64), predicted.astype(np.float64)
    error = predicted - true

    def formula(weights: Weights) -> dict[str, Array]:
        squared = _mean(error**2, weights)
        centred = true - true.mean()
        variance = _mean(centred**2, weights) - _mean(centred, weights) ** 2
        return {
            "mae": _mean(np.abs(error), weights),
            "rmse": np.sqrt(squared),
            "r2": np.where(variance > TINY * (true**2).mean(), 1 - squared / np.maximum(variance, TINY), np.nan),
            "pearson": _correlation(true[:, None], predicted[:, None], weights),
            "spearman": _correlation(_ranks(true, weights), _ranks(predicted, weights), weights),
            **_interval_figures(true, intervals, weights),
        }

    return formula


def _interval_figures(true: Array, intervals: Array | None, weights: Weights) -> dict[str, Array]:
    if intervals is None or not np.isfinite(intervals).all():
        return {}
    low, high = intervals.T
    return {
        "coverage": _mean((low <= true) & (true <= high), weights),
        "interval_width": _mean(high - low, weights),
    }


def _ranks(values: Array, weights: Weights) -> Array:
    """(n, B) middle rank of each row where row i stands weights[i] times."""
    levels, index = np.unique(values, return_inverse=True)
    at = _sums(index.astype(np.int64), len(levels), weights)
    return (np.cumsum(at, axis=0) - at / 2)[index]


def _correlation(left: Array, right: Array, weights: Weights) -> Array:
    """(B,) weighted Pearson correlation of two (n, 1) or (n, B)."""
    total = weights.sum(axis=0, dtype=np.float64)
    left = left - (weights * left).sum(axis=0) / total
    right = right - (weights * right).sum(axis=0) / total
    spread = np.sqrt((weights * left**2).sum(axis=0) * (weights * right**2).sum(axis=0))
    flat = spread <= 1e-9 * np.maximum((np.abs(left).max(axis=0) * np.abs(right).max(axis=0)), TINY)
    return np.where(flat, np.nan, np.clip((weights * left * right).sum(axis=0) / np.maximum(spread, TINY), -1, 1))


# --- curves


def confusion(rows: Decisions) -> NDArray[np.int64]:
    """(classes, classes) counts: true down, predicted across."""
    cells = np.bincount(rows.true * rows.classes + rows.predicted, minlength=rows.classes**2)
    return cells.reshape(rows.classes, rows.classes)


def reliability(rows: Decisions) -> list[dict[str, float]]:
    """One entry a bin: {"confidence", "accuracy", "n"}, means over the rows whose label the model knows."""
    known = rows.known
    if not known.any():
        return []
    confidence, right = rows.confidence[known], rows.probabilities[known].argmax(axis=1) == rows.true[known]
    bins = bin_of(confidence)
    return [
        {"confidence": float(confidence[bins == b].mean()), "accuracy": float(right[bins == b].mean()),
         "n": int((bins == b).sum())}
        for b in np.unique(bins)
    ]  # fmt: skip


def risk_coverage(confidence: Array, right: NDArray[np.bool_], *, points: int = 200) -> list[tuple[float, float]]:
    """(coverage, error among the covered) as the least confident rows are left to people, at most `points` of them."""
    order, last = _steps(confidence)
    ends = np.unique(last)
    errors = np.cumsum(~right[order])[ends]
    curve = np.stack([(ends + 1) / len(right), errors / (ends + 1)], axis=1)
    return _thinned(curve, points)


def roc(positive: NDArray[np.bool_], scores: Array, *, points: int = 200) -> list[tuple[float, float]]:
    """(false positive rate, true positive rate) from (0, 0) to (1, 1)."""
    order, last = _steps(scores)
    ends = np.unique(last)
    hits = np.cumsum(positive[order])[ends] / max(1, int(positive.sum()))
    false = np.cumsum(~positive[order])[ends] / max(1, int((~positive).sum()))
    return _thinned(np.concatenate([[[0.0, 0.0]], np.stack([false, hits], axis=1)]), points)


def _thinned(curve: ArrayLike, points: int) -> list[tuple[float, float]]:
    curve = np.asarray(curve)
    kept = np.unique(np.linspace(0, len(curve) - 1, points).round().astype(int))
    return [(round(float(x), 5), round(float(y), 5)) for x, y in curve[kept]]
