"""Tell a photo from a screenshot from a document, by its pixels and by the text found in it.

Logistic regression on a few measures; `weights/picture_kind.json` holds its coefficients, written by
`scripts/fit_picture_kind.py`, which also reports the accuracy on pictures it never saw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from duomo.models import weights
from duomo.models.ocr import Reading

PictureKind = Literal["photo", "screenshot", "document"]
KINDS: tuple[PictureKind, ...] = ("photo", "screenshot", "document")
SIDE = 256  # pixels of the long side at which colours and edges are measured

MEASURES = (
    "flat",  # share of neighbours that are equal: drawn surfaces are, photographed ones are not
    "sharp",  # share of neighbours that differ by more than a quarter of the range
    "commonest",  # share of the commonest of 512 colours
    "colours",  # log of how many of 512 colours cover a thousandth of the picture each
    "bright",  # mean value
    "colourful",  # mean saturation
    "paper",  # share of bright, grey pixels
    "covered",  # share of the picture inside text boxes
    "lines",  # log of the number of lines
    "filled",  # mean length of a line as a share of the width: paragraphs run across a page
    "even",  # 1 - spread of the lines' heights over their mean: pages are set in few sizes
    "tilted",  # mean slope of the lines, degrees
)


@dataclass(frozen=True, slots=True)
class Coefficients:
    mean: NDArray[np.float64]  # (measures,)
    scale: NDArray[np.float64]  # (measures,)
    weight: NDArray[np.float64]  # (kinds, measures)
    bias: NDArray[np.float64]  # (kinds,)


def measure(image: NDArray[np.uint8], reading: Reading) -> NDArray[np.float64]:
    """(measures,) in the order of `MEASURES`.

    Args:
        image: (height, width, 3) RGB.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)  # interpolation would blur what "flat" counts
    small = np.asarray(picture).astype(np.int64)
    steps = np.concatenate(
        [np.abs(np.diff(small, axis=axis)).max(axis=2).ravel() for axis in (0, 1) if small.shape[axis] > 1] or [[0]]
    )
    codes = ((small[..., 0] // 32) * 64 + (small[..., 1] // 32) * 8 + small[..., 2] // 32).ravel()
    shares = np.bincount(codes, minlength=512) / codes.size
    value, spread = small.max(axis=2), small.max(axis=2) - small.min(axis=2)
    return np.array(
        [
            (steps <= 2).mean(),
            (steps > 64).mean(),
            shares.max(),
            np.log1p((shares > 0.001).sum()),
            value.mean() / 255,
            (spread / np.maximum(value, 1)).mean(),
            ((value > 170) & (spread < 40)).mean(),
            *_text_measures(reading),
        ]
    )


def _text_measures(reading: Reading) -> list[float]:
    width, height = reading.size
    if not reading.lines:
        return [0.0, 0.0, 0.0, 0.0, 0.0]
    boxes = np.array([line.box for line in reading.lines])  # (lines, 4, 2)
    along, down = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 0]
    lengths, heights = np.hypot(*along.T), np.hypot(*down.T)
    across = width if reading.turned in (0, 180) else height
    slopes = np.abs((np.degrees(np.arctan2(along[:, 1], along[:, 0])) + 45) % 90 - 45)
    return [
        float((lengths * heights).sum() / (width * height)),
        float(np.log1p(len(boxes))),
        float((lengths / across).mean()),
        float(1 - heights.std() / max(heights.mean(), 1e-6)),
        float(slopes[lengths > 3 * heights].mean()) if (lengths > 3 * heights).any() else 0.0,
    ]


@cache
def _coefficients() -> Coefficients:
    data = json.loads(weights.read("picture-kind"))
    return Coefficients(**{name: np.array(data[name]) for name in ("mean", "scale", "weight", "bias")})


def picture_kind(image: NDArray[np.uint8], reading: Reading) -> Mapping[PictureKind, float]:
    """The probability of each kind.

    Raises:
        ModelUnavailable: the coefficients are missing or changed.
    """
    fitted = _coefficients()
    logits = fitted.weight @ ((measure(image, reading) - fitted.mean) / fitted.scale) + fitted.bias
    exponents = np.exp(logits - logits.max())
    return dict(zip(KINDS, (exponents / exponents.sum()).tolist(), strict=True))
