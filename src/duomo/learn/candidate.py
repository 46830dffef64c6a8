"""The next model of a workspace: trained in a process of its own, compared with the active one, exported.

    python -m duomo.learn.candidate JOB.json

    base samples + labelled turns --widen the labels--> train --> export --> compare on rows neither has seen
        --> OUT/{result.json, report.html, onnx/}

Killed at any moment and started again with the same job and samples it ends with the same bits: training keeps its
stages (`learn/checkpoint.py`), features stay in the cache, and result.json comes last.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duomo.errors import DuomoError, InputError
from duomo.learn import candidate_page, engine, metrics
from duomo.learn.checkpoint import write_whole
from duomo.learn.encoders import encode, encoders_of
from duomo.learn.evaluate import Comparison, HeadComparison, compare_head, evaluate, judge, labelled, taken
from duomo.learn.export import export_onnx
from duomo.learn.metrics import Array, Decisions, Formula, Weights
from duomo.learn.model import Model
from duomo.learn.reference import reference
from duomo.learn.samples import read_rows
from duomo.learn.targets import score
from duomo.learn.task import Head, Mode, Task, parse_task
from duomo.models.features import Features
from duomo.models.heads import HeadInfo, pattern_keys
from duomo.models.manifest import sha256
from duomo.models.understanding import HeadOutput, Understanding, load
from duomo.types import Label, Sample

RESULT, REPORT, PROGRESS, MODEL, ONNX = "result.json", "report.html", "progress.json", "model", "onnx"
FOLDS = 3
LEAST = 3  # samples of a label that the model is to know; of a rarer one nothing can be learned
ENOUGH_USUAL = 200  # rows of conversations that say what is usual; with fewer, the training rows do
MOST_SUSPECTS = 50
MOST_SLICES = 60  # of a kind, the largest
SLICE_FROM = 5  # rows
SLICE_RESAMPLES = 500
EVERY_S = 1.0  # between two lines of progress
DEFAULT_TASK: Mapping[str, Any] = {"heads": {"intent": {"type": "class", "out_of_scope": "other"}}}

Answers = dict[str, HeadOutput]


@dataclass(frozen=True, slots=True)
class Job:
    """
    Attributes:
        samples: folder that `support/export_samples.py` wrote.
        out: where the result goes.
        cache: of features, shared by all trainings.
        base: samples that the active model was trained from; None or gone: only conversations teach.
        active: its exported folder; None: there is none.
        task: what to predict where no model says it.
        intents: head -> labels that people added.
        seen_before: until when labels may have taught the active model (ISO time); None: it saw no conversation.
        base_reached: head -> what the active model's folds reached on the base samples; absent: in all of its training.
        min_rows: held-out rows below which labelled turns of the training count too, judged by models without them.
    """

    samples: Path
    out: Path
    cache: Path
    base: Path | None = None
    active: Path | None = None
    task: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_TASK))
    intents: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seen_before: str | None = None
    min_rows: int = 30
    base_reached: Mapping[str, float] = field(default_factory=dict)
    mode: Mode = "self-supervised"
    resamples: int = 1000
    seed: int = 0
    threads: int = 1

    @classmethod
    def read(cls, file: Path) -> Job:
        stated = json.loads(file.read_text(encoding="utf-8"))
        paths = {name: stated[name] and Path(stated[name]) for name in ("samples", "out", "cache", "base", "active")}
        return cls(**{**stated, **paths})

    def write(self, file: Path) -> None:
        stated = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        write_whole(file, json.dumps(stated, ensure_ascii=False, indent=1).encode())


@dataclass(frozen=True, slots=True)
class Labels:
    """What became of a head's labels. `few`: label -> samples, too few to learn it."""

    known: tuple[str, ...]
    new: tuple[str, ...]
    lost: tuple[str, ...]
    few: Mapping[str, int]


