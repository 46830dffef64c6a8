"""Which members of a model speak, for which availability pattern: late weights, greedy selection, do no harm.

Everything here is decided on out-of-fold (OOF) outputs: of models that have not seen the row, nor any row of its group.

Natural parameters η, in which members are combined: class: log-probabilities; multilabel: logits; number: the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from duomo.learn.experts import losses
from duomo.learn.objectives import Objective

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

ROUNDS = 12  # of greedy selection; weights are multiples of 1 / ROUNDS
FEWEST = 30  # rows below which a pattern does not choose for itself
FEW = 200  # rows below which no error is small: a blend that gains anything stays, a pick would be by chance
RESAMPLES = 200  # of the grouped bootstrap
LATE_ROWS = 4000  # rows that fit the late weights


def natural(objective: Objective, outputs: NDArray[np.floating]) -> Array:
    """Logits, or a value, to η."""
    wide = outputs.astype(np.float64)
    return np.asarray(log_softmax(wide, axis=-1)) if objective.type == "class" else wide


def late(objective: Objective, eta: Array, weights: Array, prior: Array) -> Array:
    """Log-linear fusion of the modalities that are there, exact for any subset of them.

    log p(y|x) ∝ Σ_k w_k log p_k(y|z_k) − (Σ_k w_k − 1) log π(y) over the present k; numbers: the weighted mean.

    Args:
        eta: (n, K, O) natural parameters, NaN where missing. weights: (K,) ≥ 0. prior: (O,) η of the prior.
    Returns:
        (n, O), the prior where nothing is there.
    """
    here = ~np.isnan(eta[..., 0])  # (n, K)
    w = here * weights
    total = w.sum(1, keepdims=True)
    summed = np.einsum("nk,nko->no", w, np.nan_to_num(eta))
    if objective.type == "number":
        return np.where(total > 0, summed / np.maximum(total, 1e-12), prior)
    found = summed - (total - 1) * prior
    return np.asarray(log_softmax(found, axis=1)) if objective.type == "class" else found


def late_weights(objective: Objective, eta: Array, targets: NDArray[np.generic], prior: Array) -> Array:
    """(K,) weights ≥ 0 that make the labels of OOF rows most likely.

    Args:
        eta: (n, K, O) OOF natural parameters of the modalities, NaN where missing.
    """
    k = eta.shape[1]
    usable = np.flatnonzero(
        ~np.isnan(losses(objective, np.nan_to_num(eta[:, 0]), targets)) & ~np.isnan(eta[..., 0]).all(1)
    )
    if len(usable) < 2 or k == 1:
        return np.ones(k)
    usable = usable[:: max(1, len(usable) // LATE_ROWS)]
    rows, truth = eta[usable], targets[usable]

    numbers = objective.type == "number"

    def loss(weights: Array) -> float:
        # a mean of numbers does not change with the size of the weights, which the penalty would then shrink to nothing
        held = weights / max(float(weights.sum()), 1e-12) if numbers else weights
        return float(np.mean(losses(objective, late(objective, rows, held, prior), truth))) + 1e-3 * float(
            (held**2).mean()
        )

    found = minimize(loss, np.full(k, 1.0 / k if numbers else 0.8), bounds=[(0.0, 3.0)] * k, method="L-BFGS-B")
    weights = np.asarray(found.x)
    if numbers:
        weights = weights / max(float(weights.max()), 1e-12)
    unused = np.isnan(eta[..., 0]).all(0)
    weights[unused] = 1.0
    return np.asarray(np.maximum(weights, 1e-3))  # alone, a modality has to speak


@dataclass(frozen=True, slots=True)
class Choice:
    """The blend for one availability pattern.

    Attributes:
        weights: by member, sum 1.
        losses: by member, mean OOF loss.
        gain: of the blend over the best unimodal member, in loss; error: its grouped bootstrap standard error.
        harmless: whether the gain exceeds its error, or the task prescribes the blend; if not, the best unimodal
            member speaks alone.
    """

    weights: Mapping[str, float]
    losses: Mapping[str, float]
    best_single: str
    gain: float
    error: float
    harmless: bool
    rows: int

    def reason(self) -> str:
        """One line for the comparison table."""
        if self.weights == {self.best_single: 1.0} and self.harmless:
            return f"{self.best_single} alone"
        if self.harmless:
            return f"gain {self.gain:.4f} ± {self.error:.4f} over {self.best_single}"
        return f"{self.best_single} alone: fusion's gain {self.gain:.4f} does not exceed its error {self.error:.4f}"


def mean_loss(objective: Objective, eta: Array, targets: NDArray[np.generic]) -> float:
    return float(np.nanmean(losses(objective, eta, targets)))


def best_loss(objective: Objective, members: Mapping[str, Array], targets: NDArray[np.generic]) -> float:
    """Mean loss of the best greedy blend of these members."""
    weights = blend(objective, members, targets)
    return mean_loss(objective, np.asarray(sum(w * members[name] for name, w in weights.items())), targets)


def blend(objective: Objective, members: Mapping[str, Array], targets: NDArray[np.generic]) -> dict[str, float]:
    """Weights, sum 1, of members that read the same modality; greedy, without a prior to take off."""
    counts = _greedy(objective, members, targets)
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def fixed(
    objective: Objective,
    members: Mapping[str, Array],
    singles: Sequence[str],
    targets: NDArray[np.generic],
    groups: NDArray[np.generic],
    speaks: str,
    *,
    seed: int,
) -> Choice:
    """The member that the task prescribes, or the best single one if `speaks` is empty."""
    each = {name: losses(objective, eta, targets) for name, eta in members.items()}
    mean = {name: float(np.nanmean(loss)) for name, loss in each.items()}
    best = min(singles, key=lambda name: mean[name])
    speaks = speaks or best
    gain, error = grouped_error(each[best] - each[speaks], groups, seed=seed)
    return Choice({speaks: 1.0}, mean, best, gain, error, harmless=True, rows=len(each[best]))


def choose(
    objective: Objective,
    members: Mapping[str, Array],
    singles: Sequence[str],
    targets: NDArray[np.generic],
    groups: NDArray[np.generic],
    *,
    allowed: Sequence[str],
    seed: int,
) -> Choice:
    """Greedy ensemble selection (Caruana et al. 2004, ICML) with a fall-back to the best single modality.

    Args:
        members: OOF η (n, O) of each member under this pattern.
        singles: members that read one modality.
        allowed: members that may speak; the others are only compared.
    """
    each = {name: losses(objective, eta, targets) for name, eta in members.items()}
    mean = {name: float(np.nanmean(loss)) for name, loss in each.items()}
    best = min(singles, key=lambda name: mean[name])
    counts = _greedy(objective, {name: members[name] for name in allowed}, targets)
    blend = sum((members[name] * (count / sum(counts.values())) for name, count in counts.items()), np.zeros(1))
    difference = each[best] - losses(objective, np.asarray(blend), targets)
    gain, error = grouped_error(difference, groups, seed=seed)
    harmless = gain > error or (len(difference) < FEW and gain > 0)
    weights = {name: count / sum(counts.values()) for name, count in counts.items()} if harmless else {best: 1.0}
    return Choice(weights, mean, best, gain, error, harmless, len(difference))


def _greedy(objective: Objective, members: Mapping[str, Array], targets: NDArray[np.generic]) -> dict[str, int]:
    """How often each member was picked; the whole is the mean of the picks."""
    total: Array | None = None
    picked: list[str] = []
    history: list[float] = []
    for _ in range(ROUNDS):
        trial = {
            name: float(
                np.nanmean(losses(objective, eta if total is None else (total + eta) / (len(picked) + 1), targets))
            )
            for name, eta in members.items()
        }
        name = min(trial, key=lambda candidate: trial[candidate])
        total = members[name] if total is None else total + members[name]
        picked.append(name)
        history.append(trial[name])
    kept = picked[: int(np.argmin(history)) + 1]
    return {name: kept.count(name) for name in dict.fromkeys(kept)}


def grouped_error(values: Array, groups: NDArray[np.generic], *, seed: int) -> tuple[float, float]:
    """Mean of `values` (NaN left out) and its standard error over resampled groups."""
    known = ~np.isnan(values)
    if not known.any():
        return 0.0, float("inf")
    _, index = np.unique(groups[known], return_inverse=True)
    sums = np.bincount(index, weights=values[known])
    sizes = np.bincount(index).astype(np.float64)
    if len(sums) < 2:
        return float(values[known].mean()), float("inf")
    random = np.random.default_rng([seed, 77])
    drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    return float(values[known].mean()), float(means.std())


@dataclass(frozen=True, slots=True)
class Alarm:
    """A member whose OOF figure is far above that on untouched rows: its features have seen the labels."""

    member: str
    oof: float  # share right, or R²
    untouched: float
    error: float  # standard error of the difference
    rows: int

    def __str__(self) -> str:
        return (
            f"{self.member}: {self.oof:.1%} out of fold but {self.untouched:.1%} on {self.rows} untouched rows "
            f"(± {self.error:.1%}). Something it reads has probably seen the labels of the training rows: leave it "
            "out, or make its features anew from data that does not contain these rows."
        )


def leak_alarm(member: str, oof: Array, untouched: Array, *, sigmas: float = 3.0) -> Alarm | None:
    """
    Args:
        oof, untouched: score of each row, e.g. 1.0 where the prediction is right; NaN without a label.
    """
    a, b = oof[~np.isnan(oof)], untouched[~np.isnan(untouched)]
    if len(a) < FEWEST or len(b) < FEWEST // 2:
        return None
    error = float(np.sqrt(a.var() / len(a) + b.var() / len(b)))
    if a.mean() - b.mean() > max(sigmas * error, 0.05):
        return Alarm(member, float(a.mean()), float(b.mean()), error, len(b))
    return None


@dataclass
class Comparison:
    """The table that `duomo train` prints: every member, whether it speaks, and why."""

    head: str
    rows: list[dict[str, object]] = field(default_factory=list)

    def to_text(self) -> str:
        if not self.rows:
            return f"{self.head}: no rows to compare on"
        columns = list(self.rows[0])
        cells = [[f"{row[c]:.4f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in self.rows]
        widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True))]
        lines += ["  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([f"{self.head}:", *("  " + line.rstrip() for line in lines)])
