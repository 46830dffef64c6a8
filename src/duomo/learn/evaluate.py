"""How good a trained model is: on all rows, by what is there of them, by language and under damage; and beside another.

    evaluate(model, samples) -> Evaluation -> as_json() | report.to_html() | report.to_text()

Nothing here trains or encodes: a model gives features and answers (`Evaluated`), `metrics` gives the figures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from duomo.errors import InputError
from duomo.learn import metrics
from duomo.learn.corrupt import CORRUPTIONS, corrupted
from duomo.learn.metrics import Array, Decisions, Difference, Formula, Measured
from duomo.learn.samples import fingerprint
from duomo.learn.wording import NOTHING
from duomo.models.features import Features
from duomo.models.heads import HeadInfo, HeadType, pattern_keys
from duomo.models.language import detect_language
from duomo.models.understanding import HeadOutput
from duomo.types import Sample

ALL_SUBSETS = 4  # modalities up to which every subset is tried; beyond, each alone and all but each
WORST = 24  # errors kept a head
MATRIX = 25  # classes up to which the whole confusion matrix is kept
PAIRS = 30  # of labels most often taken for each other, kept beyond
FORMS: Mapping[str, tuple[type, ...]] = {"class": (str,), "multilabel": (tuple, list), "number": (int, float)}
"""Of the labels of each type of head."""


class Evaluated(Protocol):
    """What is asked of a model. `learn.model.Model` is one; so is `Understanding` with encoders."""

    @property
    def heads(self) -> Mapping[str, HeadInfo]: ...

    def features(self, samples: Sequence[Sample]) -> Features:
        """Encode; a broken file is a missing modality."""
        ...

    def predict_features(self, features: Features) -> Mapping[str, HeadOutput]: ...


@dataclass(frozen=True, slots=True)
class Error:
    """A row that the model got wrong."""

    sample: Sample
    true: str
    predicted: str
    pattern: str
    confidence: float | None = None  # class: of the wrong answer, [0, 1]
    chance: float | None = None  # class: probability of the true label; None where it, or the answer, has none
    distance: float | None = None  # number: predicted - true


@dataclass(frozen=True, slots=True)
class Detail:
    """What a head's report shows beside the figures.

    Attributes:
        labels: names of the classes; those after the model's own are "out of scope" and unknown to the model.
        support: rows of each.
        confusion: (classes, classes) counts, true down and predicted across; None for heads of other types.
        points: (true, predicted) of a number head, at most 500.
    """

    type: HeadType
    measured: Measured
    labels: tuple[str, ...] = ()
    support: tuple[int, ...] = ()
    out_of_scope: str | None = None  # which label says that none fits
    confusion: NDArray[np.int64] | None = None
    reliability: Sequence[Mapping[str, float]] = ()
    risk_coverage: Sequence[tuple[float, float]] = ()
    out_of_scope_roc: Sequence[tuple[float, float]] = ()
    points: Sequence[tuple[float, float]] = ()
    errors: Sequence[Error] = ()  # the most confident first

    def confused(self) -> list[tuple[str, str, int]]:
        """(true, predicted, rows) of the labels most often taken for another, most first."""
        if self.confusion is None:
            return []
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        cells = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
        rows, columns = np.unravel_index(cells, wrong.shape)
        return [
            (self.labels[r], self.labels[c], int(wrong[r, c]))
            for r, c in zip(rows, columns, strict=True)
            if wrong[r, c]
        ]

    def as_json(self) -> dict[str, Any]:
        detail: dict[str, Any] = {"type": self.type, "n": self.measured.n, "groups": self.measured.groups}
        if self.labels:
            detail["per_class"] = {
                label: {"n": self.support[c]}
                | {name: figures[c].as_json() for name, figures in self.measured.per_class.items()}
                for c, label in enumerate(self.labels)
            }
        if self.confusion is not None:
            if len(self.labels) <= MATRIX:
                detail["confusion"] = {"labels": list(self.labels), "counts": self.confusion.tolist()}
            detail["confused"] = [{"true": t, "predicted": p, "n": n} for t, p, n in self.confused()]
        curves = {
            "reliability": [dict(bin) for bin in self.reliability],
            "risk_coverage": [list(point) for point in self.risk_coverage],
            "out_of_scope_roc": [list(point) for point in self.out_of_scope_roc],
            "points": [list(point) for point in self.points],
        }
        errors = [
            {"id": e.sample.id, "true": e.true, "predicted": e.predicted, "confidence": e.confidence}
            for e in self.errors
        ]
        return detail | {name: curve for name, curve in curves.items() if curve} | {"errors": errors}


Table = Mapping[str, Mapping[str, Measured]]
"""Kind of rows -> head -> figures."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    Attributes:
        by_pattern: rows by the modalities that they have.
        by_forced_pattern: all rows that have these modalities, with the others taken away: what the same model does
            for a customer who sends less.
        by_language: of the text.
        by_corruption: rows with a damaged text, picture or sound; only rows that have what is damaged.
    """

    n: int
    seed: int
    resamples: int
    heads: Mapping[str, Detail]
    by_pattern: Table = field(default_factory=dict)
    by_forced_pattern: Table = field(default_factory=dict)
    by_language: Table = field(default_factory=dict)
    by_corruption: Table = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)  # fingerprint of the samples

    def as_json(self) -> dict[str, Any]:
        """The form of `duomo evaluate --json`: under `heads` and `by_...` every leaf is {"value", "low", "high"}."""
        tables = {
            "by_pattern": self.by_pattern,
            "by_forced_pattern": self.by_forced_pattern,
            "by_language": self.by_language,
            "by_corruption": self.by_corruption,
        }
        return {
            "heads": {name: _figures(detail.measured) for name, detail in self.heads.items()},
            **{
                title: {kind: {name: _figures(row) for name, row in rows.items()} for kind, rows in table.items()}
                for title, table in tables.items()
            },
            "details": {name: detail.as_json() for name, detail in self.heads.items()},
            "rows": {
                title: {kind: {name: row.n for name, row in rows.items()} for kind, rows in table.items()}
                for title, table in tables.items()
            },
            "n": self.n,
            "seed": self.seed,
            "resamples": self.resamples,
            "data": dict(self.data),
        }


def _figures(measured: Measured) -> dict[str, dict[str, float | str | None]]:
    return {name: figure.as_json() for name, figure in measured.figures.items()}


# --- one head's answers beside the truth


@dataclass(frozen=True, slots=True)
class Judged:
    """The labelled rows of one head: where they stand among the samples, and what measures them."""

    rows: NDArray[np.int64]  # (m,) of n
    formula: Formula
    true: Array  # class: (m,) index; multilabel: (m, C) bool; number: (m,)
    predicted: Array  # the same
    labels: tuple[str, ...] = ()  # class, multilabel
    decisions: Decisions | None = None  # class


def labelled(samples: Sequence[Sample], head: str) -> NDArray[np.int64]:
    """Rows that have a label for the head: neither None nor NaN."""
    labels = [sample.labels.get(head) for sample in samples]
    return np.array(
        [i for i, label in enumerate(labels) if label is not None and label == label], dtype=np.int64
    )  # NaN is not itself


def judge(head: HeadInfo, output: HeadOutput, samples: Sequence[Sample]) -> Judged:
    """Put one head's answers beside the labels of the samples (as many rows as the output has).

    Raises:
        InputError: a label of another type than the head's.
    """
    rows = labelled(samples, head.name)
    labels = [samples[row].labels[head.name] for row in rows]
    for row, label in zip(rows, labels, strict=True):
        if not isinstance(label, FORMS[head.type]) or isinstance(label, bool):
            raise InputError(
                f"sample {samples[row].id}: head {head.name} is of type {head.type}, its label is {label!r}. "
                "Correct the label, or leave it out."
            )
    return {"class": _judge_class, "multilabel": _judge_multilabel, "number": _judge_number}[head.type](
        head, output, rows, labels
    )


def _judge_class(head: HeadInfo, output: HeadOutput, rows: NDArray[np.int64], labels: Sequence[Any]) -> Judged:
    asks = head.out_of_scope is not None
    own = (*head.labels, head.out_of_scope) if head.out_of_scope is not None else head.labels
    names = (*own, *sorted(set(labels) - set(own)))
    place = {name: c for c, name in enumerate(names)}
    called = output.is_out_of_scope[rows] & asks
    beyond = output.out_of_scope[rows]
    decisions = Decisions(
        true=np.array([place[label] for label in labels], dtype=np.int64),
        predicted=np.where(called, len(head.labels), output.predicted[rows]).astype(np.int64),
        probabilities=output.probabilities[rows],
        classes=len(names),
        sets=output.sets[rows],
        abstain=output.abstain[rows],
        out_of_scope=beyond if asks else None,
        certainty=np.where(called, beyond, output.confidence[rows]),
    )
    return Judged(rows, metrics.class_formula(decisions), decisions.true, decisions.predicted, names, decisions)


def _judge_multilabel(head: HeadInfo, output: HeadOutput, rows: NDArray[np.int64], labels: Sequence[Any]) -> Judged:
    names = (*head.labels, *sorted({name for label in labels for name in label} - set(head.labels)))
    place = {name: c for c, name in enumerate(names)}
    true = np.zeros((len(rows), len(names)), dtype=np.bool_)
    for row, label in enumerate(labels):
        true[row, [place[name] for name in label]] = True
    unknown = ((0, 0), (0, len(names) - len(head.labels)))  # never predicted
    predicted, scores = np.pad(output.predicted[rows], unknown), np.pad(output.probabilities[rows], unknown)
    return Judged(rows, metrics.multilabel_formula(true, predicted, scores), true, predicted, names)


def _judge_number(head: HeadInfo, output: HeadOutput, rows: NDArray[np.int64], labels: Sequence[Any]) -> Judged:
    true, predicted = np.array(labels, dtype=np.float64), output.predicted[rows].astype(np.float64)
    intervals = None if output.interval is None else output.interval[rows]
    return Judged(rows, metrics.number_formula(true, predicted, intervals), true, predicted)


# --- evaluation


def evaluate(
    model: Evaluated,
    samples: Sequence[Sample],
    *,
    resamples: int = 1000,
    corruptions: bool | Sequence[str] = False,
    damaged_rows: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> Evaluation:
    """Judge a model on labelled samples.

    Args:
        resamples: of the grouped bootstrap behind every interval.
        corruptions: True for all of `corrupt.CORRUPTIONS`, or their names. Each encodes the samples once more.
        damaged_rows: at most so many samples, drawn with the seed, are damaged; beside each damage stands "none",
            the same samples unharmed. None: all.
        progress: is told what is being done.
    Raises:
        InputError: no samples, or no label for any head of the model.
    """
    names = sorted(model.heads)
    if not any(len(labelled(samples, name)) for name in names):
        raise InputError(
            f"none of the {len(samples)} samples has a label for {' or '.join(names)}. "
            "Give a file whose samples have `labels`."
        )
    samples = [_without_nan(sample) for sample in samples]
    progress("encoding")
    features = model.features(samples)
    measure = _Measure(model, samples, resamples, seed)
    outputs = model.predict_features(features)
    patterns = [pattern or NOTHING for pattern in pattern_keys(features.present, features.modalities)]
    progress("measuring")
    languages = [detect_language(sample.text) if sample.text else "" for sample in samples]
    forced: dict[str, Mapping[str, Measured]] = {}
    for kept in subsets(features.modalities):
        progress(f"with {'+'.join(kept)} alone")
        where = features.present[:, [features.modalities.index(name) for name in kept]].all(axis=1)
        if where.any() and (rows := measure.rows(features.only(kept), np.flatnonzero(where))):
            forced["+".join(kept)] = rows
    return Evaluation(
        n=len(samples),
        seed=seed,
        resamples=resamples,
        heads={name: measure.detail(model.heads[name], outputs[name], patterns) for name in model.heads},
        by_pattern=measure.by(patterns, outputs),
        by_forced_pattern=forced,
        by_language={kind: rows for kind, rows in measure.by(languages, outputs).items() if kind},
        by_corruption=_under_damage(measure, corruptions, damaged_rows, outputs, progress),
        data=fingerprint(samples),
    )


def _without_nan(sample: Sample) -> Sample:
    """NaN, as tables write an empty cell, is not a label."""
    if all(label == label for label in sample.labels.values()):
        return sample
    return replace(sample, labels={name: label if label == label else None for name, label in sample.labels.items()})


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Which modalities to leave, in the model's order: every subset of up to four; of more each alone, all but each,
    and all."""
    count = len(modalities)
    sizes = range(1, count + 1) if count <= ALL_SUBSETS else (1, count - 1, count)
    return [kept for size in sizes for kept in combinations(modalities, size)]