def main(arguments: Sequence[str]) -> int:
    (file,) = arguments
    try:
        run(Job.read(Path(file)))
    except DuomoError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(job: Job) -> dict[str, Any]:
    """Train, export, compare. Returns: what result.json holds.

    Raises:
        InputError: nothing to learn from.
    """
    torch.set_num_threads(job.threads)
    progress = _Progress(job.out / PROGRESS)
    progress("reading")
    active = None if job.active is None else load(job.active, threads=job.threads)
    task = _task(job, active)
    samples = _Samples.read(job, task)
    task, labels, samples = widened(task, samples, active)
    model = Model(task, cache=job.cache, workers=max(1, job.threads))
    every = [*samples.base, *samples.train]
    model.fit(
        every,
        unlabelled=samples.unlabelled if task.training.mode != "supervised" else None,
        folder=job.out / MODEL,
        progress=lambda entry: progress("training", str(entry["stage"])),
        encoding=lambda done, total: progress("encoding", done=done, total=total),
    )
    model.save(job.out / MODEL)
    progress("exporting")
    export_onnx(model, job.out / ONNX)
    candidate = load(job.out / ONNX, threads=job.threads)
    progress("comparing")
    served = Served(candidate, samples.heldout, job)
    former = None if active is None else Served(active, [*samples.heldout, *samples.fresh], job)
    few = any(len(labelled(samples.heldout, head)) < job.min_rows for head in candidate.heads)
    more = crossed(job, task, samples) if few and samples.fresh else None
    evidence = {head: _evidence(head, served, former, samples, more, job.min_rows) for head in candidate.heads}
    result = {
        "fingerprint": sha256(job.out / ONNX / "manifest.json"),
        "labels": {head: asdict(one) for head, one in labels.items()},
        "comparison": _compared(evidence, former, candidate, samples.facts, job),
        "base": _on_base(model, active, len(samples.base), job),
        "fresh": len(samples.fresh),
        "suspects": _suspects(model, {sample.id for sample in samples.train}),
        "reference": _usual(model, served, samples, job),
        "trained": {name: dict(reached) for name, reached in model.manifest().metrics.items()},
        "notes": [*samples.notes, *model.notes],
    }
    progress("reporting")
    write_whole(job.out / REPORT, _report(served, samples.heldout, evidence, former, result, model, job).encode())
    write_whole(job.out / RESULT, json.dumps(result, ensure_ascii=False, allow_nan=False, indent=1).encode())
    progress("done")
    return result


# What to learn from -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Samples:
    base: Sequence[Sample]
    train: Sequence[Sample]
    unlabelled: Sequence[Sample]
    heldout: Sequence[Sample]
    facts: Mapping[str, Mapping[str, Any]]  # id -> language, team, labelled_at
    fresh: Sequence[Sample]  # of train, what the active model cannot have learned from
    notes: Sequence[str]

    @classmethod
    def read(cls, job: Job, task: Task) -> _Samples:
        heads = [replace(head, labels=()) for head in task.heads]  # labels that the task does not know yet are welcome
        notes: list[str] = []

        def read(path: Path) -> list[Sample]:
            rows = read_rows(path, heads=heads, group=task.group, media=job.out / "media", told=notes)
            return [row.sample for row in rows if row.split in (None, "train")]

        base: list[Sample] = []
        if job.base is not None and job.base.exists():
            base = read(job.base)
        elif job.base is not None:
            notes.append(f"{job.base} is gone; only conversations teach.")
        facts = json.loads((job.samples / "facts.json").read_text(encoding="utf-8"))
        train = read(job.samples / "train.jsonl")
        seen = job.seen_before or ""
        fresh = [sample for sample in train if facts.get(sample.id, {}).get("labelled_at", "") > seen]
        unlabelled, heldout = (read(job.samples / f"{name}.jsonl") for name in ("unlabelled", "heldout"))
        return cls(base, train, unlabelled, heldout, facts, fresh, notes)


