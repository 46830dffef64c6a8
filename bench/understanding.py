"""How fast an exported model answers, without its encoders: import, opening, one row, modality shares.

    python -m bench.understanding
    python -m bench.understanding --model models/tickets/onnx

Without --model a network of usual size is made: text, picture and sound with their default views, 60,000 n-grams, 20
labels, early and gated fusion, random weights.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import write
from duomo.models.features import Features, SparseRows
from duomo.models.manifest import Manifest
from duomo.models.understanding import HeadInfo, Understanding, load

LABELS = 20
VOCABULARY = 60_000
NGRAMS = 150  # a message's
PART = "import time; t = time.perf_counter(); import duomo.models.understanding; print(time.perf_counter() - t)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, help="folder that `duomo export --onnx` wrote")
    given = parser.parse_args()
    imported = [float(subprocess.check_output([sys.executable, "-c", PART])) for _ in range(5)]
    figures: dict[str, Any] = {"import_s": _spread(imported)}
    with tempfile.TemporaryDirectory() as folder:
        figures |= measured(given.model or made(Path(folder)))
    for name, value in figures.items():
        print(name, value)
    if given.model is None:
        write("understanding", what=__doc__.split("\n\n")[0], figures=figures, data="random weights and rows")


def measured(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for precision in Manifest.read(folder / "manifest.json").graphs:
        opened = [_timed(lambda p=precision: load(folder, precision=p)) for _ in range(3)]  # type: ignore[misc]
        served = load(folder, precision=precision)  # type: ignore[arg-type]
        one, many = rows(served, 1), rows(served, 256)
        bulk = _best(lambda served=served, many=many: served.predict_features(many), times=5)  # type: ignore[misc]
        figures[precision] = {
            "megabytes": round((folder / served.manifest.graphs[precision]).stat().st_size / 1e6, 1),  # type: ignore[union-attr, index]
            "open_s": _spread(opened),
            "one_row_ms": _spread([1000 * _timed(lambda: served.predict(one, shares=False)) for _ in range(200)]),  # noqa: B023
            "one_row_with_shares_ms": _spread([1000 * _timed(lambda: served.predict(one)) for _ in range(200)]),  # noqa: B023
            "shares_ms": _spread([1000 * _timed(lambda: served.shares(one)) for _ in range(200)]),  # noqa: B023
            "rows_a_second_of_256": round(len(many) / bulk),
        }
    return figures


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _best(work: Callable[[], object], *, times: int) -> float:
    return min(_timed(work) for _ in range(times))


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(float(np.quantile(values, q)), 4) for name, q in (("median", 0.5), ("p95", 0.95))}


def rows(served: Understanding, count: int) -> Features:
    """Random rows with every modality."""
    random = np.random.default_rng(0)
    dense, sparse = {}, {}
    vocabularies = getattr(served.core, "vocabularies", {})
    for view in served.views:
        if view.sparse:
            columns = np.concatenate([np.sort(random.choice(vocabularies[view.name], NGRAMS)) for _ in range(count)])
            starts = np.arange(count + 1) * NGRAMS
            sparse[view.name] = SparseRows(starts, columns, np.ones(len(columns), dtype=np.float32))
        else:
            dense[view.name] = random.standard_normal((count, view.dim)).astype(np.float32)
    return Features(served.modalities, np.ones((count, len(served.modalities)), dtype=np.bool_), dense, sparse)


@dataclass
class Made:
    """As exporters take a trained model."""

    core: Any
    heads: dict[str, HeadInfo]

    def manifest(self) -> Manifest:
        return Manifest("bench", {}, self.core.modalities, self.core.plan.views, self.heads)


def made(folder: Path) -> Path:
    import torch

    from duomo.learn.core import Core, Fusion, Plan
    from duomo.learn.export import export_onnx
    from duomo.learn.fusion import Shape
    from duomo.models.encoders import default_views

    torch.manual_seed(0)
    modalities = ("text", "image", "audio")
    views = tuple(view for modality in modalities for view in default_views(modality))
    dims = tuple(sum(v.dim for v in views if v.modality == m and not v.sparse) for m in modalities)
    within = {"text": {"linear": 0.5, "ngrams": 0.5}, "image": {"linear": 1.0}, "audio": {"linear": 1.0}}
    blend = {"late": 0.5, "early": 0.25, "intermediate": 0.25}
    fusion = Fusion("class", LABELS, False, True, (-np.log(LABELS).item(),) * LABELS, within, (1.0,) * 3, {7: blend})
    outputs = {"intent": LABELS}
    networks = {kind: Shape(kind, "gated", dims, outputs, 128, 0.3) for kind in ("early", "intermediate")}  # type: ignore[arg-type]
    core = Core(Plan(modalities, views, {"text.ngrams": VOCABULARY}, networks, {"intent": fusion}))
    with torch.no_grad():
        for weight in core.parameters():
            weight.normal_(0, 0.05)
    core.vocabularies = {"text.ngrams": np.sort(np.random.default_rng(0).permutation(2**18)[:VOCABULARY])}
    labels = tuple(f"label {number}" for number in range(LABELS))
    heads = {"intent": HeadInfo("intent", "class", labels, (1 / LABELS,) * LABELS, "none", 0.0)}
    print(export_onnx(Made(core, heads), folder, int8=True).to_text())
    return folder


if __name__ == "__main__":
    main()
