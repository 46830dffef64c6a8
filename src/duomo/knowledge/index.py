"""What the word index holds of a chunk, and what a question is looked up with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from duomo.media.text import pinyin_tokens, tokens

LONGEST = 64  # characters of a token; what is longer is no word
MOST_PLACES = 255  # of one token that PostgreSQL keeps


def terms(text: str) -> list[str]:
    return [token[:LONGEST] for token in tokens(text)]


def quoted(token: str) -> str:
    """A token as PostgreSQL reads one in the text form of a tsvector or tsquery."""
    return "'" + token.replace("\\", "\\\\").replace("'", "''") + "'"


def search_vector(context: str, text: str) -> str:
    """tsvector: every token with its places; those of the title and headings are marked A."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for mark, found in (("A", terms(context)), ("", terms(text))):
        for token in found:
            if len(places[token]) < MOST_PLACES:
                # Not where it stands but how many came before: ranking only counts places.
                places[token].append(f"{len(places[token]) + 1}{mark}")
    return " ".join(f"{quoted(token)}:{','.join(marked)}" for token, marked in places.items())


def pinyin_vector(text: str) -> str | None:
    """tsvector of how a Chinese text sounds; None for one without Chinese."""
    return " ".join(map(quoted, _unique(pinyin_tokens(text)))) or None


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
