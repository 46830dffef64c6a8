"""The policy page against the real web server: rules, text, threshold, the past, versions; on a phone, in the dark."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from duomo.server.auth import save_agent
from duomo.store.postgres import Database
from duomo.support.policy import Policy, save_policy
from tests.browser.test_console_service import apart
from tests.server.conftest import PASSWORD, Running, web  # noqa: F401  (web is a fixture)
from tests.support import decided

DEMO = resources.files("duomo.scenarios").joinpath("customer_service/policy.yaml").read_text("utf-8")
Enter = Callable[..., Page]


@pytest.fixture
def shop(dsn: str) -> str:
    async def make() -> str:
        async with await Database.open(dsn) as db:
            workspace = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
            async with db.transaction(workspace.id) as tx:
                for email, name, role in (("lin@example.com", "Lin", "owner"), ("mei@example.com", "Mei", "agent")):
                    await save_agent(tx, email=email, name=name, password=PASSWORD, role=role)
                policy = await save_policy(tx, DEMO, "the shop's first")
                for at, turns in decided.month(policy, conversations=160, until=datetime.now(UTC)):
                    await decided.tell(tx, turns, policy, at)
            return workspace.name

    return str(apart(make))


@pytest.fixture
def enter(web: Running, shop: str, new_context: Callable[..., BrowserContext]) -> Enter:  # noqa: F811
    def open_page(view: str = "rules", *, who: str = "lin", **options: object) -> Page:
        page = new_context(timezone_id="UTC", **options).new_page()
        page.goto(f"{web.url}/console#/policy/{view}")
        page.locator("input[name=workspace]").fill(shop)
        page.locator("input[name=email]").fill(f"{who}@example.com")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".policy .page-body > :not(.empty)").first).to_be_visible()
        return page

    return open_page


def test_an_owner_reads_tries_and_saves_it(enter: Enter, violations: Callable[..., list[str]]) -> None:
    page = enter()
    expect(page.locator(".page-head p")).to_contain_text("Version 1")
    expect(page.locator(".rules tbody tr")).to_have_count(len(Policy.parse(DEMO).table))
    expect(page.locator(".rules tbody tr").nth(5)).to_contain_text("safety hazard")
    expect(page.locator(".rules tbody tr").nth(5)).to_contain_text("≥ 0.5")
    assert violations(page, ".policy") == []

    page.get_by_role("link", name="Threshold").click()
    expect(page.locator(".says")).to_contain_text(re.compile(r"answered, \d.* of those wrong \(between .* judged\)"))
    page.get_by_label("Answer from a confidence of").fill("0.7")
    says = page.locator(".says").inner_text()
    assert says.startswith("From 0.70 on:")
    assert violations(page, ".policy") == []
    page.get_by_role("button", name="Put it into the policy").click()
    expect(page.get_by_text("In your draft: 0.70")).to_be_visible()

    page.get_by_role("link", name="Text").click()
    text = page.get_by_label("Policy as YAML")
    expect(text).to_have_value(re.compile("answer_from: 0.7"))
    good = text.input_value()
    text.fill(good.replace("do: clarify}", "do: clarfy}", 1) + "\ngates: [1]\n")
    expect(page.locator(".mistakes li")).to_have_count(2)
    expect(page.locator(".mistakes")).to_contain_text("Did you mean clarify?")
    expect(page.locator(".gutter .wrong")).to_have_count(2)
    expect(page.get_by_role("button", name="Save…")).to_be_disabled()
    page.locator(".mistakes li button").first.click()
    assert "clarfy" in page.evaluate("() => getSelection().toString()")
    assert violations(page, ".policy") == []
    text.fill(good)
    expect(page.locator(".mistakes .fine")).to_have_text("No mistakes")

    page.get_by_role("link", name="Try it").click()
    page.get_by_role("button", name="Try it on the past").click()
    expect(page.locator(".says").first).to_contain_text(
        re.compile(r"Of \d+ turns in 160 conversations, \d+ would come out otherwise")
    )
    expect(page.locator(".says").nth(1)).to_contain_text("with 95 % certainty")
    expect(page.locator(".changes tbody tr")).to_have_count(20)
    assert violations(page, ".policy") == []

    page.get_by_role("button", name="Save…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(says)
    dialog.get_by_label("What changes, and why").fill("surer answers")
    dialog.get_by_role("button", name="Save and use").click()
    expect(page.locator(".page-head p")).to_contain_text("Version 2")

    page.get_by_role("link", name="History").click()
    expect(page.locator(".versions li").first).to_contain_text("surer answers")
    expect(page.locator(".diff ins").first).to_have_text("thresholds:")
    assert violations(page, ".policy") == []
    page.locator(".versions li button").nth(1).click()
    page.get_by_role("button", name="Take this text as draft").click()
    expect(page.locator(".policy-bar")).to_contain_text("not saved")
    page.get_by_role("link", name="Knowledge").click()
    page.get_by_role("link", name="Policy").click()
    expect(page.locator(".policy-bar")).to_contain_text("not saved")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".policy-bar")).to_have_count(0)


def test_an_agent_reads_and_tries_it_on_a_phone_in_chinese_and_in_the_dark(
    enter: Enter, violations: Callable[..., list[str]]
) -> None:
    page = enter(who="mei", locale="zh-CN", color_scheme="dark", viewport={"width": 375, "height": 780})
    for view in ("rules", "text", "threshold", "try", "history"):
        page.goto(re.sub("#.*", "", page.url) + f"#/policy/{view}")
        expect(page.locator(".policy .page-body > :not(.empty)").first).to_be_visible()
        if view == "try":
            page.get_by_role("button", name="用过去的对话试运行").click()
            expect(page.locator(".bars")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert violations(page, ".policy") == []
    page.goto(re.sub("#.*", "", page.url) + "#/policy/text")
    page.get_by_label("策略（YAML）").press("End")
    page.get_by_label("策略（YAML）").press_sequentially("#")
    expect(page.locator(".policy-bar")).to_contain_text("只有所有者可以保存策略")
    expect(page.get_by_role("button", name="保存…")).to_have_count(0)
