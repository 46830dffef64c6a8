"""Past turns decided again: what would have changed, and whether what is predicted comes true as often as promised."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from duomo.store.postgres import Database, Workspace
from duomo.support.dry_run import Change, PastTurn, Prediction, Shares, compare, dry_run
from duomo.support.policy import SHIPPED, Do, Facts, Policy
from tests.support import decided

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
THEN = NOW - timedelta(days=28)
STRICT = Policy.parse("thresholds: {answer_from: 0.6, clarify_from: 0.3}\n" + SHIPPED)
ASKED = Facts("question", "en", ("text",), knowledge=0.9, answer_from=0.4, clarify_from=0.2)


def talk(
    cid: str, *knowledge: float, policy: Policy | None = None, at: datetime = NOW - timedelta(days=1)
) -> list[PastTurn]:
    """A conversation that came out as the shipped policy says."""
    turns: list[PastTurn] = []
    failures = 0
    for n, one in enumerate(knowledge):
        facts = replace(ASKED, knowledge=one, failures=failures)
        ruling = Policy.shipped().decide(facts)
        failures = failures + 1 if ruling.do == "clarify" else 0
        at = NOW - timedelta(days=1) + timedelta(minutes=n)
        turns.append(PastTurn(f"{cid}{n}", cid, at, ruling.do, facts, ruling.as_dict()))
    return turns


def tried(*talks: list[PastTurn], policy: Policy = STRICT) -> Any:
    return compare([turn for turns in talks for turn in turns], policy, since=THEN, until=NOW)


def test_the_same_policy_changes_nothing():
    found = tried(talk("a", 0.9), talk("b", 0.3, 0.3), talk("c", 0.1), policy=Policy.shipped())
    assert (found.turns, found.conversations, found.changed, found.rerouted, found.assumed) == (4, 3, 0, 0, 0)
    assert found.turns_then == found.turns_now == Shares(4, 0.25, 0.25, 0.5)
    assert (
        found.conversations_then
        == found.conversations_now
        == Shares(3, pytest.approx(1 / 3), 0.0, pytest.approx(2 / 3))
    )
    assert (found.moves, found.examples) == (
        {("answer", "answer"): 1, ("clarify", "clarify"): 1, ("hand_over", "hand_over"): 2}, ()
    )  # fmt: skip


def test_a_turn_is_decided_again_from_its_facts():
    found = tried(talk("a", 0.5), talk("b", 0.25), talk("c", 0.9))
    assert found.moves == {("answer", "clarify"): 1, ("clarify", "hand_over"): 1, ("answer", "answer"): 1}
    assert found.turns_then == Shares(3, pytest.approx(1 / 3), pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.rows == {4: 3}
    change = next(one for one in found.examples if one.conversation_id == "b")
    assert change == Change(
        "b0", "b", NOW - timedelta(days=1),
        {"row": 4, "name": "其他 everything else", "do": "clarify", "team": None, "priority": "normal", "reason": None,
         "answer_from": 0.4, "clarify_from": 0.2},
        {"row": 4, "name": "其他 everything else", "do": "hand_over", "team": None, "priority": "normal",
         "reason": "low_confidence", "answer_from": 0.6, "clarify_from": 0.3},
        replace(ASKED, knowledge=0.25),
    )  # fmt: skip


def test_how_a_conversation_goes_on_after_a_changed_turn_is_taken_from_those_that_come_out_as_they_did():
    unchanged = [talk(f"u{n}", 0.35, 0.1 if n < 3 else 0.9) for n in range(4)]  # asked back; three of four handed over
    found = tried(talk("a", 0.5, 0.9), *unchanged)
    assert found.assumed == 1
    chance = (3 + 1 / 3) / 5
    assert found.conversations_then.hand_over == pytest.approx((3 + chance) / 5)
    assert found.next_week.rate == pytest.approx((3 + chance) / 5)


def test_turns_that_come_out_otherwise_say_nothing_of_how_others_go_on():
    both = Policy.parse(
        "thresholds: {answer_from: 0.3, clarify_from: 0.2}\ntable:\n  - {wish: [person, emergency], do: hand_over}\n"
        "  - {language: zh, do: clarify}\n  - {do: answer}\n"
    )
    unchanged = [talk(f"u{n}", 0.9, 0.1 if n < 3 else 0.9) for n in range(4)]  # five answers, three handed over later
    [answered] = talk("z", 0.9)
    assert answered.facts is not None
    asked_back = [replace(answered, facts=replace(answered.facts, language="zh"))]
    found = tried(talk("a", 0.35), asked_back, *unchanged, policy=both)
    assert found.moves[("clarify", "answer")] == found.moves[("answer", "clarify")] == 1
    assert found.conversations_then.hand_over == pytest.approx((3 + 3.5 / 6 + 1 / 3) / 6)


def test_chance_in_a_small_week_is_in_the_interval():
    """Ten conversations a day, three of them handed over, every day: tomorrow it will not be three exactly."""
    turns = [
        replace(turn, at=NOW - timedelta(days=day, hours=1))
        for day in range(28)
        for n in range(10)
        for turn in talk(f"{day}-{n}", 0.1 if n < 3 else 0.9)
    ]
    day = compare(turns, Policy.shipped(), since=THEN, until=NOW, week=timedelta(days=1)).next_week
    week = compare(turns, Policy.shipped(), since=THEN, until=NOW).next_week
    assert day is not None
    assert week is not None
    assert (day.rate, round(day.conversations), round(week.conversations)) == (pytest.approx(0.3), 10, 72)
    spread = (0.3 * 0.7 / 10) ** 0.5  # binomial, of ten
    assert 3.5 * spread < day.high - day.low < 6 * spread
    assert week.high - week.low < 0.65 * (day.high - day.low)


def test_a_hand_over_ends_what_is_known_and_what_follows_it_does_not_count():
    found = tried(talk("a", 0.25, 0.9))
    assert found.conversations_now == Shares(1, 1.0, 0.0, 0.0)
    assert (found.conversations_then, found.assumed) == (Shares(1, 0.0, 0.0, 1.0), 0)


def test_where_the_policy_was_not_asked_nothing_changes():
    greeting = PastTurn("g", "a", NOW - timedelta(hours=2), "answer")
    button = PastTurn("b", "a", NOW - timedelta(hours=1), "hand_over")
    found = tried([greeting, button])
    assert (found.undecided, found.changed, found.conversations_then.hand_over) == (2, 0, 1.0)


def test_what_a_language_model_declined_to_answer_is_still_handed_over():
    [turn] = talk("a", 0.9)
    found = tried([replace(turn, do="hand_over")])
    assert found.moves == {("hand_over", "hand_over"): 1}


def test_another_team_is_a_change_of_its_own():
    teams = Policy.parse("teams: {repair: {intents: [leak]}}\n" + SHIPPED)
    facts = replace(ASKED, knowledge=0.1, intent="leak")
    ruling = Policy.shipped().decide(facts)
    found = tried([PastTurn("m", "a", NOW, ruling.do, facts, ruling.as_dict())], policy=teams)
    assert (found.changed, found.rerouted, found.examples[0].becomes["team"]) == (0, 1, "repair")


def test_without_conversations_nothing_is_predicted():
    found = tried()
    assert (found.turns, found.turns_now, found.next_week) == (0, Shares(0, 0.0, 0.0, 0.0), None)


def test_examples_show_every_kind_of_change():
    many = [talk(f"a{n}", 0.5) for n in range(50)] + [talk("b", 0.25)]
    found = tried(*many)
    assert len(found.examples) == 20
    assert {(change.was["do"], change.becomes["do"]) for change in found.examples} == {
        ("answer", "clarify"), ("clarify", "hand_over"),
    }  # fmt: skip


@pytest.mark.parametrize("policy", [Policy.shipped(), STRICT], ids=["as it was", "stricter"])
@pytest.mark.parametrize("weeks", [1, 4])
def test_the_next_week_falls_into_its_interval_about_as_often_as_promised(policy: Policy, weeks: int):
    chance = random.Random(4)

    def week(start: datetime, ruled: Policy) -> list[list[PastTurn]]:
        return [_customer(chance, f"{start}{n}", start, ruled) for n in range(60)]

    inside = 0
    for _ in range(40):
        past = [talk for n in range(1, weeks + 1) for talk in week(NOW - timedelta(days=7 * n), Policy.shipped())]
        found = compare([t for one in past for t in one], policy, since=THEN, until=NOW).next_week
        assert found is not None
        coming = week(NOW, policy)
        rate = sum(any(turn.do == "hand_over" for turn in one) for one in coming) / len(coming)
        inside += found.low <= rate <= found.high
        assert found.high - found.low < 0.75
        assert found.weeks == weeks
        assert found.conversations == pytest.approx(60, rel=0.3)
    assert inside >= 35  # of 40; less than one time in a thousand at 95 %


def _customer(chance: random.Random, cid: str, start: datetime, policy: Policy) -> list[PastTurn]:
    """Asks until answered to their liking, handed over, or tired."""
    turns: list[PastTurn] = []
    failures, at = 0, start + timedelta(days=7 * chance.random())
    for n in range(4):
        facts = replace(ASKED, knowledge=min(1.0, max(0.0, chance.gauss(0.5, 0.25))), failures=failures)
        ruling = policy.decide(facts)
        turns.append(PastTurn(f"{cid}-{n}", cid, at + timedelta(seconds=n), ruling.do, facts, ruling.as_dict()))
        done: Do = ruling.do
        if done == "hand_over" or (done == "answer" and chance.random() < 0.7):
            break
        failures = failures + 1 if done == "clarify" else 0
    return turns


async def test_stored_conversations_are_tried_with_their_words(db: Database, workspace: Workspace):
    until = datetime.now(UTC)
    async with db.transaction(workspace.id) as tx:
        month: Sequence[Any] = decided.month(Policy.shipped(), conversations=30, until=until)
        ids = [await decided.tell(tx, turns, Policy.shipped(), at) for at, turns in month]
        await decided.tell(
            tx, month[0][1][:1] and [decided.Turn(ASKED, "long ago")], Policy.shipped(), until - timedelta(days=60)
        )
        found = await dry_run(tx, STRICT, until=until)
        assert (found.conversations, found.turns) == (30, sum(len(turns) for _, turns in month))
        assert found.changed > 0
        assert {change.conversation_id for change in found.examples} <= set(ids)
        assert all(change.text for change in found.examples)
        assert isinstance(found.next_week, Prediction)
        told = json.loads(json.dumps(found.as_dict()))
        assert told["moves"][0].keys() == {"from", "to", "turns"}
        short = await dry_run(tx, STRICT, days=1, until=until)
        assert short.turns < found.turns
