"""What goes wrong with real input, made on purpose: how much a model loses by it is a table in its report.

Each corruption is decided by the seed and the sample's id alone, so that two models are tried on the same mistakes.
"""

from __future__ import annotations

import hashlib
import io
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from duomo.errors import InputError, MediaError
from duomo.media import audio, image
from duomo.media.text import CJK, fuzzy_syllable, normalise
from duomo.models.ngrams import STOP_WORDS
from duomo.types import Sample

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of mistake.

    Attributes:
        modality: text, image or audio.
        apply: (value, generator) -> value of the same kind: a text, pixels, or a waveform of 16 kHz.
    """

    name: str
    modality: str
    apply: Callable[[Any, Generator], Any]


def corrupted(samples: Sequence[Sample], name: str, folder: Path, *, seed: int = 0) -> list[Sample]:
    """The samples with one corruption in its modality; the rest of each, and its id, stay as they are.

    Args:
        name: one of `CORRUPTIONS`.
        folder: where corrupted pictures (PNG) and sounds (WAV) are written; those there already are used again. A file
            that cannot be read stays in its place: encoding lists it as broken.
    Raises:
        InputError: no such corruption.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"there is no corruption {name!r}; choose from {', '.join(CORRUPTIONS)}")
    corruption = CORRUPTIONS[name]
    return [_corrupted(sample, corruption, folder, seed) for sample in samples]


def _corrupted(sample: Sample, corruption: Corruption, folder: Path, seed: int) -> Sample:
    given = getattr(sample, corruption.modality)
    if given is None:
        return sample
    generator = np.random.default_rng(_number(f"{seed}/{corruption.name}/{sample.id}"))
    if corruption.modality == "text":
        return replace(sample, text=corruption.apply(normalise(given), generator))
    try:
        data = given.read_bytes()
        content = hashlib.blake2b(data, digest_size=8).hexdigest()
        written = folder / f"{corruption.name}-{_number(f'{seed}/{sample.id}/{content}'):016x}"
        if corruption.modality == "image":
            return replace(sample, image=_picture(data, corruption, generator, written.with_suffix(".png")))
        return replace(sample, audio=_sound(data, corruption, generator, written.with_suffix(".wav")))
    except (OSError, MediaError):
        return sample


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _picture(data: bytes, corruption: Corruption, generator: Generator, path: Path) -> Path:
    if not path.exists():
        out = io.BytesIO()
        Image.fromarray(corruption.apply(image.read(data), generator)).save(out, "PNG", compress_level=1)
        _write(path, out.getvalue())
    return path


def _sound(data: bytes, corruption: Corruption, generator: Generator, path: Path) -> Path:
    if not path.exists():
        waveform = audio.read(data, max_seconds=600.0)
        _write(path, audio.encode_wav(corruption.apply(waveform, generator).astype(np.float32)))
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(data)
    beside.replace(path)  # a kill leaves no half file that a later run would take


# --- text

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {
    key: [row[at] for at in (place - 1, place + 1) if 0 <= at < len(row)] + [r[min(place, len(r) - 1)] for r in others]
    for row, others in zip(_KEYS, ((_KEYS[1],), (_KEYS[0], _KEYS[2]), (_KEYS[1],)), strict=True)
    for place, key in enumerate(row)
}
_LETTERS = frozenset(string.ascii_lowercase)
_IDEOGRAPH = re.compile(f"[{CJK}]")


def typos(text: str, generator: Generator) -> str:
    """A slip in every twelfth letter: a neighbouring key, two swapped, one lost or doubled; in Chinese, where input is
    by sound, every twelfth ideograph becomes another of the same sound."""
    letters = list(text)
    out: list[str] = []
    at = 0
    while at < len(letters):
        letter = letters[at]
        if generator.random() >= 1 / 12:
            out.append(letter)
        elif letter.lower() in _LETTERS:
            kind = generator.integers(4)
            if kind == 0:
                out.append(str(generator.choice(_NEAR[letter.lower()])))
            elif kind == 1 and at + 1 < len(letters):
                out += [letters[at + 1], letter]
                at += 1
            elif kind == 2:
                out += [letter, letter]
        else:
            out.append(_same_sound(letter, generator, exact=True) if _IDEOGRAPH.match(letter) else letter)
        at += 1
    return "".join(out)


