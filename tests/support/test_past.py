"""Which messages an answer answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from duomo.support.past import answered_by
from duomo.types import Author, Message, MessageKind


def conversation(*lines: tuple[Author, MessageKind], last: dict[int, str] | None = None) -> list[Message]:
    """Messages "1", "2", …; `last`: the customer's message that an answer names as the last of its turn."""
    named = {seq: {"understood": {"message_id": id}} for seq, id in (last or {}).items()}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Message(str(seq), "c", seq, author, kind, "…", at, decision=named.get(seq, {}))
        for seq, (author, kind) in enumerate(lines, start=1)
    ]


def answered(messages: list[Message], seq: int) -> list[str]:
    return [message.id for message in answered_by(messages[seq - 1], messages)]


C: Any = ("customer", "text")


def test_an_answer_answers_all_that_was_written_since_the_last_one() -> None:
    talk = conversation(C, ("bot", "answer"), C, ("bot", "holding"), C, ("bot", "answer"), C)
    assert answered(talk, 2) == ["1"]
    assert answered(talk, 6) == ["3", "5"]


def test_what_a_person_has_answered_is_no_part_of_it_and_a_note_is_no_answer() -> None:
    talk = conversation(C, ("agent", "text"), C, ("agent", "note"), ("system", "notice"), C, ("bot", "clarify"))
    assert answered(talk, 7) == ["3", "6"]


def test_what_came_while_it_was_being_answered_is_no_part_of_it() -> None:
    talk = conversation(C, C, ("bot", "answer"), last={3: "1"})
    assert answered(talk, 3) == ["1"]


def test_an_answer_given_again_answers_the_message_that_was_corrected_alone() -> None:
    talk = conversation(C, C, ("bot", "answer"), C, ("bot", "answer"), ("bot", "answer"), last={6: "2"})
    assert answered(talk, 6) == ["2"]


def test_nothing_is_made_up_where_it_is_not_known() -> None:
    talk = conversation(C, ("bot", "answer"), ("bot", "answer"), last={3: "gone"})
    assert answered(talk, 3) == []
    assert answered(conversation(C, ("bot", "answer"), ("bot", "handoff")), 3) == []
