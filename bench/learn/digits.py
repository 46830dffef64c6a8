"""Three imperfect ways to say one digit: a noisy voice, a damaged picture, a short text with slips.

No recording, picture or text of one part is in another. The damage is set so that each modality alone errs often: what
counts is what they know together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from duomo.media.audio import encode_flac, resample
from duomo.types import Sample

TRAIN, SPARE, DEV = 800, 100, 300
SEED = 20261124

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CHINESE = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九")
HOMOPHONES = (
    "灵铃另令领", "以衣已医依", "而儿耳尔饵", "山伞散删珊", "是十死市事",
    "无舞午误武", "留流刘柳牛", "其期起齐骑", "把爸吧拔霸", "就酒旧久救",
)  # fmt: skip
OPENINGS = {
    "en": (
        "press {}", "it is {}", "number {}", "option {} please", "i said {}", "make that {}", "{} thanks", "order {}",
        "room {}", "bus {}", "line {} again", "gate {}", "{}", "we need {}", "for {} people", "table {} maybe",
    ),
    "zh": (
        "按{}", "是{}", "第{}个", "选{}", "我说{}", "要{}号", "{}谢谢", "房间{}",
        "坐{}路", "{}号线", "{}", "改成{}", "{}位", "窗口{}", "座位{}", "拨{}",
    ),
}  # fmt: skip
NEAR = {
    "e": "rwd", "r": "etf", "o": "ipl", "i": "uok", "n": "bmh", "t": "ryg", "s": "adw", "v": "cbf", "f": "dgr",
    "u": "yij", "w": "qes", "h": "gjn", "g": "fht", "z": "xas", "x": "zcs",
}  # fmt: skip

SLIP = 0.42  # chance that a letter of the digit's word goes wrong
MISHEARD = 0.75  # that a Chinese digit becomes a character of the same sound
UNSAID = 0.15  # that the word is lost
SNR_DB = 0.0  # of the voice over noise
NOISE = 0.2  # standard deviation on a picture in [0, 1]
HIDDEN = 0.25  # side of the hidden square, as a share of the picture's


def rows(data: Path, media: Path) -> tuple[list[Sample], list[Sample]]:
    """(800, 300) samples; 100 more are drawn between them and left aside, as in the builds this one follows."""
    random = np.random.default_rng(SEED)
    labels = np.concatenate([random.permutation(np.arange(n) % 10) for n in (TRAIN, SPARE, DEV)])
    pictures, voices, noise = _pictures(data), _voices(data), _noise(data)
    said: set[str] = set()
    samples = []
    for row, digit in enumerate(labels):
        name = f"{row:04d}"
        text = _text(int(digit), random)
        while text in said:
            text = _text(int(digit), random)
        said.add(text)
        image = media / f"{name}.png"
        Image.fromarray(_damaged(next(pictures[int(digit)]), random)).save(image)
        audio = media / f"{name}.flac"
        audio.write_bytes(encode_flac(_noisy(next(voices[int(digit)]), noise, random)))
        samples.append(Sample(name, text=text, image=image, audio=audio, labels={"digit": str(digit)}))
    return samples[:TRAIN], samples[TRAIN + SPARE :]


def _pictures(data: Path) -> dict[int, Iterator[NDArray[np.uint8]]]:
    with np.load(data / "trimodal/mnist/mnist.npz") as stored:
        x, y = stored["train_x"][:20000], stored["train_y"][:20000]
    return {digit: iter(x[y == digit]) for digit in range(10)}


def _voices(data: Path) -> dict[int, Iterator[NDArray[np.float32]]]:
    """Recordings of the training part, speakers mixed."""
    files = defaultdict(list)
    for line in (data / "speech/fsdd/manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["split"] == "train":
            files[row["digit"]].append(data / "speech" / row["file"])
    random = np.random.default_rng(SEED + 1)
    return {digit: map(_waveform, random.permutation(np.array(files[digit], object))) for digit in range(10)}


def _waveform(file: Path) -> NDArray[np.float32]:
    import soundfile

    waveform, rate = soundfile.read(file, dtype="float32")
    return resample(waveform, sampling_rate=rate)


def _noise(data: Path) -> NDArray[np.float32]:
    """Rain, sea, fire and helicopters, one after the other."""
    lines = (data / "speech/esc10/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = ("Rain", "Sea waves", "Helicopter", "Fire crackling")
    files = [data / "speech" / row["file"] for row in map(json.loads, lines) if row["label"] in kinds]
    return np.concatenate([_waveform(file) for file in files[::4]])


def _text(digit: int, random: np.random.Generator) -> str:
    language = "en" if random.random() < 0.5 else "zh"
    opening = OPENINGS[language][random.integers(len(OPENINGS[language]))]
    return opening.format(_word(digit, language, random)) + "  "[: random.integers(2)] + "!.?~…。"[random.integers(6)]


def _word(digit: int, language: str, random: np.random.Generator) -> str:
    if random.random() < UNSAID:
        return "..." if language == "en" else "那个"
    if language == "zh":
        alike = HOMOPHONES[digit]
        return alike[random.integers(len(alike))] if random.random() < MISHEARD else CHINESE[digit]
    letters = []
    for letter in ENGLISH[digit]:
        luck = random.random()
        if luck < SLIP / 2:
            continue
        near = NEAR[letter]
        letters.append(near[random.integers(len(near))] if luck < SLIP else letter)
    return "".join(letters)


def _damaged(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Turned, blurred, half hidden, noisy."""
    turned = Image.fromarray(pixels).rotate(float(random.uniform(-20, 20)), Image.Resampling.BILINEAR)
    values = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.8)), np.float32) / 255
    side = int(HIDDEN * len(values))
    top, left = random.integers(2, len(values) - side - 2, 2)
    values = values.copy()
    values[top : top + side, left : left + side] = 0.5
    noisy = values + random.normal(0, NOISE, values.shape)
    return (np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def _noisy(
    waveform: NDArray[np.float32], noise: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    start = int(random.integers(len(noise) - len(waveform)))
    behind = noise[start : start + len(waveform)]
    gain = np.sqrt((waveform**2).mean() / (max(float((behind**2).mean()), 1e-8) * 10 ** (SNR_DB / 10)))
    mixed = waveform + gain * behind
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
