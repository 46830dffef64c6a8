"""Pages of a list that goes on, and what people type to narrow it."""

from __future__ import annotations

import base64
import binascii
import json

from duomo.errors import InputError
from duomo.knowledge.index import quoted, terms


def write_cursor(*values: str) -> str:
    """Where the next page begins: the sort key of the last row shown."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> tuple[str, str] | None:
    """
    Raises:
        InputError: not a cursor of ours.
    """
    if not cursor:
        return None
    try:
        first, second = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        return str(first).replace("\x00", ""), str(second).replace("\x00", "")
    except (ValueError, TypeError, binascii.Error):
        raise InputError("the cursor is not one of ours. Start again without it.") from None


def words(typed: str) -> str | None:
    """A tsquery that wants every word, cut as texts are when they are stored; None when there is no word."""
    return " & ".join(map(quoted, dict.fromkeys(terms(typed)))) or None


def like(typed: str) -> str | None:
    """For ILIKE: the text anywhere; None when there is none."""
    escaped = typed.strip().replace("\x00", "").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%" if escaped else None
