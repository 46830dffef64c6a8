"""Why a model decided as it did about one sample: which modality, and which words, patches and seconds in it.

Across modalities: exact Shapley values (`Understanding.shapley`). Within one: each unit is taken away, the rest encoded
again, and the score is what the model then says less for the label. `learn.faithfulness` tests that such scores are
true of the model. Needs no training packages: the console explains with it what an exported model said.

Source: occlusion, Zeiler & Fergus 2014, arXiv:1311.2901.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from duomo.errors import InputError
from duomo.learn.occlude import Occluder, Unit, occluder
from duomo.models import shapley
from duomo.models.encoders import Encoded, Value
from duomo.models.features import Features, Floats
from duomo.models.heads import Doubles, HeadInfo, probabilities
from duomo.models.understanding import Understanding, in_batches
from duomo.types import Sample

Row = Mapping[str, Mapping[str, Encoded]]
"""What the encoders gave for each modality of one sample."""


class Encodes(Protocol):
    """As `models.encoders.Encoders` does."""

    def value(self, sample: Sample, modality: str) -> Value | None: ...
    def encode(self, modality: str, value: Value) -> dict[str, Encoded]: ...
    def features(self, rows: Sequence[Row]) -> Features: ...


class Explainable(Protocol):
    """A trained model with its encoders, as `learn.model.Model` is."""

    @property
    def understanding(self) -> Understanding: ...
    @property
    def encoders(self) -> Encodes: ...

    @property
    def means(self) -> Mapping[str, Floats]:
        """Of plain vectors over the training samples, by modality: what an entry that is taken away becomes."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """An exported model as something explainable; it does not state the means of vectors, which are then zeros."""

    understanding: Understanding
    encoders: Encodes
    means: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Similar:
    """A known sample near to the explained one."""

    id: str
    score: float  # mean cosine of the dense views that both have, [-1, 1]
    text: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Attributes:
        label: what is explained: the prediction, or the label that was asked about. Of a row out of scope the label
            that comes nearest.
        confidence: its probability; None for a number.
        support: the model's log-odds of the label; number: the value.
        prior: the same before anything is seen.
        contributions: modality -> Shapley value; they sum to support - prior.
        shares: modality -> |contribution| as a part of all.
        alone: modality -> what it says without the others; number: the value as label, without a probability.
        alternatives: the three likeliest labels.
        units: modality -> its pieces in their order, with scores.
        values: modality -> what was encoded, for drawing.
    """

    id: str
    head: str
    label: str
    confidence: float | None
    out_of_scope: bool
    support: float
    prior: float
    contributions: Mapping[str, float]
    shares: Mapping[str, float]
    alone: Mapping[str, Choice | None]
    alternatives: tuple[Choice, ...]
    conflict: float
    units: Mapping[str, tuple[Unit, ...]]
    similar: tuple[Similar, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON for the console: offsets of words in `text`, boxes in pixels, seconds."""
        found = {name: value for name, value in asdict(replace(self, values={})).items() if name != "values"}
        return {**found, "text": self.values.get("text")}

    def to_text(self) -> str:
        sure = "" if self.confidence is None else f" ({self.confidence:.1%})"
        lines = [f"{self.id} {self.head}: {self.label}{sure}, conflict {self.conflict:.2f}"]
        for modality, share in self.shares.items():
            strongest = sorted(self.units.get(modality, ()), key=lambda unit: -abs(unit.score))[:5]
            named = ", ".join(f"{_named(unit)} {unit.score:+.2f}" for unit in strongest)
            lines.append(f"  {modality} {share:.0%}: {named}")
        return "\n".join(lines)

    def to_html(self) -> str:
        from duomo.learn.explain_page import render  # it reads this module's types

        return render(self)


def _named(unit: Unit) -> str:
    if unit.box is not None:
        return f"patch {unit.box}"
    if unit.kind in ("word", "turn"):
        return repr(unit.text)
    return f"{unit.kind} {unit.start:g}-{unit.end:g}"


def explain(
    model: Explainable,
    sample: Sample,
    *,
    head: str | None = None,
    label: str | None = None,
    units: bool = True,
    similar: Iterable[Similar] = (),
) -> Explanation:
    """
    Args:
        head: which; None: the first.
        label: explain why this one is (un)likely instead of the prediction.
        units: also look inside the modalities, which encodes the sample again for every piece of it.
        similar: known samples to show beside it, such as `nearest` finds.
    Raises:
        InputError: no such head or label; nothing in the sample that the model reads.
    """
    taken = Taken(model, sample, head=head, label=label)
    understanding, info = model.understanding, taken.info
    base = taken.features([{}])
    output = understanding.predict_features(base)[info.name]
    phi = understanding.shapley(base, targets={info.name: np.array([taken.target])})[info.name]
    parts = shapley.shares(phi, base.present)[0]
    here = [k for k, name in enumerate(understanding.modalities) if base.present[0, k]]
    names = {k: understanding.modalities[k] for k in here}
    support = float(understanding.support(base, info.name, taken.target)[0])
    number = info.type == "number"
    return Explanation(
        id=sample.id,
        head=info.name,
        label=f"{support:.6g}" if number else info.labels[taken.target],
        confidence=None if number else float(output.probabilities[0, taken.target]),
        out_of_scope=bool(output.is_out_of_scope[0]),
        support=support,
        prior=support - float(phi[0].sum()),
        contributions={name: float(phi[0, k]) for k, name in names.items()},
        shares={name: float(parts[k]) for k, name in names.items()},
        alone={name: _alone(understanding, info, base, k) for k, name in names.items()},
        alternatives=() if number else _likeliest(info, output.probabilities[0]),
        conflict=float(output.conflict[0]),
        units=taken.scored(support) if units else {},
        similar=tuple(similar),
        values=taken.values,
    )


class Taken:
    """One sample in pieces, and what the model says without some of them."""

    def __init__(self, model: Explainable, sample: Sample, *, head: str | None, label: str | None) -> None:
        self._understanding, self._encoders = model.understanding, model.encoders
        modalities = self._understanding.modalities
        found = {name: self._encoders.value(sample, name) for name in modalities}
        self.values: dict[str, Value] = {name: value for name, value in found.items() if value is not None}
        if not self.values:
            raise InputError(
                f"sample {sample.id} has nothing this model reads. Give it one of: {', '.join(modalities)}."
            )
        self.info = _head(self._understanding, head)
        self._whole = {name: self._encoders.encode(name, value) for name, value in self.values.items()}
        self.occluders: dict[str, Occluder] = {
            name: occluder(name, value, mean=model.means.get(name)) for name, value in self.values.items()
        }
        self.target = self._target(label)

    def _target(self, label: str | None) -> int:
        if label is not None:
            if label not in self.info.labels:
                allowed = ", ".join(self.info.labels[:20]) or "none: it predicts a number"
                raise InputError(f"head {self.info.name} has no label {label!r}; its labels: {allowed}.")
            return self.info.labels.index(label)
        output = self._understanding.predict_features(self.features([{}]))[self.info.name]
        return 0 if self.info.type == "number" else int(output.probabilities[0].argmax())

    def features(self, removals: Sequence[Mapping[str, frozenset[int]]]) -> Features:
        """One row for each set of units that is gone."""
        known: dict[tuple[str, frozenset[int]], Mapping[str, Encoded] | None] = {}
        rows = []
        for removed in removals:
            row = dict(self._whole)
            for modality, gone in removed.items():
                if not gone:
                    continue
                if (modality, gone) not in known:
                    left = self.occluders[modality].without(gone)
                    known[modality, gone] = None if left is None else self._encoders.encode(modality, left)
                encoded = known[modality, gone]
                if encoded is None:
                    del row[modality]
                else:
                    row[modality] = dict(encoded)
            rows.append(row)
        return self._encoders.features(rows)

    def scored(self, support: float) -> dict[str, tuple[Unit, ...]]:
        pieces = [(name, index) for name, one in self.occluders.items() for index in range(len(one.units))]
        if not pieces:
            return {}
        altered = self.features([{name: frozenset([index])} for name, index in pieces])
        drops = support - self._understanding.support(altered, self.info.name, self.target)
        found: dict[str, list[Unit]] = {name: [] for name in self.occluders}
        for (name, index), drop in zip(pieces, drops, strict=True):
            found[name].append(replace(self.occluders[name].units[index], score=round(float(drop), 5)))
        return {name: tuple(units) for name, units in found.items()}


def _head(understanding: Understanding, name: str | None) -> HeadInfo:
    if name is None:
        return next(iter(understanding.heads.values()))
    if name not in understanding.heads:
        raise InputError(f"the model has no head {name!r}; it has {', '.join(understanding.heads)}.")
    return understanding.heads[name]


def _likeliest(info: HeadInfo, chances: Doubles) -> tuple[Choice, ...]:
    best = np.argsort(-chances, kind="stable")[:3]
    return tuple(Choice(info.labels[c], float(chances[c])) for c in best)


def _alone(understanding: Understanding, info: HeadInfo, base: Features, k: int) -> Choice | None:
    """What modality k says without the others; None where the model has nothing for it alone."""
    scores = in_batches(understanding.core, base, np.arange(1), base.present)[info.name]
    said = scores.unimodal[:, k]
    if np.isnan(said).any():
        return None
    if info.type == "number":
        return Choice(f"{said[0, 0]:.6g}", 1.0)
    return _likeliest(info, probabilities(said, [understanding.modalities[k]], info)[0])[0]


def nearest(
    features: Features, reference: Features, samples: Sequence[Sample], *, head: str | None = None, most: int = 3
) -> tuple[Similar, ...]:
    """The reference samples nearest to one row: by the mean cosine of the dense views whose modality both have."""
    total, shared = np.zeros(len(reference)), np.zeros(len(reference))
    for name, wanted in features.dense.items():
        modality = next((m for m in features.modalities if name == m or name.startswith(f"{m}.")), None)
        if modality is None or not features.present[0, features.modalities.index(modality)]:
            continue
        both = reference.present[:, reference.modalities.index(modality)]
        known = reference.dense[name]
        lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(wanted[0])
        total += np.where(both, known @ wanted[0] / np.maximum(lengths, 1e-12), 0)
        shared += both
    cosine = np.where(shared > 0, total / np.maximum(shared, 1), -1)
    best = np.argsort(-cosine, kind="stable")[:most]
    return tuple(
        Similar(samples[row].id, float(cosine[row]), samples[row].text or "", _label(samples[row], head))
        for row in best
    )


def _label(sample: Sample, head: str | None) -> str:
    label = sample.labels.get(head) if head else next(iter(sample.labels.values()), None)
    return ", ".join(label) if isinstance(label, tuple) else "" if label is None else str(label)
