"""Shapley values of a model's modalities: which sets of modalities to ask about, and how to add up the answers.

phi_k = sum over S of M without k of |S|! (|M| - |S| - 1)! / |M|! [v(S + k) - v(S)], where M are the present
modalities and v is what the model says when only S is there.

Source: Shapley 1953; sampled by permutations as in Castro et al. 2009, doi:10.1016/j.cor.2008.04.004.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from duomo.models.features import Mask

Doubles = NDArray[np.float64]

EXACT = 8  # present modalities up to which all 2^K sets are asked
PERMUTATIONS = 128  # orders sampled above that, each with its reverse


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with the same availability pattern."""

    rows: NDArray[np.int64]  # (g,) rows of the sample batch
    weights: Doubles  # (K, s): phi = weights @ v of the s sets


@dataclass(frozen=True, slots=True)
class Plan:
    """One batch of questions that answers all rows.

    Attributes:
        rows: (q,) the row of the samples that a question is about.
        present: (q, K) the modalities left to it.
        full: (n,) the question that leaves a row as it is.
    """

    rows: NDArray[np.int64]
    present: Mask
    full: NDArray[np.int64]
    groups: tuple[Group, ...]

    def combine(self, values: Doubles) -> Doubles:
        """(q,) value of each question -> (n, K) Shapley values, zero where a modality is missing."""
        phi = np.zeros((len(self.full), self.present.shape[1]))
        start = 0
        for group in self.groups:
            sets = group.weights.shape[1]
            end = start + len(group.rows) * sets
            phi[group.rows] = values[start:end].reshape(-1, sets) @ group.weights.T
            start = end
        return phi


def plan(present: Mask) -> Plan:
    """
    Args:
        present: (n, K) which modality each sample has.
    """
    rows, masks, groups = [], [], []
    full = np.empty(len(present), dtype=np.int64)
    asked = 0
    for pattern in np.unique(present, axis=0):
        members = np.flatnonzero((present == pattern).all(axis=1))
        sets, weights = coalitions(tuple(bool(here) for here in pattern))
        rows.append(np.repeat(members, len(sets)))
        masks.append(np.tile(sets, (len(members), 1)))
        groups.append(Group(members, weights))
        full[members] = asked + np.arange(len(members)) * len(sets)  # the full set comes first
        asked += len(members) * len(sets)
    if not groups:
        return Plan(np.empty(0, dtype=np.int64), present, full, ())
    return Plan(np.concatenate(rows), np.concatenate(masks), full, tuple(groups))


@cache
def coalitions(pattern: tuple[bool, ...]) -> tuple[Mask, Doubles]:
    """The sets to ask about and what each one's value adds to every modality.

    Returns:
        (s, K) bool, the full set first; (K, s) weights, zero rows for missing modalities.
    """
    players = [k for k, here in enumerate(pattern) if here]
    sets, weights = _exact(players) if len(players) <= EXACT else _sampled(players)
    everything = sum(1 << k for k in players)
    sets.sort(key=lambda one: one != everything)
    column = {one: position for position, one in enumerate(sets)}
    masks = np.array([[bool(one >> k & 1) for k in range(len(pattern))] for one in sets]).reshape(len(sets), -1)
    table = np.zeros((len(pattern), len(sets)))
    for (player, one), weight in weights.items():
        table[player, column[one]] += weight
    return masks, table


def shares(phi: Doubles, present: Mask) -> Doubles:
    """(n, K) |phi_k| / sum |phi|; equal among the present where no modality changes anything."""
    size = np.abs(phi)
    total = size.sum(axis=1, keepdims=True)
    equal = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return np.where(total > 0, size / np.where(total > 0, total, 1.0), equal)


Weights = dict[tuple[int, int], float]  # (modality, set as a bit mask) -> weight


def _exact(players: list[int]) -> tuple[list[int], Weights]:
    sets = [0]
    for k in players:
        sets += [one | 1 << k for one in sets]
    size = len(players)
    weights: Weights = {}
    for one in sets:
        count = one.bit_count()
        for k in players:
            if one >> k & 1:
                weights[k, one] = factorial(count - 1) * factorial(size - count) / factorial(size)
            else:
                weights[k, one] = -factorial(count) * factorial(size - count - 1) / factorial(size)
    return sets, weights


def _sampled(players: list[int]) -> tuple[list[int], Weights]:
    random = np.random.default_rng(0)  # the same sample gives the same answer
    orders = [random.permutation(players).tolist() for _ in range(PERMUTATIONS)]
    orders += [order[::-1] for order in orders]
    sets: dict[int, None] = {0: None}
    weights: Weights = {}
    for order in orders:
        before = 0
        for k in order:
            after = before | 1 << k
            sets[after] = None
            weights[k, after] = weights.get((k, after), 0.0) + 1 / len(orders)
            weights[k, before] = weights.get((k, before), 0.0) - 1 / len(orders)
            before = after
    return list(sets), weights
