"""Words and pieces of words as sparse counts: what a linear model reads best when labels hang on a few words.

Nothing is fitted: columns are hashes, so the same text gives the same columns in every process and every year.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from duomo.media.text import CJK, normalise

BUCKETS = 2**18

STOP_WORDS = frozenset(
    """a about an and any are as at be been being but by can could did do does doing done for from had has have having
    he her here hers him his how i if in into is it its itself just me more most my of off on once or our ours out over
    own please she should so some such than that the their theirs them then there these they this those through to too
    under until up very was we were what when where which while who whom why will with would you your yours am also
    的 了 和 是 在 就 都 而 及 与 着 或 也 还 又 很 但 吗 呢 吧 啊 呀 哦 嗯 我 你 您 他 她 它 我们 你们 他们 这 那 这个
    那个 这些 那些 一个 一下 请 请问 被 把 给 让 对 从 到 以 等 之 其 并 且""".split()  # noqa: SIM905
)
"""Function words of both languages. "not", "no", "不" and "没" stay: they turn a meaning round."""

_TOKEN = re.compile(f"([{CJK}]+)|([^\\W_{CJK}]+(?:'[^\\W_{CJK}]+)*)|([?!？！¥$€£%])")

Sparse = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Columns, ascending, each once; and their values."""


def ngrams(text: str, *, stop_words: bool = False) -> Sparse:
    """Hashed counts of words and word pairs, of 2 to 5 letters within a word, of 1 to 3 neighbouring ideographs.

    Args:
        stop_words: leave `STOP_WORDS` out.
    Returns:
        columns in [0, 2**18), and 1 + ln(count).

    Source: Weinberger et al. 2009, Feature Hashing, arXiv:0902.2206, without signs: counts stay readable.
    """
    counts: Counter[int] = Counter()
    words: list[str] = []
    for ideographs, word, mark in _TOKEN.findall(normalise(text).lower()):
        if ideographs:
            cut = [w for w in chinese_words(ideographs) if not (stop_words and w in STOP_WORDS)]
            words += cut
            counts.update(_neighbours(ideographs if not stop_words else "".join(cut)))
        elif mark:
            counts[_column("p" + mark)] += 1
        elif not (stop_words and word in STOP_WORDS):
            words.append(word)
            counts.update(_pieces(word[:64]))  # longer ones are codes or noise, and cost their length
    counts.update(_column("w" + word) for word in words)
    counts.update(_column(f"b{first} {second}") for first, second in pairwise(words))
    columns = sorted(counts)
    values = [1.0 + math.log(counts[column]) for column in columns]
    return np.array(columns, dtype=np.int64), np.array(values, dtype=np.float32)


def words(text: str) -> list[str]:
    """In order and in small letters; runs of ideographs cut into Chinese words."""
    found: list[str] = []
    for ideographs, word, _ in _TOKEN.findall(normalise(text).lower()):
        found += chinese_words(ideographs) if ideographs else [word] if word else []
    return found


def _column(feature: str) -> int:
    return crc32(feature.encode("utf-8", "surrogatepass")) & (BUCKETS - 1)


@lru_cache(maxsize=1 << 16)
def _pieces(word: str) -> tuple[int, ...]:
    """The word between two spaces, cut into every 2 to 5 neighbours."""
    padded = f" {word} "
    return tuple(
        _column("c" + padded[at : at + size]) for size in (2, 3, 4, 5) for at in range(max(0, len(padded) - size + 1))
    )


def _neighbours(run: str) -> list[int]:
    return [_column("z" + run[at : at + size]) for size in (1, 2, 3) for at in range(len(run) - size + 1)]


@lru_cache(maxsize=1 << 12)
def chinese_words(ideographs: str) -> tuple[str, ...]:
    return tuple(_jieba().cut(ideographs, HMM=False))


@lru_cache(maxsize=1)
def _jieba() -> Any:
    """Reading its dictionary takes a second, which texts without ideographs need not pay."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its regular expressions are written for an older Python
        import jieba  # type: ignore[import-untyped]
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba.dt  # the process's own, which retrieval uses as well: its dictionary takes 85 MB
