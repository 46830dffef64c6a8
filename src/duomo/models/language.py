"""Which of Duomo's languages a text is in.

Chinese and English differ in script, so counting decides; a statistical identifier adds nothing between these two
and is unsure exactly where we must not be: "E21", "ok", a product name.
"""

from __future__ import annotations

import re

from duomo.types import Language

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3007\U00020000-\U0002fa1f]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
CODE = re.compile(r"[A-Z]{2,}|.*[a-z][A-Z]|.*\d")
HAN_PER_WORD = 1.5  # characters of an average Chinese word


def detect_language(text: str, *, default: Language = "en") -> Language:
    """The language of the words a text is built with: names, codes and digits belong to neither.

    Args:
        default: returned when nothing decides ("E21", "?", an empty text); give the conversation's language.
    """
    han = len(HAN.findall(text)) / HAN_PER_WORD
    words = [word for word in re.findall(r"[\w'’]+", HAN.sub(" ", text)) if LATIN.search(word)]
    plain = [word for word in words if not CODE.match(word)]
    if not han:
        return "en" if plain or len(words) > 2 else default
    # Beside Chinese, a capitalised word is a name: only words in small letters speak for English.
    small = sum(word[0].islower() for word in plain)
    return "en" if small > han else "zh"
