"""Sound and pictures become artifacts: what was said, what is written, what kind of picture it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from duomo.errors import ModelUnavailable
from duomo.models import weights
from duomo.models.embed import EfficientNet, ImageEmbedder, Pixels, Vectors
from duomo.models.ocr import PPOCR, Reading, TextReader
from duomo.models.picture_kind import picture_kind
from duomo.models.speech import SpeechRecognizer, Waveform, Whisper
from duomo.types import Artifact, Language

log = logging.getLogger(__name__)

Model = TypeVar("Model")


class Perception:
    """The models that look and listen. One whose weights are missing is None, and asking it says what to install."""

    def __init__(
        self,
        *,
        speech: SpeechRecognizer | None,
        ocr: TextReader | None,
        pictures: ImageEmbedder | None,
    ) -> None:
        self.speech, self.ocr, self.pictures = speech, ocr, pictures

    def voice(self, waveform: Waveform, *, language_hint: Language | None = None) -> list[Artifact]:
        """One transcript; its text is empty when nobody spoke.

        Args:
            waveform: (samples,) float32 at 16 kHz in [-1, 1].
            language_hint: what the customer writes in; what is heard can overrule it.
        Raises:
            ModelUnavailable: speech recognition has no weights.
        """
        if self.speech is None:
            raise ModelUnavailable(weights.reason("speech recognition"))
        heard = self.speech.transcribe(waveform, expected=language_hint)
        segments = [
            {"start_s": s.start_s, "end_s": s.end_s, "text": s.text, "confidence": s.confidence} for s in heard.segments
        ]
        return [
            Artifact(
                kind="transcript",
                text=heard.text,
                confidence=heard.confidence,
                model=self.speech.name,
                version=self.speech.version,
                duration_ms=heard.duration_ms,
                data={"language": heard.language, "segments": segments, "no_speech": heard.no_speech},
            )
        ]

    def picture(self, image: Pixels) -> tuple[list[Artifact], Vectors]:
        """The kind of picture, the text in it if there is any, and its vector for picture search.

        Args:
            image: (height, width, 3) uint8 RGB.
        Raises:
            ModelUnavailable: text recognition or picture search has no weights.
        """
        if self.ocr is None:
            raise ModelUnavailable(weights.reason("text in pictures"))
        if self.pictures is None:
            raise ModelUnavailable(weights.reason("picture search"))
        reading = self.ocr.read(image)
        artifacts = [_kind(image, reading)]
        if reading.text:
            artifacts.append(_text(reading, self.ocr))
        return artifacts, self.pictures.encode(image)


def _kind(image: Pixels, reading: Reading) -> Artifact:
    began = time.perf_counter()
    scores = picture_kind(image, reading)
    best = max(scores, key=lambda kind: scores[kind])
    return Artifact(
        kind="picture_kind",
        text=best,
        confidence=scores[best],
        model="picture-kind",
        version=weights.weight("picture-kind").version,
        duration_ms=round((time.perf_counter() - began) * 1000),
        data={"scores": dict(scores)},
    )


def _text(reading: Reading, ocr: TextReader) -> Artifact:
    lines = [
        {"text": line.text, "confidence": line.confidence, "box": [list(point) for point in line.box]}
        for line in reading.lines
    ]
    return Artifact(
        kind="ocr",
        text=reading.text,
        confidence=reading.confidence,
        model=ocr.name,
        version=ocr.version,
        duration_ms=reading.duration_ms,
        data={"lines": lines, "size": list(reading.size), "turned": reading.turned},
    )


def load_perception(*, threads: int = 1) -> Perception:
    """The packaged models. One that cannot be loaded is logged and left out, the others work."""
    return Perception(
        speech=_load(lambda: Whisper(threads=threads)),
        ocr=_load(lambda: PPOCR(threads=threads)),
        pictures=_load(lambda: EfficientNet(threads=threads)),
    )


def _load(make: Callable[[], Model]) -> Model | None:
    try:
        return make()
    except ModelUnavailable as error:
        log.warning("%s", error)
        return None
