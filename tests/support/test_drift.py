"""Whether customers still show and say what the model knows: figures on given vectors, alarms on live turns."""

from __future__ import annotations

import numpy as np
import pytest

from duomo.store.postgres import Database, Workspace
from duomo.support import alarms, drift
from duomo.support.drift import Usual, distance, higher, lower
from duomo.support.policy import Policy, save_policy
from tests.support.conftest import new_agent
from tests.support.live import Behaviour, Traffic, new_model, use

SMALL = "\ndrift: {window: 40, distance: 0.05, significance: 0.01}\n"


def turns(n: int, *, seed: int, moved: float = 0.0, dim: int = 32) -> np.ndarray:
    """(n, dim) vectors in a cone, as encoders' are; `moved` to another side of it."""
    raw = np.random.default_rng(seed).standard_normal((n, dim)) + 2.0
    raw[:, : dim // 2] += moved
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))


# Figures ----------------------------------------------------------------------------------------------------------


def test_turns_like_the_usual_ones_are_called_others_as_seldom_as_significance_says() -> None:
    alarms = sum(
        distance(turns(60, seed=seed), Usual.of(turns(200, seed=10_000 + seed)), seed=seed).p <= 0.05
        for seed in range(200)
    )
    assert 2 <= alarms <= 20  # 10 expected; outside with a chance of 1 in 300


def test_the_distance_of_like_turns_is_about_nothing_and_that_of_others_grows_with_the_change() -> None:
    usual = Usual.of(turns(400, seed=0))
    sizes = [distance(turns(200, seed=1, moved=moved), usual).size for moved in (0.0, 0.3, 0.6, 1.2)]
    assert sizes[0] < 0.003
    assert sizes == sorted(sizes)
    # of two normal clouds the share is d^2 / (d^2 + tr S + tr T), here from many turns
    many, others = turns(20_000, seed=2), turns(20_000, seed=3, moved=1.2)
    apart = ((many.mean(0) - others.mean(0)) ** 2).sum()
    exact = apart / (apart + many.var(axis=0).sum() + others.var(axis=0).sum())
    assert sizes[3] == pytest.approx(exact, abs=0.03)


def test_what_is_usual_is_the_same_after_it_was_written_down() -> None:
    vectors = turns(300, seed=4)
    usual = Usual.of(vectors)
    read = Usual.read(usual.as_dict())
    assert read.n == 300
    assert read.mean == pytest.approx(usual.mean, abs=1e-4)
    assert read.spread == pytest.approx(usual.spread, abs=1e-4)


def test_confidence_that_falls_and_turns_out_of_scope_that_rise() -> None:
    usual = {"n": 400, "confidence": 0.8, "deviation": 0.2, "out_of_scope": 0.05}
    fallen, same = lower([0.5, 0.7] * 50, usual), lower([0.7, 0.9] * 50, usual)
    assert (round(fallen.size, 6), fallen.p < 1e-9) == (0.2, True)
    assert (round(same.size, 6), same.p) == (0.0, pytest.approx(0.5))
    risen, fewer = higher(30, 100, usual), higher(5, 100, usual)
    assert (round(risen.size, 6), risen.p < 1e-9) == (0.25, True)
    assert fewer.p == pytest.approx(0.5)


# Alarms -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def model(db: Database, workspace: Workspace) -> str:
    """An active model; windows are of 40 turns."""
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, Policy.shipped().text + SMALL)
    made = await new_model(db, workspace, "now")
    await use(db, workspace, made, "active")
    return made


USUAL = {"text": np.full(16, 2.0), "image": np.full(24, 2.0)}
DARK = USUAL | {"image": np.linspace(0.0, 4.0, 24)}


async def come(db: Database, workspace: Workspace, n: int, *, seed: int, means: dict = USUAL, **how: float) -> None:
    traffic = Traffic(db, workspace, {"now": Behaviour(**how)}, seed=seed, means=means)
    await traffic.comes(n)


async def open_alarms(db: Database, workspace: Workspace) -> list[str]:
    async with db.transaction(workspace.id) as tx:
        return [row["subject"] for row in await alarms.alarms(tx) if row["cleared_at"] is None]


