"""The panel that says why: three lines at once, and every word, region and second behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.console_scenes import fill, screenshot, tone
from tests.browser.fake_console_server import PASSWORD, Conversation, FakeConsoleServer, part

TEXT = "机器人不充电🤖，屏幕显示 E-17，可以退款吗"
LINES = {
    "en": [
        "Understood as “Error code” (86 %), mostly from the photo.",
        "Answered from “错误代码 E-17” (91 %, needed 62 %).",
        "Rule 4, “known errors”; below 62 % it would have asked back, below 35 % handed over.",
    ],
    "zh": [
        "理解为“故障代码”（86%），主要依据图片。",
        "依据“错误代码 E-17”作答（91%，需 62%）。",
        "第 4 条规则“known errors”；低于 62% 会追问，低于 35% 转人工。",
    ],
}
TITLES = {
    "error_code": {"zh": "故障代码", "en": "Error code"},
    "refund_status": {"zh": "退款进度", "en": "Refund status"},
    "warranty": {"zh": "保修", "en": "Warranty"},
}


def word(text: str, score: float, without: float) -> dict[str, Any]:
    start = TEXT.index(text)
    return {"start": start, "end": start + len(text), "text": text, "score": score, "without": without}


def patches() -> list[dict[str, Any]]:
    """Of a picture of 640 x 400; those of the middle of the upper third count."""
    found = []
    for row in range(6):
        for column in range(6):
            box = [
                round(column * 640 / 6),
                round(row * 400 / 6),
                round((column + 1) * 640 / 6),
                round((row + 1) * 400 / 6),
            ]
            score = {(1, 2): 1.9, (1, 3): 1.2, (5, 5): -0.5}.get((row, column), 0.01)
            found.append({"box": box, "score": score, "without": {1.9: 0.48, 1.2: 0.65, -0.5: 0.91}.get(score, 0.86)})
    return found


def body(picture: str, sound: str) -> dict[str, Any]:
    seconds = [
        {
            "start": n / 4,
            "end": (n + 1) / 4,
            "score": 0.8 if n in (6, 7) else 0.0,
            "without": 0.73 if n in (6, 7) else 0.86,
        }
        for n in range(16)
    ]
    return {
        "head": "intent", "label": "error_code", "said": "error_code", "out_of_scope": False, "confidence": 0.86,
        "support": 1.82, "prior": -3.1, "contributions": {"text": 1.2, "image": 3.2, "audio": 0.5},
        "shares": {"text": 0.24, "image": 0.65, "audio": 0.11},
        "alone": {
            "text": {"label": "refund_status", "probability": 0.52},
            "image": {"label": "error_code", "probability": 0.93},
            "audio": None,
        },
        "alternatives": [], "conflict": 0.41, "text": TEXT,
        "picture": {"part_id": picture, "width": 640, "height": 400}, "sound": {"part_id": sound, "seconds": 4.0},
        "units": {
            "text": [
                *(word("机器人", 0.1, 0.85), word("E-17", 1.6, 0.55)),
                *(word("退款", -0.9, 0.94), word("吗", 0.0, 0.86)),
            ],
            "image": patches(), "audio": seconds,
        },
        "model": {"id": "m", "fingerprint": "9f2c", "name": "week 3"},
    }  # fmt: skip


def account(message: dict[str, Any]) -> dict[str, Any]:
    top = [("error_code", 0.86), ("refund_status", 0.09), ("warranty", 0.03)]
    return {
        "message_id": message["id"], "conversation_id": message["conversation_id"], "kind": "answer",
        "outcome": "answer", "summary": LINES, "asked": [],
        "understood": {
            "head": "intent", "label": "error_code", "title": TITLES["error_code"], "confidence": 0.86,
            "out_of_scope": 0.03, "abstain": False, "conflict": 0.41, "set": ["error_code"],
            "shares": {"text": 0.24, "image": 0.65, "audio": 0.11}, "pattern": "text+image+audio",
            "alternatives": [{"label": label, "title": TITLES[label], "probability": p} for label, p in top],
        },
        "heads": {"intent": {"label": "error_code"}, "urgency": {"label": "high", "confidence": 0.83}},
        "policy": {"version": 3, "row": 4, "name": "known errors", "do": "answer", "team": None, "priority": "normal"},
        "facts": {}, "sources": {}, "decision": {},
        "versions": {
            "model": {"id": "m", "fingerprint": "9f2c11aa77bb0123", "name": "week 3", "role": "active"}, "policy": 3,
            "knowledge": 12, "calibration": "2026-11", "writer": None,
        },
        "explanation": {"state": "none", "reason": "", "body": None},
    }  # fmt: skip


class Scene:
    """One conversation whose answer can be explained."""

    def __init__(self, server: FakeConsoleServer) -> None:
        self.server = server
        self.talk: Conversation = server.add("李娜")
        shown = server.put_media(screenshot(["Error E-17", "No base", "Retry"]), "image/png")
        heard = server.put_media(tone(4.0), "audio/wav")
        self.picture = part("image", "screen.png", "image/png", url=shown, width=640, height=400)
        self.sound = part("audio", "voice.wav", "audio/wav", url=heard, duration_s=4.0)
        self.talk.say("customer", TEXT, ago=60, parts=[self.picture, self.sound])
        decision = {
            "outcome": "answer",
            "confidence": 0.91,
            "answer_from": 0.62,
            "clarify_from": 0.35,
            "candidates": [],
        }
        self.answer = self.talk.say("bot", "E-17 表示充电座没有接通电源。", ago=50, decision=decision)
        self.talk.why[self.answer["id"]] = account(self.answer)
        server.hand_off(self.talk, "requested")

    def explained(self) -> None:
        done = body(self.picture["id"], self.sound["id"])
        self.talk.why[self.answer["id"]]["explanation"] = {"state": "done", "reason": "", "body": done}


@pytest.fixture
def scene() -> Iterator[Scene]:
    with FakeConsoleServer() as running:
        fill(running)
        yield Scene(running)


Open = Callable[..., Page]


@pytest.fixture
def open_console(scene: Scene, new_context: Callable[..., BrowserContext]) -> Iterator[Open]:
    """The console with the conversation open and the reasons shown; the page must not fail."""
    faults: list[str] = []

    def opened(**options: Any) -> Page:
        page = new_context(**({"viewport": {"width": 1280, "height": 900}} | options)).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{scene.server.url}/console")
        page.locator("input[name=email]").fill("lin@example.com")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("form button[type=submit]").click()
        page.locator(".row", has_text="李娜").click()
        page.locator(".why-button").last.click()
        return page

    yield opened
    assert faults == []


def panel(page: Page) -> Locator:
    return page.locator("why-panel")


def evidence(page: Page, scene: Scene) -> Locator:
    """The evidence, made and unfolded."""
    scene.explained()
    found = panel(page).locator("details.evidence")
    found.locator("summary").click()
    expect(found.locator(".because-text")).to_be_visible()
    return found


def test_three_lines_say_why_without_anything_being_computed(scene: Scene, open_console: Open) -> None:
    page = open_console()
    expect(panel(page).locator(".because-lines li")).to_have_text(LINES["en"])
    assert scene.server.actions == []


def test_opening_the_evidence_has_it_made_once_and_shows_it_when_it_is_there(scene: Scene, open_console: Open) -> None:
    page = open_console()
    found = panel(page).locator("details.evidence")
    found.locator("summary").click()
    expect(found.get_by_role("status")).to_have_text("Weighing every piece, when nobody waits for an answer…")
    scene.explained()
    expect(found.locator(".because-text")).to_have_text(TEXT)
    assert scene.server.actions == [("why", scene.answer["id"])]


def test_words_are_marked_by_what_they_are_worth_and_the_same_is_said_in_words(
    scene: Scene, open_console: Open
) -> None:
    page = open_console()
    words = evidence(page, scene).get_by_role("region", name="Words")
    expect(words.locator("mark")).to_have_text(["E-17", "退款"])
    expect(words.locator("mark.against")).to_have_text("退款")
    said = ("E-17.*speaks for it.*86 → 55 % without it", "退款.*speaks against it.*86 → 94 % without it")
    expect(words.locator("li")).to_have_text([re.compile(one) for one in said])


def test_regions_lie_on_the_picture_and_have_names(scene: Scene, open_console: Open) -> None:
    page = open_console()
    shown = evidence(page, scene).get_by_role("region", name="Picture")
    expect(shown.locator("rect")).to_have_count(3)
    expect(shown.get_by_role("img")).to_have_accessible_name(re.compile("regions that counted: top, bottom right"))
    box = shown.locator("svg").bounding_box() or {}
    picture = shown.locator("img").bounding_box() or {}
    assert [box.get(side) for side in ("x", "y", "width")] == [picture.get(side) for side in ("x", "y", "width")]


def test_the_seconds_that_counted_play_from_there(scene: Scene, open_console: Open) -> None:
    page = open_console()
    sound = evidence(page, scene).get_by_role("region", name="Sound")
    play = sound.get_by_role("button", name="1.5–2.0 s, play")
    expect(sound.locator("li")).to_have_text(re.compile("86 → 73 % without it"))
    play.click()
    expect(sound.locator("duomo-audio input")).to_have_attribute("aria-valuetext", re.compile("0:0[1-4]"))


def test_what_each_part_says_alone_and_that_they_disagree_is_told(scene: Scene, open_console: Open) -> None:
    page = open_console()
    found = evidence(page, scene)
    expect(found.locator(".because-shares li")).to_have_text(
        [re.compile(r"Picture\s*65%\s*alone says Error code, 93 %"),
         re.compile(r"Words\s*24%\s*alone says Refund status, 52 %"), re.compile(r"Sound\s*11%")]
    )  # fmt: skip
    expect(found.get_by_text("The parts disagree (41 %).")).to_be_visible()


def test_alternatives_rule_and_versions_are_one_press_away(scene: Scene, open_console: Open) -> None:
    page = open_console()
    panel(page).get_by_text("Alternatives").click()
    expect(panel(page).locator(".alternatives li")).to_have_text(
        [re.compile(r"Error code\s*86%"), re.compile(r"Refund status\s*9%"), re.compile(r"Warranty\s*3%")]
    )
    panel(page).get_by_text("Rule and versions").click()
    expect(panel(page).locator(".rule dd")).to_have_text(
        ["4, “known errors” (policy 3)", "Urgency: High (83%)", "week 3 9f2c11aa77bb", "version 12", "2026-11"]
    )


def test_everything_is_copied_as_json(scene: Scene, open_console: Open) -> None:
    page = open_console(permissions=["clipboard-read", "clipboard-write"])
    panel(page).get_by_role("button", name="Copy as JSON").click()
    expect(panel(page).get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("async () => JSON.parse(await navigator.clipboard.readText())")
    assert copied == scene.talk.why[scene.answer["id"]]


def test_what_could_not_be_explained_says_why_and_may_be_tried_again(scene: Scene, open_console: Open) -> None:
    state = {"state": "failed", "reason": "failed", "body": None}
    scene.talk.why[scene.answer["id"]]["explanation"] = state
    page = open_console()
    panel(page).locator("details.evidence summary").click()
    expect(panel(page).get_by_text("This could not be explained.")).to_be_visible()
    panel(page).get_by_role("button", name="Try again").click()
    expect(panel(page).get_by_text("Weighing every piece")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("language", "size"), [("en-GB", (1280, 900)), ("zh-CN", (390, 844))])
def test_the_panel_is_accessible_and_fits(
    scene: Scene,
    open_console: Open,
    violations: Callable[..., list[str]],
    scheme: str,
    language: str,
    size: tuple[int, int],
) -> None:
    page = open_console(color_scheme=scheme, locale=language, viewport={"width": size[0], "height": size[1]})
    scene.explained()
    expect(panel(page).locator("summary")).to_have_count(3)
    for summary in panel(page).locator("summary").all():
        summary.click()
    expect(panel(page).locator(".because-text")).to_be_visible()
    assert violations(page, "why-panel") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = page.evaluate(
        """() => {
            const edge = document.querySelector("why-panel").getBoundingClientRect().right + 1;
            const every = [...document.querySelectorAll("why-panel :not(svg *, .visually-hidden)")];
            return every.filter((one) => one.getBoundingClientRect().right > edge).map((one) => one.outerHTML);
        }"""
    )
    assert outside == []