@dataclass(frozen=True, slots=True)
class _Measure:
    model: Evaluated
    samples: Sequence[Sample]
    resamples: int
    seed: int

    def of(self, judged: Judged, among: NDArray[np.int64]) -> Measured:
        """Args: among: (n,) which samples the judged rows count in."""
        groups = metrics.group_index([self.samples[among[row]].group for row in judged.rows])
        return metrics.measure(judged.formula, groups=groups, resamples=self.resamples, seed=self.seed)

    def judged(self, name: str, output: HeadOutput, among: NDArray[np.int64]) -> Judged:
        return judge(self.model.heads[name], output, [self.samples[row] for row in among])

    def rows(self, features: Features, among: NDArray[np.int64]) -> dict[str, Measured]:
        """Heads measured on some rows of features; heads without a label there are left out."""
        outputs = self.model.predict_features(features.take(among))
        judged = {name: self.judged(name, outputs[name], among) for name in self.model.heads}
        return {name: self.of(one, among) for name, one in judged.items() if len(one.rows)}

    def by(self, kinds: Sequence[str], outputs: Mapping[str, HeadOutput]) -> dict[str, dict[str, Measured]]:
        """Rows apart by kind, the most frequent kind first."""
        table: dict[str, dict[str, Measured]] = {}
        for kind in sorted(set(kinds), key=lambda kind: (-list(kinds).count(kind), kind)):
            among = np.array([row for row, own in enumerate(kinds) if own == kind], dtype=np.int64)
            judged = {name: self.judged(name, taken(outputs[name], among), among) for name in self.model.heads}
            measured = {name: self.of(one, among) for name, one in judged.items() if len(one.rows)}
            if measured:
                table[kind] = measured
        return table

    def detail(self, head: HeadInfo, output: HeadOutput, patterns: Sequence[str]) -> Detail:
        everything = np.arange(len(self.samples))
        judged = self.judged(head.name, output, everything)
        errors = _errors(judged, self.samples, patterns)
        measured = self.of(judged, everything)
        if judged.decisions is not None:
            rows = judged.decisions
            roc = metrics.roc(rows.true == rows.labels, rows.out_of_scope) if rows.out_of_scope is not None else []
            return Detail(
                head.type,
                measured,
                judged.labels,
                tuple(np.bincount(rows.true, minlength=rows.classes).tolist()),
                head.out_of_scope,
                metrics.confusion(rows),
                metrics.reliability(rows),
                metrics.risk_coverage(rows.order, rows.right) if len(rows.true) else [],
                roc,
                errors=errors,
            )
        if head.type == "multilabel":
            return Detail(head.type, measured, judged.labels, tuple(judged.true.sum(axis=0).tolist()), errors=errors)
        shown = np.random.default_rng(self.seed).permutation(len(judged.rows))[:500]
        points = [(float(judged.true[i]), float(judged.predicted[i])) for i in shown]
        return Detail(head.type, measured, points=points, errors=errors)


