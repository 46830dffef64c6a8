"""What is quoted of what was found."""

from __future__ import annotations

import numpy as np
import pytest

from duomo.media import image
from duomo.media.sanitise import Clean
from duomo.support.answer import Found, search_text
from duomo.support.outcome import Question
from duomo.support.perceive import look
from duomo.types import Artifact, Passage


def test_what_was_read_in_a_picture_is_quoted_only_where_nothing_was_written():
    def passage(position: int, text: str, origin: str) -> Passage:
        return Passage("a", str(position), "Title", text, "uri", "en", position, 1.0, origin=origin)  # type: ignore[arg-type]

    written, read = passage(0, "Choose 2.4 GHz.", "text"), passage(1, "14:26 5G Retry", "ocr")
    assert Found("", "", "en", [read, written]).article(read) == ("Title", "Choose 2.4 GHz.")
    assert Found("", "", "en", [read]).article(read) == ("Title", "14:26 5G Retry")


def test_a_screens_clock_and_signs_take_no_part_in_the_search():
    seen = "20:13 . 5G\nく 收银台 X\n付款失败 PAY-101 15%"
    assert search_text(Question("这是什么？", "zh", seen=seen)) == "这是什么？ 收银台 付款失败 PAY-101"


@pytest.mark.parametrize(("kind", "compared"), [("photo", True), ("screenshot", False), ("document", False)])
def test_only_a_photo_is_looked_for_by_its_looks(kind: str, compared: bool):
    class Eyes:
        def picture(self, pixels: np.ndarray):  # type: ignore[no-untyped-def]
            return [Artifact("picture_kind", kind, 0.9, "eyes", "1", 1)], np.ones(3, dtype=np.float32)

    data = image.encode(np.zeros((8, 8, 3), dtype=np.uint8))
    _, embedding = look(Eyes(), Clean("image", "image/png", data, ".png"), None)  # type: ignore[arg-type]
    assert (embedding is not None) is compared
