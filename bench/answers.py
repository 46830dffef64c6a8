"""What the demo answers of its held-out questions: rightly, wrongly, not at all, and how that trades off.

    python bench/answers.py [--part heldout] [--show]

Right: a cited article is one of the right ones and its quote holds what was asked for. Wrong: it answered otherwise,
an unanswerable question included. Refused: it asked back or called a person; wrongly so where the knowledge has the
answer. Writes bench/results/answers.json and the risk–coverage curves as answers.svg. The thresholds were chosen on
the development questions (`scripts/fit_calibration.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import RESULTS, write
from questions import Asked, read, shop, topic

from duomo.support.answer import Answerer
from duomo.support.confidence import Calibration
from duomo.support.outcome import Outcome, Question
from duomo.types import LANGUAGES


@dataclass(frozen=True)
class Result:
    asked: Asked
    outcome: Outcome
    confidence: float
    would_be_right: bool  # had it answered

    @property
    def answered(self) -> bool:
        return bool(self.outcome.citations) and self.outcome.kind == "answer"

    @property
    def offered(self) -> bool:
        """It asked back, and a right article was among the options' titles."""
        return self.outcome.kind == "clarify" and bool(set(self.outcome.options) & set(self.asked.article_ids))


async def measure(part: str) -> list[Result]:
    results = []
    async with shop() as demo:
        answerer = Answerer(demo.retriever, demo.text, demo.english, calibration=Calibration.shipped())
        for asked in read(part):
            question = Question(asked.text, asked.lang)
            found = await answerer.search(demo.workspace.id, question)
            outcome = [event async for event in answerer.answer(demo.workspace.id, question)][-1]
            assert isinstance(outcome, Outcome)
            right = bool(found.passages) and asked.is_answered_by(answerer.cite(found))
            titles = {p.title: topic(p.article_id) for p in found.passages}
            outcome_topics = [titles.get(option, option) for option in outcome.options]
            shown = Outcome(
                outcome.kind, outcome.text, outcome.citations, outcome_topics, outcome.handoff, outcome.failed,
                outcome.decision,
            )  # fmt: skip
            results.append(Result(asked, shown, found.probability, right))
    return results


def figures(results: Sequence[Result]) -> dict[str, Any]:
    answerable = [r for r in results if r.asked.article_ids]
    answered = [r for r in results if r.answered]
    right = [r for r in answered if r.asked.is_answered_by(r.outcome.citations)]
    wrong = [r for r in answered if not r.asked.is_answered_by(r.outcome.citations)]
    refused = [r for r in answerable if not r.answered]
    return {
        "questions": len(results),
        "answerable": len(answerable),
        "unanswerable": len(results) - len(answerable),
        "answered_correctly": share(len(right), len(answerable)),
        "wrongly_answered": share(len(wrong), len(results)),
        "wrong_of_answered": share(len(wrong), len(answered)),
        "wrongly_answered_unanswerable": sum(not r.asked.article_ids for r in wrong),
        "wrongly_refused": share(len(refused), len(answerable)),
        "asked_back": sum(r.outcome.kind == "clarify" for r in results),
        "asked_back_with_the_right_article": sum(r.offered for r in results),
        "right_article_or_quote_found": share(sum(r.would_be_right for r in answerable), len(answerable)),
        "risk_coverage": curve(results),
    }


def share(count: int, of: int) -> dict[str, Any]:
    """A proportion with its 95 % Wilson interval."""
    if not of:
        return {"count": count, "of": of}
    p, z = count / of, 1.96
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return {
        "count": count,
        "of": of,
        "share": round(p, 4),
        "interval": [round(middle - half, 4), round(middle + half, 4)],
    }


def curve(results: Sequence[Result]) -> list[dict[str, float]]:
    """Answering the surest first: the share answered, and of those the share that is wrong."""
    points, wrong = [], 0
    ranked = sorted(results, key=lambda r: -r.confidence)
    for n, result in enumerate(ranked, start=1):
        wrong += not result.would_be_right
        points.append(
            {
                "coverage": round(n / len(ranked), 4),
                "risk": round(wrong / n, 4),
                "threshold": round(result.confidence, 4),
            }
        )
    return points


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    width, height, left, bottom = 520, 320, 48, 36
    colours = {"zh": "#b3382c", "en": "#1f5fa8", "all": "#444444"}

    def at(point: dict[str, float]) -> str:
        x = left + point["coverage"] * (width - left - 16)
        y = height - bottom - point["risk"] * (height - bottom - 16)
        return f"{x:.1f},{y:.1f}"

    body = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at({"coverage": tick, "risk": 0.0}).split(",")
        body.append(f'<text x="{x}" y="{float(y) + 16}" text-anchor="middle">{tick:.2f}</text>')
        x, y = at({"coverage": 0.0, "risk": tick}).split(",")
        body.append(f'<text x="{float(x) - 6}" y="{float(y) + 4}" text-anchor="end">{tick:.2f}</text>')
    for n, (name, points) in enumerate(curves.items()):
        line = " ".join(at(point) for point in points)
        body.append(f'<polyline fill="none" stroke="{colours[name]}" stroke-width="1.6" points="{line}"/>')
        body.append(f'<text x="{width - 40}" y="{24 + 16 * n}" fill="{colours[name]}">{name}</text>')
    body.append(f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle">coverage: share answered</text>')
    body.append(
        f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})" text-anchor="middle">risk</text>'
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>\n',
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="heldout", choices=("heldout", "dev"))
    parser.add_argument("--show", action="store_true", help="print every wrong answer (development questions only)")
    options = parser.parse_args()
    results = asyncio.run(measure(options.part))
    found = {name: figures([r for r in results if r.asked.lang == name]) for name in LANGUAGES}
    found["all"] = figures(results)  # type: ignore[index]
    for name, of in found.items():
        print(name, {key: value for key, value in of.items() if key != "risk_coverage"})
    if options.show and options.part == "dev":
        for r in results:
            if r.answered and not r.asked.is_answered_by(r.outcome.citations):
                print(round(r.confidence, 2), r.asked.text, r.asked.article_ids, [c.title for c in r.outcome.citations])
    if options.part == "heldout":
        calibration = Calibration.shipped()
        thresholds = {name: calibration[name].answer for name in LANGUAGES}
        write(
            "answers",
            what="extractive answers to the demo workspace's held-out questions",
            figures={"thresholds": thresholds, "calibration": calibration.version, **found},
            data="src/duomo/scenarios/customer_service/questions/heldout.jsonl",
        )
        draw({name: of["risk_coverage"] for name, of in found.items()}, RESULTS / "answers.svg")


if __name__ == "__main__":
    main()
