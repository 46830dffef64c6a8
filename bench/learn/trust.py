"""Does a model mean what it says: calibration error and conformal coverage on development rows, by pattern.

    python -m bench.learn.trust trimodal smp2020 --data ../shared/data

Temperature and thresholds come from out-of-fold training rows, one set a pattern of available modalities; nothing here
saw a development label. `ece_by_chance` is what a perfectly calibrated model would show on so few rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.learn import tasks
from bench.learn.measure import CACHE, figures, merge, short, train
from duomo.learn.evaluate import subsets

WHAT = (
    "expected calibration error (15 bins) and share of rows whose prediction set holds the truth (wanted: 0.9), one "
    "model a set, by the modalities left to it; development rows"
)
SETS = ("trimodal", "smp2020", "banking77", "av_mnist", "handwritten6")
KEPT = ("accuracy", "ece", "ece_by_chance", "coverage", "set_size")


def measure(name: str, *, data: Path, cache: Path) -> dict[str, Any]:
    parts = [train(part, data=data, cache=cache) for part in tasks.parts_of(name)]
    table = {}
    for kept in subsets(parts[0].model.modalities):
        (found,) = figures(parts, kept).values()
        table["+".join(kept)] = {figure: short(found[figure]) for figure in KEPT}
    return {"wanted_coverage": 0.9, "dev": sum(len(part.dev) for part in parts), "by_pattern": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    for name in arguments.names or SETS:
        found = measure(name, data=arguments.data, cache=arguments.cache)
        merge("learn_trust", what=WHAT, figures={name: found}, data="shared/data, development rows as tasks.py splits")
        for pattern, row in found["by_pattern"].items():
            print(f"{name:13} {pattern:30}", {figure: value["value"] for figure, value in row.items()}, flush=True)


if __name__ == "__main__":
    main()