async def test_pictures_turned_dark_raise_the_alarm_of_pictures_alone_once_and_it_ends_with_them(
    db: Database, workspace: Workspace, model: str
) -> None:
    await come(db, workspace, 40, seed=1)
    assert await drift.look(db, workspace.id) == []  # the first window is what is usual
    await come(db, workspace, 40, seed=2)
    assert await drift.look(db, workspace.id) == []
    assert await drift.look(db, workspace.id) == []
    await come(db, workspace, 40, seed=3, means=DARK)
    (said,) = await drift.look(db, workspace.id)
    assert said.startswith("image drifted")
    assert await open_alarms(db, workspace) == ["image"]
    await come(db, workspace, 20, seed=4, means=DARK)
    assert await drift.look(db, workspace.id) == []
    await come(db, workspace, 40, seed=5)
    assert await drift.look(db, workspace.id) == ["image is as usual"]
    assert await open_alarms(db, workspace) == []
    async with db.transaction(workspace.id) as tx:
        history = [(r["subject"], r["upto"], r["drifted"]) for r in await tx.all("drift_history", limit=9)]
    assert [row for row in history if row[0] == "image"] == [
        ("image", 80, False), ("image", 120, True), ("image", 140, True), ("image", 180, False),
    ]  # fmt: skip
    assert not any(drifted for subject, _, drifted in history if subject != "image")


async def test_an_alarm_that_a_person_has_seen_comes_again_only_after_it_was_over(
    db: Database, workspace: Workspace, model: str
) -> None:
    for seed, means in enumerate((USUAL, DARK)):
        await come(db, workspace, 40, seed=seed, means=means)
        await drift.look(db, workspace.id)
    agent = await new_agent(db, workspace)
    async with db.transaction(workspace.id) as tx:
        (alarm,) = await alarms.alarms(tx)
        await alarms.clear_alarm(tx, alarm["id"], agent_id=agent)
    told = []
    for seed, means in enumerate((DARK, USUAL, DARK), start=5):
        await come(db, workspace, 40, seed=seed, means=means)
        told.append([sentence.split(" by")[0] for sentence in await drift.look(db, workspace.id)])
    assert told == [[], [], ["image drifted"]]


async def test_a_model_brings_what_is_usual_for_it_and_the_first_full_window_counts(
    db: Database, workspace: Workspace, model: str
) -> None:
    usual = {"modalities": {"text": Usual.of(unit_rows(np.full(16, 2.0))).as_dict()}, "heads": {}}
    other = await new_model(db, workspace, "other", reference=usual)
    await use(db, workspace, other, "active")
    means = {"text": np.linspace(0.0, 4.0, 16)}
    await Traffic(db, workspace, {"other": Behaviour()}, means=means).comes(40)
    (said,) = await drift.look(db, workspace.id)
    assert said.startswith("text drifted")


async def test_conversations_that_are_deleted_do_not_stop_the_watch(
    db: Database, workspace: Workspace, model: str
) -> None:
    for seed in (1, 2):
        await come(db, workspace, 40, seed=seed)
        await drift.look(db, workspace.id)
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute(
            "DELETE FROM conversations WHERE id IN (SELECT id FROM conversations ORDER BY created_at LIMIT 40)"
        )
    await come(db, workspace, 40, seed=3, means=DARK)
    (said,) = await drift.look(db, workspace.id)
    assert said.startswith("image drifted")


async def test_turns_that_another_encoder_saw_are_left_aside(db: Database, workspace: Workspace, model: str) -> None:
    await come(db, workspace, 40, seed=1)
    await drift.look(db, workspace.id)
    await come(db, workspace, 10, seed=2, means=USUAL | {"image": np.full(30, 2.0)})
    await come(db, workspace, 30, seed=3)
    assert await drift.look(db, workspace.id) == []
    async with db.transaction(workspace.id) as tx:
        windows = {row["subject"]: row["figures"]["turns"] for row in await tx.all("drift_history", limit=1)}
    assert (windows["text"], windows["image"]) == (40, 30)


def unit_rows(mean: np.ndarray) -> np.ndarray:
    raw = mean + np.random.default_rng(9).standard_normal((300, len(mean)))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))


async def test_confidence_that_falls_and_questions_out_of_scope_have_alarms_of_their_own(
    db: Database, workspace: Workspace, model: str
) -> None:
    await come(db, workspace, 40, seed=1)
    await drift.look(db, workspace.id)
    await come(db, workspace, 40, seed=2, confidence=0.6, beyond=0.5)
    await drift.look(db, workspace.id)
    assert sorted(await open_alarms(db, workspace)) == ["confidence", "out_of_scope"]
