"""What one head's scores mean: calibrated probabilities, prediction sets and disagreement, with numpy alone.

Everything is measured by availability pattern: a row that has only its sound is believed less than one that has all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from duomo.models.features import Floats, Mask

HeadType = Literal["class", "multilabel", "number"]
SetMethod = Literal["lac", "aps"]
Doubles = NDArray[np.float64]
Patterns = Sequence[str] | NDArray[np.object_]
"""(n,) availability pattern of each row, as `pattern_keys` gives it."""


@dataclass(frozen=True, slots=True)
class PatternTrust:
    """How far to believe scores of rows that have the same modalities."""

    temperature: float = 1.0  # > 0; logits are divided by it
    conformal: float | None = None
    """Largest nonconformity inside a prediction set. class, multilabel: [0, 1], see `prediction_sets`; number: half
    the interval's width. None: unknown, every label may be right."""
    abstain_below: float = 0.0  # confidence below which a person decides; above 1 always
    n: int = 0  # rows it was measured on


@dataclass(frozen=True, slots=True)
class Trust:
    """By availability pattern: the present modalities in the model's order, joined by "+"."""

    default: PatternTrust = PatternTrust()  # of patterns that are not listed
    patterns: Mapping[str, PatternTrust] = field(default_factory=dict)
    method: SetMethod = "lac"
    coverage: float = 0.9  # share of rows whose set holds the truth

    def of(self, pattern: str) -> PatternTrust:
        return self.patterns.get(pattern, self.default)

    def temperatures(self, patterns: Patterns) -> Doubles:
        return self._per_row(patterns, "temperature")

    def limits(self, patterns: Patterns) -> Doubles:
        """(n,) conformal thresholds, infinite where unknown."""
        return self._per_row(patterns, "conformal")

    def demanded(self, patterns: Patterns) -> Doubles:
        """(n,) confidence below which a person decides."""
        return self._per_row(patterns, "abstain_below")

    def _per_row(self, patterns: Patterns, name: str) -> Doubles:
        values = {pattern: getattr(self.of(pattern), name) for pattern in set(patterns)}
        return np.array([np.inf if (value := values[pattern]) is None else value for pattern in patterns], dtype=float)


@dataclass(frozen=True, slots=True)
class HeadInfo:
    """What must be known of a head to read its scores.

    Attributes:
        prior: class: (C,) shares of the labels; multilabel: (C,) share of rows that carry each; number: mean and
            standard deviation.
        out_of_scope: the answer when none of the labels fits. It is not among `labels`.
        out_of_scope_threshold: logit from which on a row is out of scope.
    """

    name: str
    type: HeadType
    labels: tuple[str, ...]
    prior: tuple[float, ...]
    out_of_scope: str | None = None
    out_of_scope_threshold: float | None = None
    trust: Trust = Trust()


def pattern_keys(present: Mask, modalities: Sequence[str]) -> NDArray[np.object_]:
    """(n, K) mask -> (n,) availability patterns, e.g. "text+image"; "" where nothing is there."""
    unique, index = np.unique(present, axis=0, return_inverse=True)
    keys = ["+".join(name for name, here in zip(modalities, row, strict=True) if here) for row in unique]
    return np.array(keys, dtype=object)[index.reshape(-1)] if keys else np.empty(0, dtype=object)


def probabilities(logits: Floats | Doubles, patterns: Patterns, head: HeadInfo) -> Doubles:
    """Calibrate scores by the temperature of each row's availability pattern.

    Args:
        logits: (n, C) log-probabilities or logits, `Scores.fused`.
        patterns: (n,) keys as `pattern_keys` gives them.
    Returns:
        (n, C): softmax for a class, sigmoid for a multilabel head, the values as they are for a number.

    Source: temperature scaling, Guo et al. 2017, arXiv:1706.04599.
    """
    values = np.asarray(logits, dtype=np.float64)
    if head.type == "number":
        return values
    scaled = values / head.trust.temperatures(patterns)[:, None]
    return softmax(scaled) if head.type == "class" else sigmoid(scaled)


