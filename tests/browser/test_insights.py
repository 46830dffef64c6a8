"""The dashboard against the real web server: what it shows is what was counted, on a keyboard and a phone too."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from duomo.store.postgres import Database
from tests.browser.test_console_service import apart
from tests.server.conftest import PASSWORD, Running, add_agent, web  # noqa: F401  (web is a fixture)
from tests.support import past

NOW = datetime.now(UTC)
Enter = Callable[..., Page]


@pytest.fixture
def shop(dsn: str) -> str:
    async def make() -> str:
        async with await Database.open(dsn) as db:
            workspace = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
            await add_agent(db, workspace, "lin@example.com", "Lin")
            return workspace.name

    return str(apart(make))


@pytest.fixture
def rows(dsn: str, shop: str) -> list[dict[str, Any]]:
    made = past.conversations(300, days=25, now=NOW)

    async def insert() -> None:
        async with await Database.open(dsn) as db:
            workspace = await db.workspace(shop)
            async with db.transaction(workspace.id) as tx:
                await past.insert(tx, made)

    apart(insert)
    return made


@pytest.fixture
def enter(web: Running, shop: str, new_context: Callable[..., BrowserContext]) -> Enter:  # noqa: F811
    def open_page(address: str = "#/insights", **options: Any) -> Page:
        page = new_context(timezone_id="UTC", **options).new_page()
        page.goto(f"{web.url}/console{address}")
        page.locator("input[name=workspace]").fill(shop)
        page.locator("input[name=email]").fill("lin@example.com")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".insights")).to_be_visible()
        return page

    return open_page


def test_without_conversations_it_says_what_will_be_there(enter: Enter) -> None:
    page = enter()
    expect(page.locator(".empty strong")).to_have_text("Nothing to count in this period")
    expect(page.locator(".empty")).to_contain_text("how many are helped and by whom")
    page.get_by_role("button", name="Look at 90 days").click()
    expect(page).to_have_url(re.compile("#/insights/90d/intent$"))
    expect(page.locator(".empty button")).to_have_count(0)


def test_figures_charts_groups_and_address_belong_together(
    enter: Enter, rows: list[dict[str, Any]], violations: Callable[..., list[str]]
) -> None:
    page = enter()
    expect(page.locator(".page-head p")).to_contain_text(f"{len(rows)} conversations")
    handed = sum(row["opened_at"] is not None for row in rows)
    expect(page.locator("[data-tile=handed_over] .value")).to_have_text(f"{round(100 * handed / len(rows))} %")
    expect(page.locator("time-chart canvas")).to_have_count(7)
    assert page.evaluate(
        "() => [...document.querySelectorAll('time-chart canvas')].every((canvas) => {"
        "  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        "  return data.some((value) => value > 0); })"
    ), "a chart is empty"
    volume = page.get_by_role("figure", name="Conversations")
    volume.get_by_text("As a table").click()
    cells = volume.locator("tbody td").all_inner_texts()
    assert (len(volume.locator("tbody tr").all()), sum(map(int, cells))) == (30, len(rows))
    assert violations(page, ".insights") == []

    drawn = page.locator("time-chart canvas").first.evaluate("(canvas) => canvas.toDataURL()")
    page.get_by_role("button", name="Dark appearance").click()
    expect(page.locator("time-chart canvas")).to_have_count(7)
    assert page.locator("time-chart canvas").first.evaluate("(canvas) => canvas.toDataURL()") != drawn

    page.locator("select[name=by]").select_option("language")
    expect(page).to_have_url(re.compile("#/insights/30d/language$"))
    chinese = sum(row["language"] == "zh" for row in rows)
    expect(page.locator(".groups tbody tr", has_text="Chinese").locator("td").first).to_have_text(str(chinese))
    page.get_by_role("button", name="Only Chinese").click()
    expect(page).to_have_url(re.compile("#/insights/30d/language/zh$"))
    expect(page.locator(".page-head p")).to_contain_text(f"{chinese} conversations")
    page.reload()
    expect(page.locator(".page-head p")).to_contain_text(f"{chinese} conversations")
    page.go_back()
    expect(page.locator(".page-head p")).to_contain_text(f"{len(rows)} conversations")

    page.get_by_label("First day").fill(str(NOW.date()))
    page.get_by_label("Last day").fill(str(NOW.date()))
    expect(page).to_have_url(re.compile(f"#/insights/{NOW.date()}..{NOW.date()}/language$"))
    page.go_back()
    page.locator("details.menu summary[aria-label=Export]").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Every conversation (CSV)").click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) >= 2


def test_a_phone_in_chinese_and_in_the_dark_shows_the_same(
    enter: Enter, rows: list[dict[str, Any]], violations: Callable[..., list[str]]
) -> None:
    page = enter(viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme="dark")
    expect(page.locator(".page-head p")).to_contain_text(f"{len(rows)} 个会话")
    expect(page.locator("time-chart canvas")).to_have_count(7)
    wide = page.evaluate(
        "() => [...document.querySelectorAll('.tile, .chart, .panel, .controls')]"
        ".filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.className)"
    )
    assert wide == []
    assert violations(page, ".insights") == []