def _task(job: Job, active: Understanding | None) -> Task:
    stated = dict(active.manifest.task) if active is not None and active.manifest else dict(job.task)
    task = parse_task(json.dumps(stated), source="task")
    training = replace(task.training, mode=job.mode, unlabelled=None, validation=None, seed=job.seed)
    return replace(task, training=training)


def widened(task: Task, samples: _Samples, active: Understanding | None) -> tuple[Task, dict[str, Labels], _Samples]:
    """The task with every label that there is enough of, and the samples without the others.

    A turn with a label that is too rare to be learned is out of scope, where the head asks for that: none of the labels
    that the model will know fits it.

    Raises:
        InputError: fewer than two labels can be learned.
    """
    found: dict[str, Labels] = {}
    heads = []
    for head in task.heads:
        if head.type == "number":
            heads.append(head)
            continue
        before = active.heads[head.name].labels if active is not None and head.name in active.heads else head.labels
        counts = Counter(
            name for sample in (*samples.base, *samples.train) for name in _names(sample.labels.get(head.name))
        )
        counts.pop(head.out_of_scope or "", None)
        kept = tuple(label for label in before if counts[label])
        new = tuple(sorted(label for label, n in counts.items() if label not in before and n >= LEAST))
        few = {label: n for label, n in sorted(counts.items()) if label not in before and n < LEAST}
        if len(kept) + len(new) < 2:
            told = ", ".join(f"{label} {n}" for label, n in few.items()) or "none"
            raise InputError(
                f"head {head.name}: {len(kept) + len(new)} labels have {LEAST} labelled turns or more "
                f"(fewer: {told}); two at least are needed. Label more turns."
            )
        found[head.name] = Labels(kept, new, tuple(label for label in before if not counts[label]), few)
        heads.append(replace(head, labels=(*kept, *new)))
    known = {head.name: head for head in heads}
    base, train = ([_kept(sample, known) for sample in part] for part in (samples.base, samples.train))
    return replace(task, heads=tuple(heads)), found, replace(samples, base=base, train=train)


def _names(label: Label | None) -> tuple[str, ...]:
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (str(label),)


def _kept(sample: Sample, heads: Mapping[str, Head]) -> Sample:
    labels: dict[str, Label | None] = {}
    for name, label in sample.labels.items():
        head = heads.get(name)
        if head is None or head.type == "number" or label is None:
            labels[name] = label
        elif isinstance(label, tuple):
            labels[name] = tuple(one for one in label if one in head.labels)
        else:
            labels[name] = label if label in (*head.labels, head.out_of_scope) else head.out_of_scope
    return replace(sample, labels=labels)


# Beside the active model ------------------------------------------------------------------------------------------


