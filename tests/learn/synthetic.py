"""Small sets with features drawn from a seed: labels that every modality tells, and rows that lack some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from duomo.learn.model import Model
from duomo.learn.task import Head, Task, Training
from duomo.models.features import Features, SparseRows, View
from duomo.types import Label

NAMES = ("text", "image", "audio", "video")
WORDS = 64  # size of the hash space of the n-grams
QUICK = Training(hidden=8, epochs=3, folds=3)


@dataclass(frozen=True)
class Rows:
    """What `Model.fit_features` takes."""

    features: Features
    views: tuple[View, ...]
    labels: Mapping[str, Sequence[Label | None]]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Sequence[int] | np.ndarray) -> Rows:
        labels = {head: [values[row] for row in rows] for head, values in self.labels.items()}
        return replace(
            self, features=self.features.take(rows), labels=labels, groups=tuple(self.groups[row] for row in rows)
        )

    def label(self, **heads: Sequence[Label | None]) -> Rows:
        return replace(self, labels=heads)

    def truth(self, head: str = "intent") -> np.ndarray:
        return np.array(self.labels[head])


def rows(
    n: int = 150,
    *,
    modalities: int = 3,
    dim: int = 5,
    labels: Sequence[str] = ("a", "b", "c"),
    signal: Sequence[float] = (2.0, 1.5, 1.0, 1.0),
    missing: float = 0.2,
    ngrams: bool = True,
    seed: int = 0,
) -> Rows:
    """
    Args:
        signal: of each modality, how far the labels' means are apart in standard deviations.
        missing: share of parts that are not there; a row keeps one at least.
        ngrams: whether text has a sparse view as well.
    """
    random = np.random.default_rng(seed)
    names, truth = NAMES[:modalities], np.arange(n) % len(labels)
    means = np.random.default_rng(99).normal(size=(modalities, len(labels), dim)) / np.sqrt(2)
    present = random.random((n, modalities)) >= missing
    present[np.arange(n), random.integers(0, modalities, n)] = True
    dense = {
        f"{name}.net": np.where(
            present[:, k : k + 1], signal[k] * means[k, truth] + random.normal(size=(n, dim)), 0
        ).astype(np.float32)
        for k, name in enumerate(names)
    }
    views = [View(f"{name}.net", name, dim, "net", "1") for name in names]
    sparse = {}
    if ngrams:
        views.insert(1, View("text.ngrams", "text", WORDS, "hashed-ngrams", "1", sparse=True))
        said_there = zip(truth, present[:, 0], strict=True)
        sparse["text.ngrams"] = words([said(random, label) if here else [] for label, here in said_there])
    return Rows(
        Features(names, present, dense, sparse),
        tuple(views),
        {"intent": [labels[label] for label in truth]},
        tuple(f"g{row}" for row in range(n)),
    )


def said(random: np.random.Generator, label: int) -> list[int]:
    """Columns of four common words and, mostly, of one that goes with the label."""
    common = random.integers(0, WORDS // 2, 4)
    telling = WORDS // 2 + label if random.random() < 0.6 else random.integers(WORDS // 2, WORDS)
    return sorted({*common.tolist(), int(telling)})


def words(columns: Sequence[Sequence[int]]) -> SparseRows:
    starts = np.concatenate([[0], np.cumsum([len(row) for row in columns])]).astype(np.int64)
    flat = np.array([column for row in columns for column in row], np.int64)
    return SparseRows(starts, flat, np.ones(len(flat), np.float32))


def junk(features: Features, value: float) -> Features:
    """The same with something else where a modality is missing."""
    dense = {}
    for name, view in features.dense.items():
        here = features.present[:, features.modalities.index(name.split(".")[0])]
        dense[name] = np.where(here[:, None], view, np.float32(value)).astype(np.float32)
    sparse = {}
    for name, entries in features.sparse.items():
        here = features.present[:, features.modalities.index(name.split(".")[0])]
        known = np.unique(entries.columns)
        kept = [
            (entries.columns[a:b], entries.values[a:b]) if there else (known, np.full(len(known), value))
            for a, b, there in zip(entries.starts, entries.starts[1:], here, strict=False)
        ]
        starts = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in kept])]).astype(np.int64)
        sparse[name] = SparseRows(
            starts,
            np.concatenate([columns for columns, _ in kept]).astype(np.int64),
            np.concatenate([values for _, values in kept]).astype(np.float32),
        )
    return replace(features, dense=dense, sparse=sparse)


def task(*heads: Head, fusion: Any = "auto", operator: Any = "gated", **training: Any) -> Task:
    return Task(heads or (Head("intent"),), fusion=fusion, operator=operator, training=replace(QUICK, **training))


def fitted(given: Rows, of: Task | None = None, **options: Any) -> Model:
    return Model(of or task()).fit_features(given.features, given.views, given.labels, given.groups, **options)


def weights(model: Model) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.core.state_dict().items()}


def assert_same_weights(one: Model, other: Model) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)
    assert {name: columns.tolist() for name, columns in one.core.vocabularies.items()} == {
        name: columns.tolist() for name, columns in other.core.vocabularies.items()
    }


def accuracy(model: Model, given: Rows, head: str = "intent") -> float:
    found = model.predict_features(given.features)[head].predicted
    return float(np.mean(np.array(model.heads[head].labels)[found] == given.truth(head)))
