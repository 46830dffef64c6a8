"""What is quoted of what was found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from duomo.errors import LLMUnavailable
from duomo.media import image
from duomo.media.sanitise import Clean
from duomo.models.llm import Prompt
from duomo.support.answer import OUTCOMES, Found, search_text
from duomo.support.generate import Writer
from duomo.support.outcome import Outcome, Question
from duomo.support.perceive import look
from duomo.support.policy import Facts, Policy
from duomo.testing import FakeLLM
from duomo.types import Artifact, Passage
from tests.support.conftest import answerer, passage


def test_what_was_read_in_a_picture_is_quoted_only_where_nothing_was_written():
    def passage(position: int, text: str, origin: str) -> Passage:
        return Passage("a", str(position), "Title", text, "uri", "en", position, 1.0, origin=origin)  # type: ignore[arg-type]

    written, read = passage(0, "Choose 2.4 GHz.", "text"), passage(1, "14:26 5G Retry", "ocr")
    assert Found("", "", "en", [read, written]).article(read) == ("Title", "Choose 2.4 GHz.")
    assert Found("", "", "en", [read]).article(read) == ("Title", "14:26 5G Retry")


def test_a_screens_clock_and_signs_take_no_part_in_the_search():
    seen = "20:13 . 5G\nく 收银台 X\n付款失败 PAY-101 15%"
    assert search_text(Question("这是什么？", "zh", seen=seen)) == "这是什么？ 收银台 付款失败 PAY-101"


ASKS_BACK = Policy.parse(
    """
table:
  - {wish: [person, emergency], do: hand_over}
  - {name: words alone, sent: text, do: clarify}
  - {do: answer}
"""
)


class Unreachable(FakeLLM):
    async def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        raise LLMUnavailable("the language model is away")
        yield ""


@pytest.mark.parametrize(
    ("policy", "score", "llm", "done"),
    [
        (ASKS_BACK, 0.9, FakeLLM("It costs ¥35 [1]."), ("clarify", "clarify", True)),  # the row itself asks back
        (Policy.shipped(), 0.9, FakeLLM("It costs ¥35 [1]."), ("answer", "answer", True)),
        (Policy.shipped(), 0.5, FakeLLM("It costs ¥35 [1]."), ("answer", "answer", True)),  # too unsure to be quoted
        (Policy.shipped(), 0.5, Unreachable(), ("clarify", "clarify", False)),
        (Policy.shipped(), 0.5, None, ("clarify", "clarify", False)),
        (Policy.shipped(), 0.1, FakeLLM("It costs ¥35 [1]."), ("handoff", "hand_over", True)),
    ],
)
async def test_a_language_model_answers_where_the_policy_says_answer(
    policy: Policy, score: float, llm: FakeLLM | None, done: tuple[str, str, bool]
) -> None:
    given = answerer(passage("It costs ¥35.", score=score), writer=llm and Writer(llm))
    question = Question("what does delivery cost", "en", policy=policy)
    outcome = [event async for event in given.answer("w", question)][-1]
    assert isinstance(outcome, Outcome)
    decision = outcome.decision
    assert (outcome.kind, decision["policy"]["do"], decision["facts"]["writes"]) == done
    assert OUTCOMES[decision["policy"]["do"]] == decision["outcome"]
    assert policy.decide(Facts.of(decision["facts"])).do == decision["policy"]["do"]


async def test_where_a_language_model_can_prove_nothing_the_team_of_the_row_takes_over() -> None:
    rows = ASKS_BACK.text.replace("do: clarify", "do: answer, team: billing, priority: high")
    given = answerer(passage("It costs ¥35."), writer=Writer(FakeLLM("NO_ANSWER")))
    question = Question("what does delivery cost", "en", policy=Policy.parse(f"teams: [billing]{rows}"))
    outcome = [event async for event in given.answer("w", question)][-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.handoff, outcome.team, outcome.priority) == ("low_confidence", "billing", "high")


@pytest.mark.parametrize(("kind", "compared"), [("photo", True), ("screenshot", False), ("document", False)])
def test_only_a_photo_is_looked_for_by_its_looks(kind: str, compared: bool):
    class Eyes:
        def picture(self, pixels: np.ndarray):  # type: ignore[no-untyped-def]
            return [Artifact("picture_kind", kind, 0.9, "eyes", "1", 1)], np.ones(3, dtype=np.float32)

    data = image.encode(np.zeros((8, 8, 3), dtype=np.uint8))
    _, embedding = look(Eyes(), Clean("image", "image/png", data, ".png"), None)  # type: ignore[arg-type]
    assert (embedding is not None) is compared
