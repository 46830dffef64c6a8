"""The dashboard over HTTP: the figures, the table for other programs, and who may see them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from duomo.store.postgres import Database, Workspace
from tests.server.conftest import Person
from tests.support import past

NOW = datetime.now(UTC)
TODAY = NOW.date()
ASKED = {"from": str(TODAY - timedelta(days=6)), "to": str(TODAY), "tz": "UTC"}


@pytest.fixture
async def rows(db: Database, workspace: Workspace) -> list[dict[str, Any]]:
    made = past.conversations(120, days=7, now=NOW)
    made = [row for row in made if row["created_at"].date() > TODAY - timedelta(days=7)]
    async with db.transaction(workspace.id) as tx:
        await past.insert(tx, made)
    return made


async def table(agent: Person, **asked: str) -> tuple[httpx2.Response, list[dict[str, str]]]:
    answer = await agent.get("insights.csv", params=ASKED | asked)
    assert answer.status_code == 200, answer.text
    return answer, list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def test_the_figures_of_a_period_come_with_their_counts(agent: Person, rows: list[dict[str, Any]]) -> None:
    answer = await agent.get("insights", params=ASKED | {"by": "channel"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    handed = sum(row["opened_at"] is not None for row in rows)
    assert found["period"] == {
        "since": ASKED["from"], "until": ASKED["to"], "tz": "UTC", "step": "day", "by": "channel", "only": None,
    }  # fmt: skip
    assert found["total"]["conversations"] == len(rows)
    total = found["total"]["handed_over"]
    assert (total["k"], total["n"], total["rate"]) == (handed, len(rows), pytest.approx(handed / len(rows)))
    assert total["low"] < total["rate"] < total["high"]
    assert [step["start"] for step in found["steps"]] == [str(TODAY - timedelta(days=d)) for d in range(6, -1, -1)]
    assert sum(step["figures"]["conversations"] for step in found["steps"]) == len(rows)
    channels = {g["name"]: g["figures"]["conversations"] for g in found["groups"]}
    assert channels == {c: sum(row["channel"] == c for row in rows) for c in ("web", "app")}
    assert found["agreement"]["overall"] == {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}
    assert found["unanswered"] == found["versions"] == found["agreement"]["by_intent"] == []


async def test_one_group_can_be_looked_at_alone(agent: Person, rows: list[dict[str, Any]]) -> None:
    found = {}
    for only in ("invoice", "-"):
        answer = await agent.get("insights", params=ASKED | {"by": "intent", "only": only})
        found[only] = answer.json()["total"]["conversations"]
    assert found == {
        "invoice": sum(row["intent"] == "invoice" for row in rows),
        "-": sum(row["intent"] is None for row in rows),
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tz": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'. Give one as Asia/Shanghai or UTC."),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "the period ends on 2026-02-01, before it begins on 2026-02-02."),
        ({"from": "1999-01-01", "to": "2026-02-01"}, "the period has 9894 days, at most 731 are shown."),
        ({"by": "phase of the moon"}, "by: "),
        ({"from": "yesterday"}, "from: "),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(agent: Person, asked: dict[str, str], message: str) -> None:
    for path in ("insights", "insights.csv"):
        answer = await agent.get(path, params=ASKED | asked)
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("path", ["insights", "insights.csv"])
async def test_a_period_of_which_only_the_end_is_told_may_not_end_before_all_time(agent: Person, path: str) -> None:
    answer = await agent.get(path, params={"to": "0001-01-05"})
    assert answer.status_code == 422
    told = "the period ends on 0001-01-05; there is nothing before 1970-01-01. Choose a later one."
    assert answer.json()["error"]["message"] == told


async def test_without_a_period_the_last_thirty_days_are_shown(agent: Person) -> None:
    found = (await agent.get("insights")).json()
    assert len(found["steps"]) == 30
    assert found["total"]["conversations"] == 0


@pytest.mark.parametrize("path", ["insights", "insights.csv"])
async def test_who_is_not_signed_in_sees_no_figures(http: httpx2.AsyncClient, visitor: Person, path: str) -> None:
    for headers in ({}, visitor.headers):
        assert (await http.get(f"/api/v1/agent/{path}", headers=headers)).status_code == 401


async def test_the_table_of_figures_holds_a_row_for_each_group_and_measure(
    agent: Person, rows: list[dict[str, Any]]
) -> None:
    answer, found = await table(agent, by="language")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = f'attachment; filename="duomo-figures-{ASKED["from"]}-{ASKED["to"]}.csv"'
    assert answer.headers["content-disposition"] == name
    measures = {row["measure"] for row in found}
    assert len(found) == len(measures) * (1 + 7 + 2)
    counts = {(r["by"], r["group"]): r["value"] for r in found if r["measure"] == "conversations"}
    assert counts["all", ""] == str(len(rows))
    for language in ("zh", "en"):
        assert counts["language", language] == str(sum(row["language"] == language for row in rows))
    handed = sum(row["opened_at"] is not None for row in rows)
    [row] = [r for r in found if (r["by"], r["measure"]) == ("all", "handed_over")]
    assert (row["unit"], row["n"]) == ("share", str(len(rows)))
    assert float(row["value"]) == pytest.approx(handed / len(rows), abs=1e-6)
    assert float(row["low"]) < float(row["value"]) < float(row["high"])


async def test_the_table_of_conversations_runs_no_formula(
    agent: Person, db: Database, workspace: Workspace, rows: list[dict[str, Any]]
) -> None:
    formulas = ['=HYPERLINK("https://example.com")', "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"]
    formulas += ["＝1+1", "＋1", "－1+1", "＠SUM(A1)"]
    async with db.transaction(workspace.id) as tx:
        ids = await past.insert(tx, [rows[0] | {"csat_score": 5} for _ in formulas])
        for id, formula in zip(ids, formulas, strict=True):
            await tx.connection.execute("UPDATE conversations SET csat_comment = %s WHERE id = %s", (formula, id))
    _, found = await table(agent, kind="conversations")
    assert len(found) == len(rows) + len(formulas)
    comments = {row["id"]: row["csat_comment"] for row in found}
    assert [comments[id] for id in ids] == [f"'{formula}" for formula in formulas]
    assert {row["intent"] for row in found} == {row["intent"] or "" for row in rows}
    assert {row["sent"] for row in found} == {" ".join(row["sent"]) for row in rows}
    assert {row["verified"] for row in found} == {"true", "false"}


async def test_the_table_of_conversations_holds_no_personal_data_of_a_comment(
    agent: Person, db: Database, workspace: Workspace, rows: list[dict[str, Any]]
) -> None:
    async with db.transaction(workspace.id) as tx:
        [id] = await past.insert(tx, [rows[0] | {"csat_score": 5}])
        comment = "Call me on 13800138000 or write to ann@example.com"
        await tx.connection.execute("UPDATE conversations SET csat_comment = %s WHERE id = %s", (comment, id))
    _, found = await table(agent, kind="conversations")
    assert [row["csat_comment"] for row in found if row["id"] == id] == ["Call me on [phone] or write to [email]"]