class Served:
    """An exported model as `evaluate` asks for one; its samples are encoded once."""

    def __init__(self, understanding: Understanding, samples: Sequence[Sample], job: Job) -> None:
        self.understanding = understanding
        self._rows = {sample.id: row for row, sample in enumerate(samples)}
        encoders = encoders_of(understanding.views, workers=max(1, job.threads))
        self._features = encode(samples, cache=job.cache, workers=max(1, job.threads), encoders=encoders).features

    @property
    def heads(self) -> Mapping[str, HeadInfo]:
        return self.understanding.heads

    def features(self, samples: Sequence[Sample]) -> Features:
        return self._features.take([self._rows[sample.id] for sample in samples])

    def predict_features(self, features: Features) -> Answers:
        return self.understanding.predict_features(features)

    def answers(self, samples: Sequence[Sample], head: str) -> HeadOutput:
        return self.predict_features(self.features(samples))[head]

    def patterns(self, samples: Sequence[Sample]) -> list[str]:
        features = self.features(samples)
        return [str(key) or "none" for key in pattern_keys(features.present, features.modalities)]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Labelled rows that neither model has learned from, with what each says of them with one head.

    Attributes:
        held_out: how many of them are held-out rows; the rest are turns of the training, judged by models without them.
        first: of the active model; None without one, or without this head.
    """

    samples: Sequence[Sample]
    held_out: int
    patterns: Sequence[str]
    second: HeadOutput
    first: HeadOutput | None = None


def _evidence(
    head: str, served: Served, former: Served | None, samples: _Samples, more: Crossed | None, min_rows: int
) -> Evidence:
    rows = labelled(samples.heldout, head)
    apart = [samples.heldout[row] for row in rows]
    second, patterns = served.answers(apart, head), served.patterns(apart)
    judged = list(apart)
    if more is not None and len(apart) < min_rows and head in more.answers:
        known = labelled(more.samples, head)
        judged += [more.samples[row] for row in known]
        second = joined(second, taken(more.answers[head], known))
        patterns = [*patterns, *(more.patterns[row] for row in known)]
    knows = former is not None and head in former.heads and former.heads[head].type == served.heads[head].type
    first = former.answers(judged, head) if former is not None and knows else None
    return Evidence(judged, len(apart), patterns, second, first)


@dataclass(frozen=True, slots=True)
class Crossed:
    """Turns that people labelled, each judged by a model that learned from all but its customer's third."""

    samples: Sequence[Sample]
    patterns: Sequence[str]
    answers: Answers


def crossed(job: Job, task: Task, samples: _Samples) -> Crossed:
    """Train without a third of the customers at a time, base samples always in.

    The folds of the candidate's own training would do it an injustice: they also leave out a fifth of the base samples,
    all of which the active model has learned from.
    """
    fold = {str(sample.group): at % FOLDS for at, sample in enumerate(sorted(samples.fresh, key=_by_group))}
    plain = replace(task, training=replace(task.training, mode="supervised"))
    judged: list[Sample] = []
    patterns: list[str] = []
    answers: Answers = {}
    for k in sorted(set(fold.values())):
        apart = [sample for sample in samples.fresh if fold[str(sample.group)] == k]
        rest = [sample for sample in samples.train if fold.get(str(sample.group)) != k]
        model = Model(plain, cache=job.cache, workers=max(1, job.threads))
        try:
            model.fit([*samples.base, *rest], folder=job.out / "folds" / str(k))
        except InputError:
            continue  # too little is left to learn from: of these nothing can be said
        features = model.features(apart)
        said = model.predict_features(features)
        answers = {head: joined(answers[head], one) if head in answers else one for head, one in said.items()}
        patterns += [str(key) or "none" for key in pattern_keys(features.present, features.modalities)]
        judged += apart
    return Crossed(judged, patterns, answers)


def _by_group(sample: Sample) -> str:
    return hashlib.sha256(str(sample.group).encode()).hexdigest()


def joined(one: HeadOutput, other: HeadOutput) -> HeadOutput:
    """The rows of both, one after the other."""
    parts: dict[str, Any] = {}
    for name in (one_of.name for one_of in fields(HeadOutput)):
        pair = getattr(one, name), getattr(other, name)
        parts[name] = None if pair[0] is None or pair[1] is None else np.concatenate(pair)
    return HeadOutput(**parts)


def _compared(
    evidence: Mapping[str, Evidence],
    former: Served | None,
    candidate: Understanding,
    facts: Mapping[str, Mapping[str, Any]],
    job: Job,
) -> dict[str, Any]:
    """By head: all rows, and rows apart by pattern, language, team and label."""
    heads: dict[str, Any] = {}
    for name, one in evidence.items():
        if not len(one.samples):
            continue
        if former is None or one.first is None:
            heads[name] = _alone(candidate.heads[name], one, job)
            continue
        infos = (former.heads[name], candidate.heads[name])
        whole = compare_head(infos, (one.first, one.second), one.samples, resamples=job.resamples, seed=job.seed)
        assert whole is not None
        wrong = _wrong_answers(infos, one, job)
        heads[name] = {
            **whole.as_json(),
            "held_out": one.held_out,
            "out_of_scope_rows": sum(sample.labels[name] == infos[1].out_of_scope for sample in one.samples),
            "groups": len({sample.group for sample in one.samples}),
            "wrong_answers": None if wrong is None else wrong.as_json(),
            "slices": _slices(infos, one, name, facts, job),
            "unknown": _unknown(infos, one, name),
        }
    return {"against": job.active is not None, "heads": heads}


