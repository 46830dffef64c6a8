"""Models under trial: shadow, canary, the one that became active; and what is left when the watch is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from duomo.store.postgres import Database, Workspace
from duomo.support import registry
from duomo.support.policy import Policy, load_policy, save_policy
from duomo.support.policy_sections import Rollback, Rollout
from duomo.support.rollout import (
    Arm,
    chosen,
    in_canary,
    judge_after,
    judge_canary,
    roll_back,
    taken_back,
    trials,
    watch,
)
from tests.support.conftest import new_agent
from tests.support.live import Behaviour, Traffic, new_model, roles, use

GOOD = Behaviour()
BAD = Behaviour(hands_over=0.8, wrong=0.9, beyond=0.6, abstains=0.8)
RULE = Rollback()
QUICK = """
rollout:
  shadow_turns: 60
  canary_share: 0.5
  canary_turns: 40
  rollback: {window: 80, min_turns: 20}
"""


@pytest.fixture
async def quick(db: Database, workspace: Workspace) -> None:
    """A policy under which few turns decide."""
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, Policy.shipped().text + QUICK)


async def happened(db: Database, workspace: Workspace) -> list[tuple[str, str, str, str | None, str | None]]:
    """(name, role, begun by, ended by, reason of the end) in order."""
    async with db.transaction(workspace.id) as tx:
        rows = reversed(await registry.history(tx))
    return [(r["name"], r["role"], r["began_by"], r["ended_by"], r["ended_reason"]) for r in rows]


async def open_alarms(db: Database, workspace: Workspace) -> list[tuple[str, str]]:
    async with db.transaction(workspace.id) as tx:
        return [(r["kind"], r["data"]["name"]) for r in await tx.all("alarms", limit=9) if r["cleared_at"] is None]


def test_the_page_shows_what_holds_without_a_word_in_the_policy() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/models.md").read_text(encoding="utf-8")
    (block,) = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    assert Policy.parse(f"{Policy.shipped().text}\n{block}").rollout == Rollout()


# Shares -----------------------------------------------------------------------------------------------------------


def test_a_conversation_stays_with_its_model_and_a_larger_share_keeps_its_conversations() -> None:
    ids = [str(uuid.UUID(int=n)) for n in range(4000)]
    tenth, half = [{i for i in ids if in_canary(i, share, salt="m")} for share in (0.1, 0.5)]
    assert tenth < half
    assert 0.08 < len(tenth) / 4000 < 0.12
    assert 0.47 < len(half) / 4000 < 0.53
    assert {i for i in ids if in_canary(i, 1.0, salt="m")} == set(ids)
    assert {i for i in ids if in_canary(i, 0.1, salt="another")} != tenth


def test_without_a_canary_everybody_gets_the_active_model() -> None:
    active, canary = {"id": "a"}, {"id": "c", "share": 1.0}
    assert chosen({}, "x") is None
    assert chosen({"active": active, "shadow": {"id": "s"}}, "x") is active
    assert chosen({"active": active, "canary": canary}, "x") is canary
    assert chosen({"active": active, "canary": {"id": "c", "share": 1e-12}}, "x") is active


# Judging ----------------------------------------------------------------------------------------------------------


def worse(findings: list) -> list[str]:
    return [finding.indicator for finding in findings if finding.worse]


def test_a_canary_is_worse_where_bad_events_are_its_own_more_often_than_its_share() -> None:
    active = Arm(conversations=900, turns=900, labelled=400, handed_over=180, corrected=40, out_of_scope=45)
    fine = Arm(conversations=100, turns=100, labelled=45, handed_over=24, corrected=6, out_of_scope=6)
    bad = Arm(conversations=100, turns=100, labelled=45, handed_over=70, corrected=6, out_of_scope=6)
    assert worse(judge_canary(fine, active, share=0.1, rule=RULE)) == []
    assert worse(judge_canary(bad, active, share=0.1, rule=RULE)) == ["handed_over"]


def test_that_people_look_at_the_canary_more_often_is_not_held_against_it() -> None:
    active = Arm(conversations=900, turns=900, labelled=60, corrected=12)
    canary = Arm(conversations=100, turns=100, labelled=90, corrected=18)
    assert worse(judge_canary(canary, active, share=0.1, rule=RULE)) == []


def test_a_difference_smaller_than_the_policy_names_takes_nothing_back() -> None:
    active = Arm(conversations=90_000, turns=90_000, handed_over=18_000)
    canary = Arm(conversations=10_000, turns=10_000, handed_over=2_600)
    assert worse(judge_canary(canary, active, share=0.1, rule=RULE)) == []
    strict = Rollback(handover_rate_worse_by=0.05)
    assert worse(judge_canary(canary, active, share=0.1, rule=strict)) == ["handed_over"]


def test_a_model_is_judged_against_what_the_former_ones_last_conversations_allow() -> None:
    before = Arm(conversations=200, turns=200, labelled=100, handed_over=40, corrected=10)
    same = Arm(conversations=60, turns=60, labelled=30, handed_over=15, corrected=4)
    bad = Arm(conversations=60, turns=60, labelled=30, handed_over=15, corrected=20)
    assert worse(judge_after(same, before, rule=RULE)) == []
    assert worse(judge_after(bad, before, rule=RULE)) == ["corrected"]
    assert worse(judge_after(bad, Arm(conversations=20, labelled=20), rule=RULE)) == []  # nothing to compare with


# Living -----------------------------------------------------------------------------------------------------------


async def test_a_shadow_that_reads_as_well_becomes_a_canary_and_then_active(
    db: Database, workspace: Workspace, quick: None
) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "shadow", by="improve")
    traffic = Traffic(db, workspace, {"old": GOOD, "new": GOOD})
    await traffic.comes(59)
    assert await watch(db, workspace.id) == []
    await traffic.comes(1)
    assert len(await watch(db, workspace.id)) == 1
    assert await roles(db, workspace) == {"active": "old", "canary": "new"}
    for _ in range(20):
        await traffic.comes(10)
        if await watch(db, workspace.id):
            break
    assert await roles(db, workspace) == {"active": "new"}
    assert await happened(db, workspace) == [
        ("old", "active", "agent", "rollout", "canary passed 40 turns"),
        ("new", "shadow", "improve", "rollout", "shadow passed 60 turns"),
        ("new", "canary", "rollout", "rollout", "canary passed 40 turns"),
        ("new", "active", "rollout", None, None),
    ]
    assert await open_alarms(db, workspace) == []


async def test_without_a_canary_a_shadow_that_passed_answers_everybody(db: Database, workspace: Workspace) -> None:
    async with db.transaction(workspace.id) as tx:
        await save_policy(tx, f"{Policy.shipped().text}\nrollout: {{shadow_turns: 60, canary_share: 0}}\n")
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "shadow", by="improve")
    await Traffic(db, workspace, {"old": GOOD, "new": GOOD}).comes(60)
    assert len(await watch(db, workspace.id)) == 1
    assert await roles(db, workspace) == {"active": "new"}


@pytest.mark.parametrize("labelled", [0.0, 0.5])
async def test_a_worse_shadow_ends_with_an_alarm_and_nobody_was_answered_by_it(
    db: Database, workspace: Workspace, quick: None, labelled: float
) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "shadow", by="improve")
    await Traffic(db, workspace, {"old": Behaviour(labelled=labelled), "new": Behaviour(wrong=0.8)}).comes(60)
    await watch(db, workspace.id)
    assert await roles(db, workspace) == {"active": "old"}
    assert await open_alarms(db, workspace) == [("rollback", "new")]
    async with db.transaction(workspace.id) as tx:
        assert await taken_back(tx, new)


async def test_a_canary_that_does_worse_is_taken_back(db: Database, workspace: Workspace, quick: None) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "canary", share=0.5)
    traffic = Traffic(db, workspace, {"old": GOOD, "new": BAD})
    for _ in range(20):
        await traffic.comes(10)
        if await watch(db, workspace.id):
            break
    assert await roles(db, workspace) == {"active": "old"}
    assert await open_alarms(db, workspace) == [("rollback", "new")]
    assert [row[:4] for row in await happened(db, workspace)] == [
        ("old", "active", "agent", None),
        ("new", "canary", "agent", "rollback"),
    ]


async def degraded(db: Database, workspace: Workspace) -> tuple[str, str]:
    """A model that was promoted and does worse in its conversations; the watch has not looked yet."""
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    traffic = Traffic(db, workspace, {"old": GOOD, "new": BAD})
    await use(db, workspace, old, "active")
    await traffic.comes(60)
    await use(db, workspace, new, "active", by="rollout")
    await traffic.comes(40)
    return old, new


async def test_a_promoted_model_that_degrades_is_taken_back_by_itself_and_does_not_come_again(
    db: Database, workspace: Workspace, quick: None
) -> None:
    _, new = await degraded(db, workspace)
    (said,) = await watch(db, workspace.id)
    assert said.startswith("model=")
    assert await roles(db, workspace) == {"active": "old"}
    assert await open_alarms(db, workspace) == [("rollback", "new")]
    story = await happened(db, workspace)
    assert [row[:4] for row in story] == [
        ("old", "active", "agent", "rollout"),
        ("new", "active", "rollout", "rollback"),
        ("old", "active", "rollback", None),
    ]
    assert "worse: handed_over" in (story[1][4] or "")
    assert await watch(db, workspace.id) == []  # the last good one stays
    # tried again by the schedule: it reads as well as the other now, and still does not come back
    await use(db, workspace, new, "shadow", by="improve")
    await Traffic(db, workspace, {"old": GOOD, "new": GOOD}).comes(60)
    await watch(db, workspace.id)
    assert await roles(db, workspace) == {"active": "old"}


async def test_a_model_that_an_owner_insists_on_stays_and_only_the_alarm_says_that_it_is_worse(
    db: Database, workspace: Workspace, quick: None
) -> None:
    _, new = await degraded(db, workspace)
    await watch(db, workspace.id)
    owner = await new_agent(db, workspace)
    async with db.transaction(workspace.id) as tx:
        (alarm,) = await tx.all("alarms", limit=9)
        await tx.run("clear_alarm", id=alarm["id"], agent_id=owner)
    await use(db, workspace, new, "active", agent_id=owner, reason="we know, the season is odd")
    await Traffic(db, workspace, {"new": BAD}, seed=1).comes(40)
    assert len(await watch(db, workspace.id)) == 1
    assert await watch(db, workspace.id) == []
    assert await roles(db, workspace) == {"active": "new"}
    assert await open_alarms(db, workspace) == [("rollback", "new")]


async def test_a_model_that_does_as_well_as_the_one_before_it_stays(
    db: Database, workspace: Workspace, quick: None
) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    traffic = Traffic(db, workspace, {"old": GOOD, "new": GOOD}, seed=3)
    await use(db, workspace, old, "active")
    await traffic.comes(60)
    await use(db, workspace, new, "active", by="rollout")
    for _ in range(8):
        await traffic.comes(10)
        assert await watch(db, workspace.id) == []
    async with db.transaction(workspace.id) as tx:
        (trial,) = (await trials(tx, (await load_policy(tx)).rollout)).values()
    assert (trial.role, trial.turns, trial.verdict, trial.against and trial.against["name"]) == (
        "active", 80, "waiting", "old",
    )  # fmt: skip


async def labelled_since(db: Database, workspace: Workspace, model_id: str, label: str, *, origin: str) -> None:
    """People give 30 turns that nobody has labelled yet a label."""
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute(
            "INSERT INTO labels (id, conversation_id, message_id, kind, head, value, origin) "
            "SELECT gen_random_uuid(), conversation_id, message_id, 'head', 'intent', to_jsonb(%s::text), %s "
            "FROM predictions p WHERE model_id = %s "
            "AND NOT EXISTS (SELECT FROM labels l WHERE l.message_id = p.message_id) ORDER BY id LIMIT 30",
            (label, origin, model_id),
        )


@pytest.mark.parametrize(
    ("label", "origin", "taken"),
    [
        ("gift_card", "discover", False),
        ("invoice", "discover", False),
        ("gift_card", "review", False),
        ("invoice", "review", True),
        ("other", "review", True),
    ],
)
async def test_only_labels_that_a_model_knows_and_that_a_person_gave_after_reading_take_it_back(
    db: Database, workspace: Workspace, label: str, origin: str, taken: bool
) -> None:
    heads = {
        "intent": {"labels": ["track_order", "delivery_time", "refund_status", "invoice"], "out_of_scope": "other"}
    }
    old, new = [await new_model(db, workspace, name, manifest={"heads": heads}) for name in ("old", "new")]
    traffic = Traffic(db, workspace, {"old": GOOD, "new": Behaviour(labelled=0.25)})
    await use(db, workspace, old, "active")
    await traffic.comes(100)
    await use(db, workspace, new, "active", by="rollout")
    await traffic.comes(100)
    assert await watch(db, workspace.id) == []
    await labelled_since(db, workspace, new, label, origin=origin)
    assert ([said.partition("worse: ")[2][:9] for said in await watch(db, workspace.id)] == ["corrected"]) == taken
    assert await roles(db, workspace) == {"active": "old" if taken else "new"}


async def test_a_shadow_is_not_judged_by_labels_that_only_one_of_the_two_can_give(
    db: Database, workspace: Workspace, quick: None
) -> None:
    def manifest(*labels: str) -> dict[str, object]:
        return {"heads": {"intent": {"labels": ["track_order", "delivery_time", "refund_status", *labels]}}}

    old, new = [
        await new_model(db, workspace, name, manifest=manifest(label))
        for name, label in (("old", "invoice"), ("new", "gift_card"))
    ]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "shadow", by="improve")
    await Traffic(db, workspace, {"old": Behaviour(labelled=0), "new": GOOD}).comes(50)

    async def labels() -> int:
        async with db.transaction(workspace.id) as tx:
            return int((await trials(tx, (await load_policy(tx)).rollout))["shadow"].shown["labelled"])

    for label, origin in (("invoice", "review"), ("gift_card", "review"), ("refund_status", "discover")):
        await labelled_since(db, workspace, new, label, origin=origin)
        assert await labels() == 0
        async with db.transaction(workspace.id) as tx:
            await tx.connection.execute("DELETE FROM labels")
    await labelled_since(db, workspace, new, "refund_status", origin="review")
    assert await labels() == 30


async def test_a_model_that_comes_back_was_not_taken_back_though_it_was_also_a_shadow(
    db: Database, workspace: Workspace
) -> None:
    old, new, next_one = [await new_model(db, workspace, name) for name in ("old", "new", "next")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "active", by="rollout")
    await use(db, workspace, old, "shadow", reason="how would it do by now?")
    async with db.transaction(workspace.id) as tx:
        await roll_back(tx, agent_id=None, reason="it sends invoices to repair")
        assert [await taken_back(tx, model) for model in (old, new)] == [False, True]
    assert [row[3:] for row in await happened(db, workspace)] == [
        ("rollout", ""),
        ("rollback", "it sends invoices to repair"),
        ("rollout", ""),
        (None, None),
    ]
    await use(db, workspace, next_one, "active", by="rollout")
    async with db.transaction(workspace.id) as tx:
        (trial,) = (await trials(tx, Rollout())).values()
        assert (trial.against or {})["name"] == "old"
        assert (await roll_back(tx, agent_id=None, reason="worse than the old one"))["name"] == "old"


# Killed -----------------------------------------------------------------------------------------------------------


async def killed_watch(dsn: str, workspace: Workspace) -> list[dict]:
    """What stands in the tables after each killed run, and after the one that ended."""
    command = [sys.executable, "-m", "tests.support.killed_watch", dsn, workspace.id]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_killed_before_any_statement_a_rollback_leaves_one_active_model(
    db: Database, dsn: str, workspace: Workspace, quick: None
) -> None:
    await degraded(db, workspace)
    *killed, ended = await killed_watch(dsn, workspace)
    assert len(killed) > 10
    assert killed == [{"finished": False, "roles": {"active": "new"}, "alarms": 0}] * len(killed)
    assert ended == {"finished": True, "roles": {"active": "old"}, "alarms": 1}


async def test_killed_before_any_statement_a_promotion_leaves_one_active_model(
    db: Database, dsn: str, workspace: Workspace, quick: None
) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "canary", share=0.5)
    await Traffic(db, workspace, {"old": GOOD, "new": GOOD}, seed=5).comes(100)
    *killed, ended = await killed_watch(dsn, workspace)
    assert len(killed) > 10
    assert killed == [{"finished": False, "roles": {"active": "old", "canary": "new"}, "alarms": 0}] * len(killed)
    assert ended == {"finished": True, "roles": {"active": "new"}, "alarms": 0}
