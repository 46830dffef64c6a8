"""Which turns come first: unsure, contradictory, frequent ones, none twice."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from duomo.errors import InputError
from duomo.store.postgres import Database, Workspace
from duomo.support import review
from duomo.support.policy import Policy, save_policy
from duomo.support.review import Queue, Ranked, Vectors, agreement, entropy, frequency, mixed, rank
from tests.support.conftest import new_agent
from tests.support.reviewed import OUTSIDE, UNSURE, give_label, give_model, said, turn

LABELS = 4


def alone(dim: int, at: int) -> list[float]:
    return np.eye(dim, dtype=np.float32)[at].tolist()


def vectors(rows: Sequence[Sequence[float]]) -> dict[str, Vectors]:
    return {"text": Vectors(np.arange(len(rows)), np.asarray(rows, np.float32))}


def order(found: Sequence[Ranked]) -> list[int]:
    return [one.row for one in found]


# Ranking ----------------------------------------------------------------------------------------------------------


def test_entropy_is_that_of_all_labels_the_rest_spread_evenly() -> None:
    some = {"confidence": 0.5, "top": [["a", 0.5], ["b", 0.2]], "out_of_scope": 0.0}
    whole = [0.5, 0.2, 0.1, 0.1, 0.1]
    assert entropy(some, 5) == pytest.approx(-sum(p * math.log(p) for p in whole) / math.log(5))
    assert entropy({"confidence": 1.0, "top": [["a", 1.0]]}, 5) == 0
    assert entropy({"confidence": 0.2, "top": [[str(i), 0.2] for i in range(5)]}, 5) == pytest.approx(1)


def test_whether_any_label_fits_may_be_what_is_unsure() -> None:
    assert entropy(said(chance=1.0, out_of_scope=0.5), LABELS) == 1
    assert entropy(said(chance=1.0, out_of_scope=1.0), LABELS) == 0


def test_entropy_of_several_labels_of_a_number_and_of_nothing() -> None:
    assert entropy({"confidence": {"a": 0.5, "b": 1.0}}, 2) == 0.5
    assert entropy({"confidence": 0.9, "label": 3.0, "top": [], "abstain": True}, 0) == 1
    assert entropy({"confidence": 0.9, "label": 3.0, "top": [], "abstain": False}, 0) == 0.5
    assert entropy({}, 5) == 1


def test_unsure_comes_before_sure_and_contradictory_before_agreed() -> None:
    turns = [said(), UNSURE, said(chance=0.6), {**said(chance=0.6), "conflict": 0.9}]
    found = rank(turns, LABELS, vectors(np.eye(4)), {}, 4)
    assert order(found) == [3, 1, 2, 0]
    assert (found[0].disagreement, found[0].entropy) == (0.9, entropy(turns[2], LABELS))
    assert found[0].value == pytest.approx(found[0].entropy * 1.9 * found[0].frequency)


def test_what_many_ask_comes_before_what_one_asks() -> None:
    crowd = [[1.0, 0.02 * at, 0, 0] for at in range(6)]
    found = rank([UNSURE] * 8, LABELS, vectors([[0, 0, 0, 1], *crowd, [0, 0, 1, 0]]), {}, 8)
    assert found[0].row in range(1, 7)
    assert set(order(found)[1:3]) == {0, 7}
    assert found[0].frequency == 1 > found[1].frequency


def test_of_one_question_in_many_wordings_one_comes_and_the_others_last() -> None:
    points = [alone(6, 0)] * 40 + [alone(6, at) for at in range(1, 6)]
    found = rank([UNSURE] * 40 + [said(chance=0.7)] * 5, LABELS, vectors(points), {}, 45)
    assert found[0].row < 40
    assert sorted(order(found)[1:6]) == [40, 41, 42, 43, 44]


def test_what_is_like_a_labelled_turn_comes_last() -> None:
    points = [alone(4, at) for at in range(4)]
    found = rank([UNSURE] * 4, LABELS, vectors(points), vectors([alone(4, 0), alone(4, 2)]), 4)
    assert set(order(found)[:2]) == {1, 3}


def test_what_an_earlier_model_said_weighs_less() -> None:
    found = rank([UNSURE, UNSURE], LABELS, vectors(np.eye(2)), {}, 2, stale=[True, False])
    assert order(found) == [1, 0]
    assert found[1].value == found[0].value / 2


def test_turns_without_any_vector_come_too_and_other_sizes_are_left_out() -> None:
    one = {"text": Vectors(np.array([1]), np.ones((1, 3), np.float32))}
    assert sorted(order(rank([UNSURE] * 3, LABELS, one, {}, 3))) == [0, 1, 2]
    assert sorted(order(rank([UNSURE] * 3, LABELS, {}, one, 3))) == [0, 1, 2]
    other = {"text": Vectors(np.array([0]), np.ones((1, 7), np.float32))}
    assert sorted(order(rank([UNSURE] * 3, LABELS, one, other, 3))) == [0, 1, 2]
    assert rank([], LABELS, {}, one, 3) == []


def test_modalities_stand_side_by_side() -> None:
    found, _ = review.side_by_side(
        {"text": Vectors(np.array([0, 1, 2]), np.array([[1, 0], [1, 0], [0, 1]], np.float32)),
         "image": Vectors(np.array([0]), np.array([[3, 4]], np.float32))}, 4,
    )  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert found[0] @ found[1] == pytest.approx(1, abs=1e-6)  # one picture alone, centred, is nothing
    assert found[0] @ found[2] == pytest.approx(-1, abs=1e-6)


def test_neighbours_are_estimated_from_a_part_of_many() -> None:
    points = np.zeros((4000, 4), np.float32)
    points[:1000, 0] = 1
    points[1000:, 1] = 1
    found = frequency(points)
    assert found[0] == pytest.approx(math.sqrt((1 + math.log(1000)) / (1 + math.log(3000))), rel=0.01)
    assert found[-1] == 1


# The queue --------------------------------------------------------------------------------------------------------


async def queue(db: Database, workspace: Workspace, agent: str, *, limit: int = 20, head: str = "intent") -> Queue:
    return await review.queue(db, workspace.id, head=head, agent_id=agent, limit=limit)


async def test_an_empty_workspace_has_an_empty_queue(db: Database, workspace: Workspace, agent: str) -> None:
    assert await queue(db, workspace, agent) == Queue([], 0, 0, 0, 0)
    await give_model(db, workspace)
    assert await queue(db, workspace, agent) == Queue([], 0, 0, 0, 0)


async def test_what_is_labelled_does_not_come_again(db: Database, workspace: Workspace, agent: str) -> None:
    model = await give_model(db, workspace)
    made = [
        await turn(db, workspace, model, text, head, vector=alone(4, at))
        for at, (text, head) in enumerate([("sure", said()), ("unsure", UNSURE), ("outside", OUTSIDE)])
    ]
    found = await queue(db, workspace, agent)
    assert [(item.why, item.shown["text"]) for item in found.items] == [
        ("value", "unsure"), ("value", "outside"), ("value", "sure")
    ]  # fmt: skip
    assert (found.unlabelled, found.labelled) == (3, 0)
    item = found.items[0]
    assert (item.message_id, item.shown["heads"]["intent"], item.shown["pattern"]) == (made[1][1], UNSURE, "text")
    for value, left in [("invoice", ["outside", "sure"]), (None, ["unsure", "outside", "sure"])]:
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, *made[1], value, agent_id=agent, origin="review")
        found = await queue(db, workspace, agent)
        assert [item.shown["text"] for item in found.items] == left
    assert len((await queue(db, workspace, agent, head="urgency")).items) == 3
    with pytest.raises(InputError, match="no head 'mood'"):
        await queue(db, workspace, agent, head="mood")


async def test_turns_without_an_embedding_and_of_an_earlier_model_come_too(
    db: Database, workspace: Workspace, agent: str
) -> None:
    await turn(db, workspace, await give_model(db, workspace, "first"), "earlier", UNSURE)
    model = await give_model(db, workspace, "second")
    await turn(db, workspace, model, "with", UNSURE, vector=[1, 0])
    await turn(db, workspace, model, "without", UNSURE)
    assert {item.shown["text"] for item in (await queue(db, workspace, agent)).items} == {"earlier", "with", "without"}


async def test_what_a_shadow_says_is_no_reason_to_ask(db: Database, workspace: Workspace, agent: str) -> None:
    model = await give_model(db, workspace)
    _, message_id = await turn(db, workspace, model, head=said())
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("UPDATE predictions SET role = 'shadow' WHERE message_id = %s", (message_id,))
    assert (await queue(db, workspace, agent)).items == []


async def test_without_a_model_the_newest_questions_come_first(db: Database, workspace: Workspace, agent: str) -> None:
    await turn(db, workspace, None, "older")
    await turn(db, workspace, None, "hello", decision={"outcome": "greeting"})
    made = await turn(db, workspace, None, "newer")
    texts = [item.shown["text"] for item in (await queue(db, workspace, agent)).items]
    assert texts == ["newer", "older"]
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, *made, "other", agent_id=agent)
    assert [item.shown["text"] for item in (await queue(db, workspace, agent)).items] == ["older"]


async def test_a_turn_is_everything_the_customer_sent_since_the_last_answer(
    db: Database, workspace: Workspace, agent: str
) -> None:
    model = await give_model(db, workspace)
    customer, first = await turn(db, workspace, model, "one", UNSURE)
    second = await customer.says("two")
    _, third = await turn(db, workspace, model, "three", UNSURE, customer=customer)
    shown = {item.message_id: item.shown["messages"] for item in (await queue(db, workspace, agent)).items}
    assert shown == {first: [first], third: [second, third]}


async def test_suspected_labels_come_back_until_somebody_has_looked(
    db: Database, workspace: Workspace, agent: str
) -> None:
    model = await give_model(db, workspace)
    customer, message_id = await turn(db, workspace, model, "odd")
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "invoice", agent_id=agent)
        await tx.connection.execute(
            "INSERT INTO suspects (message_id, head, given, suggested, confidence) "
            "VALUES (%s, 'intent', 'invoice', 'warranty', 0.25)",
            (message_id,),
        )
    found = await queue(db, workspace, agent)
    [item] = found.items
    assert (item.why, item.message_id, item.ranked, found.rechecks) == ("recheck", message_id, None, 1)
    assert item.suspect is not None
    assert (item.suspect["given"], item.suspect["suggested"], item.suspect["confidence"]) == (
        *("invoice", "warranty", 0.25),
    )
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "invoice", agent_id=agent, origin="recheck")
    assert (await queue(db, workspace, agent)).items == []
    for value, origin, why in [
        ("invoice", "review", ["recheck"]),  # what was said of the doubt is undone
        ("warranty", "recheck", []),
        ("invoice", "review", ["recheck"]),
        ("return_item", "correction", []),
    ]:
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, value, agent_id=agent, origin=origin)
        assert [item.why for item in (await queue(db, workspace, agent)).items] == why


async def second_opinions(db: Database, workspace: Workspace, share: float) -> None:
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, f"{Policy.shipped().text}\nlearning:\n  second_opinions: {share}\n")


async def test_a_second_opinion_is_asked_of_another_agent_once_and_blind(
    db: Database, workspace: Workspace, agent: str
) -> None:
    await second_opinions(db, workspace, 1.0)
    model, others = await give_model(db, workspace), [await new_agent(db, workspace) for _ in range(2)]
    customer, message_id = await turn(db, workspace, model, "odd")
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "invoice", agent_id=agent, origin="review")
    asked = [(await queue(db, workspace, who)).items for who in (agent, *others)]
    assert [[(item.why, item.suspect) for item in items] for items in asked] == [[], *[[("second", None)]] * 2]
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, customer, message_id, "warranty", agent_id=others[0], origin="second")
    assert [(await queue(db, workspace, who)).items for who in (agent, *others)] == [[], [], []]


async def test_about_the_share_the_policy_wants_is_asked_of_a_second_person(
    db: Database, workspace: Workspace, agent: str
) -> None:
    await second_opinions(db, workspace, 0.25)
    model, other = await give_model(db, workspace), await new_agent(db, workspace)
    customer = None
    for _ in range(80):
        customer, message_id = await turn(db, workspace, model, customer=customer)
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, "invoice", agent_id=agent, origin="review")
    asked = (await queue(db, workspace, other)).seconds
    assert 8 <= asked <= 34  # 20 of 80 ± 3.6 standard deviations
    assert (await queue(db, workspace, other)).seconds == asked


def test_every_fifth_is_a_recheck_and_every_tenth_a_second_opinion_while_there_are_some() -> None:
    values = [Ranked(row, 1, 1, 0, 1) for row in range(20)]
    kinds = [why for why, _ in mixed(values, [{"a": 1}] * 9, [{"b": 1}] * 9, 20)]
    assert kinds == (["value"] * 4 + ["recheck"] + ["value"] * 4 + ["second"]) * 2
    assert [why for why, _ in mixed(values[:2], [{}], [{}], 20)] == ["value", "value", "recheck", "second"]
    assert [found.row for _, found in mixed(values, [], [], 20)] == list(range(20))  # type: ignore[union-attr]
    assert mixed([], [], [], 20) == []


# Agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_the_one_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.choice(["a", "b", "c"], 60, p=[0.7, 0.2, 0.1])
    second = np.where(rng.random(60) < 0.7, first, rng.choice(["a", "b", "d"], 60))
    found = agreement(list(zip(first.tolist(), second.tolist(), strict=True)))
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert (found.pairs, found.agreed) == (60, int((first == second).sum()))
    assert sum(both for *_, both in found.by_label) == found.agreed


def test_kappa_is_not_defined_without_pairs_or_where_only_one_thing_is_said() -> None:
    assert agreement([]) == review.Agreement(0, 0, None, [])
    assert agreement([("a", "a")] * 3) == review.Agreement(3, 3, None, [("a", 3, 3, 3)])


async def test_a_second_opinion_is_compared_with_what_held_when_it_was_given(
    db: Database, workspace: Workspace, agent: str
) -> None:
    model, other = await give_model(db, workspace), await new_agent(db, workspace, "Tom")
    for first, second, later in [("invoice", "invoice", None), ("invoice", "warranty", "warranty")]:
        customer, message_id = await turn(db, workspace, model, f"{first} {second}")
        opinions = [(value, other, "second") for value in ("return_item", None, second)]  # the other one thought again
        for value, who, origin in [
            (first, agent, "review"),
            *opinions,
            *([(later, agent, "recheck")] if later else []),
        ]:
            async with db.transaction(workspace.id) as tx:
                await give_label(tx, customer, message_id, value, agent_id=who, origin=origin)
    async with db.transaction(workspace.id) as tx:
        found, differ = await review.load_agreement(tx, head="intent")
    assert (found.pairs, found.agreed, found.kappa) == (2, 1, 0)
    [row] = differ
    shown: dict[str, Any] = {
        name: row[name] for name in ("text", "first", "second", "first_name", "second_name", "settled")
    }
    assert shown == {
        "text": "invoice warranty", "first": "invoice", "second": "warranty", "first_name": "Mei", "second_name": "Tom",
        "settled": "warranty",
    }  # fmt: skip


async def test_turns_of_another_workspace_are_not_asked_about(db: Database, workspace: Workspace, agent: str) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    await second_opinions(db, other, 1.0)
    await second_opinions(db, workspace, 1.0)
    model = await give_model(db, other)
    await turn(db, other, model, head=UNSURE, vector=[1, 0])
    await turn(db, other, None, "hello")
    for value in ("invoice", "warranty"):
        customer, message_id = await turn(db, other, model)
        async with db.transaction(other.id) as tx:
            await give_label(tx, customer, message_id, value, agent_id=await new_agent(db, other), origin="review")
    async with db.transaction(other.id) as tx:
        await tx.connection.execute(
            "INSERT INTO suspects (message_id, head, given, suggested, confidence) "
            "VALUES (%s, 'intent', 'warranty', 'invoice', 0.2)",
            (message_id,),
        )
    theirs = await queue(db, other, await new_agent(db, other))
    assert (theirs.unlabelled, theirs.labelled, theirs.rechecks, theirs.seconds) == (1, 2, 1, 1)
    assert await queue(db, workspace, agent) == Queue([], 0, 0, 0, 0)
