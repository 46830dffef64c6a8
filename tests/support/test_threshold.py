"""The risk-coverage curve: who counts as right, what a threshold answers, and a suggestion that keeps its promise."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import comb
from typing import Any

import pytest

from duomo.learn.yaml_file import Mistaken
from duomo.store.postgres import Database, Workspace
from duomo.support.interval import share
from duomo.support.policy import SHIPPED, Facts, Policy
from duomo.support.policy_sections import Thresholds
from duomo.support.threshold import Judged, Suggestion, at_most, curve, judged, load_curve, set_threshold, suggest
from tests.support import decided

ASKED = Facts("question", "en", ("text",), knowledge=0.5, answer_from=0.44, clarify_from=0.2)


def row(kind: str = "answer", **more: Any) -> dict[str, Any]:
    return {
        "facts": ASKED.as_dict(),
        "kind": kind,
        "kinds": None,
        "handoff": None,
        "same": None,
        "feedback": None,
    } | more


@pytest.mark.parametrize(
    ("stored", "right", "by"),
    [
        (row(), None, None),
        (row(feedback="up"), True, "customer"),
        (row(feedback="down"), False, "customer"),
        (row("clarify", feedback="up"), None, None),
        (row("handoff", kinds=["source"], same=True), True, "agent"),
        (row("handoff", kinds=["source"], same=False), False, "agent"),
        (row("handoff", kinds=["source"], same=None), False, "agent"),  # none of the articles
        (row(kinds=["source", "answer", "handoff"], same=True, handoff=True, feedback="down"), True, "agent"),
        (row(kinds=["handoff"], handoff=True, feedback="up"), False, "agent"),
        (row("clarify", kinds=["handoff"], handoff=True), False, "agent"),
        (row(kinds=["handoff"], handoff=False), True, "agent"),
        (row("handoff", kinds=["handoff"], handoff=False), None, None),
        (row(kinds=["answer"], feedback="up"), False, "agent"),
        (row("handoff", kinds=["answer"]), None, None),
    ],
)
def test_who_says_what_of_a_turn(stored: dict[str, Any], right: bool | None, by: str | None):
    assert judged(stored) == Judged(ASKED, right, by)  # type: ignore[arg-type]


def test_the_curve_counts_what_a_threshold_would_answer():
    policy = Policy.parse(
        "table:\n  - {wish: [person, emergency], do: hand_over}\n  - {intent: secret, do: hand_over}\n"
        "  - {intent: money, do: answer, answer_from: 0.7}\n  - {intent: vague, do: clarify}\n  - {do: answer}\n"
    )
    turns = [
        Judged(replace(ASKED, knowledge=0.9), True, "agent"),
        Judged(replace(ASKED, knowledge=0.6), False, "agent"),
        Judged(replace(ASKED, knowledge=0.3), False, "customer"),
        Judged(replace(ASKED, knowledge=0.1)),
        Judged(replace(ASKED, knowledge=None)),
        Judged(replace(ASKED, knowledge=0.1, chosen=True, failures=1), True, "customer"),
        Judged(replace(ASKED, knowledge=0.9, intent="secret"), False, "agent"),
        Judged(replace(ASKED, knowledge=0.8, intent="money")),
        Judged(replace(ASKED, knowledge=0.6, intent="money"), False, "agent"),
        Judged(replace(ASKED, knowledge=0.9, intent="vague")),
    ]
    found = curve(turns, policy)
    points = {point.threshold: point for point in found.points}
    assert (found.turns, found.by_agents, found.by_customers, found.now) == (10, 4, 2, {"en": 0.44})
    # chosen and money at 0.8 are answered at any threshold; vague asks back at any, money at 0.6 between its own two
    told = {t: (p.answered, p.asked, p.wrong.k, p.wrong.n) for t in (0.0, 0.25, 0.5, 0.61, 0.95) for p in [points[t]]}
    assert told == {
        0.0: (0.6, pytest.approx(0.2), 2, 4),
        0.25: (0.5, pytest.approx(0.2), 2, 4),
        0.5: (0.4, pytest.approx(0.3), 1, 3),
        0.61: (0.3, pytest.approx(0.4), 0, 2),
        0.95: (0.2, pytest.approx(0.5), 0, 1),
    }
    assert points[0.5].wrong == share(1, 3)


def test_what_the_curve_says_is_what_the_policy_does():
    chance = random.Random(3)
    policy = Policy.shipped()
    facts = [
        replace(
            ASKED, knowledge=round(chance.random(), 2), failures=chance.choice((0, 1)), writes=chance.random() < 0.5
        )
        for _ in range(300)
    ]
    turns = [Judged(one) for one in facts]
    found = curve(turns, policy)
    for point in found.points[::10]:
        done = [policy.with_thresholds(answer_from=point.threshold).decide(turn.facts).do for turn in turns]
        assert point.answered == pytest.approx(done.count("answer") / 300)
        assert point.asked == pytest.approx(done.count("clarify") / 300)


def test_the_binomial_tail_is_that_of_the_definition():
    for n, p in ((1, 0.3), (12, 0.1), (40, 0.5)):
        for k in range(n + 1):
            exact = sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
            assert at_most(k, n, p) == pytest.approx(exact)
    assert (at_most(0, 5, 0.0), at_most(4, 5, 1.0), at_most(5, 5, 1.0)) == (1.0, 0.0, 1.0)


def test_a_suggested_threshold_keeps_its_risk_as_often_as_promised():
    """The share wrong above a threshold t is 0.2 (1 - t) ** 1.5 here: 10 % at 0.37."""
    chance = random.Random(5)
    broken, given = 0, []
    for _ in range(120):
        turns = []
        for _ in range(400):
            knowledge = chance.random()
            wrong = chance.random() < 0.5 * (1 - knowledge) ** 1.5
            turns.append(Judged(replace(ASKED, knowledge=knowledge), not wrong, "agent"))
        threshold = curve(turns, Policy.shipped(), risk=0.1).suggestion.threshold
        if threshold is not None:
            given.append(threshold)
            broken += 0.2 * (1 - threshold) ** 1.5 > 0.1
    assert broken <= 11  # of 120; at 5 % one time in a hundred more
    assert len(given) >= 80
    assert sum(given) / len(given) < 0.75  # it answers, too


def test_nothing_is_suggested_from_few_judged_turns():
    turns = [Judged(replace(ASKED, knowledge=n / 40), True, "agent") for n in range(40)]
    assert curve(turns, Policy.shipped(), risk=0.1).suggestion == Suggestion(0.1, 0.95, None, 42)
    assert suggest((), risk=0.5) == Suggestion(0.5, 0.95, None, 7)
    more = [*turns, *turns]
    assert curve(more, Policy.shipped(), risk=0.1).suggestion.threshold == 0.0


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (SHIPPED, SHIPPED + "\nthresholds:\n  zh: {answer_from: 0.6}\n  en: {answer_from: 0.6}\n"),
        (
            "# mine\nthresholds: {answer_from: 0.5, clarify_from: 0.3} # both\n" + SHIPPED,
            "# mine\nthresholds:\n  zh: {answer_from: 0.6, clarify_from: 0.3}\n"
            "  en: {answer_from: 0.6, clarify_from: 0.3} # both\n" + SHIPPED,
        ),
        (
            "thresholds:\n  zh:\n    answer_from: 0.9\n    clarify_from: 0.8\n\n# the table\n" + SHIPPED,
            "thresholds:\n  zh: {answer_from: 0.6, clarify_from: 0.6}\n  en: {answer_from: 0.6}\n\n# the table\n"
            + SHIPPED,
        ),
    ],
)  # fmt: skip
def test_a_threshold_is_written_into_the_text_and_the_rest_stays(text: str, written: str):
    assert set_threshold(text, 0.6) == written
    assert {own.answer_from for own in Policy.parse(written).thresholds.values()} == {0.6}


def test_a_threshold_may_hold_for_one_language():
    one = set_threshold(SHIPPED, 0.61234, language="en")
    assert Policy.parse(one).thresholds == {"en": Thresholds(0.61234)}
    assert Policy.parse(set_threshold(one, 0.4, language="zh")).thresholds == {
        "zh": Thresholds(0.4), "en": Thresholds(0.61234),
    }  # fmt: skip
    with pytest.raises(Mistaken):
        set_threshold("table: []", 0.5)


async def test_labels_and_thumbs_in_the_database_make_the_curve(db: Database, workspace: Workspace):
    now = datetime.now(UTC)
    turns = [
        decided.Turn(replace(ASKED, knowledge=0.9), said=(("source", "guide"),), feedback="down"),
        decided.Turn(replace(ASKED, knowledge=0.8), said=(("source", "another"),)),
        decided.Turn(replace(ASKED, knowledge=0.7), said=(("source", ""),)),
        decided.Turn(replace(ASKED, knowledge=0.6), said=(("source", "translated"),)),
        decided.Turn(replace(ASKED, knowledge=0.6), said=(("source", "another"), ("source", None))),
        decided.Turn(replace(ASKED, knowledge=0.5), feedback="up"),
        decided.Turn(replace(ASKED, knowledge=0.45), said=(("handoff", True), ("handoff", None)), feedback="up"),
        decided.Turn(replace(ASKED, knowledge=0.1), said=(("handoff", True),)),
        decided.Turn(replace(ASKED, knowledge=0.95, language="zh")),
        decided.Turn(replace(ASKED, wish="person", knowledge=None)),
    ]
    async with db.transaction(workspace.id) as tx:
        for article, language in (("guide", "en"), ("translated", "zh"), ("another", "en")):
            await tx.connection.execute(
                "INSERT INTO articles (id, source, topic, title, language, uri, text, content_hash) "
                "VALUES (%s, 's', %s, 't', %s, 'u', 'x', 'h')",
                (article, "guide" if article != "another" else "other", language),
            )
        for turn in turns:
            await decided.tell(tx, [turn], Policy.shipped(), now - timedelta(days=1))
        await decided.tell(tx, [decided.Turn(ASKED)], Policy.shipped(), now - timedelta(days=100))
        found = await load_curve(tx)
        assert (found.turns, found.by_agents, found.by_customers) == (9, 5, 2)
        points = {point.threshold: point for point in found.points}
        assert [(points[t].wrong.k, points[t].wrong.n) for t in (0.85, 0.75, 0.65, 0.55, 0.47, 0.44, 0.0)] == [
            (0, 1), (1, 2), (2, 3), (2, 4), (2, 5), (2, 6), (3, 7),
        ]  # fmt: skip
        assert (await load_curve(tx, language="zh")).turns == 1
        assert (await load_curve(tx, days=365)).turns == 10
