"""What is usual for a model: where its inputs lie and how sure it is of them. Drift is measured against it.

    {"modalities": {"text": {"view", "n", "mean": [..], "distance", "deviation"}},
     "heads": {"intent": {"n", "confidence", "deviation", "out_of_scope"}}}

mean: of the first dense view, each row made length 1, and the mean made length 1 again. distance: the rows' mean cosine
distance to it, [0, 2]; deviation: its standard deviation. confidence: mean of the head's, with its standard deviation.
out_of_scope: share of rows that were called so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from duomo.models.features import Features, View
from duomo.models.understanding import HeadOutput


def reference(features: Features, views: Sequence[View], outputs: Mapping[str, HeadOutput]) -> dict[str, Any]:
    """
    Args:
        features: rows such as the model will meet.
        outputs: what it says of them, by head.
    """
    modalities: dict[str, Any] = {}
    for k, modality in enumerate(features.modalities):
        here = np.flatnonzero(features.present[:, k])
        dense = [view.name for view in views if view.modality == modality and not view.sparse]
        if not len(here) or not dense:
            continue
        unit = _unit(features.dense[dense[0]][here].astype(np.float64))
        mean = _unit(unit.mean(axis=0, keepdims=True))[0]
        distances = 1 - unit @ mean
        modalities[modality] = {
            "view": dense[0],
            "n": len(here),
            "mean": [round(float(value), 5) for value in mean],
            "distance": round(float(distances.mean()), 5),
            "deviation": round(float(distances.std()), 5),
        }
    heads = {
        name: {
            "n": len(output.confidence),
            "confidence": round(float(output.confidence.mean()), 5),
            "deviation": round(float(output.confidence.std()), 5),
            "out_of_scope": round(float(output.is_out_of_scope.mean()), 5),
        }
        for name, output in outputs.items()
        if len(output.confidence)
    }
    return {"modalities": modalities, "heads": heads}


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
