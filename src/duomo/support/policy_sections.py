"""What a policy says besides its table: thresholds, and how models are compared, brought in, watched and trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from duomo.learn.yaml_file import Choice, Flag, Number


@dataclass(frozen=True, slots=True)
class Thresholds:
    """On the probability that the best passage answers; None: the calibration's own."""

    answer_from: float | None = None
    clarify_from: float | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """What a new model must not do worse than the active one on the held-out samples."""

    min_accuracy_gain: float = -0.005  # of all rows of a head, at least; a sure loss is refused whatever stands here
    worse_slice: float = 0.03  # that a pattern, a language, a team or an intent may lose
    significance: float = 0.05  # of the paired test by which a slice counts as worse
    min_slice: int = 30  # samples; a smaller slice is shown and does not decide


@dataclass(frozen=True, slots=True)
class Rollback:
    """When a model that answers is taken back by itself: against the one before, over the latest turns."""

    window: int = 200  # turns looked at
    min_turns: int = 40  # before anything is decided
    handover_rate_worse_by: float = 0.10
    corrected_rate_worse_by: float = 0.05
    out_of_scope_worse_by: float = 0.10
    significance: float = 0.01


@dataclass(frozen=True, slots=True)
class Rollout:
    """From a model that passed the gates to the one that answers everybody."""

    shadow_turns: int = 100  # predicted beside the active model, without effect
    canary_share: float = 0.1  # of the conversations
    canary_turns: int = 200
    rollback: Rollback = Rollback()


@dataclass(frozen=True, slots=True)
class Drift:
    window: int = 200  # latest turns of a modality
    distance: float = 0.03  # share of the squared distance to the usual turns that is change, see support/drift.py
    significance: float = 0.01


@dataclass(frozen=True, slots=True)
class Learning:
    consent: Literal["all", "asked"] = "all"  # whose conversations train: everybody's but who said no · who said yes
    retention_days: int = 365  # older turns do not train
    media: bool = True  # pictures and voice notes train too
    schedule: Literal["weekly", "daily", "off"] = "weekly"
    second_opinions: float = 0.1  # share of the labels that a second person is asked for
    mode: Literal["supervised", "semi-supervised", "self-supervised"] = "self-supervised"
    """What unlabelled turns do: nothing; teach by the model's own surest labels; align the modalities beforehand, which
    pays where labels are few and harms nowhere (docs/experiments.md)."""


SHARE = Number(0, 1)
CHANCE = Number(0, 1, above=True)  # of being wrong; at 0 nothing could ever be decided
RULES: Mapping[str, Any] = {
    "gates": {
        "min_accuracy_gain": Number(-1, 1),
        "worse_slice": SHARE,
        "significance": CHANCE,
        "min_slice": Number(1, 1e6, whole=True),
    },
    "rollout": {
        "shadow_turns": Number(0, 1e6, whole=True),
        "canary_share": Number(0, 1),
        "canary_turns": Number(0, 1e6, whole=True),
        "rollback": {
            "window": Number(1, 1e6, whole=True),
            "min_turns": Number(1, 1e6, whole=True),
            "handover_rate_worse_by": SHARE,
            "corrected_rate_worse_by": SHARE,
            "out_of_scope_worse_by": SHARE,
            "significance": CHANCE,
        },
    },
    "drift": {"window": Number(10, 1e6, whole=True), "distance": Number(0, 1), "significance": CHANCE},
    "learning": {
        "consent": Choice(("all", "asked")),
        "retention_days": Number(1, 36500, whole=True),
        "media": Flag(),
        "schedule": Choice(("weekly", "daily", "off")),
        "second_opinions": SHARE,
        "mode": Choice(("supervised", "semi-supervised", "self-supervised")),
    },
}
THRESHOLDS: Mapping[str, Number] = {"answer_from": SHARE, "clarify_from": SHARE}

CLASSES: Mapping[str, type] = {"gates": Gates, "rollout": Rollout, "drift": Drift, "learning": Learning}
