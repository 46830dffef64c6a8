"""Labels as numbers: what a head learns from and is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duomo.errors import InputError
from duomo.learn.objectives import Objective
from duomo.learn.samples import as_label
from duomo.learn.task import Head, Task
from duomo.types import Label

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """A head with its labels as numbers."""

    head: Head
    labels: tuple[str, ...]  # without the out-of-scope label
    objective: Objective
    targets: NDArray[np.generic]  # (N, …), see Objective
    extra: bool = False  # whether there are examples of out-of-scope, which then have an output of their own, the last
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def name(self) -> str:
        return self.head.name


def prepare(head: Head, values: Sequence[Label | None], task: Task) -> Prepared:
    """
    Raises:
        InputError: no labels, one label only, a label that the task does not list or that no such head can have.
    """
    values = [as_label(value, head) for value in values]
    if head.type == "number":
        return _prepare_number(head, values)
    found = {
        label
        for value in values
        if value is not None
        for label in (value if isinstance(value, tuple) else (str(value),))
    }
    if not found:
        raise InputError(f'head {head.name}: no sample has a label. Give labels as {{"labels": {{"{head.name}": …}}}}.')
    labels = head.labels or tuple(sorted(found - {head.out_of_scope}))
    labels = tuple(label for label in labels if label != head.out_of_scope)
    if head.type == "class" and len(labels) < 2:
        said = ", ".join(sorted(found))
        raise InputError(f"head {head.name}: all labelled samples say {said!r}; two labels at least are needed.")
    index = {label: i for i, label in enumerate(labels)}
    if head.type == "multilabel":
        targets = np.full((len(values), len(labels)), np.nan, np.float32)
        for row, value in enumerate(values):
            if value is not None:
                targets[row] = 0
                for label in value if isinstance(value, tuple) else (str(value),):
                    targets[row, index[label]] = 1
        weights = _positive_weights(targets) if head.class_weights == "balanced" else None
        objective = Objective(head.name, "multilabel", len(labels), head.weight, class_weights=weights)
        return Prepared(head, labels, objective, targets)
    extra = head.out_of_scope in found
    if head.out_of_scope is not None:
        index[head.out_of_scope] = len(labels) if extra else -1
    classes = np.array([-1 if value is None else index[str(value)] for value in values], np.int64)
    outputs = len(labels) + int(extra)
    weights = _class_weights(classes, outputs) if head.class_weights == "balanced" else None
    smoothing = task.training.label_smoothing
    objective = Objective(head.name, "class", outputs, head.weight, label_smoothing=smoothing, class_weights=weights)
    return Prepared(head, labels, objective, classes, extra)


def _prepare_number(head: Head, values: Sequence[Label | None]) -> Prepared:
    numbers = np.array([np.nan if value is None else float(value) for value in values], np.float64)  # type: ignore[arg-type]
    known_ = numbers[~np.isnan(numbers)]
    if len(known_) < 2:
        raise InputError(f"head {head.name}: {len(known_)} samples have a number; two at least are needed.")
    mean, deviation = float(known_.mean()), float(known_.std()) or 1.0
    objective = Objective(head.name, "number", 1, head.weight, huber=head.loss == "huber")
    return Prepared(head, (), objective, ((numbers - mean) / deviation).astype(np.float32), False, mean, deviation)


def _class_weights(classes: Rows, outputs: int) -> tuple[float, ...]:
    """Inverse frequency, mean 1 over the rows."""
    counts = np.bincount(classes[classes >= 0], minlength=outputs).astype(np.float64)
    weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0)
    return tuple((weights / (weights * counts).sum() * counts.sum()).tolist())


def _positive_weights(targets: NDArray[np.float32]) -> tuple[float, ...]:
    """Rows without a label for each row with it, at most a hundred: both count the same."""
    rows = targets[~np.isnan(targets).any(1)].astype(np.float64)
    carry = rows.sum(0)
    return tuple(np.clip((len(rows) - carry) / np.maximum(carry, 1), 0.01, 100).tolist())


def known(objective: Objective, targets: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(N,) rows that have a label of this head."""
    if objective.type == "class":
        return np.asarray(targets.astype(np.int64) >= 0)
    wide = np.isnan(targets.astype(np.float64))
    return np.asarray(~(wide.any(1) if wide.ndim == 2 else wide))


def prior_of(objective: Objective, targets: NDArray[np.generic]) -> Array:
    """(O,) natural parameters of how often each label occurs, with one row added to each."""
    if objective.type == "number":
        return np.zeros(1)
    if objective.type == "multilabel":
        rows = targets[known(objective, targets)].astype(np.float64)
        share = (rows.sum(0) + 0.5) / (len(rows) + 1)
        return np.asarray(np.log(share) - np.log1p(-share))
    index = targets.astype(np.int64)
    counts = np.bincount(index[index >= 0], minlength=objective.outputs) + 1.0
    return np.asarray(np.log(counts / counts.sum()))


def hits(objective: Objective, eta: Array, targets: NDArray[np.generic]) -> Array:
    """(n,) how right each row is, in [0, 1] or as 1 − squared error in standard deviations; NaN where unknown."""
    missing = np.isnan(eta[:, 0]) | ~known(objective, targets)
    if objective.type == "class":
        right = (np.nan_to_num(eta, nan=-np.inf).argmax(1) == targets.astype(np.int64)).astype(np.float64)
    elif objective.type == "multilabel":
        right = ((eta > 0) == (targets.astype(np.float64) > 0.5)).mean(1)
    else:
        right = 1 - (eta[:, 0] - targets.astype(np.float64)) ** 2
    return np.where(missing, np.nan, right)


def score(objective: Objective, eta: Array, targets: NDArray[np.generic]) -> float:
    """Share of right answers, or R²."""
    found = hits(objective, eta, targets)
    return float(np.nanmean(found)) if (~np.isnan(found)).any() else float("nan")
