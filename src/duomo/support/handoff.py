"""What the person who takes over should know without reading everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duomo.types import Language, Message


def brief(messages: Sequence[Message], *, reason: str, language: Language | None) -> dict[str, Any]:
    """Sum a conversation up since it was last closed: quoted from it, nothing rewritten.

    Returns:
        {asked, seen, heard, tried: [{text, titles}], missing, reason, language}.
    """
    recent = messages[1 + max((i for i, m in enumerate(messages) if m.kind == "csat"), default=-1) :]
    customer = [m for m in recent if m.author == "customer"]
    parts = [part for m in customer for part in m.parts]
    artifacts = [a.artifact for part in parts for a in part.artifacts if a.artifact.text.strip()]
    tried = [m for m in recent if m.author == "bot" and m.kind in ("answer", "clarify")]
    return {
        "asked": [m.text for m in customer if m.text.strip()],
        "seen": [a.text for a in artifacts if a.kind in ("ocr", "document_text")],
        "heard": [a.text for a in artifacts if a.kind == "transcript"],
        "tried": [{"text": m.text, "titles": [c.title for c in m.citations] or list(m.options)} for m in tried],
        "missing": [f"{part.name}: {part.error or part.state}" for part in parts if part.state != "ready"],
        "reason": reason,
        "language": language,
    }
