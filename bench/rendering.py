"""Pictures with known text for benchmarks: pages and app screens drawn with Pillow, clean or as a camera sees them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Generator = np.random.Generator
Pixels = NDArray[np.uint8]


@cache
def font_file(family: str) -> Path:
    """What fontconfig finds for e.g. "Noto Sans CJK SC"."""
    command = ["fc-match", "--format=%{file}", family]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def font(size: int, *, serif: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file("Noto Serif CJK SC" if serif else "Noto Sans CJK SC"), size)


def wrap(text: str, typeface: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Rows no wider than `width` pixels; Latin words stay whole."""
    rows, row = [], ""
    words: list[str] = []
    for character in text:
        if words and character.isascii() and words[-1].isascii() and character != " " and words[-1] != " ":
            words[-1] += character
        else:
            words.append(character)
    for word in words:
        if row and typeface.getlength(row + word) > width:
            rows.append(row.strip())
            row = ""
        row += word
    return [*rows, row.strip()] if row.strip() else rows


def page(text: str, rng: Generator) -> tuple[Image.Image, list[str]]:
    """A printed page: margins, one column, dark on pale. Also the rows that are on it."""
    width = int(rng.integers(700, 1200))
    height = int(width * rng.choice([1.414, 1.294, 1.0, 0.7]))
    size = int(width / rng.uniform(28, 48))
    typeface = font(size, serif=bool(rng.random() < 0.5))
    margin = int(width * rng.uniform(0.05, 0.12))
    paper = tuple(int(v) for v in rng.integers(242, 256, 3))
    image = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(image)
    y, shown = margin, []
    for row in wrap(text, typeface, width - 2 * margin):
        if y + 1.5 * size > height - margin:
            break
        draw.text((margin, y), row, font=typeface, fill=(int(rng.integers(0, 60)),) * 3)
        shown.append(row)
        y += int(size * 1.6)
    return image, shown


def screen(texts: Sequence[str], rng: Generator) -> tuple[Image.Image, list[str]]:
    """A phone's screen: status bar, title, rows or chat bubbles, a button. Also the texts that are on it."""
    width = int(rng.choice([720, 828, 1080]))
    height = int(width * rng.uniform(1.6, 2.1))
    dark = rng.random() < 0.35
    background, ink = ((18, 20, 24), (235, 235, 235)) if dark else ((245, 246, 248), (25, 25, 28))
    accent = tuple(int(v) for v in rng.integers(40, 220, 3))
    image = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(image)
    size = width // int(rng.integers(22, 30))
    body, small = font(size), font(int(size * 0.7))
    draw.text((size, size * 0.4), "9:41", font=small, fill=ink)
    draw.text((width - 4 * size, size * 0.4), "87%", font=small, fill=ink)
    shown, y = ["9:41", "87%"], int(size * 2.2)
    bubbles = rng.random() < 0.5
    for index, text in enumerate(texts):
        rows = wrap(text, body, int(width * (0.6 if bubbles else 0.85)))[:4]
        block = int(len(rows) * size * 1.5 + size)
        if y + block > height - 4 * size:
            break
        left = int(width * 0.3) if bubbles and index % 2 else size
        fill = accent if bubbles and index % 2 else ((38, 42, 48) if dark else (255, 255, 255))
        right = left + int(width * 0.64) if bubbles else width - size
        draw.rounded_rectangle((left, y, right, y + block), radius=size // 2, fill=fill)
        lightness = sum(fill) / 3
        for line, row in enumerate(rows):
            colour = (20, 20, 20) if lightness > 128 else (245, 245, 245)
            draw.text((left + size // 2, y + size // 2 + line * size * 1.5), row, font=body, fill=colour)
        shown += rows
        y += block + size // 2
    draw.rounded_rectangle((size, height - 3 * size, width - size, height - size), radius=size, fill=accent)
    return image, shown


def turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, expand=True, resample=Image.Resampling.BICUBIC, fillcolor=image.getpixel((2, 2)))


def noisy(image: Image.Image, rng: Generator, *, deviation: float = 18.0) -> Image.Image:
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return Image.fromarray(np.clip(pixels + rng.normal(0, deviation, pixels.shape), 0, 255).astype(np.uint8))


def photographed(image: Image.Image, rng: Generator, *, background: Pixels | None = None) -> Image.Image:
    """As a hand-held camera sees it: perspective, uneven light, a little blur and noise, the table around it."""
    width, height = image.size
    room = int(0.12 * max(width, height))
    size = (width + 2 * room, height + 2 * room)
    if background is None:
        table = Image.new("RGB", size, tuple(int(v) for v in rng.integers(60, 150, 3)))
    else:
        table = Image.fromarray(background).resize(size, Image.Resampling.BICUBIC)
    shift = rng.uniform(-0.6, 0.6, (4, 2)) * room
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) + room + shift
    data = _perspective(corners, np.array([[0, 0], [width, 0], [width, height], [0, height]]))
    laid = image.convert("RGBA").transform(size, Image.Transform.PERSPECTIVE, data, Image.Resampling.BICUBIC)
    table.paste(laid, (0, 0), laid)
    light = np.linspace(rng.uniform(0.55, 0.8), rng.uniform(0.9, 1.05), size[0], dtype=np.float32)[None, :, None]
    pixels = np.asarray(table.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32) * light
    return noisy(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), rng, deviation=6.0)


def _perspective(source: NDArray[np.float64], target: NDArray[np.float64]) -> list[float]:
    """Pillow's eight coefficients, which map the output's corners `source` to the input's `target`."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(c) for c in np.linalg.solve(np.array(rows), np.array(values))]
