"""Correcting and labelling in the console: by mouse in a conversation, by keyboard in the queue, on- and offline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.console_scenes import fill, screenshot
from tests.browser.fake_console_server import PASSWORD, Conversation, FakeConsoleServer

LIN, MEI = "lin@example.com", "mei@example.com"
Open = Callable[..., Page]


@pytest.fixture
def server() -> Iterator[FakeConsoleServer]:
    with FakeConsoleServer() as running:
        fill(running)
        yield running


@pytest.fixture
def sign_in(server: FakeConsoleServer, new_context: Callable[..., BrowserContext]) -> Iterator[Open]:
    """Opens a page of the console for an agent in a browser of their own; the page must not fail."""
    faults: list[str] = []

    def open_console(page_name: str = "inbox", email: str = LIN, **options: object) -> Page:
        page = new_context(**({"viewport": {"width": 1440, "height": 900}} | options)).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{server.url}/console#/{page_name}")
        page.locator("input[name=email]").fill(email)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".rail")).to_be_visible()
        return page

    yield open_console
    assert faults == []


def named(server: FakeConsoleServer, name: str) -> Conversation:
    return next(c for c in server.conversations.values() if c.contact["name"] == name)


def choose(page: Page, name: str) -> None:
    page.locator(".row", has_text=name).click()
    expect(page.locator(".conversation-head h2")).to_have_text(name)


def item(page: Page) -> Locator:
    return page.locator(".review-item")


def shows(page: Page, text: str) -> None:
    expect(page.locator(".review-text, .review-read").first).to_contain_text(text)


def toast(page: Page, text: str) -> Locator:
    return page.locator(".toast", has_text=text)


def arrived(page: Page, server: FakeConsoleServer, count: int) -> None:
    """Waits until the server has that many labels and the page knows it."""
    page.evaluate(
        """async () => {
            const {labels} = await import("/w/console/labels.js");
            while (labels.outbox.length) await new Promise((resolve) => labels.addEventListener("settled", resolve));
        }"""
    )
    assert len(server.learning.labels) == count


# The queue, by keyboard alone -------------------------------------------------------------------------------------


def test_text_a_picture_and_a_sound_are_labelled_without_a_mouse(server: FakeConsoleServer, sign_in: Open) -> None:
    text, picture, sound, *_ = [one["message_id"] for one in server.learning.items]
    page = sign_in("review")
    shows(page, "退款怎么还没到账")
    expect(page.locator(".review-why")).to_have_text("The model is unsure (58 %) · Many ask like this")
    page.keyboard.press("1")
    shows(page, "屏幕上一直显示这个")
    expect(page.locator(".review-text")).to_have_text("屏幕上一直显示这个，是坏了吗？")  # what was read stands apart
    page.keyboard.press("z")
    expect(page.get_by_role("dialog", name="display.png")).to_be_visible()
    page.keyboard.press("z")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.type("code")
    expect(page.locator(".review-choice [role=option]")).to_have_text([re.compile(r"Error code on a device\s*39 %")])
    page.keyboard.press("Enter")
    shows(page, "上次寄回去修的机器")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause voice note")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    shows(page, "two vouchers")
    expect(page.locator(".review-progress")).to_contain_text("3 labelled today")
    arrived(page, server, 3)
    assert [(one["message_id"], one["value"], one["origin"], one["head"]) for one in server.learning.labels] == [
        (text, "refund_status", "review", "intent"),
        (picture, "error_code", "review", "intent"),
        (sound, "track_order", "review", "intent"),
    ]


def test_twenty_labels_are_twenty_keys_and_more_come_before_the_last_is_reached(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    server.learning.items = [one for one in server.learning.items if one["why"] == "value"]
    wanted = [(one["message_id"], one["heads"]["intent"]["label"]) for one in server.learning.items[:22]]
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    for message_id, _ in wanted:
        expect(item(page)).to_have_attribute("data-id", message_id)
        page.keyboard.press("Enter")
    arrived(page, server, 22)
    assert [(one["message_id"], one["value"]) for one in server.learning.labels] == wanted


def test_letters_find_a_label_and_a_slash_those_that_begin_like_a_key(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("spare")
    expect(page.locator(".review-choice [role=option]")).to_have_text([re.compile(r"^\s*Spare parts\s*$")])
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox")).to_have_value("")
    page.keyboard.type("spare")
    page.keyboard.press("Enter")
    shows(page, "屏幕上一直显示这个")
    arrived(page, server, 1)
    assert server.learning.labels[0]["value"] == "spare_parts"


def test_undo_takes_the_label_back_and_the_next_one_holds(server: FakeConsoleServer, sign_in: Open) -> None:
    first = server.learning.items[0]["message_id"]
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.keyboard.press("1")
    shows(page, "屏幕上一直显示这个")
    page.keyboard.press("u")
    shows(page, "退款怎么还没到账")
    expect(page.locator(".review-progress")).to_contain_text("0 labelled today")
    page.keyboard.press("2")
    shows(page, "屏幕上一直显示这个")
    arrived(page, server, 3)
    assert server.learning.values(first) == ["refund_status", None, "return_item"]


def test_a_skipped_turn_comes_back_only_by_undo(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in("review")
    shows(page, "退款怎么还没到账")
    page.keyboard.press("s")
    shows(page, "屏幕上一直显示这个")
    page.keyboard.press("u")
    shows(page, "退款怎么还没到账")
    arrived(page, server, 0)


def test_a_recheck_says_what_is_in_doubt_and_a_second_opinion_shows_nobodys(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    server.learning.items = [one for one in server.learning.items if one["why"] != "value"]
    recheck, second = [one["message_id"] for one in server.learning.items]
    page = sign_in("review")
    expect(page.locator(".review-why")).to_have_text(
        re.compile("Somebody said “Coupons”; the model takes it for “Invoice \\(fapiao\\)”.")
    )
    page.keyboard.press("Enter")  # nothing stands ready: a doubt is decided, not waved through
    expect(item(page)).to_have_attribute("data-id", recheck)
    expect(page.locator(".review-choice [role=option]").nth(1)).to_contain_text("Invoice")
    page.keyboard.press("2")
    expect(item(page)).to_have_attribute("data-id", second)
    expect(page.locator(".choice-share")).to_have_count(0)
    page.keyboard.press("1")
    expect(page.get_by_text("Nothing left to look at")).to_be_visible()
    arrived(page, server, 2)
    said = [(one["message_id"], one["value"], one["origin"]) for one in server.learning.labels]
    assert said == [(recheck, "invoice", "recheck"), (second, "pairing", "second")]


def test_undo_of_a_recheck_brings_back_what_somebody_had_said(server: FakeConsoleServer, sign_in: Open) -> None:
    server.learning.items = [one for one in server.learning.items if one["why"] == "recheck"]
    [recheck] = [one["message_id"] for one in server.learning.items]
    page = sign_in("review")
    expect(item(page)).to_have_attribute("data-id", recheck)
    page.keyboard.press("2")
    expect(page.get_by_text("Nothing left to look at")).to_be_visible()
    page.keyboard.press("u")
    expect(item(page)).to_have_attribute("data-id", recheck)
    expect(page.locator(".review-why")).to_contain_text("Somebody said “Coupons”")
    arrived(page, server, 2)
    assert [(one["value"], one["origin"]) for one in server.learning.labels] == [
        ("invoice", "recheck"),
        ("coupon", "review"),
    ]


def test_who_labels_what_a_colleague_labelled_meanwhile_has_given_a_second_opinion(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    first = server.learning.items[0]["message_id"]
    lin, mei = sign_in("review", email=LIN), sign_in("review", email=MEI)
    for page in (lin, mei):
        expect(item(page)).to_have_attribute("data-id", first)
    lin.keyboard.press("1")
    arrived(lin, server, 1)
    mei.keyboard.press("2")
    expect(toast(mei, "yours counts as a second opinion")).to_be_visible()
    assert [(one["value"], one["origin"]) for one in server.learning.labels] == [
        ("refund_status", "review"),
        ("return_item", "second"),
    ]
    expect(lin.locator(".toast")).to_have_count(0)


def test_a_new_label_is_named_and_given_by_keyboard(server: FakeConsoleServer, sign_in: Open) -> None:
    first = server.learning.items[0]["message_id"]
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.keyboard.type("gift card balance")
    page.keyboard.press("Enter")
    form = page.get_by_role("form", name="A new label")
    expect(form.get_by_label("Chinese title")).to_be_focused()
    expect(form.get_by_label("Name")).to_have_value("gift_card_balance")
    page.keyboard.type("礼品卡余额")
    page.keyboard.press("Enter")
    shows(page, "屏幕上一直显示这个")
    arrived(page, server, 1)
    assert server.learning.values(first) == ["gift_card_balance"]
    added = [one for one in server.learning.sets[0]["labels"] if not one["known"]]
    title = {"zh": "礼品卡余额", "en": "gift card balance"}
    assert added == [{"name": "gift_card_balance", "title": title, "known": False, "count": 0}]


def test_the_single_keys_of_labelling_can_be_switched_off(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys for labelling").get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("1")
    expect(page.locator(".review-progress")).to_contain_text("0 labelled today")
    shows(page, "退款怎么还没到账")
    page.get_by_role("option", name="Return an item").click()
    shows(page, "屏幕上一直显示这个")


def test_urgency_is_labelled_in_a_queue_of_its_own(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.get_by_role("button", name="Urgency").click()
    expect(page.locator(".review-choice .choice-title")).to_have_text(["Normal", "High", "Low"])
    page.keyboard.press("2")
    shows(page, "屏幕上一直显示这个")
    arrived(page, server, 1)
    assert [(one["head"], one["value"]) for one in server.learning.labels] == [("urgency", "high")]


# Nothing is lost --------------------------------------------------------------------------------------------------


def test_labels_given_offline_arrive_once_after(server: FakeConsoleServer, sign_in: Open) -> None:
    wanted = [one["message_id"] for one in server.learning.items[:3]]
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    page.context.set_offline(True)
    for message_id in wanted:
        expect(item(page)).to_have_attribute("data-id", message_id)
        page.keyboard.press("1")
    expect(page.locator(".review-progress")).to_contain_text("3 labelled today")
    assert server.learning.labels == []
    page.context.set_offline(False)
    arrived(page, server, 3)
    assert [one["message_id"] for one in server.learning.labels] == wanted


def test_labels_that_were_not_acknowledged_survive_a_reload_and_are_not_asked_for_again(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    first, second, third = [one["message_id"] for one in server.learning.items[:3]]
    page = sign_in("review")
    expect(item(page)).to_be_visible()
    lost = re.compile("/labels/")
    page.route(lost, lambda route: route.fetch() and route.abort())  # the server has it, the page does not know
    page.keyboard.press("1")
    expect(item(page)).to_have_attribute("data-id", second)
    page.keyboard.press("1")
    expect(item(page)).to_have_attribute("data-id", third)
    page.reload()
    expect(item(page)).to_have_attribute("data-id", third)
    page.unroute(lost)
    page.reload()
    expect(item(page)).to_have_attribute("data-id", third)
    arrived(page, server, 2)
    assert [one["message_id"] for one in server.learning.labels] == [first, second]


# Corrections in a conversation ------------------------------------------------------------------------------------


def chip(page: Page, head: str = "intent") -> Locator:
    return page.locator(f".turn-label[data-head={head}]").first


def test_an_intent_is_corrected_by_two_presses_marked_and_taken_back(server: FakeConsoleServer, sign_in: Open) -> None:
    talk = named(server, "王小明")
    message = next(iter(talk.messages))
    page = sign_in()
    choose(page, "王小明")
    expect(chip(page).locator("button")).to_have_text(re.compile(r"Intent\s*Error code on a device\s*87 %"))
    chip(page).locator("button").click()
    expect(page.locator(".picker-panel .choice-title").first).to_have_text("Error code on a device")
    page.get_by_role("option", name="Warranty").click()
    expect(chip(page).locator("del")).to_have_text("Error code on a device")
    expect(chip(page).locator(".chip-value")).to_have_text("Warranty")
    expect(chip(page).locator(".said-by")).to_have_text(re.compile(r"You\s*\d\d:\d\d"))
    expect(chip(page).locator("button")).to_be_focused()
    toast(page, "Corrected: Intent: Warranty").get_by_role("button", name="Undo").click()
    expect(chip(page).locator("del")).to_have_count(0)
    expect(chip(page).locator(".said-by")).to_have_count(0)
    arrived(page, server, 2)
    assert server.learning.values(message) == ["warranty", None]
    assert {one["origin"] for one in server.learning.labels} == {"correction"}


def test_a_colleague_sees_who_corrected_what(server: FakeConsoleServer, sign_in: Open) -> None:
    lin, mei = sign_in(email=LIN), sign_in(email=MEI)
    choose(lin, "王小明")
    chip(lin, "urgency").locator("button").click()
    lin.keyboard.type("low")
    lin.keyboard.press("Enter")
    expect(chip(lin, "urgency").locator(".chip-value")).to_have_text("Low")
    arrived(lin, server, 1)
    choose(mei, "王小明")
    expect(chip(mei, "urgency").locator(".said-by")).to_contain_text("Lin")
    chip(mei, "urgency").locator("button").click()
    mei.keyboard.press("1")
    expect(chip(mei, "urgency").locator(".said-by")).to_contain_text("You")
    expect(chip(lin, "urgency").locator(".said-by")).to_contain_text("Mei")


def test_several_labels_and_a_number_are_corrected_too(
    server: FakeConsoleServer, sign_in: Open, violations: Callable[..., list[str]]
) -> None:
    names = [{"name": name, "title": {"en": name.title()}, "known": True, "count": 0} for name in ("noise", "smell")]
    server.learning.sets += [
        {"head": "topics", "title": {"en": "Topics"}, "type": "multilabel", "out_of_scope": None, "labels": names},
        {"head": "mood", "title": {"en": "Mood"}, "type": "number", "out_of_scope": None, "labels": []},
    ]
    talk = named(server, "王小明")
    message, answer = list(talk.messages.values())[:2]
    answer["decision"]["understood"]["heads"] |= {
        "topics": {"label": ["smell"], "confidence": {"noise": 0.2, "smell": 0.9}, "top": [["smell", 0.9]]},
        "mood": {"label": 2.5, "confidence": 0.7, "top": []},
    }
    page = sign_in()
    choose(page, "王小明")
    expect(chip(page, "topics").locator(".chip-value")).to_have_text("Smell")
    chip(page, "topics").locator("button").first.click()
    page.get_by_role("checkbox", name="Noise").check()
    assert violations(page) == []
    page.keyboard.press("Enter")
    expect(chip(page, "topics").locator(".chip-value")).to_have_text("Smell · Noise")
    expect(chip(page, "topics").locator("del")).to_have_text("Smell")
    chip(page, "mood").locator("button").first.click()
    expect(page.get_by_role("spinbutton")).to_have_value("2.5")
    assert violations(page) == []
    page.get_by_role("spinbutton").fill("4")
    page.keyboard.press("Enter")
    expect(chip(page, "mood").locator(".chip-value")).to_have_text("4")
    toast(page, "Mood: 4").get_by_role("button", name="Undo").click()
    expect(chip(page, "mood").locator(".chip-value")).to_have_text("2.5")
    arrived(page, server, 3)
    assert server.learning.values(message["id"], head="topics") == [["smell", "noise"]]
    assert server.learning.values(message["id"], head="mood") == [4, None]


def bot(page: Page) -> Locator:
    return page.locator(".message.bot").first


def test_the_right_source_is_chosen_from_what_was_considered_found_or_none(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    server.add_article("Battery care", "Charge it before it is empty.", "en")
    battery = next(a["id"] for a in server.articles.values() if a["title"] == "Battery care")
    returns = next(a["id"] for a in server.articles.values() if a["title"] == "七天无理由退货")
    page = sign_in()
    choose(page, "王小明")
    wrong = bot(page).get_by_role("button", name="Wrong source")
    mark = bot(page).locator("[data-mark=source]")
    wrong.click()
    titles = page.locator(".picker-panel .choice-title")
    expect(titles).to_have_text(["七天无理由退货", "错误代码 E-17", "None of the articles"])
    page.keyboard.press("1")
    expect(mark).to_contain_text("七天无理由退货")
    wrong.click()
    page.keyboard.type("battery")
    expect(titles).to_have_text(["Battery care"])
    page.keyboard.press("Enter")
    expect(mark).to_contain_text("Battery care")
    wrong.click()
    page.get_by_role("option", name="None of the articles").click()
    expect(mark).to_contain_text("None of the articles")
    mark.get_by_role("button", name="Take back").click()
    expect(mark).to_have_count(0)
    arrived(page, server, 4)
    assert [(one["kind"], one["value"]) for one in server.learning.labels] == [
        ("source", returns),
        ("source", battery),
        ("source", ""),
        ("source", None),
    ]


def test_undo_of_a_source_says_nothing_of_the_one_that_was_cited(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    bot(page).get_by_role("button", name="Wrong source").click()
    page.get_by_role("option", name="None of the articles").click()
    toast(page, "None of the articles").get_by_role("button", name="Undo").click()
    expect(bot(page).locator("[data-mark=source]")).to_have_count(0)
    arrived(page, server, 2)
    assert [(one["kind"], one["value"]) for one in server.learning.labels] == [("source", ""), ("source", None)]


def test_a_better_answer_is_written_in_the_composer_and_never_sent(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    bot(page).get_by_role("button", name="Better answer").click()
    field = page.locator(".composer.better textarea")
    expect(field).to_be_focused()
    expect(field).to_have_value(
        "E-17 表示充电座没有接通电源。请擦拭充电触点，把充电座插到另一个插座，等待 10 秒再放回主机。"
    )
    field.fill("请先擦拭充电触点，再换一个插座。")
    page.get_by_role("button", name="Keep").click()
    expect(bot(page).locator("[data-mark=answer] q")).to_have_text("请先擦拭充电触点，再换一个插座。")
    expect(page.locator(".composer.better")).to_have_count(0)
    arrived(page, server, 1)
    assert server.sent(named(server, "王小明")) == []
    assert [(one["kind"], one["value"]) for one in server.learning.labels] == [
        ("answer", "请先擦拭充电触点，再换一个插座。")
    ]


def test_that_a_person_should_have_been_asked_is_one_press_and_another_takes_it_back(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    choose(page, "王小明")
    press = bot(page).get_by_role("button", name="Should have handed over")
    press.click()
    expect(press).to_have_attribute("aria-pressed", "true")
    expect(bot(page).locator("[data-mark=handoff]")).to_contain_text("You")
    toast(page, "Should have handed over").get_by_role("button", name="Undo").click()
    expect(bot(page).locator("[data-mark=handoff]")).to_have_count(0)
    answered = page.locator(".message.bot").last.get_by_role("button", name="Should have answered")
    for pressed in ("true", "false"):
        answered.click()
        expect(answered).to_have_attribute("aria-pressed", pressed)
    arrived(page, server, 4)
    assert [(one["kind"], one["value"]) for one in server.learning.labels] == [
        ("handoff", True),
        ("handoff", None),
        ("handoff", False),
        ("handoff", None),
    ]


def test_a_corrected_transcript_is_a_label_and_can_be_taken_back(server: FakeConsoleServer, sign_in: Open) -> None:
    before = "还是不行，收货地址能不能换一台新的寄过来"
    after = "还是不行，能不能换一台新的寄到新地址"
    page = sign_in()
    choose(page, "王小明")
    heard = page.locator(".artifact[data-kind=transcript]")
    heard.get_by_role("button", name="Correct what was recognised").click()
    heard.get_by_role("textbox").fill(after)
    heard.get_by_role("button", name="Save").click()
    expect(heard.locator(".said")).to_have_text(after)
    expect(heard.locator(".said-by")).to_contain_text("You")
    toast(page, after).get_by_role("button", name="Undo").click()
    expect(heard.locator(".said")).to_have_text(before)
    arrived(page, server, 2)
    assert [(one["kind"], one["head"], one["value"]) for one in server.learning.labels] == [
        ("transcript", "", after),
        ("transcript", "", before),
    ]


# Agreement, proposals, drafts -------------------------------------------------------------------------------------


def test_agreement_is_shown_and_a_disagreement_settled(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in("review/agreement")
    expect(page.locator(".agreement-figures strong")).to_have_text(["77 %", "0.67"])
    page.get_by_role("button", name="Mei Book a repair").click()
    expect(page.get_by_text("Nothing to settle.")).to_be_visible()
    arrived(page, server, 1)
    assert [(one["value"], one["origin"]) for one in server.learning.labels] == [("repair_booking", "recheck")]


def test_a_proposed_intent_is_named_and_labels_the_turns_that_belong_to_it(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    [intent, article] = server.learning.proposals
    page = sign_in("review/proposals")
    card = page.locator(".proposal[data-kind=intent]")
    expect(card.locator("li.tag")).to_have_text(["以旧换新", "旧机", "折价", "trade in"])
    card.get_by_label("以旧换新怎么算").uncheck()
    card.get_by_label("English title").fill("Trade-in")
    expect(card.get_by_label("Name")).to_have_value("trade_in")
    card.get_by_role("button", name="Add the intent and label 17").click()
    expect(toast(page, "New intent: Trade-in. The next model will learn it.")).to_be_visible()
    expect(card).to_have_count(0)
    labelled = {one["message_id"] for one in server.learning.labels if one["value"] == "trade_in"}
    assert labelled == set(intent["messages"]) - {intent["examples"][3]["message_id"]}
    page.locator(".proposal[data-kind=article]").get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("No proposals")).to_be_visible()
    assert (intent["state"], article["state"]) == ("accepted", "dismissed")


def test_accepting_an_intent_says_how_many_turns_keep_what_a_person_called_them(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    [intent, _] = server.learning.proposals
    given = {"message_id": intent["messages"][0], "kind": "head", "head": "intent", "value": "warranty"}
    server.learning.labels.append(given)
    page = sign_in("review/proposals")
    card = page.locator(".proposal[data-kind=intent]")
    card.get_by_label("English title").fill("Trade-in")
    card.locator("button[type=submit]").click()
    expect(toast(page, "The next model will learn it. Kept the label that a person gave: 1.")).to_be_visible()


def test_a_missing_article_becomes_a_draft_that_is_written_and_published(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in("review/proposals")
    page.get_by_role("button", name="Write the article").click()
    sheet = page.get_by_role("dialog", name="Draft of an article")
    expect(sheet.get_by_label("Title")).to_have_value("电饭煲可以用来做酸奶吗")
    sheet.get_by_label("Title").fill("用电饭煲做酸奶")
    sheet.get_by_label("Text").fill("选择“**酸奶**”功能，八小时即可。")
    sheet.get_by_role("button", name="Preview").click()
    expect(sheet.locator(".draft-preview strong")).to_have_text("酸奶")
    sheet.get_by_role("button", name="Publish").click()
    expect(toast(page, "Published: 用电饭煲做酸奶")).to_be_visible()
    published = [a for a in server.articles.values() if a["title"] == "用电饭煲做酸奶"]
    assert [a["text"] for a in published] == ["选择“**酸奶**”功能，八小时即可。"]


def test_a_reply_becomes_a_draft_with_its_picture_and_only_one(
    server: FakeConsoleServer, sign_in: Open, tmp_path: Path
) -> None:
    picture = tmp_path / "menu.png"
    picture.write_bytes(screenshot(["Settings", "Address"]))
    page = sign_in()
    choose(page, "周静")
    page.locator(".composer input[type=file]").set_input_files(picture)
    page.locator(".composer textarea").fill("在“订单”里点“修改地址”即可。")
    page.locator(".composer textarea").press("Enter")
    make = page.get_by_role("button", name="Make an article of it")
    make.click()
    sheet = page.get_by_role("dialog", name="Draft of an article")
    expect(sheet.get_by_label("Text")).to_have_value("在“订单”里点“修改地址”即可。")
    expect(sheet.locator(".draft-pictures img")).to_have_count(1)
    sheet.get_by_label("Title").fill("修改收货地址")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    make.click()
    expect(sheet.get_by_label("Title")).to_have_value("修改收货地址")
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/console#/review/drafts")
    expect(page.locator(".draft-main strong")).to_have_text(["修改收货地址"])
    assert [(one["title"], one["language"]) for one in server.learning.drafts] == [("修改收货地址", "zh")]


def test_a_published_draft_is_changed_and_replaces_its_article(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.locator(".composer textarea").fill("在“订单”里点“修改地址”即可。")
    page.locator(".composer textarea").press("Enter")
    make = page.get_by_role("button", name="Make an article of it")
    make.click()
    sheet = page.get_by_role("dialog", name="Draft of an article")
    sheet.get_by_label("Title").fill("修改收货地址")
    sheet.get_by_role("button", name="Publish").click()
    expect(toast(page, "Published: 修改收货地址")).to_be_visible()
    make.click()
    expect(sheet.get_by_label("Title")).to_have_value("修改收货地址")
    expect(sheet.get_by_text("This is an article already.")).to_be_visible()
    expect(sheet.get_by_role("button", name="Publish")).to_be_disabled()
    expect(sheet.get_by_role("button", name="Delete")).to_have_count(0)
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/console#/review/drafts")
    expect(page.locator(".draft-title")).to_have_text(re.compile("修改收货地址.*published"))
    page.locator(".draft-row").click()
    sheet.get_by_label("Text").fill("发货前可以修改。")
    sheet.get_by_role("button", name="Publish").click()
    expect(sheet).to_have_count(0)
    assert [a["text"] for a in server.articles.values() if a["title"] == "修改收货地址"] == ["发货前可以修改。"]
    assert [one["state"] for one in server.learning.drafts] == ["published"]


# Sizes, languages, access -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_nothing_where_people_teach(
    server: FakeConsoleServer,
    sign_in: Open,
    violations: Callable[..., list[str]],
    language: str,
    scheme: str,
    size: tuple[int, int],
) -> None:
    width, height = size
    page = sign_in("review", locale=language, color_scheme=scheme, viewport={"width": width, "height": height})
    found = {}

    def look(name: str) -> None:
        found[name] = [*violations(page), page.evaluate("document.documentElement.scrollWidth")]

    expect(item(page)).to_be_visible()
    look("label")
    page.keyboard.press("/")
    page.keyboard.type("new one")
    page.keyboard.press("Enter")
    expect(page.locator("form.new-label")).to_be_visible()
    look("new label")
    page.keyboard.press("Escape")
    for name, ready in (("agreement", ".by-label"), ("proposals", ".proposal"), ("drafts", ".empty")):
        page.goto(f"{server.url}/console#/review/{name}")
        expect(page.locator(ready).first).to_be_visible()
        look(name)
    page.goto(f"{server.url}/console#/review/proposals")
    page.locator(".proposal[data-kind=article] button[type=submit]").click()
    expect(page.locator("form.draft")).to_be_visible()
    look("draft")
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/console#/inbox/{named(server, '王小明').id}")
    chip(page).locator("button").click()
    expect(page.locator(".picker-panel [role=option]").first).to_be_visible()
    look("correction")
    page.keyboard.press("1")
    bot(page).locator("[data-correct=handoff]").click()
    bot(page).locator("[data-correct=answer]").click()
    look("corrected")
    assert found == {name: [width] for name in found}
