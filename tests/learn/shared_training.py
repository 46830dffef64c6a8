"""The same trainings by as many processes as torchrun starts: `python -m tests.learn.shared_training OUT.npz`."""

from __future__ import annotations

import sys

import numpy as np
import torch

from duomo.learn.distributed import World, world
from duomo.learn.model import Model
from duomo.learn.task import Head, Task
from tests.learn.synthetic import Rows, rows, task

HEADS = (Head("intent", class_weights="balanced"), Head("tags", "multilabel"), Head("price", "number"))
TRAININGS: dict[str, Task] = {
    "auto": task(*HEADS, epochs=3),
    "g_blend": task(*HEADS, fusion="intermediate", balance="g_blend", epochs=4),
    "ogm_ge": task(*HEADS, fusion="intermediate", operator="concat", balance="ogm_ge"),
    "mmpareto": task(*HEADS, fusion="intermediate", operator="low_rank", balance="mmpareto"),
    "semi-supervised": task(*HEADS, fusion="intermediate", mode="semi-supervised", folds=2),
    "self-supervised": task(*HEADS, fusion="intermediate", mode="self-supervised", folds=2),
}


def data() -> Rows:
    given = rows(131)  # does not divide by two
    known = [label if row < 100 else None for row, label in enumerate(given.labels["intent"])]
    return given.label(
        intent=known,
        tags=[None if label is None or row % 7 == 0 else ("x",) * (label != "a") for row, label in enumerate(known)],
        price=[None if label is None else float("abc".index(label)) for label in known],
    )


def scores(of: World) -> dict[str, np.ndarray]:
    given, fresh = data(), rows(50, seed=9).features
    found = {}
    for name, described in TRAININGS.items():
        model = Model(described).fit_features(given.features, given.views, given.labels, given.groups, world=of)
        for head, said in model.scores(fresh).items():
            found[f"{name}/{head}"] = said.fused
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    with world() as processes:
        assert processes.size == 2
        result = scores(processes)
        np.savez(f"{sys.argv[1]}.{processes.rank}.npz", **result)
