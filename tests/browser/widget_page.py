"""What a customer does with the widget, in the words of a test."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.fake_server import FakeServer

WORDS = {
    "en": {"open": "Open chat", "send": "Send", "close": "Close chat", "more": "More"},
    "zh": {"open": "打开在线客服", "send": "发送", "close": "关闭对话窗口", "more": "更多"},
}


def until_received(page: Page, server: FakeServer, count: int) -> None:
    page.wait_for_function("() => true")
    for _ in range(400):
        if len(server.received) >= count:
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{len(server.received)} messages arrived, expected {count}")


class Widget:
    """The widget on a stranger's page, in one language."""

    def __init__(self, page: Page, server: FakeServer, *, lang: str = "en", host: str | None = None) -> None:
        self.page, self.server, self.lang = page, server, lang
        self.words = WORDS[lang]
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = f"{host or server.url}/page/stranger?lang={lang}"

    def visit(self, attributes: str = "") -> Widget:
        self.page.goto(f"{self.address}&attributes={attributes}")
        return self

    def open(self) -> Widget:
        self.launcher.click()
        expect(self.field).to_be_visible()
        return self

    @property
    def launcher(self) -> Locator:
        return self.page.get_by_role("button", name=self.words["open"])

    @property
    def field(self) -> Locator:
        return self.page.locator("duomo-composer textarea")

    @property
    def messages(self) -> Locator:
        return self.page.locator("duomo-chat .log li duomo-message")

    def texts(self) -> list[str]:
        """What the bubbles say, in order, sources' numbers left out."""
        bubbles = self.page.locator("duomo-chat .log li duomo-message .bubble")
        return [re.sub(r"\s+", " ", text).strip() for text in bubbles.all_inner_texts()]

    def say(self, text: str) -> None:
        self.field.fill(text)
        self.field.press("Enter")

    def send(self) -> None:
        self.page.get_by_role("button", name=self.words["send"], exact=True).click()

    def attach(self, name: str, mime: str, data: bytes) -> None:
        self.page.locator("duomo-composer #files").set_input_files([{"name": name, "mimeType": mime, "buffer": data}])

    def transfer(self, event: str, selector: str, files: Sequence[tuple[str, str, bytes]]) -> None:
        """Let a paste or a drop of files happen on an element of the widget."""
        items = [[name, mime, base64.b64encode(data).decode()] for name, mime, data in files]
        self.page.locator(selector).evaluate(
            """(target, [kind, items]) => {
                const transfer = new DataTransfer();
                for (const [name, type, data] of items) {
                    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                    transfer.items.add(new File([bytes], name, {type}));
                }
                const options = {bubbles: true, composed: true, cancelable: true};
                const event = kind === "paste"
                    ? new ClipboardEvent("paste", {...options, clipboardData: transfer})
                    : new DragEvent(kind, {...options, dataTransfer: transfer});
                target.dispatchEvent(event);
            }""",
            [event, items],
        )

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def expect_texts(self, *texts: str) -> None:
        expect(self.page.locator("duomo-chat .log li duomo-message .bubble")).to_have_text(list(texts))

    def focused(self) -> Any:
        """The accessible name of the element with the focus, through shadow roots."""
        return self.page.evaluate(
            """() => {
                let element = document.activeElement;
                while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
                return element?.getAttribute("aria-label") ?? element?.id ?? "";
            }"""
        )
