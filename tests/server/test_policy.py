"""The policy over HTTP: owners save, agents read, try and check; mistakes come with their lines."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest

from duomo.server.auth import save_agent
from duomo.store.postgres import Database, Workspace
from duomo.support.policy import SHIPPED, Policy
from tests.server.conftest import PASSWORD, Person, Running, become_agent
from tests.support import decided
from tests.support.live import new_model, use

DEMO = resources.files("duomo.scenarios").joinpath("customer_service/policy.yaml").read_text("utf-8")
STRICT = "thresholds: {answer_from: 0.7, clarify_from: 0.3}\n" + SHIPPED


@pytest.fixture
async def owner(web: Running, db: Database, workspace: Workspace) -> AsyncIterator[Person]:
    async with db.transaction(workspace.id) as tx:
        await save_agent(tx, email="wu@example.com", name="Wu", password=PASSWORD, role="owner")
    person = await become_agent(web.url, workspace, "wu@example.com")
    yield person
    await person.http.aclose()


@pytest.fixture
async def month(db: Database, workspace: Workspace) -> list[tuple[datetime, list[decided.Turn]]]:
    made = decided.month(Policy.shipped(), conversations=40, until=datetime.now(UTC))
    async with db.transaction(workspace.id) as tx:
        for at, turns in made:
            await decided.tell(tx, turns, Policy.shipped(), at)
    return made


async def held(who: Person) -> dict[str, Any]:
    answer = await who.get("policy")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_without_one_of_its_own_a_workspace_has_the_shipped_policy(agent: Person) -> None:
    assert await held(agent) == {
        "version": 0, "note": "", "agent": None, "created_at": None, "text": SHIPPED,
        "policy": Policy.shipped().as_dict(), "warnings": [], "may_save": False,
    }  # fmt: skip
    assert (await agent.get("policy/history")).json() == []
    assert (await agent.get("policy/history/0")).json()["text"] == SHIPPED


async def test_an_owner_saves_versions_and_an_agent_does_not(owner: Person, agent: Person) -> None:
    saved = await owner.put("policy", {"text": STRICT, "note": "surer", "base_version": 0})
    assert saved.status_code == 200, saved.text
    body = saved.json()
    assert (body["version"], body["note"], body["agent"]["name"], body["may_save"]) == (1, "surer", "Wu", True)
    assert body["policy"] == Policy.parse(STRICT, version=1).as_dict()
    assert {**await held(agent), "may_save": True} == body
    assert (await owner.put("policy", {"text": SHIPPED, "base_version": 1})).json()["version"] == 2
    history = (await agent.get("policy/history")).json()
    assert [(one["version"], one["note"]) for one in history] == [(2, ""), (1, "surer")]
    assert (await agent.get("policy/history/1")).json()["text"] == STRICT
    assert (await agent.get("policy/history/9")).status_code == 404

    refused = await agent.put("policy", {"text": SHIPPED, "base_version": 2})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
    assert (await held(agent))["version"] == 2


async def test_what_somebody_saved_meanwhile_is_not_overwritten(owner: Person) -> None:
    assert (await owner.put("policy", {"text": STRICT, "base_version": 0})).status_code == 200
    late = await owner.put("policy", {"text": DEMO, "base_version": 0})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "changed_meanwhile")
    assert (await held(owner))["text"] == STRICT
    again = await owner.put(
        "policy", {"text": STRICT, "base_version": 0}
    )  # the answer was lost: saying it again is fine
    assert (again.status_code, again.json()["version"]) == (200, 1)


async def test_every_mistake_comes_with_its_line_and_nothing_is_saved(owner: Person, agent: Person) -> None:
    wrong = "table:\n  - {wish: person, do: hand_over}\n  - {intent: [a, a], do: answr}\n  - {do: answer}\n"
    told = (await agent.post("policy/validate", {"text": wrong})).json()
    assert told == {
        "policy": None, "warnings": [],
        "mistakes": [
            {"line": 3, "message": "row 2: intent holds 'a' twice"},
            {"line": 3, "message": "row 2: do is 'answr'; allowed: answer, clarify, hand_over. Did you mean answer?"},
        ],
    }  # fmt: skip
    refused = await owner.put("policy", {"text": wrong, "base_version": 0})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_config")
    assert refused.json()["error"]["message"].count("policy.yaml:3: ") == 2
    for path in ("policy/dry-run", "policy/thresholds"):
        assert (await agent.post(path, {"text": wrong, "answer_from": 0.5})).status_code == 422
    assert (await held(owner))["version"] == 0


async def test_names_that_nothing_has_are_told(agent: Person, db: Database, workspace: Workspace) -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.run("insert_intent", head="intent", name="invoice", title={})
        await tx.connection.execute(
            "INSERT INTO articles (id, source, topic, title, language, uri, text, content_hash) "
            "VALUES ('zh/invoice.md', 's', 'invoice', 't', 'zh', 'u', 'x', 'h')"
        )
    text = (
        "table:\n  - {wish: [person, emergency], do: hand_over}\n  - {intent: [invoce, other], do: hand_over}\n"
        "  - {do: answer}\narticles:\n  invoice: [invoice, zh/invoice.md, invoces, lost]\n"
    )
    told = (await agent.post("policy/validate", {"text": text})).json()
    assert told["mistakes"] == []
    assert told["warnings"] == [
        {"line": 3, "message": "there is no intent invoce, so what asks for it never fits. Did you mean invoice?"},
        {"line": 6, "message": "no article has the id or topic invoces, lost"},
    ]


async def test_names_that_the_active_model_has_not_are_told(agent: Person, db: Database, workspace: Workspace) -> None:
    heads = {
        "intent": {"type": "class", "labels": ["invoice", "other"], "out_of_scope": "other"},
        "urgency": {"type": "class", "labels": ["low", "high"]},
        "topic": {"type": "multilabel", "labels": ["kettle", "fan"]},
        "anger": {"type": "number", "labels": []},
    }
    text = "\n".join(
        [
            "table:",
            "  - {wish: [person, emergency], do: hand_over}",
            "  - {urgency: [hihg, lwo], head.topic: [fan, vase], do: hand_over}",
            "  - {urgency: not hgih, head.topc: fan, do: hand_over}",
            '  - {head.angr: "> 0.5", do: hand_over}',
            '  - {urgency: high, head.intent: invoce, head.anger: "> 0.5", head.urgency: low, do: hand_over}',
            "  - {do: answer}",
        ]
    )
    assert (await agent.post("policy/validate", {"text": text})).json()["warnings"] == []  # nothing to compare with
    model_id = await new_model(db, workspace, "m", manifest={"heads": heads})
    await use(db, workspace, model_id, "active")
    never = "so what asks for it never fits."
    assert (await agent.post("policy/validate", {"text": text})).json()["warnings"] == [
        {"line": 3, "message": f"there is no urgency hihg, lwo, {never} Did you mean high?"},
        {"line": 3, "message": f"the head topic has no label vase, {never}"},
        {"line": 4, "message": f"there is no urgency hgih, {never} Did you mean high?"},
        {"line": 4, "message": f"the active model has no head topc, {never} Did you mean topic?"},
        {"line": 5, "message": f"the active model has no head angr, {never} Did you mean anger?"},
        {"line": 6, "message": f"the head intent has no label invoce, {never} Did you mean invoice?"},
    ]


async def test_a_text_is_tried_on_the_past(agent: Person, month: list[Any]) -> None:
    same = (await agent.post("policy/dry-run", {"text": SHIPPED})).json()
    assert (same["conversations"], same["changed"], same["examples"]) == (40, 0, [])
    other = (await agent.post("policy/dry-run", {"text": STRICT, "days": 30})).json()
    assert other["turns"] == sum(len(turns) for _, turns in month)
    assert other["changed"] == sum(one["turns"] for one in other["moves"] if one["from"] != one["to"]) > 0
    assert 0 <= other["next_week"]["low"] < other["next_week"]["rate"] < other["next_week"]["high"] <= 1
    assert other["examples"][0]["was"]["do"] != other["examples"][0]["becomes"]["do"]
    assert (await held(agent))["version"] == 0
    none = (await agent.post("policy/dry-run", {"text": SHIPPED, "days": 0.0001})).json()
    assert (none["turns"], none["next_week"]) == (0, None)
    assert (await agent.post("policy/dry-run", {"text": SHIPPED, "days": 0})).status_code == 422


async def test_the_threshold_is_shown_on_its_curve_and_written_into_a_text(agent: Person, month: list[Any]) -> None:
    found = (await agent.get("policy/thresholds", params={"risk": 0.2})).json()
    assert found["turns"] == sum(turn.facts.wish == "question" for _, turns in month for turn in turns)
    assert len(found["points"]) == 101
    assert found["points"][50].keys() == {"threshold", "answered", "asked", "wrong"}
    assert found["points"][50]["wrong"].keys() == {"k", "n", "rate", "low", "high"}
    assert (found["suggestion"]["risk"], found["now"]) == (0.2, {"zh": 0.5, "en": 0.5})
    chinese = (await agent.get("policy/thresholds", params={"language": "zh"})).json()
    assert 0 < chinese["turns"] < found["turns"]
    written = await agent.post("policy/thresholds", {"text": SHIPPED, "answer_from": 0.61, "language": "zh"})
    assert written.json() == {"text": SHIPPED + "\nthresholds:\n  zh: {answer_from: 0.61}\n"}


async def test_nobody_without_a_session_sees_or_changes_it(web: Running, agent: Person, db: Database) -> None:
    other = await db.create_workspace(f"other-{uuid.uuid4().hex[:12]}", {})
    async with db.transaction(other.id) as tx:
        await save_agent(tx, email="zhao@example.com", name="Zhao", password=PASSWORD, role="owner")
        await decided.tell(tx, [decided.month(Policy.shipped(), conversations=1, until=datetime.now(UTC))[0][1][0]],
                           Policy.shipped(), datetime.now(UTC) - timedelta(hours=1))  # fmt: skip
    stranger = await become_agent(web.url, other, "zhao@example.com")
    assert (await stranger.put("policy", {"text": STRICT, "base_version": 0})).json()["version"] == 1
    assert (await held(agent))["version"] == 0
    assert (await agent.post("policy/dry-run", {"text": STRICT})).json()["turns"] == 0
    stranger.headers.clear()
    stranger.http.cookies.clear()
    for path in ("policy", "policy/history", "policy/thresholds"):
        assert (await stranger.get(path)).status_code == 401
    await stranger.http.aclose()