_CONFUSED = (
    ("th", ("d", "f", "s")), ("ck", ("k", "g")), ("ch", ("sh", "j")), ("sh", ("ch", "s")), ("ph", ("f", "p")),
    ("ee", ("i", "ea")), ("ea", ("ee", "e")), ("oo", ("u", "o")), ("ou", ("ow", "o")), ("ai", ("ay", "e")),
    ("b", ("p", "v")), ("p", ("b",)), ("d", ("t",)), ("t", ("d",)), ("g", ("k",)), ("k", ("g", "c")), ("v", ("w", "f")),
    ("f", ("v", "th")), ("w", ("v", "wh")), ("z", ("s",)), ("s", ("z", "c")), ("m", ("n",)), ("n", ("m", "ng")),
    ("l", ("r",)), ("r", ("l",)), ("a", ("e", "u")), ("e", ("i", "a")), ("i", ("e", "y")), ("o", ("u", "a")),
    ("u", ("o",)),
)  # fmt: skip
_HOMOPHONES = {
    "to": "two", "two": "to", "too": "to", "for": "four", "four": "for", "there": "their", "their": "there",
    "your": "you're", "you're": "your", "buy": "by", "by": "buy", "right": "write", "write": "right", "no": "know",
    "know": "no", "new": "knew", "hear": "here", "here": "hear", "way": "weigh", "wait": "weight", "weight": "wait",
    "week": "weak", "sale": "sail", "mail": "male", "male": "mail", "cheque": "check", "check": "cheque", "one": "won",
    "won": "one", "sent": "cent", "cent": "sent", "fee": "free", "free": "three", "its": "it's", "it's": "its",
    "where": "wear", "wear": "where", "then": "than", "than": "then", "our": "hour", "hour": "our", "rate": "great",
    "would": "wood", "pay": "bay", "card": "cart", "cart": "card", "charge": "large", "order": "older", "item": "idem",
}  # fmt: skip
_WORD = re.compile(f"[{CJK}]|[^\\W{CJK}]+(?:'\\w+)?|[^\\w]+")


def misheard(text: str, generator: Generator) -> str:
    """What a recogniser makes of it: no punctuation or capitals; every eighth word another that sounds alike, some
    short ones lost; every eighth ideograph another of the same sound, or of one that many speakers do not tell apart.
    """
    out: list[str] = []
    for piece in _WORD.findall(text.lower()):
        if _IDEOGRAPH.match(piece):
            out.append(_same_sound(piece, generator, exact=False) if generator.random() < 1 / 8 else piece)
        elif not piece[0].isalnum():
            out.append(" ")
        elif generator.random() >= 1 / 8:
            out.append(piece)
        elif piece in _HOMOPHONES:
            out.append(_HOMOPHONES[piece])
        elif piece not in STOP_WORDS:
            out.append(_confused(piece, generator))  # a function word with no homophone is what gets lost
    return re.sub(r"(?<![\x00-\x7f]) | (?![\x00-\x7f])", "", " ".join("".join(out).split()))


def _confused(word: str, generator: Generator) -> str:
    possible = [(sound, others) for sound, others in _CONFUSED if sound in word]
    if not possible:
        return word
    sound, others = possible[generator.integers(len(possible))]
    places = [found.start() for found in re.finditer(sound, word)]
    at = places[generator.integers(len(places))]
    return word[:at] + str(generator.choice(others)) + word[at + len(sound) :]


@cache
def _by_sound() -> tuple[dict[str, str], dict[str, str]]:
    """Common ideographs by syllable and by folded syllable."""
    from pypinyin import lazy_pinyin

    exact: dict[str, str] = {}
    folded: dict[str, str] = {}
    # GB2312 level 1: the 3,755 ideographs of daily use, in the order of their sounds
    for first in range(0xB0, 0xD8):
        for second in range(0xA1, 0xFF):
            try:
                ideograph = bytes([first, second]).decode("gb2312")
            except UnicodeDecodeError:
                continue
            (syllable,) = lazy_pinyin(ideograph)
            exact[syllable] = exact.get(syllable, "") + ideograph
            folded[fuzzy_syllable(syllable)] = folded.get(fuzzy_syllable(syllable), "") + ideograph
    return exact, folded


def _same_sound(ideograph: str, generator: Generator, *, exact: bool) -> str:
    from pypinyin import lazy_pinyin

    (syllable,) = lazy_pinyin(ideograph)
    table = _by_sound()[0] if exact else _by_sound()[1]
    others = table.get(syllable if exact else fuzzy_syllable(syllable), "").replace(ideograph, "")
    return str(generator.choice(list(others))) if others else ideograph


def cut_text(text: str, generator: Generator) -> str:
    """The first 40 to 70 % of it: sent too early."""
    return text[: max(1, int(len(text) * generator.uniform(0.4, 0.7)))].rstrip()


def other_case(text: str, generator: Generator) -> str:
    """All capitals, all small, or each letter at random."""
    kind = generator.integers(3)
    if kind < 2:
        return text.upper() if kind else text.lower()
    return "".join(c.upper() if generator.random() < 0.5 else c.lower() for c in text)