def _slices(
    heads: tuple[HeadInfo, HeadInfo], one: Evidence, name: str, facts: Mapping[str, Mapping[str, Any]], job: Job
) -> list[dict[str, Any]]:
    assert one.first is not None
    kinds: dict[str, list[str | None]] = {
        "pattern": list(one.patterns),
        "language": [facts.get(sample.id, {}).get("language") for sample in one.samples],
        "team": [facts.get(sample.id, {}).get("team") for sample in one.samples],
    }
    if heads[1].type == "class":
        kinds["label"] = [str(sample.labels[name]) for sample in one.samples]
    found = []
    for kind, of in kinds.items():
        for value, n in Counter(value for value in of if value).most_common(MOST_SLICES):
            if n < SLICE_FROM:
                continue
            rows = np.array([row for row, own in enumerate(of) if own == value], np.int64)
            part = compare_head(
                heads, (taken(one.first, rows), taken(one.second, rows)), [one.samples[row] for row in rows],
                resamples=SLICE_RESAMPLES, seed=job.seed,
            )  # fmt: skip
            assert part is not None
            figure = next((key for key in ("accuracy", "subset_accuracy", "mae") if key in part.figures), None)
            if figure is not None:
                difference = {"figure": figure, **part.figures[figure].as_json(), "mcnemar_p": part.mcnemar}
                found.append({"kind": kind, "name": value, "n": n, **difference})
    return found


def _unknown(heads: tuple[HeadInfo, HeadInfo], one: Evidence, name: str) -> dict[str, Any]:
    """Rows whose label the active model does not have: its errors, told apart."""
    if heads[1].type != "class":
        return {"n": 0, "right": 0}
    known = {*heads[0].labels, heads[0].out_of_scope}
    rows = np.array([row for row, sample in enumerate(one.samples) if sample.labels[name] not in known], np.int64)
    if not len(rows):
        return {"n": 0, "right": 0}
    judged = judge(heads[1], taken(one.second, rows), [one.samples[row] for row in rows])
    return {"n": len(rows), "right": int((judged.true == judged.predicted).sum())}


def _wrong_answers(heads: tuple[HeadInfo, HeadInfo], one: Evidence, job: Job) -> metrics.Difference | None:
    """Share of rows that are answered, not left to a person, and answered wrongly."""
    assert one.first is not None
    both = [judge(head, output, one.samples) for head, output in zip(heads, (one.first, one.second), strict=True)]
    if both[0].decisions is None or both[1].decisions is None:
        return None
    groups = metrics.group_index([sample.group for sample in one.samples])
    first, second = (_answered_wrongly(judged.decisions) for judged in both if judged.decisions is not None)
    return metrics.paired(first, second, groups=groups, resamples=job.resamples, seed=job.seed)["wrong_answers"]


def _answered_wrongly(rows: Decisions) -> Formula:
    wrong = ~rows.right if rows.abstain is None else ~rows.right & ~rows.abstain

    def formula(weights: Weights) -> dict[str, Array]:
        share = (wrong.astype(np.float64) @ weights) / weights.sum(axis=0)
        return {"wrong_answers": np.asarray(share)}

    return formula


