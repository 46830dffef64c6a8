"""What a message asks for besides an answer: a greeting returned, a person, help in danger.

The lists stand in `intents.txt`. A list of small talk decides only when the message says nothing else: "hello, where
is my parcel" is a question.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

Intent = Literal["greeting", "thanks", "goodbye", "acknowledged", "who", "person", "emergency", "unhelped", "question"]
SMALL_TALK: tuple[Intent, ...] = ("greeting", "thanks", "goodbye", "acknowledged", "who")

_ANYWHERE: tuple[Intent, ...] = ("emergency", "person")

SHORT_ZH, SHORT_EN = 12, 8  # characters, words: a longer message stands on its own
_SEPARATORS = re.compile(r"[\s,，.。!！?？~～、;；:：…()（）]+")
_WORDS = re.compile(r"[\u3400-\u9fff]|[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*")


def _read_lists() -> dict[str, re.Pattern[str]]:
    lists: dict[str, list[str]] = {}
    for line in resources.files("duomo.support").joinpath("intents.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            lists[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            lists[list(lists)[-1]].append(line)
    patterns = {}
    for name, lines in lists.items():
        either = "|".join(f"(?:{_bounded(line)})" for line in lines)
        patterns[name] = re.compile(f"(?:(?:{either}) ?)+" if name.startswith("whole ") else either, re.IGNORECASE)
    return patterns


def _bounded(pattern: str) -> str:
    """An English pattern matches whole words only; Chinese has none to go by."""
    return pattern if re.search(r"[\u3400-\u9fff^]", pattern) else rf"\b(?:{pattern})\b"


_LISTS = _read_lists()


def intent_of(text: str) -> Intent:
    """What a whole message is for; "question" for everything that wants an answer."""
    bare = _SEPARATORS.sub(" ", text).replace("’", "'").strip()
    if not bare:
        return "question"
    for name in _ANYWHERE:
        if _LISTS[name].search(bare) and not _LISTS[f"not {name}"].search(bare):
            return name
    for talk in SMALL_TALK:
        if _LISTS[f"whole {talk}"].fullmatch(bare):
            return talk
    if (first := bare.split(" ")[0]) and _LISTS["whole greeting"].fullmatch(first):
        return intent_of(rest) if (rest := bare[len(first) :].strip()) else "greeting"
    return "unhelped" if _LISTS["unhelped"].search(bare) else "question"


def says_only(wish: Intent, text: str) -> bool:
    """Whether a message says nothing besides its wish, so that it is about no matter that could be told from it."""
    if wish != "person":
        return wish in SMALL_TALK
    rest = _LISTS["person"].sub(" ", _SEPARATORS.sub(" ", text).replace("’", "'").strip())
    return not _WORDS.search(_LISTS["around person"].sub(" ", rest))


def leans_on_earlier(text: str) -> bool:
    """Whether a message is short and says so little by itself that the question before it may be part of it."""
    words = _WORDS.findall(text)
    limit = SHORT_ZH if any(word[0] >= "\u3400" for word in words) else SHORT_EN
    bare = _SEPARATORS.sub(" ", text).strip()
    return len(words) <= limit and bool(_LISTS["leaning"].search(bare) or len(words) <= limit // 3)


def is_dangerous(text: str) -> bool:
    """Whether a text speaks of fire, smoke, shocks or swelling batteries."""
    return bool(_LISTS["emergency"].search(text))
