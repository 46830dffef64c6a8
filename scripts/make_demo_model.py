"""Train the demo shop's own model, measure it on lines it has not seen, and write what is shipped.

    python scripts/make_demo_model.py

Reads `understanding/samples.jsonl.gz`, `heldout.jsonl.gz` and their media (`make_demo_samples.py` makes them anew),
trains by `understanding/task.yaml`, and writes `understanding/model/` (the exported folder) and
`understanding/metrics.json`. Seeded: the same samples on the same machine give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duomo.learn.export import export_onnx
from duomo.learn.model import Model
from duomo.learn.samples import load_samples
from duomo.learn.task import load_task
from duomo.models.features import Features
from duomo.models.heads import pattern_keys
from duomo.models.understanding import load
from duomo.types import Sample

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench"))

import common  # noqa: E402  of bench: which machine and commit
from make_demo_samples import HELD_OUT_SAMPLES, SAMPLES, UNDERSTANDING  # noqa: E402


def measured(model: Path, samples: Sequence[Sample], features: Features) -> dict[str, Any]:
    """Share of right answers of the exported model, by head, availability pattern and language."""
    understanding = load(model)
    patterns = pattern_keys(features.present, understanding.modalities)
    languages = [_language(sample) for sample in samples]
    found: dict[str, Any] = {}
    predictions = understanding.predict(features, shares=False)
    for head in understanding.heads:
        right = [
            prediction.heads[head].label == sample.labels[head]
            for prediction, sample in zip(predictions, samples, strict=True)
        ]
        sure = [not prediction.heads[head].abstain for prediction in predictions]
        found[head] = {
            "all": _share(right),
            "by_pattern": _by(list(patterns), right),
            "by_language": _by(languages, right),
            "by_label": _by([str(sample.labels[head]) for sample in samples], right),
            "answered": _share(sure)["right"],
            "of_answered": _share([one for one, yes in zip(right, sure, strict=True) if yes]),
        }
    return found


def _by(keys: Sequence[str], right: Sequence[bool]) -> dict[str, Any]:
    return {
        key: _share([one for one, here in zip(right, keys, strict=True) if here == key]) for key in sorted(set(keys))
    }


def _share(right: Sequence[bool]) -> dict[str, float]:
    return {"right": round(sum(right) / max(len(right), 1), 4), "samples": len(right)}


def _language(sample: Sample) -> str:
    return (sample.group or "zh").partition(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, default=UNDERSTANDING, help="folder of the samples")
    parser.add_argument("--out", type=Path, default=UNDERSTANDING, help="where model/ and metrics.json go")
    parser.add_argument("--cache", type=Path, help="folder of features encoded before")
    given = parser.parse_args()
    began = time.monotonic()
    task = load_task(UNDERSTANDING / "task.yaml")
    learnt = load_samples(given.samples / SAMPLES, heads=task.heads, group=task.group)
    held_out = load_samples(given.samples / HELD_OUT_SAMPLES, heads=task.heads, group=task.group)
    with tempfile.TemporaryDirectory() as temporary:
        trained = Model(task, cache=given.cache, workers=1).fit(learnt)
        took = time.monotonic() - began
        fresh = Path(temporary) / "model"
        features = trained.features(held_out)
        exported = export_onnx(trained, fresh, features=features)
        figures = measured(fresh, held_out, features)
        target = given.out / "model"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh, target)
    metrics = {
        "what": "the shipped model on held-out ways of asking, none of which it was trained on",
        "learnt_from": len(learnt),
        "held_out": len(held_out),
        "heads": figures,
        "bytes": dict(exported.files),
        "training_s": round(took, 1),
        "notes": trained.notes,
        "commit": common.commit(),
        "machine": common.machine(),
    }
    (given.out / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(exported.to_text())
    for head, found in figures.items():
        print(head, found["all"], found["by_pattern"], found["by_language"])
    print(f"{took:.0f} s of training")


if __name__ == "__main__":
    main()
