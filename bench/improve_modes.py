"""What unlabelled turns are worth to the next model: supervised beside semi- and self-supervised.

    python bench/improve_modes.py [--cache DIR] [--setting NAME] [--mode NAME]

The demo shop's own samples stand for a workspace: some ways of asking are what its model began with, some were labelled
since, many more nobody has looked at; the held-out ways of asking measure. Adds to bench/results/improve_modes.json.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import torch

from duomo import scenarios
from duomo.learn.model import Model
from duomo.learn.samples import load_samples
from duomo.learn.task import load_task
from duomo.types import Sample

HERE = Path(scenarios.__path__[0]) / "customer_service" / "understanding"
SETTINGS = {"no base, 150 labelled": (0, 150, 1500), "1500 of base, 100 labelled": (1500, 100, 1500)}
SEEDS = (0, 1)
MODES = ("supervised", "semi-supervised", "self-supervised")


def by_group(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """All of one way of asking, then all of the next, in random order."""
    groups = sorted({str(sample.group) for sample in samples})
    random.Random(seed).shuffle(groups)
    place = {group: at for at, group in enumerate(groups)}
    return sorted(samples, key=lambda sample: place[str(sample.group)])


def measured(mode: str, sizes: tuple[int, int, int], samples: Sequence[Sample], test: Sequence[Sample], *,
             cache: Path, seed: int) -> dict[str, Any]:  # fmt: skip
    base, labels, more = sizes
    ordered = by_group(samples, seed=seed)
    rest = ordered[base:]
    random.Random(seed).shuffle(rest)  # what people label comes from many ways of asking
    teach, unlabelled = [*ordered[:base], *rest[:labels]], rest[labels : labels + more]
    task = load_task(HERE / "task.yaml")
    task = replace(task, training=replace(task.training, mode=mode, seed=seed))
    model = Model(task, cache=cache, workers=1).fit(teach, unlabelled=unlabelled if mode != "supervised" else None)
    said = model.predict(test, shares=False)
    pairs = list(zip(said, test, strict=True))
    right = {head: sum(one.heads[head].label == s.labels[head] for one, s in pairs) / len(test) for head in model.heads}
    return {head: round(share, 4) for head, share in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder of features encoded before")
    parser.add_argument("--setting", action="append", choices=list(SETTINGS), help="default: all")
    parser.add_argument("--mode", action="append", choices=MODES, help="default: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    heads = load_task(HERE / "task.yaml").heads
    samples = load_samples(HERE / "samples.jsonl.gz", heads=heads)
    test = load_samples(HERE / "heldout.jsonl.gz", heads=heads)
    before = common.RESULTS / "improve_modes.json"
    figures: dict[str, Any] = json.loads(before.read_text())["figures"] if before.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary)
        for name in given.setting or SETTINGS:
            for mode in given.mode or MODES:
                runs = [measured(mode, SETTINGS[name], samples, test, cache=cache, seed=seed) for seed in SEEDS]
                mean = {head: round(sum(run[head] for run in runs) / len(runs), 4) for head in runs[0]}
                figures.setdefault(name, {})[mode] = {"mean": mean, "seeds": runs}
                print(name, mode, figures[name][mode], flush=True)
                common.write(
                    "improve_modes", what="share of held-out ways of asking that are right", figures=figures,
                    data="scenarios/customer_service/understanding, 776 held-out samples",
                )  # fmt: skip


if __name__ == "__main__":
    main()
