"""One trained model a scenario with its full report: by pattern, by language, under damage.

    python -m bench.learn.reports --data ../shared/data --out reports

Headline figures go to bench/results; the pages show rows of the sets and stay outside the project.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.learn import tasks
from bench.learn.measure import CACHE, HEADLINE, merge, short, train
from duomo.learn.report import to_html

WHAT = (
    "headline figure of each head of a scenario's model on development rows: whole, by modalities left, and with "
    "damaged input beside the same rows unharmed ('none')"
)
MODELS = {
    "customer_service": "composite", "medical": "chest_xray:0", "education": "math_vision:0",
    "education_pronunciation": "speechocean:0",
}  # fmt: skip
DAMAGED = 80  # rows damaged in every way


def measure(name: str, *, data: Path, cache: Path, out: Path, title: str) -> dict[str, Any]:
    trained = train(name, data=data, cache=cache)
    trained.model.save(out / name.replace(":", "_"))
    evaluation = trained.model.evaluate(trained.dev, corruptions=True, damaged_rows=DAMAGED)
    (out / f"{title}.html").write_text(to_html(evaluation, title=title), encoding="utf-8")
    said = evaluation.as_json()
    headline = {head: HEADLINE[info.type] for head, info in trained.model.heads.items()}

    def table(rows: dict[str, Any]) -> dict[str, Any]:
        return {
            kind: {head: short(figures[headline[head]]) for head, figures in heads.items()}
            for kind, heads in rows.items()
        }

    return {
        "set": name,
        "dev": evaluation.n,
        "whole": table({"": said["heads"]})[""],
        **{part: table(said[part]) for part in ("by_forced_pattern", "by_language", "by_corruption")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--out", type=Path, default=tasks.WORK / "reports")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for scenario in arguments.scenarios or MODELS:
        found = measure(MODELS[scenario], data=arguments.data, cache=arguments.cache, out=arguments.out, title=scenario)
        merge("learn_scenarios", what=WHAT, figures={scenario: found}, data="development rows as tasks.py splits")
        print(scenario, json.dumps(found["whole"]), flush=True)


if __name__ == "__main__":
    main()
