"""The shape of what a picture shows, without any learned weights: digits, symbols, drawings, silhouettes.

A network trained on photographs sees little in a 28 x 28 digit; the directions of its strokes say nearly everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB
Floats = NDArray[np.float32]

SIDE = 64  # pixels the picture is squeezed into
CELL = 8  # pixels
ORIENTATIONS = 9
GREY = 16  # side of the small picture beside the histograms
CLIP = 0.2  # no direction may outweigh its block; the paper's value

_CELLS = SIDE // CELL
_BLOCKS = _CELLS - 1
DIM = _BLOCKS * _BLOCKS * 4 * ORIENTATIONS + GREY * GREY


def shape(image: Pixels) -> Floats:
    """Histograms of oriented gradients beside a small grey picture.

    Args:
        image: (height, width, 3) uint8 RGB, of any size.
    Returns:
        (2020,) float32: 7 x 7 blocks of 2 x 2 cells x 9 orientations, then 16 x 16 intensities in [0, 1].

    Source: Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection, CVPR.
    """
    grey = Image.fromarray(image).convert("L")
    squeezed = _intensities(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    small = _intensities(grey.resize((GREY, GREY), Image.Resampling.BOX))
    return np.concatenate([_blocks(_cells(squeezed)), small.ravel()])


def _intensities(grey: Image.Image) -> Floats:
    found: Floats = np.asarray(grey, dtype=np.float32) / np.float32(255)
    return found


def _cells(grey: Floats) -> Floats:
    """(64, 64) -> (8, 8, 9): gradient strength by direction, shared between the two nearest directions."""
    padded = np.pad(grey, 1, mode="edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    strength = np.hypot(across, down)
    angle = np.arctan2(down, across) % np.pi * (ORIENTATIONS / np.pi)  # [0, 9): a stroke has no sense of direction
    lower = np.floor(angle).astype(np.int64)
    share = angle - lower
    row, column = np.indices((SIDE, SIDE)) // CELL
    cell = (row * _CELLS + column) * ORIENTATIONS
    size = _CELLS * _CELLS * ORIENTATIONS
    first = np.bincount((cell + lower % ORIENTATIONS).ravel(), (strength * (1 - share)).ravel(), size)
    second = np.bincount((cell + (lower + 1) % ORIENTATIONS).ravel(), (strength * share).ravel(), size)
    return (first + second).reshape(_CELLS, _CELLS, ORIENTATIONS).astype(np.float32)


def _blocks(cells: Floats) -> Floats:
    """(8, 8, 9) -> (1764,): each 2 x 2 cells to length 1, clipped, and again."""
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
    clipped = np.minimum(_to_length_one(blocks), CLIP)
    return _to_length_one(clipped).ravel()


def _to_length_one(blocks: Floats) -> Floats:
    # 0.1 keeps the faint noise of an even surface from looking like strokes
    scaled: Floats = blocks / np.sqrt(np.sum(blocks**2, axis=2, keepdims=True) + 0.1**2)
    return scaled
