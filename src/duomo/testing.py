"""Deterministic stand-ins for the models: for our tests and for authors of adapters.

They keep what callers rely on (shapes, unit lengths, similar texts near each other) and need no weights.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from duomo.models.embed import Kind, Pixels, Vectors, colour_histogram, unit
from duomo.models.language import detect_language
from duomo.models.llm import Capabilities, Prompt
from duomo.models.ocr import Line, Reading
from duomo.models.speech import SAMPLING_RATE, Segment, Transcript, Waveform
from duomo.types import Language


class FakeEmbedder:
    """A bag of characters and pairs of characters, hashed: texts that share words are near."""

    name = "fake-embedder"
    version = "1"

    def __init__(self, *, dim: int = 384) -> None:
        self.dim = dim

    def encode(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            text = text.lower()
            for piece in [*text, *map("".join, pairwise(text))]:
                vectors[row, _bucket(piece, self.dim)] += 1.0 if len(piece) == 1 else 2.0
            vectors[row] = unit(vectors[row]) if text else unit(np.ones(self.dim, dtype=np.float32))
        return vectors

    def encode_parts(self, heading: str, parts: Sequence[str]) -> tuple[Vectors, Vectors]:
        (whole,) = self.encode([" ".join([heading, *parts])], kind="passage")
        return whole, self.encode(parts, kind="passage")


class FakeImageEmbedder:
    """The histogram of a picture's colours: pictures of like colours are near."""

    name = "fake-image-embedder"
    version = "1"
    dim = 128

    def encode(self, image: Pixels) -> Vectors:
        return unit(colour_histogram(image))


class FakeSpeech:
    """Hears the given texts one after the other, then the last again; in silence it hears nothing."""

    name = "fake-speech"
    version = "1"

    def __init__(self, *texts: str, confidence: float = 0.9) -> None:
        self._texts = list(texts)
        self._confidence = confidence
        self.heard: list[Waveform] = []

    def transcribe(
        self, waveform: Waveform, *, language: Language | None = None, expected: Language | None = None
    ) -> Transcript:
        self.heard.append(waveform)
        silent = not np.abs(waveform).max(initial=0.0) > 1e-4
        text = "" if silent or not self._texts else self._texts[min(len(self.heard), len(self._texts)) - 1]
        found = language or detect_language(text, default=expected or "en")
        confidence = self._confidence if text else 0.0
        end_s = len(waveform) / SAMPLING_RATE
        return Transcript(
            text=text,
            language=found,
            confidence=confidence,
            segments=(Segment(0.0, end_s, text, confidence),) if text else (),
            no_speech=0.0 if text else 1.0,
            duration_ms=0,
        )


class FakeReader:
    """Reads the given texts one after the other, then the last again, a line of the text to a line of the picture."""

    name = "fake-reader"
    version = "1"

    def __init__(self, *texts: str, confidence: float = 0.9) -> None:
        self._texts = list(texts)
        self._confidence = confidence
        self.seen: list[NDArray[np.uint8]] = []

    def read(self, image: Pixels) -> Reading:
        self.seen.append(image)
        text = self._texts[min(len(self.seen), len(self._texts)) - 1] if self._texts else ""
        height, width = image.shape[:2]
        rows = text.split("\n") if text else []
        lines = []
        for index, row in enumerate(rows):
            top, bottom = index * height / len(rows), (index + 1) * height / len(rows)
            box = ((0.0, top), (float(width), top), (float(width), bottom), (0.0, bottom))
            lines.append(Line(row, box, self._confidence))
        return Reading(tuple(lines), text, self._confidence if text else 0.0, (width, height), turned=0, duration_ms=0)


def _bucket(piece: str, buckets: int) -> int:
    return int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=4).digest(), "big") % buckets


class FakeLLM:
    """A language model that follows a script.

    Args:
        script: what it gives, in order: a text piece by piece, a number of seconds to wait, an error to raise. A str
            is one piece; a list of pieces is given piece by piece. The last call's script is used again.
    """

    name = "fake-llm"

    def __init__(
        self,
        *script: str | Sequence[str | float | BaseException],
        capabilities: Capabilities | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.capabilities = capabilities or Capabilities()
        self._script = script
        self._sleep = sleep
        self.asked: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        self.asked.append(prompt)
        steps = self._script[min(len(self.asked), len(self._script)) - 1] if self._script else ""
        for step in [steps] if isinstance(steps, str) else steps:
            if isinstance(step, str):
                yield step
            elif isinstance(step, BaseException):
                raise step
            else:
                await self._sleep(step)
