"""Linear experts: what one modality says alone, from its dense views or from its n-grams.

On frozen embeddings a regularised linear model is hard to beat and trains in seconds; everything else has to prove that
it adds something (select.py). scikit-learn does the fitting; only the weights are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from duomo.learn.checkpoint import Stages
from duomo.learn.distributed import World
from duomo.learn.objectives import Objective
from duomo.models.features import Floats

Inputs = Any  # (N, D) float32 array, or scipy.sparse.csr_matrix
Array = NDArray[np.float64]

STRENGTHS = {"dense": (0.5, 4.0, 32.0), "ngrams": (0.3, 1.0)}  # C of scikit-learn, for rows of length about 1
ITERATIONS = 60
UNSEEN = -12.0  # logit of a label that a replica has never seen
TRIED_ON = 2  # folds that choose the strength; of large sets one
LARGE = 3000  # rows


@dataclass(frozen=True, slots=True)
class Fitted:
    """R linear models of one head: logits = (x @ weights + bias), calibrated by one temperature."""

    weights: Floats  # (R, D, O)
    bias: Floats  # (R, O)
    strength: float  # C, chosen on held-out rows

    def outputs(self, x: Inputs, replica: int) -> Floats:
        """(rows, O) float32."""
        return np.asarray(x @ self.weights[replica] + self.bias[replica], dtype=np.float32)


def fit(
    name: str,
    x: Inputs,
    objective: Objective,
    targets: Sequence[NDArray[np.generic]],
    sees: Floats,
    folds: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    stages: Stages,
    world: World,
) -> Fitted:
    """Fit one linear model a replica, with the strength of its regularisation chosen on held-out rows.

    Args:
        x: (N, D) dense or sparse rows of length about 1.
        targets: of each replica (N, …) as in `Objective`; they differ in pseudo-labels only.
        sees: (R, N) weight of each row in each replica.
        folds: held-out rows of each replica.
    """
    found = stages.load(name)
    if found is not None:
        return Fitted(found[0]["weights"], found[0]["bias"], float(found[1]["strength"]))
    with threadpool_limits(1):  # these products are small: a second thread made them three times slower
        weights, bias, strength = _fitted(x, objective, targets, sees, folds, seed=seed, world=world)
    weights, bias = _shared(weights, world), _shared(bias, world)
    scale = _temperature(x, weights, bias, objective, targets, folds)
    fitted = Fitted(weights * scale, bias * scale, strength)
    stages.save(name, {"weights": fitted.weights, "bias": fitted.bias}, {"strength": strength})
    return fitted


def _fitted(
    x: Inputs,
    objective: Objective,
    targets: Sequence[NDArray[np.generic]],
    sees: Floats,
    folds: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    world: World,
) -> tuple[Floats, Floats, float]:
    """Weights and bias of this process's replicas, zeros elsewhere, and the strength chosen."""
    kind = "dense" if isinstance(x, np.ndarray) else "ngrams"
    one = _fitters()[objective.type, kind]
    tried = [r for r, held in enumerate(folds) if len(held)][: TRIED_ON if x.shape[0] < LARGE else 1]
    results = {
        strength: {r: one(x, targets[r], sees[r], objective, strength, seed) for r in tried}
        for strength in STRENGTHS[kind]
    }

    def held_out_loss(strength: float) -> float:
        return float(
            np.mean(
                [loss_of(objective, _apply(x, results[strength][r], folds[r]), targets[r][folds[r]]) for r in tried]
            )
        )

    strength = min(STRENGTHS[kind], key=held_out_loss) if tried else STRENGTHS[kind][-1]
    weights = np.zeros((len(sees), x.shape[1], objective.outputs), dtype=np.float32)
    bias = np.zeros((len(sees), objective.outputs), dtype=np.float32)
    for replica in range(world.rank, len(sees), world.size):
        known = results[strength].get(replica)
        w, b = one(x, targets[replica], sees[replica], objective, strength, seed) if known is None else known
        weights[replica], bias[replica] = w, b
    return weights, bias, strength


def _apply(x: Inputs, model: tuple[Floats, Floats], rows: NDArray[np.int64]) -> Floats:
    return np.asarray(x[rows] @ model[0] + model[1], dtype=np.float32)


def _shared(value: Floats, world: World) -> Floats:
    """Every process has fitted some of the replicas and left zeros for the others."""
    if world.size == 1:
        return value
    import torch

    found: Floats = world.add(torch.from_numpy(value)).numpy()
    return found


def _temperature(
    x: Inputs,
    weights: Floats,
    bias: Floats,
    objective: Objective,
    targets: Sequence[NDArray[np.generic]],
    folds: Sequence[NDArray[np.int64]],
) -> np.float32:
    """What to multiply logits with so that held-out rows are most likely (Guo et al. 2017, arXiv:1706.04599)."""
    held = [r for r, rows in enumerate(folds) if len(rows)]
    if objective.type == "number" or not held:
        return np.float32(1.0)
    logits = np.concatenate([_apply(x, (weights[r], bias[r]), folds[r]) for r in held])
    truth = np.concatenate([targets[r][folds[r]] for r in held])
    found = minimize_scalar(lambda t: loss_of(objective, logits * np.exp(t), truth), bounds=(-3, 3), method="bounded")
    return np.float32(np.exp(found.x))


def loss_of(objective: Objective, outputs: NDArray[np.floating], targets: NDArray[np.generic]) -> float:
    """Mean loss over the rows that have a label; 0 without any."""
    each = losses(objective, outputs, targets)
    return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0