def _alone(head: HeadInfo, one: Evidence, job: Job) -> dict[str, Any]:
    """Of the first model of a workspace: how good it is, and how good it would be to say ever the same."""
    judged = judge(head, one.second, one.samples)
    groups = metrics.group_index([sample.group for sample in one.samples])
    measured = metrics.measure(judged.formula, groups=groups, resamples=job.resamples, seed=job.seed)
    most = Counter(str(sample.labels[head.name]) for sample in one.samples).most_common(1)[0][1]
    return {
        "n": len(one.samples),
        "held_out": one.held_out,
        "groups": len(set(groups.tolist())),
        "figures": {name: figure.as_json() for name, figure in measured.figures.items()},
        "most_frequent": most / len(one.samples),
    }


def _on_base(model: Model, active: Understanding | None, rows: int, job: Job) -> dict[str, Any]:
    """What both models' folds reached on the base samples, each in its own training."""
    assert model.result is not None
    before = {} if active is None or active.manifest is None else active.manifest.metrics
    heads = {}
    for name, found in model.result.heads.items():
        mine = np.flatnonzero(found.natural.rows < rows)
        first = job.base_reached.get(name, before.get(name, {}).get("out_of_fold"))
        if len(mine) and first is not None:
            second = score(found.objective, found.natural.fused[mine], found.targets[found.natural.rows[mine]])
            measure = "r2" if found.fusion.type == "number" else "accuracy"
            heads[name] = {"first": first, "second": round(second, 4), "measure": measure}
    return {"rows": rows, "heads": heads}


def _suspects(model: Model, ids: set[str]) -> list[dict[str, Any]]:
    """Labels of turns that the folds' models take for wrong."""
    if not any(head.type == "class" for head in model.heads.values()):
        return []
    found = [row for row in engine.label_errors(model) if row["id"] in ids][:MOST_SUSPECTS]
    return [{key: row[key] for key in ("id", "head", "given", "suggested", "confidence")} for row in found]


def _usual(model: Model, served: Served, samples: _Samples, job: Job) -> dict[str, Any]:
    """Of turns as customers write them, where there are enough; else of the training rows."""
    turns = [*samples.heldout, *samples.train, *samples.unlabelled]
    rows = turns if len(turns) >= ENOUGH_USUAL else [*samples.base, *turns]
    named = [replace(sample, id=str(row)) for row, sample in enumerate(rows)]
    usual = Served(served.understanding, named, job)
    features = usual.features(named)
    return reference(features, served.understanding.views, usual.predict_features(features))


def _report(
    served: Served,
    heldout: Sequence[Sample],
    evidence: Mapping[str, Evidence],
    former: Served | None,
    result: Mapping[str, Any],
    model: Model,
    job: Job,
) -> str:
    comparisons: dict[str, HeadComparison] = {}
    for name, one in evidence.items():
        if former is not None and one.first is not None:
            pair = (former.heads[name], served.heads[name])
            found = compare_head(pair, (one.first, one.second), one.samples, resamples=job.resamples, seed=job.seed)
            if found is not None:
                comparisons[name] = found
    known = [sample for sample in heldout if any(label is not None for label in sample.labels.values())]
    return candidate_page.to_html(
        result,
        evaluation=evaluate(served, known, resamples=job.resamples, seed=job.seed) if known else None,
        comparison=Comparison("active", "candidate", comparisons) if comparisons else None,
        model={name: str(value) for name, value in model.manifest().data.items() if isinstance(value, str | int)},
    )


class _Progress:
    """The latest of what is being done, in a file that others read."""

    def __init__(self, file: Path) -> None:
        self._file, self._said, self._stage = file, 0.0, ""

    def __call__(self, stage: str, detail: str = "", *, done: int | None = None, total: int | None = None) -> None:
        if stage == self._stage and time.monotonic() - self._said < EVERY_S:
            return
        self._said, self._stage = time.monotonic(), stage
        entry = {"stage": stage, "detail": detail, "done": done, "total": total, "at": time.time()}
        fresh = self._file.with_name(f".{self._file.name}")
        fresh.write_text(json.dumps(entry), encoding="utf-8")
        os.replace(fresh, self._file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
