"""What models read: features standardised, reduced to components, and n-grams weighted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_matrix

from duomo.learn.core import standardisation
from duomo.models.encoders import TURN_DIM
from duomo.models.features import Features, Floats, SparseRows, View

Rows = NDArray[np.int64]

WIDE = 256  # features of a modality up to which networks read them all; of more, their principal components
COMPONENTS = 256  # of them kept
PROJECTION_ROWS = 1500  # that decide the components
VOCABULARY = 60_000  # n-grams kept, the most frequent


class Inputs:
    """Features as the members of a model read them, and what a core needs to do the same.

    Attributes:
        z: K arrays (N, D_k), standardised, zeros where missing: linear experts read them.
        narrow: K tensors (N, P_k), their components: networks read them.
        text: by modality (N, V) TF-IDF rows of its n-grams.
        here: (N, K) bool.
        statistics: by dense view mean and 1 / standard deviation. projections: by modality (D_k, P_k).
        vocabulary, idf: by sparse view the columns kept, ascending, and (V + 1,) weights, the first for padding.
    """

    def __init__(
        self, features: Features, views: Sequence[View], untouched: Rows, *, seed: int, narrowed: bool
    ) -> None:
        """All statistics are of the rows that are not `untouched`.

        Args:
            narrowed: reduce wide modalities to components for networks.
        """
        self.features, self.modalities, self.present = features, features.modalities, features.present
        self.vocabulary: dict[str, Rows] = {}
        rows = np.setdiff1d(np.arange(len(self.present)), untouched)
        self.statistics: dict[str, tuple[Floats, Floats]] = {}
        self.z: list[Floats] = []
        self.narrow: list[torch.Tensor] = []
        self.text: dict[str, csr_matrix] = {}
        self.idf: dict[str, Floats] = {}
        self.projections: dict[str, Floats] = {}
        for k, modality in enumerate(self.modalities):
            parts = []
            for view in views:
                if view.modality != modality:
                    continue
                if view.sparse:
                    self._tf_idf(view, rows)
                    continue
                x = features.dense[view.name]
                if modality == "context":  # zeros say that there was no turn, and have to stay zeros
                    mean, scale = np.zeros(view.dim, np.float32), np.full(view.dim, TURN_DIM**0.5, np.float32)
                else:
                    mean, scale = standardisation(x[rows], self.present[rows, k])
                self.statistics[view.name] = (mean, scale)
                here = self.present[:, k]
                part = np.zeros(x.shape, np.float32)
                part[here] = (x[here] - mean) * scale
                parts.append(part)
            joined = np.concatenate(parts, 1) if parts else np.zeros((len(self.present), 0), np.float32)
            self.z.append(np.ascontiguousarray(joined, np.float32))
            if joined.shape[1] > WIDE and modality != "context" and narrowed:
                self.projections[modality] = projection(joined[rows][self.present[rows, k]], seed=seed)
                joined = joined @ self.projections[modality]
            self.narrow.append(torch.from_numpy(np.ascontiguousarray(joined, np.float32)))
        self.here = torch.from_numpy(self.present.copy())

    def _tf_idf(self, view: View, rows: Rows) -> None:
        sparse = self.features.sparse[view.name]
        here = self.present[:, self.modalities.index(view.modality)]
        rows = rows[here[rows]]
        inside = sparse.take(rows)
        columns, counts = np.unique(inside.columns, return_counts=True)
        kept = np.flatnonzero(counts >= 2)
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:VOCABULARY]])
        self.vocabulary[view.name] = columns[kept]
        idf = (np.log((1 + len(rows)) / (1 + counts[kept])) + 1).astype(np.float32)
        self.idf[view.name] = np.concatenate([[0], idf]).astype(np.float32)
        self.text[view.modality] = tf_idf(sparse, columns[kept], idf, here)


def projection(z: Floats, *, seed: int) -> Floats:
    """(D, P) principal components of standardised rows, scaled to the root of their deviation and mean variance 1.

    Thousands of features and hundreds of rows: the rows span few directions, and what trains on these is many times
    faster. Half-way to whitening keeps strong directions ahead without drowning the others.
    """
    random = np.random.default_rng([seed, 3])
    rows = z if len(z) <= PROJECTION_ROWS else z[np.sort(random.choice(len(z), PROJECTION_ROWS, replace=False))]
    count = min(COMPONENTS, len(rows) - 1, z.shape[1])
    if count < 1:
        return np.zeros((z.shape[1], 1), np.float32)
    last = len(rows) - 1
    variance, vectors = eigh(rows @ rows.T / len(rows), subset_by_index=[last - count + 1, last])
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    components = rows.T @ (vectors / (deviation * np.sqrt(len(rows))))
    scaled = components / np.sqrt(deviation)
    return np.asarray(scaled / np.sqrt(max(deviation.mean(), 1e-12)), np.float32)


def tf_idf(rows: SparseRows, vocabulary: Rows, idf: Floats, here: NDArray[np.bool_]) -> csr_matrix:
    """(n, V) rows of length 1, zeros where the modality is not `here`."""
    place = np.searchsorted(vocabulary, rows.columns)
    inside = place < len(vocabulary)
    inside[inside] = vocabulary[place[inside]] == rows.columns[inside]
    row = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    inside &= here[row]
    row = row[inside]
    values = rows.values[inside] * idf[place[inside]]
    lengths = np.sqrt(np.bincount(row, weights=values.astype(np.float64) ** 2, minlength=len(rows)))
    values = (values / np.maximum(lengths[row], 1e-12)).astype(np.float32)
    return csr_matrix((values, (row, place[inside])), shape=(len(rows), len(vocabulary)), dtype=np.float32)