def losses(objective: Objective, outputs: NDArray[np.floating], targets: NDArray[np.generic]) -> Array:
    """(n,) negative log-likelihood, or squared error, of each row; NaN without a label."""
    wide = outputs.astype(np.float64)
    if objective.type == "number":
        return np.asarray((wide[:, 0] - targets.astype(np.float64)) ** 2)
    if objective.type == "multilabel":
        truth = targets.astype(np.float64)
        return np.asarray(-(truth * log_expit(wide) + (1 - truth) * log_expit(-wide)).mean(1))
    index = targets.astype(np.int64)
    found = -log_softmax(wide, axis=1)[np.arange(len(index)), np.maximum(index, 0)]
    return np.where(index >= 0, found, np.nan)


# --- one model


Fitter = Callable[[Inputs, NDArray[np.generic], Floats, Objective, float, int], tuple[Floats, Floats]]


def _fitters() -> dict[tuple[str, str], Fitter]:
    return {
        ("class", "dense"): _logistic, ("class", "ngrams"): _support_vectors,
        ("multilabel", "dense"): _each_label, ("multilabel", "ngrams"): _each_label,
        ("number", "dense"): _ridge, ("number", "ngrams"): _ridge,
    }  # fmt: skip


def _logistic(
    x: Inputs, targets: NDArray[np.generic], sees: Floats, objective: Objective, strength: float, seed: int
) -> tuple[Floats, Floats]:
    rows = np.flatnonzero((targets.astype(np.int64) >= 0) & (sees > 0))
    labels = targets[rows].astype(np.int64)
    seen = np.unique(labels)
    if len(seen) < 2:
        return _constant(x.shape[1], objective, seen)
    model = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits do not matter: a held-out loss judges
        model.fit(x[rows], labels, sample_weight=sees[rows] * _class_weight(objective, labels))
    coefficients, intercept = model.coef_, model.intercept_
    if len(seen) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercept = (
            np.stack([-coefficients[0], coefficients[0]]) / 2,
            np.array([-1, 1]) * intercept[0] / 2,
        )
    return _spread(coefficients, intercept, seen, objective)


def _support_vectors(
    x: Inputs, targets: NDArray[np.generic], sees: Floats, objective: Objective, strength: float, seed: int
) -> tuple[Floats, Floats]:
    rows = np.flatnonzero((targets.astype(np.int64) >= 0) & (sees > 0))
    labels = targets[rows].astype(np.int64)
    seen = np.unique(labels)
    if len(seen) < 2:
        return _constant(x.shape[1], objective, seen)
    model = LinearSVC(C=strength, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x[rows], labels, sample_weight=sees[rows] * _class_weight(objective, labels))
    coefficients, intercept = model.coef_ * 4, model.intercept_ * 4  # margins are about 1: near a softmax's scale
    if len(seen) == 2:
        coefficients, intercept = (
            np.stack([-coefficients[0], coefficients[0]]) / 2,
            np.array([-1, 1]) * intercept[0] / 2,
        )
    return _spread(coefficients, intercept, seen, objective)


def _each_label(
    x: Inputs, targets: NDArray[np.generic], sees: Floats, objective: Objective, strength: float, seed: int
) -> tuple[Floats, Floats]:
    wide = targets.astype(np.float64)
    rows = np.flatnonzero(~np.isnan(wide).any(1) & (sees > 0))
    weights = np.zeros((x.shape[1], objective.outputs), np.float32)
    bias = np.full(objective.outputs, UNSEEN, np.float32)
    for label in range(objective.outputs):
        truth = wide[rows, label] > 0.5
        if truth.all() or not truth.any():
            bias[label] = -UNSEEN if len(truth) and truth.all() else UNSEEN
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            positive = 1.0 if objective.class_weights is None else objective.class_weights[label]
            model = LogisticRegression(C=strength, max_iter=ITERATIONS)
            model.fit(x[rows], truth, sample_weight=sees[rows] * np.where(truth, positive, 1.0))
        weights[:, label], bias[label] = model.coef_[0], model.intercept_[0]
    return weights, bias


def _ridge(
    x: Inputs, targets: NDArray[np.generic], sees: Floats, objective: Objective, strength: float, seed: int
) -> tuple[Floats, Floats]:
    wide = targets.astype(np.float64)
    rows = np.flatnonzero(~np.isnan(wide) & (sees > 0))
    if len(rows) < 2:
        return np.zeros((x.shape[1], 1), np.float32), np.zeros(1, np.float32)
    model = Ridge(alpha=10.0 / strength, solver="auto" if isinstance(x, np.ndarray) else "sparse_cg", random_state=seed)
    model.fit(x[rows], wide[rows], sample_weight=sees[rows])
    return model.coef_[:, None].astype(np.float32), np.array([model.intercept_], np.float32)


def _class_weight(objective: Objective, labels: NDArray[np.int64]) -> Floats:
    if objective.class_weights is None:
        return np.ones(len(labels), np.float32)
    return np.asarray(objective.class_weights, np.float32)[labels]


def _constant(dim: int, objective: Objective, seen: NDArray[np.int64]) -> tuple[Floats, Floats]:
    bias = np.zeros(objective.outputs, np.float32)
    if len(seen):
        bias[:] = UNSEEN
        bias[seen] = 0.0
    return np.zeros((dim, objective.outputs), np.float32), bias


def _spread(
    coefficients: NDArray[np.floating], intercept: NDArray[np.floating], seen: NDArray[np.int64], objective: Objective
) -> tuple[Floats, Floats]:
    """(seen, D) and (seen,) of scikit-learn to (D, O) and (O,) over all labels."""
    weights = np.zeros((coefficients.shape[1], objective.outputs), np.float32)
    bias = np.full(objective.outputs, UNSEEN, np.float32)
    weights[:, seen], bias[seen] = coefficients.T, intercept
    return weights, bias
