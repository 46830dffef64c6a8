"""Every public set against its floor, the fused model beside its best single modality.

    python -m bench.learn.sets trimodal banking77 --data ../shared/data

One model a set; its figures with fewer modalities are of the same model with the others taken away. Only training and
development parts are read; where the floor was measured on an official test, the two are not on the same rows and the
result says so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.learn import tasks
from bench.learn.measure import CACHE, HEADLINE, Trained, figures, merge, reasons, short, train

WHAT = (
    "accuracy (numbers: Pearson) with 95 % intervals of one model a set on its development rows; "
    "fused - best single by the same model; training seconds from cached features, on one thread"
)
KEPT = (
    "accuracy", "f1_macro", "ece", "coverage", "set_size", "auroc", "pearson", "mae", "in_scope_accuracy",
    "out_of_scope_recall", "out_of_scope_auroc", "out_of_scope_fpr95",
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """What a set's headline is held against."""

    floor: float | None  # of the data README or UNDERSTANDING
    aim: float | None = None
    note: str = ""


BARS = {
    "trimodal": Bar(None, 0.97, "simple late fusion on the same rows: bench/learn/peers.py"),
    "trimodal_50": Bar(None, 0.96, "50 labels and 750 rows without"),
    "av_mnist": Bar(0.847, note="late fusion of hand features, on the official test's 1,000; here of val"),
    "handwritten6": Bar(0.979, note="late fusion, published, on the official 400; here 400 of train"),
    "fsdd": Bar(0.624, 0.80, "leave one speaker out; without the official test's recordings"),
    "esc10": Bar(0.88, note="the five official folds"),
    "products": Bar(0.742, note="the validation part"),
    "banking77": Bar(0.912, 0.93, "floor on the official test; here 15 % of train"),
    "clinc150": Bar(0.927, 0.95, "in-scope accuracy; floor on the official test, here on val"),
    "smp2020": Bar(None, 0.963),
    "speechocean": Bar(None, None, "92 learners only; .743 is published for 2,500 (GOPT)"),
    "mts_dialog": Bar(0.695, note="the valid part"),
}


def measure(name: str, *, data: Path, cache: Path) -> dict[str, Any]:
    parts = [train(part, data=data, cache=cache) for part in tasks.parts_of(name)]
    whole = figures(parts)
    modalities = parts[0].model.modalities
    alone: dict[str, dict[str, dict[str, Any]]] = {}
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    if len(modalities) > 1:
        alone = {modality: figures(parts, [modality]) for modality in modalities}
    if len(modalities) == 3:
        pairs = {"+".join(pair): figures(parts, pair) for pair in combinations(modalities, 2)}
    why = reasons(parts[0])
    bar = BARS.get(name.partition(":")[0], Bar(None))
    return {
        "rows": {"train": len(parts[0].model.oof["ids"]), "dev": sum(len(part.dev) for part in parts)},
        "parts": len(parts),
        "floor": bar.floor,
        "aim": bar.aim,
        "note": bar.note,
        "training_seconds": [part.seconds for part in parts],
        "training_cpu_seconds": [part.cpu_seconds for part in parts],
        "alarms": sorted({note for part in parts for note in part.model.notes}),
        "heads": {
            head: {
                **{figure: short(value) for figure, value in found.items() if figure in KEPT},
                **_beside(parts[0], head, found, alone, pairs),
                "reason": why[head],
            }
            for head, found in whole.items()
        },
    }


def _beside(
    trained: Trained, head: str, whole: dict[str, Any], alone: dict[str, Any], pairs: dict[str, Any]
) -> dict[str, Any]:
    headline = HEADLINE[trained.model.heads[head].type]
    if not alone:
        return {}
    singles = {modality: found[head][headline] for modality, found in alone.items()}
    best = max(singles, key=lambda modality: singles[modality]["value"] or 0.0)
    return {
        "alone": {modality: short(value) for modality, value in singles.items()},
        "pairs": {pair: short(found[head][headline]) for pair, found in pairs.items()},
        "best_single": best,
        "fused_minus_best_single": round(100 * (whole[headline]["value"] - singles[best]["value"]), 2),
    }


def line(name: str, found: dict[str, Any]) -> str:
    said = []
    for head, figure in found["heads"].items():
        value = figure.get("in_scope_accuracy") or figure.get("accuracy") or figure["pearson"]
        said.append(f"{head} {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
        if "best_single" in figure:
            said.append(f"({figure['fused_minus_best_single']:+.1f} over {figure['best_single']}: {figure['reason']})")
    return (
        f"{name}: {' '.join(said)}; floor {found['floor']}, aim {found['aim']}; {sum(found['training_seconds']):.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    for name in arguments.names or [*tasks.ADAPTERS, "clinc150:unseen"]:
        found = measure(name, data=arguments.data, cache=arguments.cache)
        merge("learn_sets", what=WHAT, figures={name: found}, data="shared/data as its README says, seed in tasks.py")
        print(line(name, found), flush=True)


if __name__ == "__main__":
    main()
