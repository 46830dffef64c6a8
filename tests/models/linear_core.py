"""A core small enough to check by hand: every dense view adds `values @ weights`, a missing modality adds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from duomo.models.features import Features
from duomo.models.understanding import HeadInfo, Scores


@dataclass
class LinearCore:
    """
    Attributes:
        weights: head -> modality -> (dim, C); the modality's only view has its name.
    """

    heads: Mapping[str, HeadInfo]
    weights: Mapping[str, Mapping[str, np.ndarray]]
    out_of_scope: Mapping[str, np.ndarray] | None = None  # head -> (dim of the first modality,)
    calls: int = 0

    def scores(self, features: Features) -> dict[str, Scores]:
        self.calls += 1
        return {name: self._head(name, features) for name in self.heads}

    def _head(self, name: str, features: Features) -> Scores:
        head = self.heads[name]
        terms = np.stack([features.dense[m] @ self.weights[name][m] for m in features.modalities], axis=1)
        terms = np.where(features.present[:, :, None], terms, 0)  # (n, K, C)
        start = np.log(head.prior) if head.type == "class" else np.zeros(terms.shape[2])
        fused, unimodal = terms.sum(axis=1) + start, terms + start
        if head.type == "class":
            fused = fused - np.logaddexp.reduce(fused, axis=1, keepdims=True)
            unimodal = unimodal - np.logaddexp.reduce(unimodal, axis=2, keepdims=True)
        unimodal = np.where(features.present[:, :, None], unimodal, np.nan)
        beyond = None
        if self.out_of_scope and name in self.out_of_scope:
            beyond = (features.dense[features.modalities[0]] @ self.out_of_scope[name]).astype(np.float32)
        return Scores(fused.astype(np.float32), unimodal.astype(np.float32), beyond)


def features(present: list[list[int]] | np.ndarray, *, dims: Mapping[str, int], seed: int = 0) -> Features:
    """Standard normal values; zeros where missing."""
    random = np.random.default_rng(seed)
    mask = np.asarray(present, dtype=bool).reshape(-1, len(dims))
    dense = {
        name: np.where(mask[:, [k]], random.standard_normal((len(mask), dim)), 0).astype(np.float32)
        for k, (name, dim) in enumerate(dims.items())
    }
    return Features(tuple(dims), mask, dense)


def poisoned(given: Features) -> Features:
    """The same with a million wherever a modality is missing."""
    dense = {
        name: np.where(given.present[:, [given.modalities.index(name)]], values, 1e6).astype(np.float32)
        for name, values in given.dense.items()
    }
    return replace(given, dense=dense)
