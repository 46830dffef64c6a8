"""Train a set's task and measure it on its development part; sets in parts are measured on all parts together."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import RESULTS, write
from bench.learn import tasks
from duomo.learn import metrics
from duomo.learn.encoders import encode
from duomo.learn.evaluate import judge
from duomo.learn.model import Model
from duomo.learn.task import Task, load_task
from duomo.models.features import Features
from duomo.models.understanding import HeadOutput
from duomo.types import Sample

CACHE = tasks.WORK / "features"
HEADLINE = {"class": "accuracy", "multilabel": "f1_micro", "number": "pearson"}

torch.set_num_threads(1)  # the products are small; two threads on a busy machine are slower than one


@dataclass(frozen=True)
class Trained:
    """A model with the rows it is measured on."""

    model: Model
    dev: list[Sample]
    features: Features  # of dev
    seconds: float  # of training, from cached features
    cpu_seconds: float

    def outputs(self, kept: Sequence[str] | None = None) -> Mapping[str, HeadOutput]:
        """Args: kept: modalities left; None: all."""
        return self.model.predict_features(self.features if kept is None else self.features.only(kept))


def train(
    name: str, *, data: Path, cache: Path = CACHE, change: Callable[[Task], Task] = lambda task: task,
    rows: int | None = None, progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Trained:  # fmt: skip
    """Write, encode, train.

    Args:
        change: of the task in the set's folder.
        rows: so many of the training samples, drawn with a fixed seed.
    """
    found = tasks.write(name, data=data)
    labelled, dev, more = found.samples("train"), found.samples("dev"), found.unlabelled
    if rows is not None and rows < len(labelled):
        labelled = [labelled[i] for i in np.sort(np.random.default_rng(0).permutation(len(labelled))[:rows])]
    task = change(load_task(found.task))
    encode([*labelled, *dev, *(more or [])], task.modalities, cache=cache, workers=1)
    model = Model(task, cache=cache, workers=1)
    clock, cpu = time.perf_counter(), time.process_time()
    model.fit(labelled, unlabelled=more, progress=progress)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    return Trained(model, dev, model.features(dev), round(seconds, 2), round(cpu_seconds, 2))


def figures(parts: Sequence[Trained], kept: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """By head: every figure with its interval, over the development rows of all parts."""
    samples = [sample for part in parts for sample in part.dev]
    outputs = [part.outputs(kept) for part in parts]
    found = {}
    for name, head in parts[0].model.heads.items():
        joined = _joined([output[name] for output in outputs])
        judged = judge(head, joined, samples)
        if len(judged.rows) == 0:
            continue
        groups = metrics.group_index([samples[row].group for row in judged.rows])
        measured = metrics.measure(judged.formula, groups=groups)
        found[name] = {figure: value.as_json() for figure, value in measured.figures.items()}
    return found


def _joined(outputs: Sequence[HeadOutput]) -> HeadOutput:
    values = {
        one.name: [getattr(output, one.name) for output in outputs]
        for one in fields(HeadOutput)
        if one.name != "interval"
    }
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    intervals = [output.interval for output in outputs]
    return HeadOutput(**joined, interval=None if intervals[0] is None else np.concatenate(intervals))  # type: ignore[arg-type]


def reasons(trained: Trained) -> dict[str, str]:
    """By head, why what speaks for complete rows does so."""
    result = trained.model.result
    assert result is not None
    said = {}
    for head, found in result.heads.items():
        chosen = [row for row in found.comparison.rows if row["member"] == "chosen"]
        said[head] = str(chosen[-1]["note"]) if chosen else ""
    return said


def short(figure: Mapping[str, Any]) -> dict[str, Any]:
    """Three or four digits are what a bench can tell."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figure.items()}


def peak_mib() -> float:
    """Largest memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def merge(name: str, *, what: str, figures: Mapping[str, Any], data: str) -> None:
    """Write a result beside those that are there: sets are measured one at a time."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}
    write(name, what=what, figures={**before, **figures}, data=data)


def with_training(task: Task, **options: Any) -> Task:
    return replace(task, training=replace(task.training, **options))
