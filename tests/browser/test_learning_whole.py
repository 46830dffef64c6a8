"""An agent's ten corrections, made in the console, change what the next model answers: against the whole service."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from duomo.store.postgres import Database, Workspace
from duomo.support.export_samples import held_out
from duomo.support.policy import Policy, save_policy
from tests.browser.test_console_service import apart
from tests.conftest import reachable
from tests.integration.conftest import Running, duomo, whole_service
from tests.server.conftest import PASSWORD, add_agent
from tests.support.learning import contact_who_is, conversation_of, new_turn
from tests.support.shop_talk import SAID, questions

EMAIL = "mei@example.com"
AT_ONCE = "\nrollout: {shadow_turns: 0, canary_turns: 0}\n"
CASES = [
    f"{start} {end}?"
    for start, end in product(
        (
            "Can I pay with",
            "How much is left on",
            "Where do I enter",
            "When does it expire:",
            "Can one top up",
        ),
        ("my gift card", "the gift voucher"),
    )
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with whole_service(reachable(tmp_path_factory.mktemp("teaching")), articles=False) as running:
        yield running


@pytest.fixture(scope="module")
def shop(whole: Running) -> Workspace:
    """A shop whose people have labelled eleven turns of each of four intents; every model answers at once."""

    async def make() -> Workspace:
        async with await Database.open(whole.dsn) as db:
            workspace = await db.create_workspace(f"shop-{uuid.uuid4().hex[:8]}", {})
            await add_agent(db, workspace, EMAIL, "Mei")
            async with db.transaction(workspace.id) as tx:
                await save_policy(tx, Policy.shipped().text.rstrip() + AT_ONCE)
            for intent in SAID:
                for number, text in enumerate(questions(intent, 11)):
                    contact = await contact_who_is(db, workspace, apart=number > 7)
                    await new_turn(await conversation_of(db, workspace, contact), text, labels={"intent": intent})
            return workspace

    found: Workspace = apart(make)
    return found


def improve(whole: Running, shop: Workspace) -> dict[str, Any]:
    done = duomo(whole.home, "improve", "--workspace", shop.name, "--json")
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def improve_in_the_console(whole: Running, page: Page) -> dict[str, Any]:
    page.goto(f"{whole.url}/console#/models/runs")
    page.get_by_role("button", name="Improve now").click()
    expect(page.locator(".run")).to_have_count(2)
    ended = re.compile("promoted|refused|failed|nothing_new")
    expect(page.locator(".run").first).to_have_attribute("data-state", ended, timeout=170_000)
    newest: dict[str, Any] = page.request.get(f"{whole.url}/api/v1/agent/improvements").json()[0]
    return newest


def ask(whole: Running, shop: Workspace, text: str) -> str:
    """A customer whose turns may train asks, in a conversation of their own. Returns: the conversation's id."""
    with httpx2.Client(base_url=f"{whole.url}/api/v1", timeout=30) as http:
        while True:
            made = http.post("/visitors", json={"workspace": shop.name, "language": "en"}).json()
            if not held_out(made["contact_id"]):
                break
        http.headers["Authorization"] = f"Bearer {made['token']}"
        conversation = str(uuid.uuid4())
        http.put(f"/conversations/{conversation}", json={"language": "en"}).raise_for_status()
        path = f"/conversations/{conversation}/messages/{uuid.uuid4()}"
        http.put(path, json={"text": text}).raise_for_status()
    return conversation


@pytest.fixture
def console(whole: Running, shop: Workspace, new_context: Callable[..., BrowserContext]) -> Page:
    context = new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(f"{whole.url}/console")
    page.locator("input[name=workspace]").fill(shop.name)
    page.locator("input[name=email]").fill(EMAIL)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("form button[type=submit]").click()
    expect(page.locator(".inbox")).to_be_visible()
    return page


def chip_of(page: Page, whole: Running, conversation: str) -> Any:
    page.goto(f"{whole.url}/console#/inbox/{conversation}")
    chip = page.locator(".turn-label[data-head=intent]")
    expect(chip.locator(".number, .said-by").first).to_be_visible(timeout=60_000)  # the model has read it
    return chip


def test_ten_corrections_change_what_the_next_model_makes_of_those_cases(
    whole: Running, shop: Workspace, console: Page
) -> None:
    first = improve(whole, shop)
    assert first["state"] == "promoted", first["verdict"]

    # ten customers want what no label names; an agent says what it is
    asked = [ask(whole, shop, text) for text in CASES]
    for number, conversation in enumerate(asked):
        chip = chip_of(console, whole, conversation)
        assert "Gift cards" not in chip.inner_text()
        chip.locator("button").click()
        console.keyboard.type("gift cards")
        if not number:
            console.keyboard.press("Enter")
            console.keyboard.type("礼品卡")
        console.keyboard.press("Enter")
        expect(chip.locator(".chip-value")).to_have_text("gift cards")
        expect(chip.locator(".said-by")).to_have_text(re.compile(r"You\s*\d\d:\d\d"))  # the server has it
    stored = [console.request.get(f"{whole.url}/api/v1/agent/conversations/{one}/labels").json() for one in asked]
    assert [[(one["value"], one["said"]["prediction"]["model"]["id"]) for one in labels] for labels in stored] == [
        [("gift_cards", first["model_id"])]
    ] * 10

    second = improve_in_the_console(whole, console)
    assert (second["state"], second["counts"]["train"]) == ("promoted", first["counts"]["train"] + 10)

    # ten others ask the same
    said = []
    for conversation in [ask(whole, shop, text) for text in CASES]:
        chip = chip_of(console, whole, conversation)
        assert chip.locator(".said-by").count() == 0
        said.append(chip.locator(".chip-value").inner_text())
    assert said == ["gift cards"] * 10
