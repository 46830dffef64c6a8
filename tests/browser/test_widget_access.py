"""Everybody can use the widget: axe finds nothing against WCAG 2.2 AA, the keyboard reaches all, a phone shows all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.fake_server import FakeServer, artifact, cited, picture
from tests.browser.widget_page import Widget

ARTICLE = {
    "id": "wifi-setup",
    "title": "Setting up Wi-Fi",
    "language": "en",
    "uri": "https://example.com/wifi",
    "text": "Hold the button for 5 seconds until the light blinks.\n\n| Code | Means |\n|---|---|\n| E12 | Password |",
    "pictures": [],
}


def conversation_in(page: Page, server: FakeServer, lang: str) -> Widget:
    """A conversation with everything the log can show."""
    url = server.put_media(picture(), "image/png")
    server.articles["wifi-setup"] = {**ARTICLE, "pictures": [{"url": url, "alt": "The button"}]}
    server.answer = cited("Hold the **button**. [1]\n\n- Use `2.4 GHz`", picture_url=url, options=["One", "Two"])
    server.perceive = [artifact("ocr", "E12", 0.93)]
    widget = Widget(page, server, lang=lang).visit().open()
    widget.attach("display.png", "image/png", picture())
    widget.field.fill("E12?")
    widget.send()
    expect(page.locator("duomo-message .sources")).to_have_count(1)
    server.perceive = [artifact("transcript", "E12", 0.3)]
    widget.attach("note.wav", "audio/wav", bytes(44))
    widget.send()
    expect(page.locator("duomo-message .artifact.unsure")).to_have_count(1)
    expect(page.locator("duomo-message .sources")).to_have_count(2)
    return widget


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_axe_finds_nothing_in_any_state_of_the_widget(
    new_context: Callable[..., BrowserContext],
    server: FakeServer,
    violations: Callable[..., list[str]],
    lang: str,
    scheme: str,
) -> None:
    context = new_context(color_scheme=scheme, reduced_motion="reduce", locale={"zh": "zh-CN", "en": "en-GB"}[lang])
    page = context.new_page()
    labels = {
        "zh": ("更多", "录制语音", "停止并试听", "放弃录音", "拍照", "拍摄"),
        "en": ("More", "Record a voice note", "Stop and listen", "Discard recording", "Take a photo", "Take the photo"),
    }
    more, record, stop, discard, camera, shoot = labels[lang]
    Widget(page, server, lang=lang).visit()
    found = {"closed": violations(page)}
    widget = conversation_in(page, server, lang)
    found["conversation"] = violations(page)
    widget.button(more).click()
    found["menu"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("duomo-message button.edit").first.click()
    found["correction"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("duomo-message .sources button").first.click()
    expect(page.locator("duomo-source mark").first).to_be_visible()
    found["source"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("duomo-message button.picture").first.click()
    found["picture"] = violations(page)
    page.keyboard.press("Escape")
    widget.button(record).click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    found["recording"] = violations(page)
    widget.button(stop).click()
    expect(page.locator("duomo-composer duomo-audio")).to_be_visible()
    found["listening"] = violations(page)
    widget.button(discard).click()
    widget.button(camera).click()
    expect(widget.button(shoot)).to_be_visible()
    found["camera"] = violations(page)
    page.keyboard.press("Escape")
    server.conversation.set_status("open", agent="Lin")
    server.conversation.message("agent", "https://example.com", agent={"id": "1", "name": "Lin"})
    server.conversation.set_status("resolved")
    server.conversation.message("system", "?", kind="csat")
    page.get_by_role("radio").nth(2).check()
    found["rating"] = violations(page)
    assert found == {state: [] for state in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_shop_page(
    new_context: Callable[..., BrowserContext],
    server: FakeServer,
    violations: Callable[..., list[str]],
    scheme: str,
) -> None:
    page = new_context(color_scheme=scheme, reduced_motion="reduce").new_page()
    page.goto(server.url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert violations(page) == []


def test_escape_closes_the_panel_and_gives_the_focus_back(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit()
    expect(widget.launcher).to_be_visible()
    page.keyboard.press("Tab")
    assert widget.focused() == "Open chat"
    page.keyboard.press("Enter")
    expect(widget.field).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert widget.focused() == "Open chat"


def test_a_voice_note_and_a_photo_can_be_sent_with_the_keyboard_alone(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert widget.focused() == "Record a voice note"
    page.keyboard.press("Enter")
    expect(page.get_by_role("timer")).to_have_text("0:01")
    assert widget.focused() == "Stop and listen"
    page.keyboard.press("Enter")
    expect(widget.button("Send voice note")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("duomo-message duomo-audio")).to_have_count(1)
    widget.button("Take a photo").press("Enter")
    expect(widget.button("Take the photo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(widget.button("Use this photo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(widget.field).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("duomo-message button.picture")).to_have_count(1)
    assert [[mime for _, mime, _ in one.files] for one in server.received] == [["audio/wav"], ["image/jpeg"]]


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_phone_shows_the_whole_screen_without_sideways_scrolling(
    new_context: Callable[..., BrowserContext], server: FakeServer, lang: str, width: int
) -> None:
    page = new_context(viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True).new_page()
    widget = conversation_in(page, server, lang)
    panel = page.locator("duomo-chat .panel")
    assert panel.bounding_box() == {"x": 0, "y": 0, "width": width, "height": 700}
    too_wide = """() => {
        const wide = [];
        const look = (root) => {
            for (const element of root.querySelectorAll("*")) {
                const box = element.getBoundingClientRect();
                const hidden = element.closest(".sr-only, .scroll");
                const outside = box.right > innerWidth + 0.5 || box.left < -0.5;
                if (box.width && !hidden && outside) wide.push(element.outerHTML.slice(0, 90));
                if (element.shadowRoot) look(element.shadowRoot);
            }
        };
        look(document.querySelector("duomo-chat").shadowRoot);
        return [document.documentElement.scrollWidth, wide];
    }"""
    assert page.evaluate(too_wide) == [width, []]
    page.locator("duomo-message .sources button").first.click()
    expect(page.locator("duomo-source mark").first).to_be_visible()
    assert page.evaluate(too_wide) == [width, []]
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.documentElement.style.overflow") == "hidden"
    widget.button(widget.words["close"]).click()
    assert page.evaluate("() => document.documentElement.style.overflow") == ""
    page.goto(server.url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


def test_on_a_phone_tab_stays_inside_the_panel(new_context: Callable[..., BrowserContext], server: FakeServer) -> None:
    page = new_context(viewport={"width": 390, "height": 700}).new_page()
    widget = Widget(page, server).visit()
    page.evaluate("() => document.querySelector('main').insertAdjacentHTML('beforeend', '<a href=/>Away</a>')")
    widget.open()
    seen, hosts = [], set()
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(widget.focused())
        hosts.add(page.evaluate("() => document.activeElement.localName"))
    first = seen.index("More")
    assert seen[first : first + 2] == ["More", "Close chat"]
    assert "Talk to a person" not in seen[first : first + 3]
    assert seen.count("More") == 2  # it went round
    assert hosts == {"duomo-chat"}
