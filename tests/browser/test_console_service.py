"""The console against the real web server and a real PostgreSQL; a customer speaks the protocol beside it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from duomo.store.postgres import Database
from tests.server.conftest import PASSWORD, Running, add_agent, web  # noqa: F401  (web is a fixture)

Open = Callable[[str], Page]


def apart(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a thread of its own: Playwright's synchronous interface keeps this thread's loop."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work())))
    thread.start()
    thread.join()
    return found[0]


@dataclass
class Customer:
    """A visitor with one conversation."""

    http: httpx2.Client
    workspace: str
    conversation: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        made = self.http.post("/api/v1/visitors", json={"workspace": self.workspace, "language": "en"}).json()
        self.http.headers["Authorization"] = f"Bearer {made['token']}"
        self.name = f"Customer {made['contact_id'][-4:].upper()}"
        self.http.put(f"/api/v1/conversations/{self.conversation}", json={"language": "en"}).raise_for_status()

    def says(self, text: str) -> None:
        path = f"/api/v1/conversations/{self.conversation}/messages/{uuid.uuid4()}"
        self.http.put(path, json={"text": text}).raise_for_status()

    def asks_for_a_person(self) -> None:
        self.http.post(f"/api/v1/conversations/{self.conversation}/handoff", json={}).raise_for_status()

    def rates(self, score: int, comment: str) -> None:
        path = f"/api/v1/conversations/{self.conversation}/csat"
        self.http.post(path, json={"score": score, "comment": comment}).raise_for_status()

    def sees(self, count: int) -> list[dict[str, Any]]:
        """The first `count` messages."""
        found = []
        with self.http.stream("GET", f"/api/v1/conversations/{self.conversation}/events?after=0") as response:
            kind = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind == "message":
                    found.append(json.loads(line[6:]))
                if len(found) == count:
                    break
        return found


@pytest.fixture
def shop(web: Running, dsn: str) -> str:  # noqa: F811
    """A workspace with two agents."""

    async def make() -> str:
        async with await Database.open(dsn) as db:
            workspace = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
            for email, name in (("lin@example.com", "Lin"), ("mei@example.com", "Mei")):
                await add_agent(db, workspace, email, name)
            return workspace.name

    return str(apart(make))


@pytest.fixture
def customer(web: Running, shop: str) -> Iterator[Customer]:  # noqa: F811
    with httpx2.Client(base_url=web.url, timeout=30) as http:
        yield Customer(http, shop)


@pytest.fixture
def sign_in(web: Running, shop: str, new_context: Callable[..., BrowserContext]) -> Open:  # noqa: F811
    def open_console(email: str) -> Page:
        page = new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(f"{web.url}/console")
        page.locator("input[name=workspace]").fill(shop)
        page.locator("input[name=email]").fill(email)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".inbox")).to_be_visible()
        return page

    return open_console


def choose(page: Page, customer: Customer) -> None:
    page.locator(".row", has_text=customer.name).click()
    expect(page.locator(".conversation-head h2")).to_have_text(customer.name)


def reply(page: Page, text: str) -> None:
    page.locator(".composer textarea").fill(text)
    page.locator(".composer textarea").press("Enter")


def test_a_person_is_asked_for_takes_over_answers_notes_and_resolves(customer: Customer, sign_in: Open) -> None:
    page = sign_in("lin@example.com")
    customer.says("My vacuum shows E-17.")
    customer.asks_for_a_person()
    expect(page.locator(".toast", has_text=f"{customer.name} is waiting for a person")).to_be_visible()
    choose(page, customer)
    expect(page.get_by_role("region", name="Hand-over brief").locator("dd").first).to_have_text("My vacuum shows E-17.")
    page.locator("[data-action=take_over]").click()
    expect(page.locator(".event", has_text="Assigned to Lin")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.type("Known customer")
    page.keyboard.press("Enter")
    expect(page.locator(".message.note")).to_be_visible()
    picture = io.BytesIO()
    Image.new("RGB", (32, 24), (20, 90, 60)).save(picture, "PNG")
    page.locator(".composer input[type=file]").set_input_files(
        {"name": "dock.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    reply(page, "Please clean these contacts.")
    expect(page.locator(".message[data-author=agent]:not(.note) .bubble")).to_have_text("Please clean these contacts.")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(page.locator(".conversation-head .status")).to_have_text("Resolved")
    seen = customer.sees(6)
    assert [(m["author"], m["kind"], m["private"]) for m in seen] == [
        ("customer", "text", False),
        ("bot", "handoff", False),
        ("system", "notice", False),
        ("agent", "text", False),
        ("system", "notice", False),
        ("system", "csat", False),
    ]
    assert (seen[3]["text"], [p["kind"] for p in seen[3]["parts"]]) == ("Please clean these contacts.", ["image"])
    customer.rates(4, "Fast.")
    expect(page.get_by_role("img", name="4 of 5", exact=True)).to_be_visible()
    expect(page.locator(".csat blockquote")).to_have_text("Fast.")


def test_two_agents_cannot_answer_twice_unknowingly(customer: Customer, sign_in: Open) -> None:
    customer.says("Where is my parcel?")
    customer.asks_for_a_person()
    lin, mei = sign_in("lin@example.com"), sign_in("mei@example.com")
    choose(lin, customer)
    choose(mei, customer)
    expect(lin.locator(".presence")).to_have_text("Mei is also viewing")
    mei.locator(".composer textarea").press_sequentially("Let me look.")
    expect(lin.locator(".presence-line")).to_have_text("Mei is typing…")
    reply(lin, "It arrives tomorrow.")
    expect(mei.locator(".bubble", has_text="It arrives tomorrow.")).to_be_visible()
    mei.locator(".composer textarea").press("Enter")
    dialog = mei.get_by_role("dialog", name="Lin answered meanwhile")
    expect(dialog.locator("blockquote")).to_have_text("LinIt arrives tomorrow.")
    dialog.get_by_role("button", name="Send anyway").click()
    expect(lin.locator(".message[data-author=agent] .bubble")).to_have_text(["It arrives tomorrow.", "Let me look."])


def test_snooze_reopen_and_return_to_the_bot(customer: Customer, sign_in: Open) -> None:
    customer.says("When is it back in stock?")
    customer.asks_for_a_person()
    page = sign_in("mei@example.com")
    choose(page, customer)
    status = page.locator(".conversation-head .status")
    page.locator("snooze-menu summary").click()
    page.get_by_role("button", name="In 1 hour").click()
    expect(status).to_have_text("Snoozed")
    page.locator("[data-action=reopen]").click()
    expect(status).to_have_text("Open")
    page.locator("[data-action=return_to_bot]").click()
    expect(status).to_have_text("Bot")
    page.get_by_role("button", name="Take over and reply").click()
    expect(status).to_have_text("Open")
    expect(page.locator(".composer textarea")).to_be_focused()


def test_an_upload_waits_for_a_worker_and_the_system_page_speaks(customer: Customer, sign_in: Open) -> None:
    page = sign_in("lin@example.com")
    page.get_by_role("link", name="Knowledge").click()
    expect(page.get_by_text("No articles yet")).to_be_visible()
    page.locator(".page-head input[type=file]").set_input_files(
        {"name": "hours.md", "mimeType": "text/markdown", "buffer": b"# Hours\n\n9 to 18."}
    )
    expect(page.locator(".import")).to_contain_text("Waiting for its turn…")
    page.get_by_role("link", name="System").click()
    expect(page.locator(".models li").first).to_be_visible(timeout=60_000)
    expect(page.locator(".models li", has_text="Language model")).to_contain_text("Not available")
    assert page.locator(".queues tbody th").count() > 0