def confidence(chances: Doubles, head: HeadInfo) -> Doubles:
    """(n, C) probabilities -> (n,) chance that the prediction is right; multilabel: in every label, were they
    independent of each other."""
    return np.asarray(chances.max(axis=1) if head.type == "class" else np.maximum(chances, 1 - chances).prod(axis=1))


def softmax(logits: Doubles) -> Doubles:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: Doubles) -> Doubles:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))  # without overflow at either end


def nonconformity(chances: Doubles, method: SetMethod = "lac") -> Doubles:
    """How strange each label would be as the truth: a label is in the set where this is at most the threshold.

    Args:
        chances: (n, C) probabilities.
    Returns:
        (n, C) in [0, 1]. lac: 1 - p, the smallest sets, which may be empty for an unusual row. aps: probability of
        the label and of all that are likelier; larger sets whose coverage varies less between easy and hard rows.

    Source: Sadinle et al. 2019, arXiv:1609.00451; Romano et al. 2020, arXiv:2006.02544 (without randomisation).
    """
    if method == "lac":
        return 1 - chances
    order = np.argsort(-chances, axis=-1, kind="stable")
    mass = np.cumsum(np.take_along_axis(chances, order, axis=-1), axis=-1)
    strange = np.empty_like(chances)
    np.put_along_axis(strange, order, np.minimum(mass, 1.0), axis=-1)
    return strange


def prediction_sets(chances: Doubles, patterns: Patterns, head: HeadInfo) -> Mask:
    """(n, C) bool: the labels that hold the truth in `trust.coverage` of rows with the same pattern."""
    limits = head.trust.limits(patterns)[:, None]
    method = head.trust.method if head.type == "class" else "lac"
    return np.asarray(nonconformity(chances, method) <= limits + 1e-12)


def conflict(unimodal: Floats, present: Mask, modalities: Sequence[str], head: HeadInfo) -> Doubles:
    """Disagreement between what the modalities say alone.

    Args:
        unimodal: (n, K, C) `Scores.unimodal`, NaN where a modality does not speak.
    Returns:
        (n,): the Jensen-Shannon divergence between the unimodal posteriors, divided by its largest possible value,
        so in [0, 1] (multilabel: the mean over labels); number: the standard deviation between the unimodal values
        in units of the prior's. 0 where fewer than two modalities speak.

    Source: Lin 1991, doi:10.1109/18.61115, eq. 5.1 with equal weights.
    """
    alone = np.asarray(unimodal, dtype=np.float64)
    speaks = present & ~np.isnan(alone).any(axis=2)  # (n, K)
    voices = speaks.sum(axis=1)
    if head.type == "number":
        spread = np.nanstd(np.where(speaks, alone[:, :, 0], np.nan)[voices > 1], axis=1)
        result = np.zeros(len(present))
        result[voices > 1] = spread / max(head.prior[1], 1e-12)
        return result
    temperatures = np.array([head.trust.of(name).temperature for name in modalities])
    logits = np.where(speaks[:, :, None], alone, 0.0) / temperatures[None, :, None]
    chances = softmax(logits) if head.type == "class" else np.stack([sigmoid(logits), sigmoid(-logits)], axis=-1)
    weights = speaks / np.maximum(voices, 1)[:, None]
    mean = np.einsum("nk,nk...->n...", weights, chances)
    within = np.einsum("nk,nk...->n...", weights, _entropy(chances))
    divergence = (_entropy(mean) - within) / np.log(np.maximum(voices, 2)).reshape(-1, *(1,) * (within.ndim - 1))
    divergence = divergence if divergence.ndim == 1 else divergence.mean(axis=1)
    return np.asarray(np.where(voices > 1, np.clip(divergence, 0, 1), 0.0))


def _entropy(chances: Doubles) -> Doubles:
    return np.asarray(-(chances * np.log(np.maximum(chances, 1e-300))).sum(axis=-1))


def log_odds(chances: Doubles) -> Doubles:
    """Of probabilities, bounded at about ±27.6 so that differences stay finite."""
    bounded = np.clip(chances, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(bounded) - np.log1p(-bounded))
