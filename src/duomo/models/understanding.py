"""The trained model at work: what a message wants, how sure that is, and which modality said so.

Loads the folder that `duomo export --onnx` writes, with onnxruntime and numpy alone. The torch model of `learn/`
gives the same `Scores`, so that calibration, prediction sets, abstention and modality shares exist once, here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors  # type: ignore[import-untyped]

from duomo.errors import ConfigError, InputError, ModelUnavailable
from duomo.models import shapley
from duomo.models.features import Features, Floats, Mask, SparseRows, View
from duomo.models.heads import (
    Doubles,
    confidence,
    conflict,
    log_odds,
    pattern_keys,
    prediction_sets,
    probabilities,
    sigmoid,
)
from duomo.models.heads import HeadInfo as HeadInfo
from duomo.models.heads import PatternTrust as PatternTrust
from duomo.models.heads import Trust as Trust
from duomo.models.manifest import Manifest as Manifest
from duomo.models.manifest import Precision
from duomo.models.onnx_session import open_session

BATCH = 4096  # rows that go through the core at once
LIKELIEST = 5  # labels named beside the predicted one

UNREADABLE = (onnx_errors.Fail, onnx_errors.InvalidProtobuf, onnx_errors.InvalidGraph, onnx_errors.NotImplemented)
"""What onnxruntime raises for a graph that it cannot open."""


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


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What one head says about n rows.

    Attributes:
        probabilities: (n, C), calibrated; number: (n, 1) the value.
        predicted: class: (n,) index of the label; multilabel: (n, C) bool; number: (n,) value.
        confidence: (n,) of the prediction as a whole; number: the interval's coverage.
        sets: (n, C) bool, labels that may be right; number: (n, 0).
        interval: (n, 2) lowest and highest value of a number; None otherwise.
        abstain: (n,) a person should decide.
        out_of_scope: (n,) probability that none of the labels fits, .5 at the threshold; zeros where not asked.
        conflict: (n,) disagreement of the modalities, [0, 1]; number: the standard deviation between them in units
            of the prior's. 0 where fewer than two speak.
    """

    probabilities: Doubles
    predicted: NDArray[Any]
    confidence: Doubles
    sets: Mask
    interval: Doubles | None
    abstain: Mask
    out_of_scope: Doubles
    conflict: Doubles

    @property
    def is_out_of_scope(self) -> Mask:
        return self.out_of_scope >= 0.5


