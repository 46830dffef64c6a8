"""Turns that are over: which of the customer's messages a message of the bot answered, and what they said."""

from __future__ import annotations

from collections.abc import Sequence

from duomo.types import Message

SAID = ("answer", "clarify", "handoff")
"""Kinds of messages that end a turn; a holding message does not."""


def answered_by(said: Message, messages: Sequence[Message]) -> list[Message]:
    """The customer's messages that `said` answers, oldest first; none where the customer had said nothing new.

    An answer given again, after a transcript was corrected, answers one message alone.

    Args:
        messages: of its conversation, in order.
    """
    last_id = (said.decision.get("understood") or {}).get("message_id")
    before = [message for message in messages if message.seq < said.seq]
    if last_id is not None:
        place = next((i for i, message in enumerate(before) if message.id == last_id), None)
        if place is None:
            return []
        if any(ends_turn(message) for message in before[place + 1 :]):
            return [before[place]]
        before = before[: place + 1]
    found: list[Message] = []
    for message in reversed(before):
        if ends_turn(message):
            break
        if message.author == "customer":
            found.append(message)
    return found[::-1]


def ends_turn(message: Message) -> bool:
    """Whether what the customer wrote before it is answered by it."""
    if message.author == "agent":
        return message.kind != "note"
    return message.author in ("bot", "system") and message.kind in SAID


def words_of(message: Message) -> str:
    """What was written in a message, and said in its recordings."""
    heard = [a.artifact.text for p in message.parts for a in p.artifacts if a.artifact.kind == "transcript"]
    return "\n".join(text for text in [message.text, *heard] if text.strip())
