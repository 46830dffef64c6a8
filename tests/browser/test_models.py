"""The models page against the real web server: who has which role, how a trial goes, alarms, and an owner's word."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from duomo.server.auth import save_agent
from duomo.store.postgres import Database, Workspace
from duomo.support import drift, rollout
from duomo.support.alarms import raise_alarm
from duomo.support.gates import decide
from duomo.support.policy import Policy, save_policy
from duomo.support.policy_sections import Gates
from tests.browser.test_console_service import apart
from tests.server.conftest import PASSWORD, Running, web  # noqa: F401  (web is a fixture)
from tests.server.test_improvements import GATES
from tests.support.live import Behaviour, Traffic, new_model, roles, use
from tests.support.test_gates import found

GOOD = Behaviour()
BAD = Behaviour(hands_over=0.9, wrong=0.8)
POLICY = """
rollout:
  canary_turns: 400
  rollback: {window: 40, min_turns: 20}
drift: {window: 20}
"""
MANIFEST = {
    "duomo": "0.1.0",
    "modalities": ["text", "image"],
    "heads": {"intent": {"type": "class", "labels": ["a", "b", "c"]}},
    "metrics": {"intent": {"measure": "accuracy", "untouched": 0.914, "untouched_rows": 350}},
}
USUAL = {"text": np.full(12, 2.0), "image": np.full(12, 2.0)}
DARK = USUAL | {"image": np.linspace(0.0, 4.0, 12)}
Enter = Callable[..., Page]


async def begin(db: Database) -> Workspace:
    workspace = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    async with db.transaction(workspace.id) as tx:
        await save_agent(tx, email="ou@example.com", name="Ou", password=PASSWORD, role="owner")
        await save_agent(tx, email="lin@example.com", name="Lin", password=PASSWORD)
        await save_policy(tx, Policy.shipped().text + POLICY)
    return workspace


@pytest.fixture
def shop(dsn: str) -> Workspace:
    """One model was taken back, the one before it is active again, a third is a canary; its pictures turned dark."""

    async def make() -> Workspace:
        async with await Database.open(dsn) as db:
            workspace = await begin(db)
            first, second, third = [
                await new_model(db, workspace, name, manifest=MANIFEST) for name in ("Spring", "Summer", "Autumn")
            ]
            behaviours = {"Spring": GOOD, "Summer": BAD, "Autumn": GOOD}
            traffic = Traffic(db, workspace, behaviours, means=USUAL)
            await use(db, workspace, first, "active", reason="the first")
            await traffic.comes(40)
            await use(db, workspace, second, "active", by="rollout", reason="canary passed 200 turns")
            await traffic.comes(40)
            assert await rollout.watch(db, workspace.id)
            await use(db, workspace, third, "canary", share=0.3, by="rollout", reason="shadow passed 100 turns")
            await traffic.comes(30)
            traffic.means = DARK
            for _ in range(5):
                await drift.look(db, workspace.id)
                await traffic.comes(8)
            await drift.look(db, workspace.id)
            async with db.transaction(workspace.id) as tx:
                await tx.connection.execute(
                    "INSERT INTO improvements (state, model_id, verdict, gates, counts, finished_at) "
                    "VALUES ('refused', %s, 'intent, invoice: lost 0.20', %s, %s, now())",
                    (second, GATES, {"labelled": 120, "unlabelled": 900, "held_out": 60}),
                )
            return workspace

    made = apart(make)
    assert isinstance(made, Workspace)
    return made


@pytest.fixture
def enter(web: Running, shop: Workspace, new_context: Callable[..., BrowserContext]) -> Enter:  # noqa: F811
    def open_page(address: str = "#/models", *, who: str = "ou", **options: Any) -> Page:
        page = new_context(**options).new_page()
        page.goto(f"{web.url}/console{address}")
        page.locator("input[name=workspace]").fill(shop.name)
        page.locator("input[name=email]").fill(f"{who}@example.com")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".models-page .role-card, .models-page table, .timeline, .drifts").first).to_be_visible()
        return page

    return open_page


def who_has(dsn: str, shop: Workspace) -> dict[str, str]:
    async def ask() -> dict[str, str]:
        async with await Database.open(dsn) as db:
            return await roles(db, shop)

    return dict(apart(ask))


def test_roles_trials_alarms_and_their_words(
    enter: Enter, dsn: str, shop: Workspace, violations: Callable[..., list[str]]
) -> None:
    page = enter()
    active, canary, shadow = (page.get_by_role("article", name=name) for name in ("Active", "Canary", "Shadow"))
    expect(active.locator(".role-model strong")).to_have_text("Spring")
    expect(canary.locator(".role-model strong")).to_have_text("Autumn")
    expect(canary).to_contain_text("30% of conversations")
    expect(canary).to_contain_text("As good over 100 turns")
    expect(canary.get_by_role("progressbar")).to_have_attribute("aria-valuemax", "400")
    expect(canary.locator(".findings tbody th")).to_have_text(
        ["Handed over", "Label corrected", "Thumbs down or rated 1–2", "Out of scope", "Left to a person"]
    )
    expect(shadow).to_contain_text("Nothing is being watched.")
    expect(page.locator(".model-list tbody tr")).to_have_count(3)
    expect(page.locator(".model-list tr", has_text="Summer")).to_contain_text("taken back")
    expect(page.locator(".model-list tr", has_text="Summer")).to_contain_text("91%")

    expect(page.locator(".rail .dot:visible")).to_have_count(1)
    taken = page.locator(".alarm", has_text="Summer was taken back")
    expect(taken).to_contain_text("Handed over: ")
    expect(taken).to_contain_text("Spring is active again.")
    dark = page.locator(".alarm", has_text="What customers send has changed: pictures")
    expect(dark).to_be_visible()
    assert violations(page, ".models-page") == []
    for alarm in (taken, dark):
        alarm.get_by_role("button", name="Seen").click()
        expect(alarm).to_have_count(0)
    expect(page.locator(".rail .dot:visible")).to_have_count(0)

    canary.get_by_role("button", name="Make active").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio", name="Active")).to_be_checked()
    assert violations(page, "dialog") == []
    dialog.get_by_label("Why").fill("It knows the autumn range")
    dialog.get_by_role("button", name="Use it").click()
    expect(active.locator(".role-model strong")).to_have_text("Autumn")
    expect(canary).to_contain_text("Nothing is being tried on customers.")
    assert who_has(dsn, shop) == {"active": "Autumn"}

    active.get_by_role("button", name="Roll back").click()
    dialog.get_by_label("Why").fill("It does not")
    dialog.get_by_role("button", name="Roll back").click()
    expect(active.locator(".role-model strong")).to_have_text("Spring")

    page.get_by_role("link", name="History").last.click()
    periods = page.locator(".timeline li")
    expect(periods.first).to_contain_text("Spring")
    expect(periods.nth(1)).to_contain_text("It knows the autumn range")
    expect(periods.nth(1)).to_contain_text("It does not")
    assert violations(page, ".models-page") == []


def test_what_a_gate_refused_an_owner_promotes_in_writing(
    enter: Enter, dsn: str, shop: Workspace, violations: Callable[..., list[str]]
) -> None:
    page = enter("#/models/runs")
    run = page.locator(".run")
    expect(run).to_contain_text("120 labelled · 900 unlabelled · 60 held out")
    expect(run.locator(".gates tr").first).to_contain_text("invoice: lost 0.20")
    expect(run.locator(".gates tr").first).to_have_class("failed")
    assert violations(page, ".models-page") == []
    run.get_by_role("button", name="Promote anyway").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("In your words").fill("Invoices go to another team from Monday on.")
    dialog.get_by_role("button", name="Promote anyway").click()
    expect(run.locator(".verdict").first).to_have_text("promoted")
    expect(run).to_contain_text("Invoices go to another team")
    assert who_has(dsn, shop) == {"active": "Spring", "canary": "Autumn", "shadow": "Summer"}
    page.get_by_role("button", name="Improve now").click()
    expect(page.locator(".run")).to_have_count(2)
    expect(page.get_by_role("button", name="Improve now")).to_be_disabled()


def test_what_the_machine_did_and_why_is_told_in_chinese(
    enter: Enter, dsn: str, shop: Workspace, violations: Callable[..., list[str]]
) -> None:
    verdict = decide(found(lost=("invoice",), base=(0.9, 0.5)), Gates())
    assert verdict.state == "refused"

    async def refuse() -> None:
        async with await Database.open(dsn) as db, db.transaction(shop.id) as tx:
            run = await tx.connection.execute(
                "INSERT INTO improvements (state, verdict, gates, finished_at) "
                "VALUES ('refused', %s, %s, now()) RETURNING id",
                (verdict.why, [gate.as_dict() for gate in verdict.gates]),
            )
            told = {"improvement_id": str((await run.fetchone() or {})["id"]), "why": verdict.why}
            await raise_alarm(tx, "improve", "improve", told)

    apart(refuse)
    page = enter(locale="zh-CN")
    alarm = page.locator(".alarm", has_text="一次训练没有得到更好的模型")
    expect(alarm).to_contain_text("未通过的关卡：标签、自带样本。")
    expect(page.get_by_role("article", name="使用中")).to_contain_text("由回滚 · 另一个模型更差：转人工：")
    assert violations(page, ".models-page") == []

    alarm.get_by_role("link", name="查看").click()
    run = page.locator(".run").first
    expect(run.locator(".run-verdict")).to_have_count(0)  # its gates say it
    expect(run.locator(".gates tr.failed td:last-child")).to_have_text(
        ["意图：不再认识“invoice”。", "意图，最初的样本上：原来 90.0%，现在 50.0%。"]
    )
    assert violations(page, ".models-page") == []

    page.locator(".views").get_by_role("link", name="历史").click()
    summer = page.locator(".timeline li", has_text="Summer").first
    expect(summer).to_contain_text("由发布流程 · 200 轮中不逊色")
    expect(summer).to_contain_text("结束：由回滚 · 由 Spring 接替 · 转人工：")


def test_a_colleague_reads_and_has_no_buttons(enter: Enter) -> None:
    page = enter(who="lin")
    expect(page.locator(".page-head")).to_contain_text("Only an owner changes which model answers.")
    assert page.get_by_role("button", name="Roll back").count() == 0
    assert page.locator("input[type=file]").count() == 0


def test_an_archive_that_is_no_model_is_refused_with_the_reason(enter: Enter) -> None:
    page = enter()
    page.locator("input[type=file]").set_input_files(
        {"name": "m.zip", "mimeType": "application/zip", "buffer": b"not a zip"}
    )
    expect(page.get_by_role("alert")).to_contain_text("not a zip archive")


@pytest.mark.parametrize("view", ["now", "runs", "drift", "past"])
def test_a_phone_in_chinese_and_in_the_dark_shows_the_same(
    enter: Enter, view: str, violations: Callable[..., list[str]]
) -> None:
    page = enter(
        f"#/models/{view}", locale="zh-CN", color_scheme="dark", viewport={"width": 390, "height": 844}, has_touch=True
    )
    expect(page.locator("h1")).to_have_text("模型")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page, ".models-page") == []
    if view == "drift":
        expect(page.locator(".drift.beyond h3")).to_have_text(["图片"])