def taken(output: HeadOutput, rows: NDArray[np.int64]) -> HeadOutput:
    """The output of some rows."""
    return HeadOutput(
        output.probabilities[rows],
        output.predicted[rows],
        output.confidence[rows],
        output.sets[rows],
        None if output.interval is None else output.interval[rows],
        output.abstain[rows],
        output.out_of_scope[rows],
        output.conflict[rows],
    )


def _errors(judged: Judged, samples: Sequence[Sample], patterns: Sequence[str]) -> list[Error]:
    """Wrong rows: of a class head the most confident first; of several labels those with most labels wrong; of numbers
    the farthest off."""
    at, true, predicted = judged.rows, judged.true, judged.predicted
    if judged.decisions is not None:
        rows = judged.decisions
        worst = [i for i in np.argsort(-rows.order, kind="stable") if not rows.right[i]][:WORST]
        return [
            Error(
                samples[at[i]],
                judged.labels[true[i]],
                judged.labels[predicted[i]],
                patterns[at[i]],
                confidence=float(rows.order[i]),
                chance=float(rows.probabilities[i, true[i]]) if max(true[i], predicted[i]) < rows.labels else None,
            )
            for i in worst
        ]
    if judged.labels:
        wrong = (true != predicted).sum(axis=1)
        worst = [i for i in np.argsort(-wrong, kind="stable") if wrong[i]][:WORST]
        return [
            Error(
                samples[at[i]], _joined(judged.labels, true[i]), _joined(judged.labels, predicted[i]), patterns[at[i]]
            )
            for i in worst
        ]
    off = predicted - true
    worst = [i for i in np.argsort(-np.abs(off), kind="stable") if off[i]][:WORST]
    return [
        Error(samples[at[i]], f"{true[i]:.4g}", f"{predicted[i]:.4g}", patterns[at[i]], distance=float(off[i]))
        for i in worst
    ]


