"""Take a text, picture, sound, video or vector apart into units, and put it together again without some of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, TypeVar

import numpy as np

from duomo.media import audio
from duomo.media.text import CJK
from duomo.media.video import Clip
from duomo.models.encoders import BETWEEN_TURNS, Value
from duomo.models.features import Floats
from duomo.models.ngrams import chinese_words

MOST = 48  # units of one kind in a value; larger ones are cut more coarsely
GRID = 6  # patches in each direction
WINDOW_S = 0.25
SOUND_IN_ALL_S = 480.0  # of sound to encode for one explanation; longer sounds get fewer, longer windows
FEWEST_WINDOWS = 12
FRAME_SOUND_S = 1.0  # window of a video's sound

_RUN = re.compile(f"([{CJK}]+)|([^\\W{CJK}]+(?:['’.-][^\\W{CJK}]+)*)")

Thing = TypeVar("Thing")
Kind = Literal["word", "turn", "patch", "sound", "frame", "entry"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a sample.

    Attributes:
        start, end: word: characters of the text; sound and frame: seconds; turn: its place, from the oldest; entry:
            positions in the vector.
        box: of a patch: left, top, right, bottom in pixels.
        score: how much less the model says for the label without it; negative: it speaks against the label.
    """

    kind: Kind
    start: float = 0
    end: float = 0
    box: tuple[int, int, int, int] | None = None
    text: str = ""
    score: float = 0.0


class Occluder(Protocol):
    @property
    def units(self) -> tuple[Unit, ...]: ...

    def without(self, removed: Collection[int]) -> Value | None:
        """The value without those units; None when nothing is left of it."""
        ...


def occluder(modality: str, value: Value, *, mean: Floats | None = None) -> Occluder:
    """
    Args:
        mean: of a plain vector over the training samples; None: zeros.
    """
    if modality == "text":
        return Words(str(value))
    if modality == "context":
        return Turns(str(value))
    if isinstance(value, Clip):
        return Frames(value)
    if modality == "image":
        return Patches(np.asarray(value, dtype=np.uint8))
    if modality == "audio":
        return Windows(np.asarray(value, dtype=np.float32))
    vector = np.asarray(value, dtype=np.float32)
    return Entries(vector, np.zeros_like(vector) if mean is None else mean)


class Words:
    """English words, and Chinese ones as jieba cuts them; neighbours together where a text has more than MOST."""

    def __init__(self, text: str) -> None:
        self.text = text
        spans: list[tuple[int, int]] = []
        for found in _RUN.finditer(text):
            start = found.start()
            for word in chinese_words(found[1]) if found[1] else (found[2],):
                spans.append((start, start + len(word)))
                start += len(word)
        self._spans = [(part[0][0], part[-1][1]) for part in _together(spans)]
        self.units = tuple(Unit("word", start, end, text=text[start:end]) for start, end in self._spans)

    def without(self, removed: Collection[int]) -> Value | None:
        if len(set(removed)) >= len(self.units):
            return None
        kept, before = [], 0
        for index in sorted(removed):
            start, end = self._spans[index]
            kept.append(self.text[before:start])
            before = end
        left = re.sub(r"\s+", " ", "".join([*kept, self.text[before:]])).strip()
        return left or None


class Turns:
    """What was said in the turns before."""

    def __init__(self, value: str) -> None:
        self._turns = value.split(BETWEEN_TURNS)
        self.units = tuple(Unit("turn", number, number + 1, text=turn) for number, turn in enumerate(self._turns))

    def without(self, removed: Collection[int]) -> Value | None:
        return BETWEEN_TURNS.join(turn for number, turn in enumerate(self._turns) if number not in removed) or None


class Patches:
    """GRID x GRID pieces of a picture; a removed one takes the picture's mean colour."""

    def __init__(self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        self._pixels = pixels
        height, width = pixels.shape[:2]
        rows = np.unique(np.linspace(0, height, GRID + 1).astype(int))
        columns = np.unique(np.linspace(0, width, GRID + 1).astype(int))
        boxes = [
            (int(left), int(top), int(right), int(bottom))
            for top, bottom in pairwise(rows)
            for left, right in pairwise(columns)
        ]
        self._mean = pixels.reshape(-1, pixels.shape[-1]).mean(axis=0).astype(np.uint8)
        self.units = tuple(Unit("patch", box=box) for box in boxes)

    def without(self, removed: Collection[int]) -> Value | None:
        left_over = self._pixels.copy()
        for index in removed:
            box = self.units[index].box
            assert box is not None
            left, top, right, bottom = box
            left_over[top:bottom, left:right] = self._mean
        return left_over


class Windows:
    """Stretches of WINDOW_S of a sound; a removed one is silent."""

    def __init__(self, waveform: Floats, *, window_s: float = WINDOW_S) -> None:
        self._waveform = waveform
        affordable = int(SOUND_IN_ALL_S * audio.SAMPLING_RATE / max(len(waveform), 1))
        most = min(MOST, max(FEWEST_WINDOWS, affordable))
        step = max(int(window_s * audio.SAMPLING_RATE), -(-len(waveform) // most), 1)
        self._bounds = [(start, min(start + step, len(waveform))) for start in range(0, len(waveform), step)]
        rate = audio.SAMPLING_RATE
        self.units = tuple(Unit("sound", round(start / rate, 3), round(end / rate, 3)) for start, end in self._bounds)

    def without(self, removed: Collection[int]) -> Floats:
        left = self._waveform.copy()
        for index in removed:
            start, end = self._bounds[index]
            left[start:end] = 0
        return left


class Frames:
    """Pictures of a video, and seconds of its sound."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._sound = None if clip.waveform is None else Windows(clip.waveform, window_s=FRAME_SOUND_S)
        ends = [*clip.times[1:], clip.times[-1]]
        shown = tuple(Unit("frame", start, end) for start, end in zip(clip.times, ends, strict=True))
        self.units = shown + (() if self._sound is None else self._sound.units)

    def without(self, removed: Collection[int]) -> Value | None:
        clip, count = self._clip, len(self._clip.frames)
        kept = [index for index in range(count) if index not in removed]
        frames = tuple(clip.frames[index] for index in kept)
        if not frames:  # a video has at least one picture: one without anything on it
            frames, kept = (np.full_like(clip.frames[0], int(clip.frames[0].mean())),), [0]
        times = tuple(clip.times[index] for index in kept)
        muted = [index - count for index in removed if index >= count]
        sound = clip.waveform if self._sound is None else self._sound.without(muted)
        return replace(clip, frames=frames, times=times, waveform=sound)


class Entries:
    """Numbers of a vector; a removed one takes its mean over the training samples, 0 once standardised."""

    def __init__(self, vector: Floats, mean: Floats) -> None:
        self._vector, self._mean = vector, mean
        self._parts = [(part[0], part[-1] + 1) for part in _together(list(range(len(vector))))]
        self.units = tuple(
            Unit("entry", start, end, text=f"{vector[start]:.4g}" if end == start + 1 else "")
            for start, end in self._parts
        )

    def without(self, removed: Collection[int]) -> Value | None:
        left = self._vector.copy()
        for index in removed:
            start, end = self._parts[index]
            left[start:end] = self._mean[start:end]
        return left


def _together(things: list[Thing]) -> list[list[Thing]]:
    """Neighbours in at most MOST groups of about the same size."""
    groups = min(MOST, len(things))
    bounds = [len(things) * number // max(groups, 1) for number in range(groups + 1)]
    return [things[start:end] for start, end in pairwise(bounds)]
