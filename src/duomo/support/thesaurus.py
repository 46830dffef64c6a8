"""Say a question also in the words of help articles: "邮费" is "运费" there, a "voucher" a "coupon"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

MOST = 4  # words added; more would outweigh the question


@cache
def _entries() -> Sequence[tuple[re.Pattern[str], tuple[str, ...]]]:
    """(the customer's words, the articles' words) for every line of `thesaurus.txt`."""
    entries = []
    for line in resources.files("duomo.support").joinpath("thesaurus.txt").read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        named, _, said = line.partition("<")
        words = [re.escape(word.strip()) for word in said.split(",")]
        pattern = "|".join(word if re.search(r"[\u3400-\u9fff]", word) else rf"\b{word}\b" for word in words)
        entries.append((re.compile(pattern, re.IGNORECASE), tuple(word.strip() for word in named.split(","))))
    return entries


def expanded(question: str) -> str:
    """The question, then what articles call the things in it, where they call them otherwise."""
    added: list[str] = []
    for pattern, words in _entries():
        if pattern.search(question):
            added += [word for word in words if word.lower() not in question.lower() and word not in added]
    return f"{question} {' '.join(added[:MOST])}" if added else question
