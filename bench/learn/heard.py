"""How what the recogniser heard differs from the sentence that a learner was to read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import numpy as np

from duomo.media import audio as sounds
from duomo.models.speech import Whisper


@cache
def _recogniser() -> Whisper:
    return Whisper(threads=1)


def difference(audio: Path, expected: str) -> tuple[float, ...]:
    """(7,): share of expected words heard, of letters heard, words too many, length heard / expected, confidence,
    words a second, logarithm of the number of words."""
    text, confidence, seconds = _transcript(audio)
    wanted, heard = _words(expected), _words(text)
    same = sum(block.size for block in SequenceMatcher(None, wanted, heard, autojunk=False).get_matching_blocks())
    letters, heard_letters = " ".join(wanted), " ".join(heard)
    close = sum(b.size for b in SequenceMatcher(None, letters, heard_letters, autojunk=False).get_matching_blocks())
    return (
        same / len(wanted), close / len(letters), max(0, len(heard) - same) / len(wanted),
        min(3.0, len(heard_letters) / len(letters)), confidence, len(wanted) / seconds,
        float(np.log(len(wanted))),
    )  # fmt: skip


def of_words(audio: Path, expected: Sequence[str]) -> list[tuple[float, ...]]:
    """Of each expected word (4,): heard as it stands, letters shared with the likeliest word heard near its place, the
    recogniser's confidence, share of the sentence's words heard."""
    text, confidence, _ = _transcript(audio)
    wanted, heard = [word.lower() for word in expected], _words(text)
    blocks = SequenceMatcher(None, wanted, heard, autojunk=False).get_matching_blocks()
    same = {block.a + i for block in blocks for i in range(block.size)}
    rows = []
    for place, word in enumerate(wanted):
        at = round(place * len(heard) / len(wanted))
        near = heard[max(0, at - 2) : at + 3]
        close = max((SequenceMatcher(None, word, other, autojunk=False).ratio() for other in near), default=0.0)
        rows.append((float(place in same), close, confidence, len(same) / len(wanted)))
    return rows


@cache
def _transcript(audio: Path) -> tuple[str, float, float]:
    """What was heard, how surely, and seconds."""
    waveform = sounds.read(audio.read_bytes(), max_seconds=60)
    found = _recogniser().transcribe(waveform, language="en")
    return found.text, found.confidence, len(waveform) / sounds.SAMPLING_RATE


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower()) or [""]
