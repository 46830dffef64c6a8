"""The agents' console in a real browser, against a server that keeps everything in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

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
    """Opens the console for an agent in a browser of their own; the page must not fail, nor call another host."""
    faults: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((server.url, "blob:", "data:")):
            faults.append(f"called {request.url}")

    def open_console(email: str = LIN, **options: object) -> Page:
        page = new_context(**({"viewport": {"width": 1440, "height": 900}} | options)).new_page()
        page.on("request", watch)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{server.url}/console")
        page.locator("input[name=email]").fill(email)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        expect(page.locator(".row").first).to_be_visible()
        return page

    yield open_console
    assert faults == []


def named(server: FakeConsoleServer, name: str) -> Conversation:
    return next(c for c in server.conversations.values() if c.contact["name"] == name)


def row(page: Page, name: str) -> Locator:
    return page.locator(".row", has_text=name)


def choose(page: Page, name: str) -> None:
    row(page, name).click()
    expect(page.locator(".conversation-head h2")).to_have_text(name)


def field(page: Page) -> Locator:
    return page.locator(".composer textarea")


def reply(page: Page, text: str) -> None:
    field(page).fill(text)
    field(page).press("Enter")


def action(page: Page, name: str) -> Locator:
    return page.locator(f"[data-action={name}]")


# Signing in -------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_and_the_right_one_opens_the_inbox(server: FakeConsoleServer, page: Page) -> None:
    page.goto(f"{server.url}/console")
    page.get_by_label("Email").fill(LIN)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The email or the password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".row .name")).to_have_text(["周静", "王小明", "Tom Becker"])


def test_the_session_survives_a_reload_and_ends_with_signing_out(sign_in: Open) -> None:
    page = sign_in()
    page.reload()
    expect(page.locator(".row").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to the console")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in to the console")).to_be_visible()


def test_a_session_that_ends_on_the_server_leads_back_to_signing_in(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    server.sessions.clear()
    row(page, "王小明").click()
    expect(page.get_by_text("Your session has ended. Please sign in again.")).to_be_visible()


# Inbox ------------------------------------------------------------------------------------------------------------


def test_a_new_message_arrives_in_the_inbox_by_itself_with_an_unread_mark(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    tom = named(server, "Tom Becker")
    server.customer_writes(tom, "Is anybody there?")
    expect(page.locator(".row").first).to_contain_text("Is anybody there?")
    expect(row(page, "Tom Becker").locator(".badge")).to_have_text("22 unread")


def test_who_newly_waits_is_announced_counted_in_the_title_and_opened_from_the_notice(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    expect(page).to_have_title("(3) Agent console · Duomo")
    server.hand_off(named(server, "Anna Müller"), "requested")
    notice = page.locator(".toast", has_text="Anna Müller is waiting for a person")
    expect(notice).to_be_visible()
    expect(page).to_have_title("(4) Agent console · Duomo")
    notice.get_by_role("link").click()
    expect(page.locator(".conversation-head h2")).to_have_text("Anna Müller")


def test_filters_show_what_they_say(sign_in: Open) -> None:
    page = sign_in()
    names = page.locator(".row .name")
    tabs = page.get_by_role("group", name="Status")
    expect(tabs.get_by_role("button")).to_have_text(["Open3", "Bot1", "Snoozed1", "Resolved1", "All"])
    tabs.get_by_role("button", name="Resolved").click()
    expect(names).to_have_text(["Sara Okoye"])
    tabs.get_by_role("button", name="Open").click()
    page.locator("[data-filter=mine]").click()
    expect(names).to_have_text(["Tom Becker"])
    page.locator("[data-filter=unassigned]").click()
    expect(names).to_have_text(["周静", "王小明"])
    page.locator("[data-filter=unassigned]").click()
    page.get_by_label("Language", exact=True).select_option("en")
    expect(names).to_have_text(["Tom Becker"])


def test_search_finds_words_that_were_read_in_a_picture_and_shows_them(sign_in: Open) -> None:
    page = sign_in()
    page.keyboard.press("/")
    page.keyboard.type("charging base")
    expect(page.locator(".row .name")).to_have_text(["王小明"])
    expect(row(page, "王小明").locator("mark")).to_have_text("Charging base")


def test_waiting_grows_from_calm_to_late(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    urgency = {
        name: row(page, name).locator(".wait").get_attribute("class") for name in ("Tom Becker", "周静", "王小明")
    }
    assert urgency == {"Tom Becker": "wait fresh", "周静": "wait slow", "王小明": "wait late"}
    before = row(page, "Tom Becker").locator(".wait").inner_text()
    expect(row(page, "Tom Becker").locator(".wait")).not_to_have_text(before, use_inner_text=True)


def test_opening_a_conversation_marks_it_read(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    expect(row(page, "周静").locator(".badge")).to_have_count(0)
    assert named(server, "周静").summary(next(iter(named(server, "周静").read_seq)))["unread"] == 0


# A conversation ---------------------------------------------------------------------------------------------------


def test_the_brief_says_what_was_asked_seen_heard_tried_and_is_missing(sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    brief = page.get_by_role("region", name="Hand-over brief")
    terms = dict(zip(brief.locator("dt").all_inner_texts(), brief.locator("dd").all_inner_texts(), strict=True))
    assert terms == {
        "Asked": "扫地机器人一直不充电\n能不能换一台新的",
        "Seen": "Error E-17 / Charging base not found",
        "Heard": "还是不行，收货地址能不能换一台新的寄过来",
        "Tried": "擦拭触点，换插座，等待 10 秒 错误代码 E-17",
        "Missing": "序列号\n收货地址",
    }
    expect(brief.locator(".brief-reason")).to_have_text("ReasonNothing in the knowledge base fits well enough")


def test_taking_over_stops_the_bot_and_only_allowed_actions_are_offered(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    page.get_by_role("button", name="Bot 1").click()
    choose(page, "Anna Müller")
    expect(page.get_by_text("The bot is answering this conversation.")).to_be_visible()
    expect(action(page, "return_to_bot")).to_have_count(0)
    page.get_by_role("button", name="Take over", exact=True).click()
    expect(page.locator(".conversation-head .status")).to_have_text("Open")
    expect(page.locator(".event", has_text="Lin took over")).to_be_visible()
    expect(action(page, "return_to_bot")).to_be_visible()
    expect(action(page, "take_over")).to_have_count(0)
    assert server.actions == [("take_over", named(server, "Anna Müller").id)]


def test_an_answer_that_still_streams_is_replaced_by_its_final_message(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    page.get_by_role("button", name="Bot 1").click()
    choose(page, "Anna Müller")
    talk = named(server, "Anna Müller")
    talk.emit("turn", {"state": "working", "waiting_for": []})
    expect(page.get_by_text("The bot is working…")).to_be_visible()
    mid = "b0000000-0000-4000-8000-000000000001"
    for piece in ("Charge them ", "first."):
        talk.emit("delta", {"message_id": mid, "text": piece})
    expect(page.locator(f"[data-id='{mid}'] .bubble")).to_have_text("Charge them first.")
    talk.say("bot", "Charge them for one hour first.", message_id=mid)
    expect(page.locator(f"[data-id='{mid}'] .bubble")).to_have_text("Charge them for one hour first.")
    expect(page.locator(f"[data-id='{mid}']")).to_have_count(1)


def test_why_compares_the_confidence_with_what_was_needed_and_lists_the_passages(sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    page.get_by_role("button", name="Why?").first.click()
    why = page.locator("why-view")
    expect(why.locator(".verdict")).to_have_text("Answered from the knowledge base")
    expect(why.locator(".measure")).to_have_text(re.compile(r"^\s*Confidence\s*0\.91\s*answers from 0\.62\s*$"))
    expect(why.locator(".candidate-head")).to_have_text(
        [re.compile(r"错误代码 E-17\s*quoted\s*0\.91"), re.compile(r"七天无理由退货\s*0\.34")]
    )
    why.get_by_text("Complete decision (JSON)").click()
    expect(why.locator("pre")).to_contain_text('"answer_from": 0.62')
    page.get_by_role("button", name="Why?").last.click()
    expect(why.last.locator(".verdict")).to_have_text("Handed over to a person")
    expect(why.last.locator(".needed")).to_have_text("too low: answers from 0.62")


def test_a_source_opens_the_article_with_the_quotation_marked(sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    page.get_by_role("list", name="Sources").get_by_role("button", name="错误代码 E-17").click()
    sheet = page.get_by_role("dialog", name="错误代码 E-17")
    expect(sheet.locator("mark")).to_have_text("E-17 表示充电座没有接通电源")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)


def test_a_picture_opens_large_with_the_recognised_text_drawn_over_it(sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    page.locator(".timeline .thumb").click()
    stage = page.get_by_role("dialog", name="screen.png")
    expect(stage.locator("polygon")).to_have_count(3)
    expect(stage.locator(".stage-lines li")).to_have_text(
        ["Error E-1799%", "Charging base not found97%", "Retry later91%"]
    )
    stage.get_by_role("button", name="Hide recognised text").click()
    expect(stage.locator("polygon")).to_have_count(0)
    width = stage.locator("img").bounding_box()
    stage.get_by_role("button", name="Zoom in").click()
    zoomed = stage.locator("img").bounding_box()
    assert width is not None
    assert zoomed is not None
    assert zoomed["width"] == pytest.approx(1.4 * width["width"], rel=0.01)
    page.keyboard.press("Escape")
    expect(page.locator(".timeline .thumb")).to_be_focused()


def test_correcting_what_was_heard_keeps_the_original_in_sight(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "王小明")
    heard = page.locator(".artifact[data-kind=transcript]")
    expect(heard.locator(".artifact-meta")).to_have_text(
        re.compile(r"83 % sure\s*whisper-base\s*3f9a1c22b0de\s*812 ms")
    )
    heard.get_by_role("button", name="Correct what was recognised").click()
    heard.get_by_role("textbox").fill("还是不行，能不能换一台新的寄到新地址")
    heard.get_by_role("button", name="Save").click()
    expect(heard.locator(".said")).to_have_text("还是不行，能不能换一台新的寄到新地址")
    expect(heard.locator("del")).to_have_text("还是不行，收货地址能不能换一台新的寄过来")
    expect(heard.locator(".tag")).to_have_text("Corrected by an agent")


# Writing ----------------------------------------------------------------------------------------------------------


def test_a_reply_reaches_the_customer_once_and_ends_the_waiting(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.keyboard.press("r")
    page.keyboard.type("可以的，请告诉我新地址。")
    page.keyboard.press("Enter")
    expect(page.locator(".message[data-author=agent] .bubble")).to_have_text(["可以的，请告诉我新地址。"])
    [sent] = server.sent(named(server, "周静"))
    assert (sent["text"], sent["private"], sent["kind"]) == ("可以的，请告诉我新地址。", False, "text")
    expect(row(page, "周静").locator(".wait")).to_have_count(0)
    expect(field(page)).to_have_value("")


def test_a_reply_that_fails_stays_and_is_sent_once_by_trying_again(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    server.refuse_next = 503
    reply(page, "请稍等")
    failed = page.locator(".message.failed")
    expect(failed).to_contain_text("Not sent: The service is not available right now. Try again in a moment.")
    failed.get_by_role("button", name="Try again").click()
    expect(page.locator(".message[data-author=agent] .bubble")).to_have_text(["请稍等"])
    assert [m["text"] for m in server.sent(named(server, "周静"))] == ["请稍等"]


def test_a_private_note_looks_different_and_is_sent_as_private(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.keyboard.press("n")
    page.keyboard.type("老顾客，注意态度")
    expect(page.locator(".composer.note")).to_be_visible()
    page.get_by_role("button", name="Add note").click()
    expect(page.locator(".message.note .note-tag")).to_have_text("Private note")
    [sent] = server.sent(named(server, "周静"))
    assert (sent["text"], sent["private"], sent["kind"]) == ("老顾客，注意态度", True, "note")
    expect(page.locator(".composer.note")).to_have_count(0)


def test_pictures_are_sent_by_choosing_and_by_pasting(server: FakeConsoleServer, sign_in: Open, tmp_path: Path) -> None:
    page = sign_in()
    choose(page, "周静")
    picture = tmp_path / "label.png"
    picture.write_bytes(screenshot(["RV-9 Pro"]))
    page.locator(".composer input[type=file]").set_input_files(picture)
    field(page).evaluate(
        """async (field, url) => {
            const blob = await (await fetch(url)).blob();
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "pasted.svg", {type: "image/png"}));
            field.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
        }""",
        f"{server.url}/w/console/icon.svg",
    )
    expect(page.locator(".composer .files li")).to_have_count(2)
    reply(page, "序列号在这里")
    expect(page.locator(".message[data-author=agent] picture-view")).to_have_count(2)
    [sent] = server.sent(named(server, "周静"))
    assert [(p["kind"], p["name"]) for p in sent["parts"]] == [("image", "label.png"), ("image", "pasted.svg")]


def test_a_voice_message_is_recorded_and_sent_as_wav(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.get_by_role("button", name="Record a voice message").click()
    expect(page.locator(".recording .clock")).to_have_text("0:01")
    page.get_by_role("button", name="Finish recording").click()
    expect(page.locator(".composer .files li")).to_have_count(1)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".message[data-author=agent] sound-view")).to_be_visible()
    [sent] = server.sent(named(server, "周静"))
    data, mime = server.media[sent["parts"][0]["url"].rsplit("/", 1)[1]]
    assert (mime, data[:4], data[8:12]) == ("audio/wav", b"RIFF", b"WAVE")
    assert len(data) > 16000


def test_a_canned_reply_is_found_and_inserted_by_keyboard_in_the_customers_language(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    choose(page, "周静")
    page.keyboard.press("r")
    page.keyboard.type("/")
    expect(page.locator("#canned [role=option]")).to_have_count(3)
    page.keyboard.type("re")
    expect(page.locator("#canned code")).to_have_text(["/refund", "/hello"])  # "Greeting" holds "re" as well
    page.keyboard.press("Enter")
    expect(field(page)).to_have_value("退款会在 3 个工作日内原路退回。")
    assert server.sent(named(server, "周静")) == []


def test_drafts_survive_switching_conversations_and_reloading(sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    field(page).fill("正在为您查询")
    choose(page, "Tom Becker")
    expect(field(page)).to_have_value("")
    choose(page, "周静")
    expect(field(page)).to_have_value("正在为您查询")
    page.reload()
    expect(field(page)).to_have_value("正在为您查询")


# Status -----------------------------------------------------------------------------------------------------------


def test_snooze_resolve_and_reopen_move_a_conversation_through_its_statuses(
    server: FakeConsoleServer, sign_in: Open
) -> None:
    page = sign_in()
    choose(page, "周静")
    status = page.locator(".conversation-head .status")
    page.locator("snooze-menu summary").click()
    page.get_by_role("button", name="Tomorrow, 9:00").click()
    expect(status).to_have_text("Snoozed")
    action(page, "reopen").click()
    expect(status).to_have_text("Open")
    page.keyboard.press("e")
    expect(status).to_have_text("Resolved")
    expect(page.get_by_text("This conversation is resolved.")).to_be_visible()
    expect(page.locator("snooze-menu")).to_have_count(0)
    page.get_by_role("button", name="Reopen and reply").click()
    expect(status).to_have_text("Open")
    expect(field(page)).to_be_focused()
    assert [name for name, _ in server.actions] == ["snooze", "reopen", "resolve", "reopen"]


def test_a_time_to_snooze_until_must_lie_ahead(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.locator("snooze-menu summary").click()
    page.get_by_label("At a time of your choice").fill("2020-01-01T09:00")
    page.get_by_role("button", name="Snooze until then").click()
    expect(page.get_by_role("alert")).to_have_text("Choose a time in the future.")
    assert server.actions == []


def test_a_conversation_is_assigned_to_a_colleague(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    choose(page, "周静")
    page.get_by_label("Assign", exact=True).click()
    page.locator(".menu-panel").get_by_role("button", name="Mei").click()
    expect(page.locator(".event", has_text="Assigned to Mei")).to_be_visible()
    expect(row(page, "周静").locator(".owner")).to_have_text("Mei")


def test_the_customers_rating_is_shown_with_its_comment(sign_in: Open) -> None:
    page = sign_in()
    page.get_by_role("button", name="Resolved 1").click()
    choose(page, "Sara Okoye")
    expect(page.get_by_role("img", name="5 of 5", exact=True)).to_be_visible()
    expect(page.locator(".csat blockquote")).to_have_text("Quick and kind.")


# Two agents -------------------------------------------------------------------------------------------------------


def test_two_agents_see_each_other_look_and_type(sign_in: Open) -> None:
    lin, mei = sign_in(LIN), sign_in(MEI)
    choose(lin, "周静")
    choose(mei, "周静")
    expect(lin.locator(".presence")).to_have_text("Mei is also viewing")
    field(mei).press_sequentially("您好")
    expect(lin.locator(".presence-line")).to_have_text("Mei is typing…")
    choose(mei, "Tom Becker")
    expect(lin.locator(".presence")).to_have_text("")


@pytest.mark.parametrize("choice", ["Discard", "Edit in the conversation", "Send anyway"])
def test_an_agent_learns_that_another_answered_meanwhile_and_decides(
    server: FakeConsoleServer, sign_in: Open, choice: str
) -> None:
    lin, mei = sign_in(LIN), sign_in(MEI)
    choose(lin, "周静")
    choose(mei, "周静")
    field(mei).fill("请提供订单")
    reply(lin, "已经帮您改好了")
    expect(mei.locator(".bubble", has_text="已经帮您改好了")).to_be_visible()
    field(mei).press_sequentially("号")  # who writes on may not have looked up
    field(mei).press("Enter")
    dialog = mei.get_by_role("dialog", name="Lin answered meanwhile")
    expect(dialog.locator("blockquote")).to_have_text("Lin已经帮您改好了")
    expect(dialog.get_by_role("textbox")).to_have_value("请提供订单号")
    dialog.get_by_role("button", name=choice).click()
    expect(dialog).to_have_count(0)
    texts = {
        "Discard": ["已经帮您改好了"],
        "Edit in the conversation": ["已经帮您改好了"],
        "Send anyway": ["已经帮您改好了", "请提供订单号"],
    }
    expect(lin.locator(".message[data-author=agent] .bubble")).to_have_text(texts[choice])
    expect(field(mei)).to_have_value("请提供订单号" if choice.startswith("Edit") else "")
    if choice.startswith("Edit"):
        field(mei).press("Enter")  # having read the other's answer, a second look is not asked for
        expect(lin.locator(".message[data-author=agent] .bubble")).to_have_text(["已经帮您改好了", "请提供订单号"])


# Knowledge and system ---------------------------------------------------------------------------------------------


def test_uploading_shows_progress_then_what_was_added_and_what_failed_why(sign_in: Open) -> None:
    page = sign_in()
    page.get_by_role("link", name="Knowledge").click()
    page.locator(".page-head input[type=file]").set_input_files(
        [
            {"name": "Opening hours.md", "mimeType": "text/markdown", "buffer": b"# Opening hours\n\n9 to 18."},
            {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"not a pdf"},
        ]
    )
    run = page.locator(".import")
    expect(run).to_contain_text("Import finished")
    expect(run).to_contain_text("1 added, 0 updated, 0 unchanged")
    expect(run.locator(".failures li")).to_have_text(["broken.pdfthe file is not a PDF: its first bytes say otherwise"])
    expect(page.locator(".articles .title")).to_contain_text(["Opening hours"])


def test_an_article_dropped_on_the_page_is_imported(sign_in: Open) -> None:
    page = sign_in()
    page.get_by_role("link", name="Knowledge").click()
    page.locator(".drop-zone").evaluate(
        """(zone) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["# 保修"], "保修.md", {type: "text/markdown"}));
            const options = {dataTransfer, bubbles: true, cancelable: true};
            for (const kind of ["dragover", "drop"]) zone.dispatchEvent(new DragEvent(kind, options));
        }"""
    )
    expect(page.locator(".articles .title", has_text="保修")).to_be_visible()


def test_an_article_is_previewed_and_deleted_only_after_a_yes(server: FakeConsoleServer, sign_in: Open) -> None:
    page = sign_in()
    page.get_by_role("link", name="Knowledge").click()
    page.get_by_role("button", name="Preview Pairing the headphones").click()
    expect(page.get_by_role("dialog").locator(".markdown")).to_contain_text("Hold the power button for five seconds")
    page.keyboard.press("Escape")
    delete = page.get_by_role("button", name="Delete Pairing the headphones")
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".articles tbody tr")).to_have_count(3)
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".articles tbody tr")).to_have_count(2)
    assert sorted(a["title"] for a in server.articles.values()) == ["七天无理由退货", "错误代码 E-17"]


def test_the_system_page_says_which_model_is_missing_and_why(sign_in: Open) -> None:
    page = sign_in()
    page.get_by_role("link", name="System").click()
    expect(page.locator(".models .down")).to_have_text(
        re.compile(r"Language model\s*DUOMO_LLM_URL is not set\s*Not available")
    )
    expect(page.locator(".queues .bad")).to_have_text(["2"])


# Keys, languages, sizes -------------------------------------------------------------------------------------------


def test_j_and_k_move_and_the_single_keys_can_be_switched_off(sign_in: Open) -> None:
    page = sign_in()
    name = page.locator(".conversation-head h2")
    page.keyboard.press("j")
    expect(name).to_have_text("周静")
    page.keyboard.press("j")
    expect(name).to_have_text("王小明")
    page.keyboard.press("k")
    expect(name).to_have_text("周静")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    sheet.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(sheet).to_have_count(0)
    expect(name).to_have_text("周静")


def test_the_words_of_both_languages_are_complete(sign_in: Open) -> None:
    page = sign_in()
    missing = page.evaluate("async () => (await import('/w/shared/i18n.js')).untranslated()")
    assert missing == []


def test_on_a_phone_the_list_the_conversation_and_its_details_are_pages(sign_in: Open) -> None:
    page = sign_in(viewport={"width": 390, "height": 844}, locale="zh-CN", has_touch=True)
    inbox, talk, details = (page.locator(name) for name in (".inbox", ".conversation", ".details"))
    expect(talk).to_be_hidden()
    row(page, "王小明").click()
    expect(inbox).to_be_hidden()
    expect(talk).to_be_visible()
    page.get_by_role("link", name="详情").click()
    expect(details).to_be_visible()
    expect(talk).to_be_hidden()
    page.go_back()
    page.go_back()
    expect(inbox).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_nothing_on_any_page(
    server: FakeConsoleServer,
    sign_in: Open,
    new_context: Callable[..., BrowserContext],
    violations: Callable[..., list[str]],
    language: str,
    scheme: str,
    size: tuple[int, int],
) -> None:
    options = {"locale": language, "color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}}
    outside = new_context(**options).new_page()
    outside.goto(f"{server.url}/console")
    expect(outside.locator("form.card")).to_be_visible()
    found = {"sign-in": violations(outside)}
    page = sign_in(**options)
    found["inbox"] = violations(page)
    row(page, "王小明").click()
    expect(page.locator(".message").first).to_be_visible()
    page.locator(".why-button").first.click()
    field(page).fill("/")
    found["conversation"] = violations(page)
    field(page).fill("")
    page.locator(".timeline .thumb").click()
    found["picture"] = violations(page)
    page.keyboard.press("Escape")
    page.locator(".source").first.click()
    expect(page.locator("dialog mark")).to_be_visible()
    found["article"] = violations(page)
    page.keyboard.press("Escape")
    for name, ready in (("knowledge", ".articles"), ("system", ".models")):
        page.goto(f"{server.url}/console#/{name}")
        expect(page.locator(ready)).to_be_visible()
        found[name] = violations(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    found["keys"] = violations(page)
    assert found == {name: [] for name in found}