@dataclass(frozen=True, slots=True)
class HeadPrediction:
    """What one head says about one sample."""

    label: str | float | list[str]
    confidence: float | dict[str, float]  # multilabel: of every label
    set: list[str] | list[float | None]  # number: lowest and highest value, None when unbounded
    abstain: bool
    shares: dict[str, float]  # modality -> part in the prediction, sum 1
    conflict: float
    out_of_scope: float = 0.0  # probability that none of the labels fits, .5 at the threshold
    top: tuple[tuple[str, float], ...] = ()  # the likeliest labels with their probabilities; of a number none

    def as_dict(self) -> dict[str, Any]:
        """The line form of `duomo predict --json`."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "set": self.set,
            "abstain": self.abstain,
            "shares": self.shares,
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    id: str
    heads: Mapping[str, HeadPrediction]

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "heads": {name: head.as_dict() for name, head in self.heads.items()}}


@dataclass(frozen=True, slots=True)
class Understanding:
    """A trained model: a core that gives scores, and what turns scores into decisions."""

    core: Core
    heads: Mapping[str, HeadInfo]
    modalities: tuple[str, ...]
    views: tuple[View, ...] = ()
    manifest: Manifest | None = None

    def predict(self, features: Features, *, ids: Sequence[str] | None = None, shares: bool = True) -> list[Prediction]:
        """One prediction a row, with the modalities' shares unless they are not wanted (they cost 2^K passes)."""
        if not len(features):
            return []
        outputs = self.predict_features(features)
        parts = self.shares(features) if shares else {}
        names = [str(row) for row in range(len(features))] if ids is None else ids
        return [
            Prediction(
                name,
                {
                    head: self._line(self.heads[head], output, row, parts.get(head), features.present[row])
                    for head, output in outputs.items()
                },
            )
            for row, name in enumerate(names)
        ]

    def predict_features(self, features: Features) -> dict[str, HeadOutput]:
        """By head, with what `Core.scores` says of the features turned into decisions."""
        self._check(features)
        scores = in_batches(self.core, features, np.arange(len(features)), features.present)
        return {name: self.decide(name, scores[name], features.present) for name in self.heads}

    def decide(self, name: str, scores: Scores, present: Mask) -> HeadOutput:
        """Calibrate, predict, build sets and abstain. `present` is (n, K) in the order of `modalities`."""
        head = self.heads[name]
        patterns = pattern_keys(present, self.modalities)
        chances = probabilities(scores.fused, patterns, head)
        odd = conflict(scores.unimodal, present, self.modalities, head)
        nothing = np.asarray(~present.any(axis=1))
        beyond = np.zeros(len(chances))
        if head.type == "number":
            half = head.trust.limits(patterns)
            value = chances[:, 0]
            sure = np.full(len(value), head.trust.coverage)
            interval = np.stack([value - half, value + half], axis=1)
            none = np.zeros((len(value), 0), dtype=np.bool_)
            return HeadOutput(chances, value, sure, none, interval, nothing, beyond, odd)
        sets, sure = prediction_sets(chances, patterns, head), confidence(chances, head)
        if head.type == "class":
            predicted = chances.argmax(axis=1)
            if scores.out_of_scope is not None and head.out_of_scope is not None:
                logit = np.asarray(scores.out_of_scope, dtype=np.float64)
                beyond = sigmoid(logit - (head.out_of_scope_threshold or 0.0))
        else:
            predicted = chances >= 0.5
        unsure = np.asarray(sure < head.trust.demanded(patterns))
        abstain = np.asarray((unsure & (beyond < 0.5)) | nothing)  # "none of the labels" is an answer
        return HeadOutput(chances, predicted, sure, sets, None, abstain, beyond, odd)

    def shapley(
        self, features: Features, *, targets: Mapping[str, NDArray[np.int64]] | None = None
    ) -> dict[str, Doubles]:
        """What each modality adds to the prediction, by head: (n, K), zeros where a modality is missing.

        The value of a set of modalities is what the model says when only they are there: log-odds of the predicted
        class (multilabel: of the likeliest label; number: the value), with nothing there those of the prior. A row
        sums to value(all present) - value(nothing). Exact for up to 8 present modalities, sampled above.

        Args:
            targets: (n,) index of the label to explain by head, instead of the predicted one.
        """
        self._check(features)
        plan = shapley.plan(features.present)
        scores = in_batches(self.core, features, plan.rows, plan.present)
        result = {}
        for name, head in self.heads.items():
            chances = self._chances(head, scores[name], plan.present)
            target = (targets or {}).get(name, chances[plan.full].argmax(axis=1))
            result[name] = plan.combine(_support(head, chances, target[plan.rows], plan.present))
        return result

    def support(self, features: Features, head: str, target: int) -> Doubles:
        """(n,) what the model says for one label: its log-odds; of a number head the value."""
        self._check(features)
        scores = in_batches(self.core, features, np.arange(len(features)), features.present)
        chances = self._chances(self.heads[head], scores[head], features.present)
        return _support(self.heads[head], chances, np.full(len(features), target), features.present)

    def _chances(self, head: HeadInfo, scores: Scores, present: Mask) -> Doubles:
        return probabilities(scores.fused, pattern_keys(present, self.modalities), head)

    def shares(self, features: Features) -> dict[str, Doubles]:
        """By head (n, K): each modality's part in the prediction, |phi_k| / sum |phi|; rows sum to 1, or are 0 when
        nothing is present."""
        return {name: shapley.shares(phi, features.present) for name, phi in self.shapley(features).items()}

    def _check(self, features: Features) -> None:
        if features.modalities != self.modalities:
            raise InputError(
                f"features have the modalities {', '.join(features.modalities) or 'none'}, the model was trained on "
                f"{', '.join(self.modalities)}. Encode the samples with the model's own views."
            )

    def _line(self, head: HeadInfo, output: HeadOutput, row: int, parts: Doubles | None, here: Mask) -> HeadPrediction:
        shares = (
            {}
            if parts is None
            else {name: round(float(parts[row, k]), 4) for k, name in enumerate(self.modalities) if here[k]}
        )
        label: str | float | list[str]
        confidence: float | dict[str, float] = float(output.confidence[row])
        allowed: list[str] | list[float | None]
        if output.interval is not None:
            label = float(output.predicted[row])
            allowed = [float(end) if np.isfinite(end) else None for end in output.interval[row]]
        elif output.is_out_of_scope[row] and head.out_of_scope is not None:
            label, confidence, allowed = head.out_of_scope, float(output.out_of_scope[row]), [head.out_of_scope]
        else:
            chances = output.probabilities[row]
            allowed = [head.labels[c] for c in np.argsort(-chances, kind="stable") if output.sets[row, c]]
            if head.type == "multilabel":
                label = [name for name, yes in zip(head.labels, output.predicted[row], strict=True) if yes]
                confidence = {name: float(p) for name, p in zip(head.labels, chances, strict=True)}
            else:
                label = head.labels[int(output.predicted[row])]
        first = np.argsort(-output.probabilities[row], kind="stable")[:LIKELIEST] if output.interval is None else ()
        return HeadPrediction(
            label, confidence, allowed, bool(output.abstain[row]), shares, float(output.conflict[row]),
            out_of_scope=float(output.out_of_scope[row]),
            top=tuple((head.labels[c], float(output.probabilities[row, c])) for c in first),
        )  # fmt: skip