def _joined(names: Sequence[str], chosen: Array) -> str:
    return ", ".join(name for name, yes in zip(names, chosen, strict=True) if yes) or "–"


def _under_damage(
    measure: _Measure,
    corruptions: bool | Sequence[str],
    most: int | None,
    outputs: Mapping[str, HeadOutput],
    progress: Callable[[str], None],
) -> Table:
    if not corruptions:
        return {}
    names = list(CORRUPTIONS) if corruptions is True else list(corruptions)
    among = np.arange(len(measure.samples))
    if most is not None and len(among) > most:
        among = np.sort(np.random.default_rng(measure.seed).choice(among, most, replace=False))
    whole = [measure.samples[int(i)] for i in among]
    unharmed = _Measure(measure.model, whole, measure.resamples, measure.seed)
    table: dict[str, Mapping[str, Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="duomo-damaged-") as folder:
        for name in names:
            progress(f"under {name}")
            damaged = corrupted(whole, name, Path(folder), seed=measure.seed)
            changed = [i for i, (old, new) in enumerate(zip(whole, damaged, strict=True)) if old != new]
            if changed:
                features = measure.model.features([damaged[i] for i in changed])
                inner = _Measure(measure.model, [whole[i] for i in changed], measure.resamples, measure.seed)
                if rows := inner.rows(features, np.arange(len(changed))):
                    table[name] = rows
    if table:
        kept = {name: taken(output, among) for name, output in outputs.items()}
        table = {"none": dict(unharmed.by([""] * len(whole), kept)[""]), **table}
    return table


# --- two models


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """
    Attributes:
        figures: what both heads have.
        fixed, broken: ids of the rows that only the second, only the first model has right; class and multilabel.
        mcnemar: exact two-sided p that both are right equally often; it takes rows as independent, so with groups
            trust the bootstrap p of `figures["accuracy"]`. None for numbers.
    """

    n: int
    figures: Mapping[str, Difference]
    fixed: Sequence[str] = ()
    broken: Sequence[str] = ()
    mcnemar: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "figures": {figure: difference.as_json() for figure, difference in self.figures.items()},
            "mcnemar_p": self.mcnemar,
            "fixed": list(self.fixed),
            "broken": list(self.broken),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    first: str
    second: str
    heads: Mapping[str, HeadComparison]

    def as_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "heads": {name: head.as_json() for name, head in self.heads.items()},
        }


