"""What nobody had an answer for becomes proposals; a person decides."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duomo.errors import Conflict, InputError, NotFound, Unavailable
from duomo.store.postgres import Database, Row, Workspace
from duomo.support import labels, proposals
from duomo.support.proposals import Cluster, Turn, kind_of
from tests.support.reviewed import OUTSIDE, give_label, give_model, said, turn

UNANSWERED: dict[str, Any] = {"kind": "handoff", "decision": {"outcome": "handoff", "reason": "low_confidence"}}
TRADE = ["Can I trade in my old phone", "trade in an old phone please", "is a trade in of my phone possible",
         "how much for a trade in of a phone", "old phone trade in value", "trade in: my old phone"]  # fmt: skip
WARM = ["Does the kettle keep water warm", "kettle keep warm function", "how long does the kettle keep water warm",
        "keep water warm in the kettle", "is there a keep warm mode on the kettle", "kettle: keep warm?"]  # fmt: skip


def near(axis: int, rng: np.random.Generator) -> list[float]:
    found: np.ndarray = np.eye(8)[axis] + rng.normal(0, 0.08, 8)
    return [float(value) for value in found / np.linalg.norm(found)]


async def asked(db: Database, workspace: Workspace, *, seed: int = 0, model: str | None = None) -> dict[str, str]:
    """A topic that the model does not know, one that the knowledge does not answer, and one that is fine."""
    model = model or await give_model(db, workspace)
    rng = np.random.default_rng(seed)
    ids = {}
    for axis, texts, head, how in [
        (0, TRADE, OUTSIDE, {}), (1, WARM, said("warranty"), UNANSWERED), (2, ["Where is my parcel?"] * 6, said(), {}),
    ]:  # fmt: skip
        for text in texts:
            _, message_id = await turn(db, workspace, model, text, head, vector=near(axis, rng), **how)
            ids[message_id] = text
    return ids


async def made(db: Database, workspace: Workspace) -> list[Row]:
    async with db.transaction(workspace.id) as tx:
        return await proposals.listed(tx)


async def test_discovery_proposes_an_intent_and_an_article_and_nothing_twice(
    db: Database, workspace: Workspace, home: Path
) -> None:
    ids = await asked(db, workspace)
    assert await proposals.run_discovery(db, home, workspace.id) == 2
    found = {row["kind"]: row for row in await made(db, workspace)}
    assert {kind: {ids[message] for message in row["messages"]} for kind, row in found.items()} == {
        "intent": set(TRADE), "article": set(WARM)
    }  # fmt: skip
    assert "trade" in found["intent"]["name"]
    assert found["intent"]["terms"]
    assert [row["size"] for row in found.values()] == [6, 6]
    assert {example["text"] for example in found["article"]["examples"]} == set(WARM)
    assert await proposals.run_discovery(db, home, workspace.id) == 0
    assert list((home / "training").iterdir()) == []


async def test_a_few_of_a_new_kind_are_found_among_many_known_ones_like_them(
    db: Database, workspace: Workspace, home: Path
) -> None:
    model = await give_model(db, workspace)
    rng = np.random.default_rng(0)
    new: dict[int, set[str]] = {0: set(), 3: set()}
    for axis, texts in ((0, TRADE), (3, WARM)):
        for n in range(18):
            await turn(db, workspace, model, f"known {n}", said("warranty"), vector=near(axis, rng), **UNANSWERED)
        for text in texts:
            new[axis].add((await turn(db, workspace, model, text, OUTSIDE, vector=near(axis, rng)))[1])
    await proposals.run_discovery(db, home, workspace.id)
    intents = [row["messages"] for row in await made(db, workspace) if row["kind"] == "intent"]
    assert sorted(sorted(messages) for messages in intents) == sorted(sorted(ids) for ids in new.values())


async def test_what_was_dismissed_is_not_proposed_again_and_what_is_open_grows(
    db: Database, workspace: Workspace, home: Path, agent: str
) -> None:
    model = await give_model(db, workspace)
    await asked(db, workspace, model=model)
    await proposals.run_discovery(db, home, workspace.id)
    before = {row["kind"]: row for row in await made(db, workspace)}
    async with db.transaction(workspace.id) as tx:
        await proposals.dismiss(tx, id=str(before["article"]["id"]), agent_id=agent)
    rng = np.random.default_rng(9)
    for at in (0, 1):
        head = OUTSIDE if at == 0 else said("warranty")
        await turn(db, workspace, model, (TRADE, WARM)[at][0], head, vector=near(at, rng), **UNANSWERED)
    assert await proposals.run_discovery(db, home, workspace.id) == 1
    after = {row["kind"]: row for row in await made(db, workspace)}
    assert {kind: (row["id"], row["state"], row["size"]) for kind, row in after.items()} == {
        "intent": (before["intent"]["id"], "open", 7), "article": (before["article"]["id"], "dismissed", 6)
    }  # fmt: skip


async def test_without_a_model_texts_are_encoded_and_unanswered_ones_become_an_article(
    db: Database, workspace: Workspace, home: Path
) -> None:
    for text in [*TRADE, *WARM]:
        await turn(db, workspace, None, text, **UNANSWERED)
    await proposals.run_discovery(db, home, workspace.id)
    assert {row["kind"] for row in await made(db, workspace)} == {"article"}


async def test_few_turns_are_no_cluster(db: Database, workspace: Workspace, home: Path) -> None:
    model = await give_model(db, workspace)
    for text in TRADE[:4]:
        await turn(db, workspace, model, text, OUTSIDE, vector=[1, 0])
    assert await proposals.run_discovery(db, home, workspace.id) == 0


async def test_only_questions_count_that_found_no_answer_or_no_understanding(
    db: Database, workspace: Workspace
) -> None:
    model = await give_model(db, workspace)
    for text, head, how in [
        ("answered", said(), {}),
        ("asked back", said(), {"kind": "clarify", "decision": {"outcome": "clarify"}}),
        ("handed over", said(), UNANSWERED),
        ("wanted a person", said(), {"kind": "handoff", "decision": {"outcome": "handoff", "reason": "requested"}}),
        ("not understood", said(abstain=True), {}),
        ("out of scope", OUTSIDE, {}),
        ("hello", OUTSIDE, {"decision": {"outcome": "greeting"}}),
        ("thanks!", OUTSIDE, {"decision": {"facts": {"wish": "thanks"}}}),
    ]:
        await turn(db, workspace, model, text, head, **how)
    for value, text in [("invoice", "labelled"), ("other", "labelled as nothing known")]:
        customer, message_id = await turn(db, workspace, model, text, OUTSIDE)
        async with db.transaction(workspace.id) as tx:
            await give_label(tx, customer, message_id, value)
    async with db.transaction(workspace.id) as tx:
        turns = await proposals.load_turns(tx)
    assert {turn.text: (turn.understood, turn.answered) for turn in turns} == {
        "asked back": (True, False),
        "handed over": (True, False),
        "not understood": (False, True),
        "out of scope": (False, True),
        "labelled as nothing known": (False, True),
    }


def test_a_cluster_is_what_most_of_it_lacks() -> None:
    def turns(*kinds: tuple[bool, bool]) -> list[Turn]:
        return [Turn("", "", understood, answered) for understood, answered in kinds]

    assert kind_of(turns((False, True), (False, False), (True, False))) == "intent"
    assert kind_of(turns((False, True), (True, False), (True, False))) == "article"
    assert kind_of(turns((False, True), (True, True), (True, True))) is None


async def test_a_mixture_is_not_proposed(db: Database, workspace: Workspace) -> None:
    known = {str(at): Turn(str(at), "x", understood=False, answered=False) for at in range(6)}
    async with db.transaction(workspace.id) as tx:
        for cohesion in (0.1, 0.9):
            cluster = Cluster("x", ["x"], cohesion, [*known])
            assert await proposals.store(tx, [cluster], known) == int(cohesion > 0.5)


@pytest.mark.parametrize(("understood", "made"), [(True, 1), (False, 0)], ids=["article", "intent"])
async def test_an_accepted_intent_does_not_keep_the_missing_article_away(
    db: Database, workspace: Workspace, agent: str, understood: bool, made: int
) -> None:
    id, turns = await proposed(db, workspace)
    await decide(db, workspace, id, agent, name="trade_in")
    known = {message_id: Turn(message_id, "x", understood=understood, answered=False) for _, message_id in turns}
    async with db.transaction(workspace.id) as tx:
        assert await proposals.store(tx, [Cluster("x", ["x"], 0.9, [*known])], known) == made


async def test_a_run_that_fails_says_why_and_leaves_nothing(
    db: Database, workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [Turn(str(uuid.uuid4()), "x", understood=False, answered=False)] * 8
    with pytest.raises(Unavailable, match="not finite"):
        await proposals.discover(home, turns, np.full((8, 4), np.nan, np.float32))
    assert list((home / "training").iterdir()) == []
    monkeypatch.setattr(proposals, "TIMEOUT_S", 0.01)
    with pytest.raises(Unavailable, match="longer"):
        await proposals.discover(home, turns, np.eye(8, dtype=np.float32))
    assert list((home / "training").iterdir()) == []


async def test_the_process_ends_with_the_task_that_waits_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    start = asyncio.create_subprocess_exec

    async def watched(*arguments: Any, **how: Any) -> Any:
        began.set_result(await start(*arguments, **how))
        return began.result()

    monkeypatch.setattr(proposals.asyncio, "create_subprocess_exec", watched)
    task = asyncio.create_task(proposals.discover(home, [Turn("1", "x", understood=False, answered=True)] * 8, None))
    process = await asyncio.shield(began)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.returncode == -9


# Deciding ---------------------------------------------------------------------------------------------------------


async def proposed(db: Database, workspace: Workspace, kind: str = "intent") -> tuple[str, list[tuple[Any, str]]]:
    """A proposal of three turns. Returns: its id, and the turns."""
    model = await give_model(db, workspace)
    turns = [await turn(db, workspace, model, f"trade in, please ({at}) 13800138000", OUTSIDE) for at in range(3)]
    async with db.transaction(workspace.id) as tx:
        await tx.run(
            "insert_proposal",
            kind=kind,
            name="trade in",
            terms=["trade"],
            messages=[id for _, id in turns],
            cohesion=0.8,
        )
        [row] = await proposals.listed(tx)
    return str(row["id"]), turns


async def decide(db: Database, workspace: Workspace, id: str, agent: str, **how: Any) -> Row:
    async with db.transaction(workspace.id) as tx:
        await proposals.accept(tx, id=id, agent_id=agent, **{"name": None, "title": {}, "members": None} | how)
        return await proposals.shown(tx, id)


async def of_intent(db: Database, workspace: Workspace) -> dict[str, Any]:
    """message id -> (valid label, origin)."""
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute("SELECT message_id, value, origin FROM valid_labels WHERE kind = 'head'")
        return {str(row["message_id"]): (row["value"], row["origin"]) for row in await cursor.fetchall()}


async def test_an_accepted_intent_is_added_and_its_turns_are_labelled_at_once(
    db: Database, workspace: Workspace, agent: str
) -> None:
    id, turns = await proposed(db, workspace)
    async with db.transaction(workspace.id) as tx:
        await give_label(tx, *turns[0], "other")
        await give_label(tx, *turns[1], "invoice")
    for _ in range(2):
        row = await decide(db, workspace, id, agent, name="trade_in", title={"zh": "以旧换新"})
        assert (row["state"], row["became"], row["agent_name"]) == ("accepted", "trade_in", "Mei")
    ids = [message_id for _, message_id in turns]
    assert await of_intent(db, workspace) == {
        ids[0]: ("trade_in", "discover"), ids[1]: ("invoice", "correction"), ids[2]: ("trade_in", "discover")
    }  # fmt: skip
    async with db.transaction(workspace.id) as tx:
        [of_third] = await labels.of_conversation(tx, turns[2][0].conversation_id)
        [intent, _] = await labels.label_sets(tx)
    assert of_third["said"]["prediction"]["heads"]["intent"] == OUTSIDE
    assert of_third["said"]["proposal"] == id
    assert [(label.name, label.count) for label in intent.labels][-2:] == [("trade_in", 2), ("other", 0)]
    with pytest.raises(Conflict):
        await decide(db, workspace, id, agent, name="something_else")


async def test_only_the_chosen_turns_are_labelled(db: Database, workspace: Workspace, agent: str) -> None:
    id, turns = await proposed(db, workspace)
    await decide(db, workspace, id, agent, name="trade_in", members=[turns[1][1]])
    assert await of_intent(db, workspace) == {turns[1][1]: ("trade_in", "discover")}


async def test_a_chosen_turn_that_a_person_has_called_something_else_stays_that(
    db: Database, workspace: Workspace, agent: str
) -> None:
    id, turns = await proposed(db, workspace)
    ids = [message_id for _, message_id in turns]
    async with db.transaction(workspace.id) as tx:
        await labels.add_intent(tx, head="intent", name="trade_in", title={})
        for one, value in zip(turns, ("other", "invoice", "trade_in"), strict=True):
            await give_label(tx, *one, value)
        accepted = {"name": "trade_in", "title": {}, "members": [*ids, ids[1]]}
        assert await proposals.accept(tx, id=id, agent_id=agent, **accepted) == 1
        assert await proposals.accept(tx, id=id, agent_id=agent, **accepted) == 0
    assert await of_intent(db, workspace) == {
        ids[0]: ("trade_in", "discover"), ids[1]: ("invoice", "correction"), ids[2]: ("trade_in", "correction")
    }  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [{}, {"name": "Trade In"}, {"name": "other"}, {"name": "trade_in", "members": [str(uuid.uuid4())]}],
)
async def test_an_intent_without_a_name_or_with_strange_members_is_refused(
    db: Database, workspace: Workspace, agent: str, how: dict[str, Any]
) -> None:
    id, _ = await proposed(db, workspace)
    with pytest.raises(InputError):
        await decide(db, workspace, id, agent, **how)
    assert await of_intent(db, workspace) == {}


async def test_an_accepted_article_becomes_a_draft_of_its_questions(
    db: Database, workspace: Workspace, agent: str
) -> None:
    id, _ = await proposed(db, workspace, "article")
    row = await decide(db, workspace, id, agent)
    async with db.transaction(workspace.id) as tx:
        [draft] = await tx.all("drafts", limit=9)
    assert row["became"] == str(draft["id"])
    assert (draft["title"], draft["language"]) == ("trade in, please (0) [phone]", "en")
    assert draft["text"].splitlines() == [f"- trade in, please ({at}) [phone]" for at in range(3)]


async def test_what_is_decided_is_decided(db: Database, workspace: Workspace, agent: str) -> None:
    id, _ = await proposed(db, workspace)
    for _ in range(2):
        async with db.transaction(workspace.id) as tx:
            await proposals.dismiss(tx, id=id, agent_id=agent)
    with pytest.raises(Conflict, match="dismissed"):
        await decide(db, workspace, id, agent, name="trade_in")
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    with pytest.raises(NotFound):
        await decide(db, other, id, agent, name="trade_in")
    assert await made(db, other) == []