# --- pictures: (height, width, 3) uint8 RGB


def blurred(pixels: Any, generator: Generator) -> Any:
    """Out of focus: a Gaussian of 1.5 to 2.5 % of the longer side."""
    radius = max(pixels.shape[:2]) * generator.uniform(0.015, 0.025)
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def dark(pixels: Any, generator: Generator) -> Any:
    """A fifth to two fifths of the light, and the grain that comes with it."""
    light = pixels / 255.0 * generator.uniform(0.2, 0.4)
    return _eight_bit(light + generator.normal(0, 0.02, pixels.shape))


def noisy(pixels: Any, generator: Generator) -> Any:
    """Gaussian noise of a tenth of the full range."""
    return _eight_bit(pixels / 255.0 + generator.normal(0, 0.1, pixels.shape))


def turned(pixels: Any, generator: Generator) -> Any:
    """Held askew by 8 to 20 degrees, either way; the corners repeat the mean colour of the edge."""
    angle = generator.uniform(8, 20) * generator.choice([-1, 1])
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(int(value) for value in edge.mean(axis=0).round())
    picture = Image.fromarray(pixels)
    return np.asarray(picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=colour))


def cropped(pixels: Any, generator: Generator) -> Any:
    """Too close: 65 to 80 % of each side, anywhere."""
    share = generator.uniform(0.65, 0.8)
    height, width = (max(1, int(side * share)) for side in pixels.shape[:2])
    top, left = (
        int(generator.integers(full - part + 1)) for full, part in zip(pixels.shape, (height, width), strict=False)
    )
    return pixels[top : top + height, left : left + width].copy()


def _eight_bit(light: Any) -> Any:
    return (light.clip(0, 1) * 255).round().astype(np.uint8)


# --- sounds: (samples,) float32 at 16 kHz


def street(waveform: Any, generator: Generator) -> Any:
    """Noise that falls with frequency, as traffic and rooms do, 10 dB below the sound."""
    return _with_noise(waveform, generator, snr_db=10.0)


def loud_street(waveform: Any, generator: Generator) -> Any:
    """The same, as loud as the sound."""
    return _with_noise(waveform, generator, snr_db=0.0)


def _with_noise(waveform: Any, generator: Generator, *, snr_db: float) -> Any:
    if len(waveform) < 2:
        return waveform
    spectrum = np.fft.rfft(generator.normal(0, 1, len(waveform)))
    hertz = np.fft.rfftfreq(len(waveform), 1 / audio.SAMPLING_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 50.0)), len(waveform))
    level = np.sqrt(np.mean(waveform**2) / max(float(np.mean(noise**2)), 1e-12) / 10 ** (snr_db / 10))
    mixed = waveform + level * noise
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)


def clipped(waveform: Any, generator: Generator) -> Any:
    """Too loud for the microphone: the upper three quarters of the range cut off, and at full level again."""
    peak = float(np.abs(waveform).max(initial=0.0))
    if not peak:
        return waveform
    limit = peak / 4
    return (waveform.clip(-limit, limit) / limit * 0.99).astype(np.float32)


def telephone(waveform: Any, generator: Generator) -> Any:
    """300 to 3400 Hz in 8-bit mu-law, as an old line carries it.

    Source: ITU-T G.711.
    """
    if len(waveform) < 2:
        return waveform
    spectrum = np.fft.rfft(waveform)
    hertz = np.fft.rfftfreq(len(waveform), 1 / audio.SAMPLING_RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    band = np.fft.irfft(spectrum, len(waveform)).clip(-1, 1)
    coded = np.round(np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256) * 127) / 127
    return (np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255).astype(np.float32)


def cut_sound(waveform: Any, generator: Generator) -> Any:
    """The middle 40 to 70 % at the most: begun too late or ended too early."""
    length = max(1, int(len(waveform) * generator.uniform(0.4, 0.7)))
    start = int(generator.integers(max(1, len(waveform) - length + 1)))
    return waveform[start : start + length]


CORRUPTIONS: dict[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        Corruption("text_typos", "text", typos),
        Corruption("text_misheard", "text", misheard),
        Corruption("text_cut", "text", cut_text),
        Corruption("text_case", "text", other_case),
        Corruption("image_blur", "image", blurred),
        Corruption("image_dark", "image", dark),
        Corruption("image_noise", "image", noisy),
        Corruption("image_turned", "image", turned),
        Corruption("image_cropped", "image", cropped),
        Corruption("audio_noise_10db", "audio", street),
        Corruption("audio_noise_0db", "audio", loud_street),
        Corruption("audio_clipped", "audio", clipped),
        Corruption("audio_telephone", "audio", telephone),
        Corruption("audio_cut", "audio", cut_sound),
    )
}