def compare(
    first: Evaluated,
    second: Evaluated,
    samples: Sequence[Sample],
    *,
    names: tuple[str, str] = ("first", "second"),
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Judge two models on the same samples, row by row.

    Raises:
        InputError: the models have no head in common that the samples label.
    """
    answers = [model.predict_features(model.features(samples)) for model in (first, second)]
    heads: dict[str, HeadComparison] = {}
    for name in first.heads:
        if name not in second.heads:
            continue
        both = answers[0][name], answers[1][name]
        found = compare_head((first.heads[name], second.heads[name]), both, samples, resamples=resamples, seed=seed)
        if found is not None:
            heads[name] = found
    if not heads:
        raise InputError("the two models have no head of the same name and type that the samples label")
    return Comparison(*names, heads)


def compare_head(
    heads: tuple[HeadInfo, HeadInfo],
    answers: tuple[HeadOutput, HeadOutput],
    samples: Sequence[Sample],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> HeadComparison | None:
    """What two models said of the same samples with one head; None when its types differ or no sample is labelled."""
    rows = labelled(samples, heads[0].name)
    if heads[0].type != heads[1].type or not len(rows):
        return None
    one, other = (judge(head, answer, samples) for head, answer in zip(heads, answers, strict=True))
    groups = metrics.group_index([samples[row].group for row in rows])
    figures = metrics.paired(one.formula, other.formula, groups=groups, resamples=resamples, seed=seed)
    fixed, broken, mcnemar = _changed(one, other, np.array([samples[row].id for row in rows], dtype=object))
    return HeadComparison(len(rows), figures, fixed, broken, mcnemar)


def _changed(one: Judged, other: Judged, ids: NDArray[np.object_]) -> tuple[list[str], list[str], float | None]:
    before, after = _right(one), _right(other)
    if before is None or after is None:
        return [], [], None
    fixed, broken = ids[after & ~before].tolist(), ids[before & ~after].tolist()
    changed = len(fixed) + len(broken)
    return fixed, broken, float(binomtest(len(fixed), changed).pvalue) if changed else 1.0


def _right(judged: Judged) -> NDArray[np.bool_] | None:
    if judged.decisions is not None:
        return judged.decisions.right
    if judged.labels:
        return np.asarray(np.all(judged.true == judged.predicted, axis=1))
    return None
