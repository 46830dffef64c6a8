"""The data engine on a trained model: which labels are wrong, what to label next, what is new, what is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duomo.errors import InputError
from duomo.learn import curate
from duomo.learn import discover as discovering
from duomo.learn.encoders import encode
from duomo.learn.model import Model
from duomo.models.features import Features, Floats
from duomo.models.heads import pattern_keys, probabilities
from duomo.types import Sample

LESS_SURE = 0.15
"""Share of the training rows that `discover` would take for new by their confidence. Of the texts of intents that were
kept from models of CLINC150 and BANKING77 it then sees nine in ten, of the known ones one in eight; abstention alone
saw none of either."""


def label_errors(model: Model, samples: Sequence[Sample] | None = None) -> list[dict[str, Any]]:
    """Labels that are probably wrong, of every class head, the surest first.

    Args:
        samples: None: the training samples, judged by models that had not seen them.
    Raises:
        InputError: the model has no class head, or was not kept with its out-of-fold scores.
    """
    names = [name for name, head in model.heads.items() if head.type == "class"]
    if not names:
        raise InputError("label errors are found in class heads, and this model has none")
    rows: list[dict[str, Any]] = []
    for name in names:
        labels = model.heads[name].labels
        if samples is None:
            chances, truth, ids = _out_of_fold(model, name)
        else:
            known = [sample for sample in samples if str(sample.labels.get(name)) in labels]
            if not known:
                continue
            chances = model.predict_proba(known)[name]
            truth = np.array([labels.index(str(sample.labels[name])) for sample in known])
            ids = [sample.id for sample in known]
        rows += [{**error.as_dict(labels), "head": name} for error in curate.label_errors(chances, truth, ids)]
    return rows


def _out_of_fold(model: Model, head: str) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    oof = model.oof
    if f"{head}.fused" not in oof:
        raise InputError("the model keeps no out-of-fold scores; give the samples to look at")
    inside = oof[f"{head}.targets"] < len(model.heads[head].labels)
    fused = oof[f"{head}.fused"][inside].astype(np.float64)
    ids = oof["ids"][oof[f"{head}.rows"][inside]]
    chances = np.exp(fused - fused.max(1, keepdims=True))
    return chances / chances.sum(1, keepdims=True), oof[f"{head}.targets"][inside], [str(one) for one in ids]


def select_to_label(
    model: Model, samples: Sequence[Sample], *, budget: int, head: str | None = None
) -> list[dict[str, Any]]:
    """Samples worth a person's time, in the order in which to label them."""
    if budget < 1:
        raise InputError(f"the budget is {budget}, wanted is at least 1")
    name = _class_head(model, head)
    features = model.features(samples)
    filled = np.flatnonzero(features.present.any(axis=1))  # of a sample without anything a person sees nothing either
    samples, features = [samples[int(row)] for row in filled], features.take(filled)
    scores = model.scores(features)[name]
    patterns = pattern_keys(features.present, features.modalities)
    chances = probabilities(scores.fused, patterns, model.heads[name])
    alone = np.exp(scores.unimodal.astype(np.float64))
    found = curate.select_to_label(chances, alone, embeddings(features), budget)
    return [
        {
            "id": samples[one.index].id,
            "head": name,
            "value": round(one.score, 4),
            "entropy": round(one.entropy, 4),
            "disagreement": round(one.disagreement, 4),
        }
        for one in found
    ]


def discover(
    model: Model, samples: Sequence[Sample], *, min_size: int = 8, head: str | None = None
) -> discovering.Discovery:
    """Groups of samples that none of the model's labels fits well."""
    name = _class_head(model, head)
    features = model.features(samples)
    texts = [sample.text or "" for sample in samples]
    ids = [sample.id for sample in samples]
    comparable = np.flatnonzero(_comparable(features))
    points = np.zeros((0, 1), dtype=np.float32)
    if len(comparable):
        points = discovering.text_embeddings(features.take(comparable), [texts[row] for row in comparable])
    found = discovering.discover(
        [ids[row] for row in comparable], [texts[row] for row in comparable], points,
        known=_known(model, name, features)[comparable].astype(np.float64), min_size=min_size,
    )  # fmt: skip
    rest = np.setdiff1d(np.arange(len(samples)), comparable)
    return replace(found, alone=(*found.alone, *(ids[row] for row in rest)))


def _comparable(features: Features) -> NDArray[np.bool_]:
    """Rows with a text where the model reads texts, else with anything: the rest would all be alike."""
    if "text" in features.modalities:
        return features.present[:, features.modalities.index("text")]
    return np.asarray(features.present.any(axis=1))


def _known(model: Model, head: str, features: Features) -> NDArray[np.bool_]:
    """Rows that the model answers, and as surely as it did most of the training rows when it had not seen them."""
    output = model.predict_features(features)[head]
    known = np.asarray(~(output.abstain | output.is_out_of_scope))
    if f"{head}.fused" not in model.oof:
        return known
    usual = _out_of_fold(model, head)[0].max(axis=1)
    sure = np.exp(model.scores(features)[head].fused.astype(np.float64)).max(axis=1)
    return np.asarray(known & (sure >= np.quantile(usual, LESS_SURE)))


def duplicates(samples: Sequence[Sample], *, threshold: float, cache: Path | None = None) -> list[dict[str, Any]]:
    """Pairs of samples whose text, picture, sound or vector is nearly the same, the nearest first."""
    encoded = encode(samples, cache=cache)
    features, rows = encoded.features, []
    for k, modality in enumerate(features.modalities):
        here = np.flatnonzero(features.present[:, k])
        views = [features.dense[view.name] for view in encoded.views if view.modality == modality and not view.sparse]
        if len(here) < 2 or not views:
            continue
        points = discovering.side_by_side(*(view[here] for view in views))
        for pair in curate.duplicates(points, threshold):
            a, b = samples[here[pair.first]].id, samples[here[pair.second]].id
            rows.append({"a": a, "b": b, "modality": modality, "cosine": pair.cosine})
    return sorted(rows, key=lambda row: -row["cosine"])


def embeddings(features: Features) -> Floats:
    """(n, d) all dense views beside each other, each of length 1; zeros where a modality is missing."""
    return discovering.side_by_side(*features.dense.values())


def _class_head(model: Model, head: str | None) -> str:
    names = [name for name, info in model.heads.items() if info.type == "class"]
    if head is None and names:
        return names[0]
    if head not in names:
        raise InputError(f"there is no class head {head}; the model has {', '.join(names) or 'none'}")
    return head
