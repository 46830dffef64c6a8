"""What is quoted of what was found."""

from __future__ import annotations

from duomo.support.answer import Found
from duomo.types import Passage


def test_what_was_read_in_a_picture_is_quoted_only_where_nothing_was_written():
    def passage(position: int, text: str, origin: str) -> Passage:
        return Passage("a", str(position), "Title", text, "uri", "en", position, 1.0, origin=origin)  # type: ignore[arg-type]

    written, read = passage(0, "Choose 2.4 GHz.", "text"), passage(1, "14:26 5G Retry", "ocr")
    assert Found("", "", "en", [read, written]).article(read) == ("Title", "Choose 2.4 GHz.")
    assert Found("", "", "en", [read]).article(read) == ("Title", "14:26 5G Retry")
