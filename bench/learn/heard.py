"""How what the recogniser heard differs from the sentence that a learner was to read."""

from __future__ import annotations

import re
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
    waveform = sounds.read(audio.read_bytes(), max_seconds=60)
    found = _recogniser().transcribe(waveform, language="en")
    wanted, heard = _words(expected), _words(found.text)
    same = sum(block.size for block in SequenceMatcher(None, wanted, heard, autojunk=False).get_matching_blocks())
    letters, heard_letters = " ".join(wanted), " ".join(heard)
    close = sum(b.size for b in SequenceMatcher(None, letters, heard_letters, autojunk=False).get_matching_blocks())
    seconds = len(waveform) / sounds.SAMPLING_RATE
    return (
        same / len(wanted), close / len(letters), max(0, len(heard) - same) / len(wanted),
        min(3.0, len(heard_letters) / len(letters)), found.confidence, len(wanted) / seconds,
        float(np.log(len(wanted))),
    )  # fmt: skip


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower()) or [""]
