"""The trained model at work: what a message wants, how sure that is, and which modality said so.

Loads the folder that `duomo export --onnx` writes, with onnxruntime and numpy alone. The torch model of `learn/`
gives the same `Scores`, so that calibration, prediction sets, abstention and modality shares exist once, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from duomo.models.features import Features, Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about one head, before calibration.

    Attributes:
        fused: class: (n, C) log-probabilities over the labels; multilabel: (n, C) logits; number: (n, 1) in the
            label's own unit.
        unimodal: (n, K, C) the same from each modality alone; NaN where the modality is missing or has no model.
        out_of_scope: (n,) logit that none of the labels fits; None where the head does not ask.
    """

    fused: Floats
    unimodal: Floats
    out_of_scope: Floats | None = None


class Core(Protocol):
    """The network: torch while training, ONNX while serving."""

    def scores(self, features: Features) -> Mapping[str, Scores]:
        """By head. What stands in a missing modality's rows does not change the result."""
        ...
