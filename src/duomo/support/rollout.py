"""Which model answers whom, and what happens to a model that is being tried."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from duomo.store.postgres import Row
from duomo.support.registry import Role


def chosen(current: Mapping[Role, Row], conversation_id: str) -> Row | None:
    """The model of a conversation: the canary where there is one and the conversation falls into its share.

    Args:
        current: role -> deployment joined with its model, as `registry.current` gives it.
    """
    canary = current.get("canary")
    if canary is not None and in_canary(conversation_id, canary["share"] or 0.0, salt=str(canary["model_id"])):
        return canary
    return current.get("active")


def in_canary(conversation_id: str, share: float, *, salt: str) -> bool:
    """Whether a conversation belongs to a canary's share: always the same answer, and a larger share keeps its own.

    Args:
        share: of the conversations, [0, 1].
        salt: of this canary, so that it is not always the same conversations that try a model.
    """
    digest = hashlib.sha256(f"{salt} {conversation_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