def _support(head: HeadInfo, chances: Doubles, target: NDArray[np.int64], present: Mask) -> Doubles:
    """(n,) log-odds of the target label, or the number; what the prior says where nothing is present."""
    if head.type == "number":
        said, prior = chances[:, 0], np.full(len(chances), head.prior[0])
    else:
        said = log_odds(np.take_along_axis(chances, target[:, None], axis=1)[:, 0])
        prior = log_odds(np.asarray(head.prior, dtype=np.float64))[target]
    return np.where(present.any(axis=1), said, prior)


def in_batches(core: Core, features: Features, rows: NDArray[np.int64], present: Mask) -> dict[str, Scores]:
    """Scores of `features.take(rows)` where only `present` is left, without holding all of it at once."""
    parts: list[Mapping[str, Scores]] = []
    for start in range(0, max(len(rows), 1), BATCH):
        taken = features.take(rows[start : start + BATCH])
        parts.append(core.scores(replace(taken, present=present[start : start + BATCH])))
    if len(parts) == 1:
        return dict(parts[0])
    return {head: _joined([part[head] for part in parts]) for head in parts[0]}


def _joined(parts: Sequence[Scores]) -> Scores:
    beyond = [part.out_of_scope for part in parts if part.out_of_scope is not None]
    return Scores(
        np.concatenate([part.fused for part in parts]),
        np.concatenate([part.unimodal for part in parts]),
        np.concatenate(beyond) if beyond else None,
    )


