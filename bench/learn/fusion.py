"""Every kind of fusion and operator x three training modes on three sets, with time and memory.

    python -m bench.learn.fusion --data ../shared/data

Few labels, as when a team begins: 200 labelled rows, 600 without labels that only the semi- and self-supervised modes
read. Two folds and one thread. Every run is a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from bench.learn import tasks
from bench.learn.measure import CACHE, merge
from duomo.errors import DuomoError
from duomo.learn.encoders import Encoded, encode
from duomo.learn.model import Model
from duomo.learn.task import Mode, Operator, Task, load_task
from duomo.types import Sample

WHAT = (
    "share right on the development rows after 200 labels (+ 600 rows without, where the mode reads them), seconds of "
    "wall and processor from cached features, and memory beyond the features; 'chosen' is what fusion: auto does"
)
SETS = ("trimodal", "handwritten6", "av_mnist")
LABELLED, UNLABELLED, DEV = 200, 600, 400
NO_EFFECT = "this mode aligns intermediate networks only: same as supervised"


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    for fusion in ("unimodal", "late", "early"):
        yield fusion, {"fusion": fusion}
    for operator in get_args(Operator):
        yield f"intermediate {operator}", {"fusion": "intermediate", "operator": operator}
    yield "auto (gated)", {"fusion": "auto"}


class Rows:
    """One set: encoded labelled and unlabelled rows, and development rows."""

    def __init__(self, name: str, *, data: Path, cache: Path) -> None:
        found = tasks.write(name, data=data)
        self.task = load_task(found.task)
        (head,) = self.task.heads
        self.head = head.name
        every = found.samples("train")
        truth = [str(sample.labels[self.head]) for sample in every]
        labelled, rest = train_test_split(every, train_size=LABELLED, stratify=truth, random_state=0)
        self.dev = found.samples("dev")[:DEV]
        self.samples: list[Sample] = [*labelled, *rest[:UNLABELLED]]
        both = encode([*self.samples, *self.dev], self.task.modalities, cache=cache, workers=1)
        count = len(self.samples)
        self.encoded = Encoded(both.features.take(np.arange(count)), both.views, ())
        self.new = both.features.take(np.arange(count, count + len(self.dev)))

    def run(self, changes: dict[str, Any], mode: str) -> dict[str, Any]:
        training = replace(self.task.training, mode=mode, folds=2, epochs=40, patience=6)
        task = replace(self.task, training=training, **changes)
        before = _rss()
        clock, cpu = time.perf_counter(), time.process_time()
        try:
            model = self._fitted(task, mode)
        except (DuomoError, ValueError) as error:
            return {"impossible": str(error)}
        output = model.predict_features(self.new)[self.head]
        labels = model.heads[self.head].labels
        right = [labels[int(c)] == s.labels[self.head] for c, s in zip(output.predicted, self.dev, strict=True)]
        return {
            "accuracy": round(float(np.mean(right)), 4),
            "seconds": round(time.perf_counter() - clock, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "mib": round(_rss() - before, 1),
        }

    def _fitted(self, task: Task, mode: str) -> Model:
        rows = np.arange(LABELLED if mode == "supervised" else len(self.samples))
        labels = [sample.labels[self.head] if row < LABELLED else None for row, sample in enumerate(self.samples)]
        features = self.encoded.features.take(rows)
        names = [f"row {row}" for row in rows]
        return Model(task).fit_features(features, self.encoded.views, {self.head: [labels[i] for i in rows]}, names)


def _rss() -> float:
    """MiB: the most this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(rows: Rows, changes: dict[str, Any], mode: str) -> dict[str, Any]:
    """The run in a process of its own, which begins with the encoded rows already in memory."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def work() -> None:
        send.send(rows.run(changes, mode))

    process = context.Process(target=work)
    process.start()
    send.close()
    try:
        return dict(receive.recv())
    except EOFError:
        return {"impossible": "the process ended without a result"}
    finally:
        process.join()


def measure(name: str, *, data: Path, cache: Path, keep: Callable[[dict[str, Any]], None]) -> None:
    """Args: keep: is given the table so far after every variant."""
    rows = Rows(name, data=data, cache=cache)
    table: dict[str, Any] = {}
    for variant, changes in variants():
        table[variant] = {}
        for mode in get_args(Mode):
            if mode == "self-supervised" and changes["fusion"] in ("unimodal", "late", "early"):
                table[variant][mode] = NO_EFFECT
                continue
            table[variant][mode] = apart(rows, changes, mode)
            print(f"{name:13} {variant:29} {mode:16} {table[variant][mode]}", flush=True)
        keep({"labelled": LABELLED, "unlabelled": UNLABELLED, "dev": len(rows.dev), "table": table})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or SETS:

        def keep(found: dict[str, Any], name: str = name) -> None:
            merge("learn_fusion", what=WHAT, figures={name: found}, data="shared/data, as tasks.py splits, seed 0")

        measure(name, data=arguments.data, cache=arguments.cache, keep=keep)


if __name__ == "__main__":
    main()
