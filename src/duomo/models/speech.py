"""Hear what is said: a waveform becomes a transcript with its language and an honest confidence."""

from __future__ import annotations

import math
import re
import time
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import ctranslate2  # type: ignore[import-untyped]
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor  # type: ignore[import-untyped]
from faster_whisper.vad import VadOptions, get_speech_timestamps  # type: ignore[import-untyped]
from numpy.typing import NDArray
from opencc import OpenCC  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from duomo.errors import ModelUnavailable
from duomo.models import weights
from duomo.types import LANGUAGES, Language

Waveform = NDArray[np.float32]  # (samples,) at 16 kHz, in [-1, 1]
SAMPLING_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech between pauses."""

    start_s: float
    end_s: float
    text: str
    confidence: float  # [0, 1]


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str  # empty: nobody spoke
    language: Language
    confidence: float  # [0, 1], geometric mean of the tokens' probabilities
    segments: tuple[Segment, ...]
    no_speech: float  # [0, 1], probability that nobody spoke
    duration_ms: int  # time the model took


class SpeechRecognizer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def transcribe(
        self, waveform: Waveform, *, language: Language | None = None, expected: Language | None = None
    ) -> Transcript:
        """
        Args:
            language: forced, when it is known for certain.
            expected: a prior, such as the language the customer writes in; what is heard can overrule it.
        """
        ...


class Whisper:
    """openai/whisper-base, int8, on CTranslate2.

    Greedy, without timestamps, never with a prompt: on poor sound a prompt comes back as the transcript. Speech is
    found by Silero's voice activity detector; the encoder sees a window as long as the speech and `PAD_S`, not the
    30 seconds it was trained with, which cost three times as much for a short note and err no less
    (bench/perception.py compares them).

    Source: Radford et al. 2022, arXiv:2212.04356.
    """

    name = "whisper-base"
    WINDOW_S = 20.0  # longest stretch decoded at once; longer speech is cut at pauses, as memory grows with its square
    PAD_S = 8.0  # silence after the speech, from which the model knows that it has ended
    PRIOR = 0.85  # of the expected language
    TOKENS_PER_S = 12  # more are a loop, not speech
    COMPRESSION = 2.4  # text that zlib shrinks further repeats itself; the value is Whisper's own
    SILENT = 0.6  # no_speech above, and confidence below UNSURE: nobody spoke
    UNSURE = math.exp(-1.0)

    def __init__(self, *, threads: int = 1, parallel: int = 1) -> None:
        """
        Args:
            parallel: callers served at one time; they share the weights.
        Raises:
            ModelUnavailable: weights missing or with another hash.
        """
        weights.check("silero-vad")  # faster-whisper opens the file itself
        self.version = weights.weight("whisper-base-model").version
        self._model = ctranslate2.models.Whisper(
            self.name,
            device="cpu",
            compute_type="int8",
            intra_threads=threads,
            inter_threads=parallel,
            files={
                "model.bin": weights.read("whisper-base-model"),
                "config.json": weights.read("whisper-base-config"),
                "vocabulary.txt": weights.read("whisper-base-vocabulary"),
            },
        )
        self._tokenizer = Tokenizer.from_buffer(weights.read("whisper-base-tokenizer"))
        self._features = FeatureExtractor()
        self._start, self._task, self._plain = map(self._special, ("startoftranscript", "transcribe", "notimestamps"))
        self._languages = {language: self._special(language) for language in LANGUAGES}

    def transcribe(
        self, waveform: Waveform, *, language: Language | None = None, expected: Language | None = None
    ) -> Transcript:
        began = time.perf_counter()
        heard: list[tuple[Segment, int]] = []  # with its number of tokens
        no_speech = 1.0
        for start, end in speech(waveform, longest_s=self.WINDOW_S):
            encoded = self._encode(waveform[start:end])
            if language is None:
                language = self._detect(encoded, expected=expected)
            text, confidence, silent, tokens = self._decode(encoded, language, seconds=(end - start) / SAMPLING_RATE)
            no_speech = min(no_speech, silent)
            if text:
                heard.append((Segment(start / SAMPLING_RATE, end / SAMPLING_RATE, text, confidence), tokens))
        language = language or expected or "en"
        return Transcript(
            text=("" if language == "zh" else " ").join(segment.text for segment, _ in heard),
            language=language,
            confidence=_mean_confidence(heard),
            segments=tuple(segment for segment, _ in heard),
            no_speech=no_speech,
            duration_ms=round((time.perf_counter() - began) * 1000),
        )

    def states(self, waveform: Waveform, *, pad_s: float = 2.0) -> NDArray[np.float32]:
        """What the encoder makes of a sound, for models that listen to more than its words.

        Args:
            waveform: at most 28 s.
            pad_s: silence after it; with less, the end is heard worse (bench/encoders.py compares).
        Returns:
            (frames, 512) float32, 50 a second, of the sound alone; at least one.
        """
        own = max(1, math.ceil(len(waveform) / 320))  # samples of one frame: 160 a step, halved by the encoder
        encoded = self._encode(waveform, pad_s=pad_s)
        return np.array(encoded, dtype=np.float32)[0, :own]

    def _special(self, name: str) -> int:
        token = self._tokenizer.token_to_id(f"<|{name}|>")
        if token is None:
            raise ModelUnavailable(f"whisper-base-tokenizer has no token <|{name}|>")
        return int(token)

    def _encode(self, waveform: Waveform, *, pad_s: float = PAD_S) -> Any:
        seconds = len(waveform) / SAMPLING_RATE + pad_s
        padded = np.zeros(int(min(seconds, 30.0) * SAMPLING_RATE), dtype=np.float32)
        padded[: len(waveform)] = waveform
        features = self._features(padded, padding=0)  # (80, frames), 100 frames a second
        frames = features.shape[1] // 2 * 2  # the encoder halves their number
        batch = np.ascontiguousarray(features[None, :, :frames], dtype=np.float32)
        return self._model.encode(ctranslate2.StorageView.from_array(batch))

    def _detect(self, encoded: Any, *, expected: Language | None) -> Language:
        probabilities = dict(self._model.detect_language(encoded)[0])
        scores = {language: probabilities.get(f"<|{language}|>", 0.0) for language in LANGUAGES}
        for language in LANGUAGES:
            if expected is not None:
                scores[language] *= self.PRIOR if language == expected else 1.0 - self.PRIOR
        return max(LANGUAGES, key=lambda language: scores[language])

    def _decode(self, encoded: Any, language: Language, *, seconds: float) -> tuple[str, float, float, int]:
        """Text, confidence, no-speech probability, tokens."""
        prompt = [self._start, self._languages[language], self._task, self._plain]
        longest = len(prompt) + min(220, 10 + int(seconds * self.TOKENS_PER_S))
        text, confidence, silent, tokens = "", 0.0, 1.0, 0
        for penalty in (1.0, 1.3):  # a second time only for text that repeats itself
            (found,) = self._model.generate(
                encoded,
                [prompt],
                beam_size=1,
                max_length=longest,
                repetition_penalty=penalty,
                return_scores=True,
                return_no_speech_prob=True,
            )
            tokens = len(found.sequences_ids[0])
            text = self._tokenizer.decode(found.sequences_ids[0]).strip()
            confidence = math.exp(found.scores[0] * tokens / (tokens + 1))  # the end token counts, as in Whisper
            silent = found.no_speech_prob
            if not _repeats(text, self.COMPRESSION):
                break
        if silent > self.SILENT and confidence < self.UNSURE:
            text = ""
        return simplify(text) if language == "zh" else text, confidence, silent, tokens


def speech(waveform: Waveform, *, longest_s: float, pause_s: float = 2.0) -> list[tuple[int, int]]:
    """Where somebody speaks, as (start, end) in samples; stretches closer than `pause_s` are joined up to `longest_s`
    seconds, because words are understood from their neighbours."""
    options = VadOptions(min_silence_duration_ms=500, speech_pad_ms=200, max_speech_duration_s=longest_s)
    joined: list[tuple[int, int]] = []
    for found in get_speech_timestamps(waveform, options):
        start, end = int(found["start"]), int(found["end"])
        near = bool(joined) and start - joined[-1][1] <= pause_s * SAMPLING_RATE
        if near and end - joined[-1][0] <= longest_s * SAMPLING_RATE:
            start = joined.pop()[0]
        joined.append((start, end))
    return joined


@cache
def _converter() -> OpenCC:
    return OpenCC("t2s")


def simplify(text: str) -> str:
    """Traditional to simplified Chinese, and no spaces between its characters: Whisper writes either."""
    return re.sub(r"(?<=[^\x00-\x7f]) +(?=[^\x00-\x7f])", "", str(_converter().convert(text)))


def _repeats(text: str, limit: float) -> bool:
    data = text.encode()
    return len(data) / len(zlib.compress(data)) > limit


def _mean_confidence(heard: list[tuple[Segment, int]]) -> float:
    total = sum(tokens for _, tokens in heard)
    if not total:
        return 0.0
    return math.exp(sum(math.log(max(segment.confidence, 1e-9)) * tokens for segment, tokens in heard) / total)