@dataclass(frozen=True, slots=True)
class OnnxCore:
    """The exported network. Its graph's inputs are called `present`, VIEW, VIEW.columns and VIEW.values, its outputs
    HEAD.fused, HEAD.unimodal and HEAD.out_of_scope."""

    session: onnxruntime.InferenceSession
    views: tuple[View, ...]
    vocabularies: Mapping[str, NDArray[np.int64]]  # sparse view -> ascending columns the model knows

    def scores(self, features: Features) -> dict[str, Scores]:
        names = [output.name for output in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(names, self.inputs(features)), strict=True))
        heads = dict.fromkeys(name.rpartition(".")[0] for name in names)
        return {
            head: Scores(outputs[f"{head}.fused"], outputs[f"{head}.unimodal"], outputs.get(f"{head}.out_of_scope"))
            for head in heads
        }

    def inputs(self, features: Features) -> dict[str, NDArray[Any]]:
        given = graph_inputs(features, self.views, self.vocabularies)
        return {one.name: given[one.name] for one in self.session.get_inputs()}  # without views that no member uses


def graph_inputs(
    features: Features, views: Sequence[View], vocabularies: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """What an exported graph is fed with.

    Raises:
        InputError: a view is missing or has another length than in training.
    """
    inputs: dict[str, NDArray[Any]] = {"present": features.present}
    for view in views:
        held = features.sparse if view.sparse else features.dense
        if view.name not in held:
            raise InputError(f"features lack the view {view.name} ({view.encoder}). Encode with the model's own views.")
        if view.sparse:
            columns, values = positions(features.sparse[view.name], vocabularies[view.name])
            inputs[f"{view.name}.columns"], inputs[f"{view.name}.values"] = columns, values
        else:
            dense = features.dense[view.name]
            if dense.shape[1] != view.dim:
                raise InputError(
                    f"{view.name} has {dense.shape[1]} numbers a row, the model was trained on {view.dim}. "
                    "Encode with the model's own views."
                )
            inputs[view.name] = np.ascontiguousarray(dense, dtype=np.float32)
    return inputs


def positions(rows: SparseRows, vocabulary: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """Sparse rows as a rectangle of positions in a vocabulary.

    Args:
        vocabulary: (V,) ascending columns that the model knows; others are left out.
    Returns:
        (n, m) int64: 1 + position, 0 where a row has no more entries, m at least 1; (n, m) float32: their values.
    """
    place = np.searchsorted(vocabulary, rows.columns)
    known = place < len(vocabulary)
    known[known] = vocabulary[place[known]] == rows.columns[known]
    row = np.repeat(np.arange(len(rows)), np.diff(rows.starts))[known]
    counts = np.bincount(row, minlength=len(rows))
    before = np.cumsum(counts) - counts
    slot = np.arange(len(row)) - before[row]
    shape = (len(rows), max(1, int(counts.max(initial=0))))
    columns, values = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    columns[row, slot] = place[known] + 1
    values[row, slot] = rows.values[known]
    return columns, values


def load(folder: Path, *, precision: Precision = "fp32", threads: int = 1) -> Understanding:
    """Open an exported folder after checking every file's hash.

    Args:
        folder: what `duomo export --onnx` wrote, or the model's folder that has it as `onnx/`.
    Raises:
        ModelUnavailable: a file is missing, cut off or changed.
        ConfigError: the folder has another format, or no graph of that precision.
    """
    folder = folder if (folder / "manifest.json").is_file() else folder / "onnx"
    manifest = Manifest.read(folder / "manifest.json")
    manifest.check(folder)
    if precision not in manifest.graphs:
        raise ConfigError(
            f"{folder} has no {precision} graph, only {', '.join(manifest.graphs) or 'none'}. Run `duomo export --onnx"
            f"{' --int8' if precision == 'int8' else ''}`."
        )
    try:
        session = open_session(folder / manifest.graphs[precision], threads=threads, restore=precision == "int8")
        vocabularies = {
            view: np.load(folder / file, allow_pickle=False) for view, file in manifest.vocabularies.items()
        }
    except (ValueError, *UNREADABLE) as error:
        raise ModelUnavailable(f"{folder} does not open: {error}. Export the model again.") from error
    core = OnnxCore(session, manifest.views, vocabularies)
    return Understanding(core, manifest.heads, manifest.modalities, manifest.views, manifest)
