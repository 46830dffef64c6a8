"""Which rows teach, which are held out, which nobody touches: groups always stay on one side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from duomo.errors import InputError
from duomo.learn.task import Training
from duomo.models.features import Floats

Rows = NDArray[np.int64]

UNTOUCHED = 0.1  # share of the labelled rows kept apart for the leak alarm
UNTOUCHED_FROM = 300  # labelled rows; fewer are all needed
LARGE = 5000  # rows from which three folds do


@dataclass(frozen=True)
class Split:
    """Which rows each replica sees.

    Attributes:
        folds: held-out rows of the first F replicas.
        untouched: rows that neither the folds nor the check replica see; may be empty, then there is no check replica.
        sees: (R, N) float32.
    """

    folds: tuple[Rows, ...]
    untouched: Rows
    sees: Floats

    @property
    def ships(self) -> int:
        return len(self.sees) - 1

    @property
    def held(self) -> list[Rows]:
        """(R) rows whose loss stops a replica; none for the check replica, which must stay blind, and the last."""
        return [*self.folds, *[np.empty(0, np.int64)] * (len(self.sees) - len(self.folds))]


def split(
    rows: Rows,
    groups: NDArray[np.generic],
    strata: Rows | None,
    training: Training,
    *,
    untouched: Rows | None,
    taught: Rows,
) -> Split:
    """
    Args:
        rows: labelled ones, of N.
        groups: (N,) rows of one group stay together.
        strata: (N,) label by which folds are balanced; None: by chance alone.
        untouched: given by a validation file; None: a tenth of the groups is kept apart.
        taught: rows whose labels an encoder has seen: they teach, and are never held out.
    Raises:
        InputError: too few rows or groups.
    """
    given = untouched is not None
    if untouched is None:
        untouched = _apart(np.setdiff1d(rows, taught), groups, np.random.default_rng([training.seed, 1]))
    inside = np.setdiff1d(rows, untouched)
    if len(inside) < 2:
        raise InputError(f"{len(inside)} labelled samples are too few to learn from; give at least two of each label.")
    folds = _folds(np.setdiff1d(inside, taught), groups, strata, training)
    sees = np.zeros((len(folds) + 1 + (len(untouched) > 0 and not given), len(groups)), np.float32)
    for replica, fold in enumerate(folds):
        sees[replica, np.setdiff1d(inside, fold)] = 1
    sees[-1, inside if given else rows] = 1
    if len(untouched) and not given:
        sees[-2, inside] = 1
    return Split(tuple(folds), np.intersect1d(untouched, rows), sees)


def _apart(rows: Rows, groups: NDArray[np.generic], random: np.random.Generator) -> Rows:
    """A tenth of the labelled rows, whole groups."""
    if len(rows) < UNTOUCHED_FROM:
        return np.empty(0, np.int64)
    names, index = np.unique(groups[rows], return_inverse=True)
    order = random.permutation(len(names))
    sizes = np.bincount(index)[order]
    taken = order[np.cumsum(sizes) <= UNTOUCHED * len(rows)]
    return rows[np.isin(index, taken)]


def _folds(rows: Rows, groups: NDArray[np.generic], strata: Rows | None, training: Training) -> list[Rows]:
    wanted = training.folds if len(rows) < LARGE else min(3, training.folds)
    names = np.unique(groups[rows])
    count = min(wanted, len(names))
    if count < 2:
        raise InputError(
            "all labelled samples are in one group, so no fold can be held out; give samples of other groups."
        )
    alone = len(names) == len(rows)
    splitter: Any
    if strata is not None:
        kind = StratifiedKFold if alone else StratifiedGroupKFold
        splitter = kind(count, shuffle=True, random_state=training.seed)
    else:
        splitter = (KFold if alone else GroupKFold)(count, shuffle=True, random_state=training.seed)
    blank = np.zeros(len(rows))
    labels = blank if strata is None else _merged(strata[rows], training.folds)
    return [rows[held] for _, held in splitter.split(blank, labels, None if alone else groups[rows])]


def _merged(labels: Rows, folds: int) -> Rows:
    """Labels rarer than the number of folds together; with the most frequent one when even so they are too few."""
    counts = np.bincount(labels + 1)
    rare = counts[labels + 1] < folds
    few = 0 < rare.sum() < folds
    return np.where(rare, counts.argmax() - 1 if few else -1, labels)
