"""Nothing a customer sends is lost, sent twice or out of order, and nothing is shown twice."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.fake_server import Conversation, FakeServer, picture
from tests.browser.widget_page import Widget, until_received


def silent(server: FakeServer, conversation: Conversation, message: dict[str, object]) -> None:
    """A bot that says nothing."""


def arrived(server: FakeServer) -> list[tuple[str, int]]:
    """Text and number of files of every stored message, in order."""
    return [(one.text, len(one.files)) for one in server.received]


def test_what_is_written_offline_waits_visibly_and_arrives_once_in_order(
    new_context: Callable[..., BrowserContext], server: FakeServer
) -> None:
    server.answer = silent
    context = new_context()
    page = context.new_page()
    widget = Widget(page, server).visit().open()
    widget.say("zero")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    context.set_offline(True)
    expect(page.locator("duomo-chat .strip")).to_contain_text("You are offline.")
    widget.say("one")
    widget.attach("display.png", "image/png", picture())
    widget.field.fill("two")
    widget.send()
    widget.say("three")
    expect(page.locator("duomo-message .delivery")).to_have_text(["Waiting to send"] * 3)
    context.set_offline(False)
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    expect(page.locator("duomo-chat .strip")).to_have_count(0)
    assert arrived(server) == [("zero", 0), ("one", 0), ("two", 1), ("three", 0)]
    widget.expect_texts("zero", "one", "two", "three")


def until_kept(page: Page, count: int) -> None:
    """Wait until the browser has written so many messages into its database."""
    for _ in range(200):
        kept = page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("duomo-outbox");
                opening.onsuccess = () => {
                    const counting = opening.result.transaction("outgoing").objectStore("outgoing").count();
                    counting.onsuccess = () => { opening.result.close(); resolve(counting.result); };
                };
            })"""
        )
        if kept == count:
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{kept} messages are kept, expected {count}")


def test_what_waits_survives_a_reload_with_its_files(page: Page, server: FakeServer) -> None:
    server.answer = silent
    server.down = True
    widget = Widget(page, server).visit().open()
    widget.say("one")
    widget.attach("display.png", "image/png", picture())
    widget.send()
    widget.say("three")
    expect(page.locator("duomo-message .delivery")).to_have_count(3)
    until_kept(page, 3)
    page.reload()
    widget.open()
    expect(page.locator("duomo-message .delivery")).to_have_count(3)
    expect(page.locator("duomo-message .picture img")).to_have_js_property("naturalWidth", 640)
    server.down = False
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    assert arrived(server) == [("one", 0), ("", 1), ("three", 0)]
    assert server.received[1].files == [("display.png", "image/png", picture())]


def test_a_message_whose_answer_got_lost_is_sent_again_under_the_same_id(page: Page, server: FakeServer) -> None:
    server.lose_answers = 2
    server.answer = silent
    widget = Widget(page, server).visit().open()
    widget.say("once")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    widget.say("twice")
    widget.expect_texts("once", "twice")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    assert arrived(server) == [("once", 0), ("twice", 0)]


def test_a_busy_server_is_obeyed_and_the_message_goes_later(page: Page, server: FakeServer) -> None:
    server.busy(1.5)
    widget = Widget(page, server).visit().open()
    widget.say("patience")
    widget.expect_texts("patience", "You wrote: patience")
    assert len(server.puts) == 2


def test_a_message_the_server_will_never_take_says_why_and_lets_the_next_pass(page: Page, server: FakeServer) -> None:
    server.refuse(413, "too_large")
    widget = Widget(page, server).visit().open()
    widget.say("never")
    failed = page.locator("duomo-message .delivery.failed")
    expect(failed).to_contain_text("Not sent: This file is too large. Send a smaller one.")
    widget.say("next")
    expect(page.get_by_text("You wrote: next", exact=True)).to_be_visible()
    widget.button("Delete").click()
    expect(failed).to_have_count(0)
    assert arrived(server) == [("next", 0)]
    page.reload()
    widget.open()
    widget.expect_texts("next", "You wrote: next")


def test_a_refused_message_can_be_tried_again(page: Page, server: FakeServer) -> None:
    server.refuse(422, "bad_input")
    widget = Widget(page, server).visit().open()
    widget.say("again")
    widget.button("Try again").click()
    widget.expect_texts("again", "You wrote: again")


def test_a_forgotten_visitor_becomes_a_new_one_and_the_message_still_arrives(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.say("first")
    widget.expect_texts("first", "You wrote: first")
    server.visitors.clear()
    server.conversations.clear()
    server.cut_streams()
    widget.say("second")
    expect(page.get_by_text("You wrote: second", exact=True)).to_be_visible()
    assert arrived(server) == [("first", 0), ("second", 0)]
    assert len(server.conversations) == 1


def test_a_cut_line_resumes_without_a_gap_or_a_repetition(page: Page, server: FakeServer) -> None:
    server.answer = silent
    widget = Widget(page, server).visit().open()
    widget.say("Tell me")
    widget.expect_texts("Tell me")
    expect(page.locator("duomo-message .delivery")).to_have_count(0)
    conversation = server.conversation
    server.overlap = 2
    for piece in ("one ", "two ", "three "):
        conversation.emit("delta", {"message_id": "m1", "text": piece})
    widget.expect_texts("Tell me", "one two three ")
    server.cut_streams()
    for piece in ("four ", "five"):
        conversation.emit("delta", {"message_id": "m1", "text": piece})
    widget.expect_texts("Tell me", "one two three four five")
    server.cut_streams()
    conversation.message("bot", "one two three four five.", id="m1")
    conversation.message("bot", "And six.")
    widget.expect_texts("Tell me", "one two three four five.", "And six.")
    page.reload()
    widget.open()
    widget.expect_texts("Tell me", "one two three four five.", "And six.")


def test_two_tabs_of_one_visitor_show_the_same_and_send_once(
    new_context: Callable[..., BrowserContext], server: FakeServer
) -> None:
    server.answer = silent
    context = new_context()
    left = Widget(context.new_page(), server).visit().open()
    left.say("left")
    until_received(left.page, server, 1)
    expect(left.page.locator("duomo-message .delivery")).to_have_count(0)
    server.down = True
    left.say("waiting")
    expect(left.page.locator("duomo-message .delivery")).to_have_count(1)
    right = Widget(context.new_page(), server).visit().open()
    expect(right.page.locator("duomo-message .delivery")).to_have_count(1)
    server.down = False
    left.expect_texts("left", "waiting")
    right.expect_texts("left", "waiting")
    for widget in (left, right):
        expect(widget.page.locator("duomo-message .delivery")).to_have_count(0)
    assert arrived(server) == [("left", 0), ("waiting", 0)]
