"""What is wrong with a policy's text is told in Chinese to whoever reads Chinese, else as the server wrote it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page

from duomo.learn.yaml_file import Mistaken
from duomo.support.policy import Policy
from duomo.support.policy_names import LABEL, TOLD
from tests.browser.fake_server import FakeServer

LAST = "  - {do: answer}\n"
SAFE = "  - {wish: [person, emergency], do: hand_over}\n"
TEXTS = [
    "",
    "\ttable:",
    "table: {",
    "teams: [a]",
    "table: 3",
    "table: []",
    "- a",
    "table:\n  - {do: hand_ovr}\n",
    "table:\n  - {do: nothing}\n",
    "table:\n  - {name: x}\n",
    f"table:\n{SAFE}  - {{intnt: a, do: answer}}\n{LAST}",
    f"tabel:\n{LAST}",
    f"teams: [a]\ntable:\n{SAFE}  - {{do: hand_over, team: b, wish: unhelped}}\n{LAST}",
    f"table:\n{SAFE}  - {{do: hand_over, team: b, wish: unhelped}}\n{LAST}",
    f"table:\n{SAFE}  - {{confidence: low, do: clarify}}\n{LAST}",
    f'table:\n{SAFE}  - {{confidence: "< 0.2 and > 0.4", do: clarify}}\n{LAST}',
    f"table:\n{SAFE}  - {{wish: [thanks, not person], do: answer}}\n{LAST}",
    f"table:\n{SAFE}  - {{wish: [thanks, thanks], do: answer}}\n{LAST}",
    f"table:\n{SAFE}  - {{wish: [], do: answer}}\n{LAST}",
    f"table:\n{SAFE}  - {{wish: perso, do: answer}}\n{LAST}",
    f"table:\n{SAFE}  - {{abstain: perhaps, do: answer}}\n{LAST}",
    f"table:\n{SAFE}  - {{do: answer, name: [], intent: a}}\n{LAST}",
    f"table:\n{SAFE}  - {{do: answer, do: clarify}}\n{LAST}",
    f"table:\n{SAFE}  - {{do: answer, answer_from: 3}}\n",
    f"table:\n{SAFE}  - {{do: answer, answer_from: 0.3, clarify_from: 0.5}}\n",
    f"table:\n{SAFE}",
    f"table:\n{LAST}",
    f"rollout: {{shadow_turns: few}}\ntable:\n{SAFE}{LAST}",
    f"rollout: {{canary_share: 2}}\ntable:\n{SAFE}{LAST}",
    f"teams: {{a: {{intents: [x]}}, b: {{intents: [x]}}}}\ntable:\n{SAFE}{LAST}",
    f"teams: [a]\ntable:\n{SAFE}"
    + "".join(f"  - {{wish: {wish}, name: x, do: answer}}\n" for wish in ("person", "who"))
    + LAST,
]


def told(text: str) -> list[str]:
    try:
        return [warning.message for warning in Policy.parse(text).warnings]
    except Mistaken as error:
        return [mistake.message for mistake in error.mistakes]


UNKNOWN = [mould.format(names="a, b", head="topic", near=near) for mould in (*TOLD.values(), LABEL)
           for near in ("", " Did you mean c?")]  # fmt: skip


@pytest.mark.parametrize("messages", [*map(told, TEXTS), UNKNOWN])
def test_every_mistake_is_told_in_chinese(page: Page, server: FakeServer, messages: list[str]) -> None:
    page.goto(f"{server.url}/console/")
    assert messages
    chinese, english = page.evaluate(
        """async (messages) => {
            const {mistakeText} = await import("/w/console/policy_said.js");
            const {desk} = await import("/w/console/desk.js");
            return ["zh", "en"].map((language) => ((desk.language = language), messages.map(mistakeText)));
        }""",
        messages,
    )
    assert english == messages
    for message in chinese:
        assert re.search(r"[\u4e00-\u9fff]{2}", message), message
        assert not re.search(r"\b(is|allowed|Did you mean|holds|knows|there|wish is)\b", message), message
