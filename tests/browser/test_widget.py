"""A customer writes, reads the answer with its source, and is helped by a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.fake_server import WORKSPACE, Conversation, FakeServer, cited, picture
from tests.browser.widget_page import Widget, until_received

ARTICLE = (
    "# Setting up Wi-Fi\n\nFirst switch on the device.\n\n**Hold the button** for 5 seconds until the light blinks,\n"
    "then open the app.\n\n![outside](https://elsewhere.example/pixel.png)\n\n"
    '<img src=x onerror="window.stolen = 1"><a href="javascript:alert(1)">run</a>'
)


def silent(server: FakeServer, conversation: Conversation, message: dict[str, object]) -> None:
    """A bot that says nothing."""


def test_a_written_question_is_answered_in_the_widget(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("Where is my parcel?")
    widget.expect_texts("Where is my parcel?", "You wrote: Where is my parcel?")
    assert [(one.text, one.files) for one in server.received] == [("Where is my parcel?", [])]
    assert widget.errors == []


def test_a_workspace_that_asks_trains_from_nobody_who_has_not_said_yes(
    page: Page, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKSPACE, "consent", "asked")
    widget = Widget(page, server).visit().open()
    page.get_by_role("button", name="Yes, you may").click()
    expect(page.get_by_text("May we use this chat")).to_have_count(0)
    assert server.consents == []  # there is no visitor to the server before something is said
    widget.say("Where is my parcel?")
    until_received(page, server, 1)
    assert server.consents == [True]
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("switch", name="My chats help improve the assistant").click()
    expect(page.get_by_role("switch", name="My chats do not train the assistant")).to_have_attribute(
        "aria-checked", "false"
    )
    assert server.consents == [True, False]


def test_enter_that_confirms_a_chinese_candidate_sends_nothing(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server, lang="zh").visit().open()
    widget.field.fill("耳机")
    widget.field.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    assert widget.field.input_value() == "耳机"
    widget.field.press("Enter")
    widget.expect_texts("耳机", "You wrote: 耳机")


def test_an_answer_grows_while_it_streams_and_ends_with_its_source(page: Page, server: FakeServer) -> None:
    server.answer = silent
    widget = Widget(page, server).visit().open()
    widget.say("E12?")
    widget.expect_texts("E12?")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    server.conversation.emit("turn", {"state": "working", "waiting_for": []})
    expect(page.locator("duomo-chat .working")).to_have_text("Looking for the answer…")
    server.conversation.emit("delta", {"message_id": "m1", "text": "Hold the "})
    widget.expect_texts("E12?", "Hold the ")
    server.conversation.emit("delta", {"message_id": "m1", "text": "button. [1]"})
    widget.expect_texts("E12?", "Hold the button. [1]")
    citation = {"n": 1, "article_id": "a", "chunk_id": "a-0", "title": "Wi-Fi", "uri": "", "quote": "", "score": 1}
    server.conversation.message(
        "bot", "**Hold** the button. [1]", id="m1", citations=[{**citation, "picture_url": None}]
    )
    server.conversation.emit("turn", {"state": "done", "waiting_for": []})
    widget.expect_texts("E12?", "Hold the button.1")
    expect(page.locator("duomo-message strong")).to_have_text("Hold")
    expect(page.locator("duomo-chat .working")).to_have_count(0)


def test_a_source_opens_with_its_quote_marked_and_nothing_of_another_host(page: Page, server: FakeServer) -> None:
    url = server.put_media(picture(), "image/png")
    server.answer = cited("Hold the button. [1] ![spy](https://elsewhere.example/spy.png)", picture_url=url)
    server.articles["wifi-setup"] = {
        "id": "wifi-setup",
        "title": "Setting up Wi-Fi",
        "language": "en",
        "uri": "articles/en/wifi-setup.md",
        "text": ARTICLE,
        "pictures": [{"url": url, "alt": "The button"}, {"url": "https://elsewhere.example/2.png", "alt": "outside"}],
    }
    widget = Widget(page, server).visit().open()
    widget.say("E12?")
    expect(page.locator("duomo-message .picture.article img")).to_have_js_property("naturalWidth", 640)
    page.locator("duomo-message button.cite").click()
    sheet = page.get_by_role("dialog", name="Source")
    expect(sheet.locator("mark")).to_have_text(["Hold the button", " for 5 seconds until the light blinks"])
    expect(sheet.locator("h3")).to_have_text("Setting up Wi-Fi")
    expect(sheet.locator("figure")).to_have_count(1)
    expect(sheet.locator("a")).to_have_count(0)
    assert page.evaluate("() => window.stolen") is None
    assert widget.focused() == "Back"
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    assert widget.focused() == "Source 1: Setting up Wi-Fi"
    assert [url for url in widget.requests if not url.startswith((server.url, "blob:", "data:"))] == []


def test_the_quote_stays_readable_when_the_article_is_gone(page: Page, server: FakeServer) -> None:
    server.answer = cited("Hold the button. [1]")
    widget = Widget(page, server).visit().open()
    widget.say("E12?")
    page.locator("duomo-message .sources button").click()
    sheet = page.get_by_role("dialog", name="Source")
    expect(sheet.locator(".quote")).to_contain_text("Hold the button for 5 seconds until the light blinks")
    expect(sheet.get_by_role("alert")).to_have_text("This is no longer here.")


def test_an_answer_is_labelled_as_ai_and_a_persons_with_their_name(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("Hi")
    widget.expect_texts("Hi", "You wrote: Hi")
    expect(widget.messages.nth(1).locator("header")).to_contain_text("Lanting assistant")
    expect(widget.messages.nth(1).locator(".ai .sr-only")).to_have_text("Answer written by an AI")
    server.conversation.set_status("open", agent="Lin")
    server.conversation.message("agent", "Lin here.", agent={"id": "1", "name": "Lin"})
    expect(widget.messages.nth(2).locator(".name")).to_have_text("Lin")
    expect(widget.messages.nth(2).locator(".ai")).to_have_count(0)
    expect(page.locator("duomo-chat .who p")).to_have_text("You are talking to Lin")
    expect(page.locator("duomo-chat [aria-live=polite].sr-only")).to_have_text("Lin: Lin here.")


def test_a_customer_can_ask_for_a_person_before_writing_anything(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.button("Talk to a person").click()
    expect(page.locator("duomo-chat .who p")).to_have_text("A person will answer here soon")
    assert server.calls == [("handoff", {})]


def test_a_long_answer_is_shown_from_its_beginning_and_a_question_from_its_end(page: Page, server: FakeServer) -> None:
    server.answer = silent
    widget = Widget(page, server).visit().open()
    widget.say("How do I set it up?")
    until_received(page, server, 1)
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    server.conversation.message("bot", "\n\n".join(f"Press button {n}." for n in range(1, 60)))
    expect(page.get_by_text("Press button 1.", exact=True)).to_be_in_viewport()
    expect(page.get_by_text("Press button 59.", exact=True)).not_to_be_in_viewport()
    widget.say("And then?")
    expect(page.locator("duomo-chat li").last).to_be_in_viewport(ratio=0.9)


def test_the_buttons_of_a_clarifying_question_send_their_text(page: Page, server: FakeServer) -> None:
    server.answer = cited("Which one? [1]", options=["The router", "The speaker"])
    widget = Widget(page, server).visit().open()
    widget.say("It blinks")
    expect(widget.button("The router")).to_be_visible()
    server.answer = silent
    widget.button("The speaker").click()
    widget.expect_texts("It blinks", "Which one?1", "The speaker")
    until_received(page, server, 2)
    assert [one.text for one in server.received] == ["It blinks", "The speaker"]
    expect(page.locator("duomo-message .options")).to_have_count(0)


def test_a_thumb_can_be_given_and_taken_back(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("Hi")
    thumb = widget.button("This helped")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "false")
    expect(page.locator("duomo-chat .strip.problem")).to_have_count(0)
    mid = next(id for id, one in server.conversation.messages.items() if one["author"] == "bot")
    assert server.calls == [(f"messages/{mid}/feedback", {"value": value}) for value in ("up", None)]


def test_a_resolved_conversation_asks_for_a_rating_once(page: Page, server: FakeServer) -> None:
    server.answer = silent
    widget = Widget(page, server).visit().open()
    widget.say("Hi")
    widget.expect_texts("Hi")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    server.conversation.set_status("resolved")
    server.conversation.message("system", "How was our service?", kind="csat")
    page.get_by_role("radio", name="4 of 5").check()
    page.get_by_label("What could be better? (optional)").fill("Faster")
    widget.button("Send rating").click()
    expect(page.get_by_text("Thank you for your rating.")).to_be_visible()
    assert server.calls == [("csat", {"score": 4, "comment": "Faster"})]
    page.reload()
    widget.open()
    expect(page.get_by_text("Thank you for your rating.")).to_be_visible()


def test_the_conversation_is_there_again_after_a_reload_and_a_new_one_begins_empty(
    page: Page, server: FakeServer
) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("One")
    widget.expect_texts("One", "You wrote: One")
    page.reload()
    widget.open()
    widget.expect_texts("One", "You wrote: One")
    widget.button("More").click()
    widget.button("New conversation").click()
    widget.expect_texts()
    widget.say("Two")
    widget.expect_texts("Two", "You wrote: Two")
    assert [next(iter(one.messages.values()))["text"] for one in server.conversations.values()] == ["One", "Two"]


def test_the_launcher_counts_what_is_unread(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("Hi")
    widget.expect_texts("Hi", "You wrote: Hi")
    widget.button("Close chat").click()
    server.conversation.message("agent", "Are you there?", agent={"id": "1", "name": "Lin"})
    expect(page.get_by_role("button", name="Open chat, 1 unread")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Open chat, 1 unread").click()
    widget.expect_texts("Hi", "You wrote: Hi", "Are you there?")
    widget.button("Close chat").click()
    expect(page.get_by_role("button", name="Open chat", exact=True)).to_be_visible()


def test_the_language_follows_the_page_and_can_be_switched_for_good(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server, lang="zh").visit().open()
    expect(page.locator("duomo-chat .who h2")).to_have_text("蓝汀电器")
    widget.say("你好")
    widget.expect_texts("你好", "You wrote: 你好")
    widget.button("更多").click()
    widget.button("English").click()
    expect(page.locator("duomo-chat .who h2")).to_have_text("Lanting Electronics")
    page.reload()
    expect(page.get_by_role("button", name="Open chat")).to_be_visible()
    assert server.conversation.language == "en"


def test_the_widget_works_on_a_page_of_another_origin(page: Page, server: FakeServer) -> None:
    host = server.url.replace("127.0.0.1", "localhost")
    widget = Widget(page, server, host=host).visit().open()
    widget.attach("display.png", "image/png", picture())
    widget.send()
    expect(page.locator("duomo-message button.picture img")).to_have_js_property("naturalWidth", 640)
    widget.say("Hi")
    widget.expect_texts("You wrote: ", "Hi", "You wrote: Hi")
    expect(page.locator("duomo-chat h2")).to_have_css("letter-spacing", "normal")  # the page's own is 1px
    assert {url.split("/")[2] for url in widget.requests if url.startswith("http")} == {
        one.removeprefix("http://") for one in (host, server.url)
    }


def test_a_page_can_choose_accent_and_theme(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit("data-accent='%23d97706' data-theme='dark'").open()
    host = page.locator("duomo-chat")
    expect(host).to_have_attribute("data-theme", "dark")
    assert host.evaluate("(e) => getComputedStyle(e).getPropertyValue('--accent')") == "#d97706"
    widget.button("More").click()
    widget.button("Light colours").click()
    expect(host).to_have_attribute("data-theme", "light")
    assert host.evaluate("(e) => getComputedStyle(e).getPropertyValue('--on-accent')") == "#ffffff"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_shop_page_asks_in_its_language(
    new_context: Callable[..., BrowserContext], server: FakeServer, lang: str
) -> None:
    page = new_context(locale={"zh": "zh-CN", "en": "en-GB"}[lang]).new_page()
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url) if server.url not in request.url else None)
    page.goto(server.url)
    page.get_by_role(
        "button", name={"zh": "咨询电热水壶 LT-T9", "en": "Ask about the LT-T9 electric kettle"}[lang]
    ).click()
    question = {"zh": "LT-T9 水壶显示 E2 是什么意思？", "en": "What does E2 on the LT-T9 kettle mean?"}[lang]
    expect(page.locator("duomo-composer textarea")).to_have_value(question)
    page.locator("duomo-composer textarea").press("Enter")
    expect(page.locator("duomo-message .bubble").last).to_have_text(f"You wrote: {question}")
    assert outside == []
