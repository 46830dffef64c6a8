"""What the indexes hold of a chunk, and what a question is looked up with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from duomo.media.text import pinyin_tokens, sentences, tokens

LONGEST = 64  # characters of a token; what is longer is no word
MOST_PLACES = 255  # of one token that PostgreSQL keeps
SHORTEST = 6  # characters of a statement; a shorter one belongs to the next


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


def statements(text: str) -> list[str]:
    """The pieces of a chunk that can answer by themselves: sentences, and whole lines of tables and lists."""
    found: list[str] = []
    short = ""
    for line in text.splitlines():
        pieces = [line] if "|" in line else [line[start:end] for start, end in sentences(line)]
        for piece in pieces:
            short = f"{short} {piece.strip()}".strip()
            if len(short) >= SHORTEST:
                found.append(short)
                short = ""
    return [*found, short] if short else found


def packed(vectors: NDArray[np.float32]) -> bytes:
    """(n, dim) -> float16 bytes, row by row."""
    return vectors.astype("<f2").tobytes()


def unpacked(data: bytes, *, dim: int) -> NDArray[np.float32]:
    return np.frombuffer(data, dtype="<f2").reshape(-1, dim).astype(np.float32)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
