"""A model small enough to know its answers by heart, and samples for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from duomo.models.features import Features
from duomo.models.understanding import HeadInfo, HeadOutput
from duomo.types import Sample

LABELS = ("card", "parcel", "refund")
DIGITS = {label: place for place, label in enumerate(LABELS)}


class Spelled:
    """A model that reads its answer: the text names the label, the plain vector `lab` holds its one-hot scores.

    The text counts three times as much as the vector; without either it answers the first label.
    """

    modalities = ("text", "features.lab")

    def __init__(self, *, blind: str | None = None) -> None:
        self.blind = blind  # a label that it takes for the next one
        self.heads = {
            "intent": HeadInfo("intent", "class", LABELS, (0.4, 0.3, 0.3), "other", 0.0),
            "topics": HeadInfo("topics", "multilabel", LABELS, (0.3, 0.3, 0.3)),
            "mood": HeadInfo("mood", "number", (), (0.0, 1.0)),
        }

    def features(self, samples: Sequence[Sample]) -> Features:
        text = np.zeros((len(samples), 5), dtype=np.float32)  # three labels, length, beyond
        for row, sample in enumerate(samples):
            for word in (sample.text or "").split():
                if word in DIGITS:
                    text[row, DIGITS[word]] += 1
            text[row, 3:] = len(sample.text or ""), "weather" in (sample.text or "")
        lab = np.array([sample.features.get("lab", (0.0,) * 3) for sample in samples], dtype=np.float32)
        present = np.array([[sample.text is not None, "lab" in sample.features] for sample in samples])
        return Features(self.modalities, present, {"text": text, "features.lab": lab.reshape(-1, 3)})

    def predict_features(self, features: Features) -> Mapping[str, HeadOutput]:
        text = np.where(features.present[:, :1], features.dense["text"], 0)
        lab = np.where(features.present[:, 1:], features.dense["features.lab"], 0)
        scores = 3 * text[:, :3] + lab
        if self.blind is not None:
            scores[:, DIGITS[self.blind]] -= 20
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        n = len(features)
        zeros, no = np.zeros(n), np.zeros(n, dtype=bool)
        several = 1 / (1 + np.exp(1.5 - scores))
        return {
            "intent": HeadOutput(chances, chances.argmax(axis=1), chances.max(axis=1), chances >= 0.2, None,
                                 chances.max(axis=1) < 0.5, text[:, 4] * 0.9, zeros),
            "topics": HeadOutput(several, several > 0.5, several.max(axis=1), several > 0.1, None, no, zeros, zeros),
            "mood": HeadOutput(text[:, 3:4], text[:, 3], zeros, np.zeros((n, 0), dtype=bool),
                               np.stack([text[:, 3] - 1, text[:, 3] + 1], axis=1), no, zeros, zeros),
        }  # fmt: skip


def vector(label: str) -> tuple[float, ...]:
    return tuple(float(label == other) for other in LABELS)


def some() -> list[Sample]:
    """Four with both, two in Chinese, one with the vector alone whose vector misleads, one out of scope."""
    return [
        Sample(
            "1", text="my card", features={"lab": vector("card")}, labels={"intent": "card", "mood": 7.0}, group="a"
        ),
        Sample("2", text="a parcel", features={"lab": vector("parcel")}, labels={"intent": "parcel"}, group="a"),
        Sample("3", text="a refund now", features={"lab": vector("card")}, labels={"intent": "refund", "mood": 14.0}),
        Sample("4", text="card card", features={"lab": vector("card")}, labels={"intent": "parcel", "mood": None}),
        Sample("5", text="我要退款 refund", labels={"intent": "refund", "topics": ("refund",)}),
        Sample("6", text="我要用它 card parcel", labels={"intent": None, "topics": ("card",)}),
        Sample("7", features={"lab": vector("parcel")}, labels={"intent": "card", "mood": math.nan}),
        Sample("8", text="the weather", labels={"intent": "other", "mood": 11.0}),
    ]
