"""Read the text in a picture: find lines, turn them upright, recognise them, put them in reading order."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from duomo.models import weights
from duomo.models.onnx_session import open_session

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    box: tuple[tuple[float, float], ...]  # four (x, y) in pixels of the given picture, clockwise from the text's start
    confidence: float  # [0, 1], mean probability of the characters


@dataclass(frozen=True, slots=True)
class Reading:
    lines: tuple[Line, ...]
    text: str  # the lines in reading order, a row of the picture to a line
    confidence: float  # [0, 1], mean over the characters; 0 without text
    size: tuple[int, int]  # width, height of the given picture
    turned: int  # degrees clockwise by which the picture had to be turned to stand upright: 0, 90, 180 or 270
    duration_ms: int  # time the model took


class TextReader(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def read(self, image: Pixels) -> Reading: ...


class PPOCR:
    """PP-OCRv6 small (detector and recogniser, Chinese and English), with the weights of the rapidocr package.

    Pre- and postprocessing follow PaddleOCR; sizes are chosen for a CPU (bench/perception.py).

    Source: Liao et al. 2020, Differentiable Binarization, arXiv:1911.08947; Cui et al. 2025, PaddleOCR 3.0,
    arXiv:2507.05595.
    """

    name = "pp-ocrv6-small"
    AREA = 800_000  # pixels the detector sees; a bigger picture is scaled down
    SHORT_SIDE = 320  # a smaller picture is scaled up
    TILE, TILE_SIDE = 3.0, 1000  # a picture longer than this many times its width is read in tiles this long
    OVERLAP = 0.1  # of a tile
    MAP_THRESHOLD, BOX_THRESHOLD, UNCLIP = 0.3, 0.5, 1.6
    SHORTEST_BOX = 3  # pixels of the detector's map
    HEIGHT, NARROWEST = 48, 64  # of a line, for the recogniser
    BATCH, STRETCH = 8, 1.15  # lines recognised together, and the widest over the narrowest: padding costs as text does
    CONFIDENT = 0.5  # a line below is noise
    PROBE = 6  # lines by which the orientation is judged

    def __init__(self, *, threads: int = 1) -> None:
        """
        Raises:
            ModelUnavailable: weights missing or with another hash.
        """
        self.version = weights.weight("ocr-recogniser").version
        self._detector = open_session(weights.path("ocr-detector"), threads=threads, arena=False)
        self._recogniser = open_session(weights.path("ocr-recogniser"), threads=threads, arena=False)
        self._orientation = open_session(weights.path("ocr-orientation"), threads=threads, arena=False)
        characters = self._recogniser.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._characters = ["", *characters, " "]  # the first class is CTC's blank

    def read(self, image: Pixels) -> Reading:
        began = time.perf_counter()
        height, width = image.shape[:2]
        boxes = self._find(image)
        turned = self._turned(image, boxes)
        if turned:
            image = np.ascontiguousarray(np.rot90(image, k=-turned // 90))
            boxes = self._find(image) if turned != 180 else boxes
            if turned == 180:
                boxes = [_clockwise(np.array([[width, height]], dtype=np.float32) - box) for box in boxes]
        crops = [_cut(image, box) for box in boxes]
        found = self._recognise(crops)
        lines = [
            Line(text, tuple((float(x), float(y)) for x, y in box), confidence)
            for box, (text, confidence) in zip(boxes, found, strict=True)
            if text.strip() and confidence >= self.CONFIDENT
        ]
        rows = reading_order(lines)
        lines = [line for row in rows for line in row]
        characters = sum(len(line.text) for line in lines)
        return Reading(
            lines=tuple(replace(line, box=_turn_back(line.box, turned, width, height)) for line in lines),
            text="\n".join(" ".join(line.text for line in row) for row in rows),
            confidence=sum(line.confidence * len(line.text) for line in lines) / characters if characters else 0.0,
            size=(width, height),
            turned=turned,
            duration_ms=round((time.perf_counter() - began) * 1000),
        )

    def _find(self, image: Pixels) -> list[Floats]:
        """Boxes (4, 2) of text lines; a long screenshot is searched tile by tile."""
        height, width = image.shape[:2]
        if max(height, width) <= max(self.TILE * min(height, width), self.TILE_SIDE):
            return self._find_in(image)
        boxes: list[Floats] = []
        for x, y, w, h in tiles(width, height, side=self.TILE_SIDE, overlap=self.OVERLAP):
            for box in self._find_in(image[y : y + h, x : x + w]):
                moved = box + np.array([x, y], dtype=np.float32)
                # A line cut by a tile's edge is found whole in the neighbour: keep the larger of two that overlap.
                rivals = [i for i, other in enumerate(boxes) if _overlap(moved, other) > 0.5]
                if all(_area(moved) > _area(boxes[i]) for i in rivals):
                    boxes = [b for i, b in enumerate(boxes) if i not in rivals] + [moved]
        return boxes

    def _find_in(self, image: Pixels) -> list[Floats]:
        height, width = image.shape[:2]
        scale = min(1.0, (self.AREA / (height * width)) ** 0.5)
        scale = max(scale, min(self.SHORT_SIDE / min(height, width), 4.0))
        rows, columns = (max(32, round(side * scale / 32) * 32) for side in (height, width))
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pixels = (small[:, :, ::-1].astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]  # BGR, as trained
        (output,) = self._detector.run(None, {self._detector.get_inputs()[0].name: np.ascontiguousarray(pixels)})
        probability = output[0, 0]  # (rows, columns): how likely each pixel lies within a line
        mask = cv2.dilate((probability > self.MAP_THRESHOLD).astype(np.uint8), np.ones((2, 2), dtype=np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        back = np.array([width / columns, height / rows], dtype=np.float32)
        limit = np.array([width - 1, height - 1], dtype=np.float32)
        boxes = []
        for contour in contours:
            rectangle = cv2.minAreaRect(contour)
            if min(rectangle[1]) < self.SHORTEST_BOX:
                continue
            if _mean_inside(probability, np.asarray(cv2.boxPoints(rectangle), dtype=np.float32)) < self.BOX_THRESHOLD:
                continue
            middle, (w, h), angle = rectangle
            # The detector is trained to mark a shrunken line: grow it back.
            margin = w * h * self.UNCLIP / (w + h)
            grown = cv2.boxPoints((middle, (w + margin, h + margin), angle))
            boxes.append(_clockwise(np.clip(grown * back, 0, limit)))
        return boxes

    def _turned(self, image: Pixels, boxes: list[Floats]) -> int:
        """Degrees clockwise that would set the picture upright, judged on its longest lines."""
        if not boxes:
            return 0
        longest = sorted(boxes, key=_length, reverse=True)[: self.PROBE]
        sideways = sum(_is_tall(box) for box in longest) > len(longest) / 2
        crops = [_cut(image, box) for box in longest if _is_tall(box) == sideways and _length(box) > 0]
        if sideways:
            crops = [np.ascontiguousarray(np.rot90(crop, k=-1)) if _stands(crop) else crop for crop in crops]
        # The classifier costs a millisecond a line but errs on short ones; unless all agree, the recogniser decides.
        flipped = self._any_upside_down(crops) and self._reads_better_turned(crops)
        if sideways:
            return 270 if flipped else 90
        return 180 if flipped else 0

    def _any_upside_down(self, crops: list[Pixels]) -> bool:
        batch = np.zeros((len(crops), 3, 48, 192), dtype=np.float32)
        for row, crop in enumerate(crops):
            line = _line(crop, height=48, longest=192)
            batch[row, :, :, : line.shape[2]] = line
        (scores,) = self._orientation.run(None, {self._orientation.get_inputs()[0].name: batch})  # (crops, 2)
        return bool((scores[:, 1] > scores[:, 0]).any())

    def _reads_better_turned(self, crops: list[Pixels]) -> bool:
        upright = self._recognise(crops)
        turned = self._recognise([np.ascontiguousarray(np.rot90(crop, k=2)) for crop in crops])
        return sum(c * len(t) for t, c in turned) > sum(c * len(t) for t, c in upright)

    def _recognise(self, crops: list[Pixels]) -> list[tuple[str, float]]:
        """(text, confidence) of each line, in the given order."""
        lines = [_line(crop, height=self.HEIGHT, longest=self.HEIGHT * 60) for crop in crops]
        found = [("", 0.0)] * len(lines)
        batch: list[int] = []
        for index in sorted(range(len(lines)), key=lambda i: lines[i].shape[2]):
            full = len(batch) == self.BATCH
            if batch and (full or lines[index].shape[2] > self.STRETCH * max(lines[batch[0]].shape[2], self.NARROWEST)):
                self._recognise_batch(lines, batch, found)
                batch = []
            batch.append(index)
        if batch:
            self._recognise_batch(lines, batch, found)
        return found

    def _recognise_batch(self, lines: list[Floats], batch: list[int], found: list[tuple[str, float]]) -> None:
        width = max(self.NARROWEST, *(lines[i].shape[2] for i in batch))
        pixels = np.zeros((len(batch), 3, self.HEIGHT, width), dtype=np.float32)
        for row, index in enumerate(batch):
            pixels[row, :, :, : lines[index].shape[2]] = lines[index]
        (output,) = self._recogniser.run(None, {self._recogniser.get_inputs()[0].name: pixels})
        classes, scores = output.argmax(axis=2), output.max(axis=2)  # (batch, steps) of (batch, steps, classes)
        for row, index in enumerate(batch):
            found[index] = self._decode(classes[row], scores[row])

    def _decode(self, classes: NDArray[np.int64], scores: Floats) -> tuple[str, float]:
        """CTC: repeated classes are one character, class 0 is none."""
        fresh = np.ones(len(classes), dtype=bool)
        fresh[1:] = classes[1:] != classes[:-1]
        kept = fresh & (classes != 0)
        if not kept.any():
            return "", 0.0
        return "".join(self._characters[c] for c in classes[kept]), float(scores[kept].mean())


def tiles(width: int, height: int, *, side: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Cut the long side into overlapping pieces (x, y, width, height), `side` long or one and a half times as long as
    wide."""
    short, long = sorted((width, height))
    piece = min(long, max(side, short * 3 // 2))
    step = int(piece * (1 - overlap))
    starts = [*range(0, max(1, long - piece), step), long - piece]
    if height >= width:
        return [(0, start, width, piece) for start in dict.fromkeys(starts)]
    return [(start, 0, piece, height) for start in dict.fromkeys(starts)]


def reading_order(lines: list[Line]) -> list[list[Line]]:
    """Rows from top to bottom, each from left to right.

    Lines share a row when their middles, seen along the page's own slope, differ by less than half a height.
    """
    placed = [_Placed(line, _page_slope(lines)) for line in lines]
    rows: list[list[_Placed]] = []
    for each in sorted(placed, key=lambda each: each.y):
        for row in reversed(rows[-3:]):
            near = abs(each.y - row[-1].y) < 0.5 * min(each.height, row[-1].height)
            if near and not any(each.beside(other) < 0.7 for other in row):
                row.append(each)
                break
        else:
            rows.append([each])
    return [[each.line for each in sorted(row, key=lambda each: each.x)] for row in rows]


class _Placed:
    """A line in the coordinates of its page, turned straight."""

    def __init__(self, line: Line, slope: float) -> None:
        corners = np.array(line.box) @ np.array([[np.cos(slope), -np.sin(slope)], [np.sin(slope), np.cos(slope)]])
        self.line = line
        self.x, self.y = (float(v) for v in corners.mean(axis=0))
        self.left, self.right = float(corners[:, 0].min()), float(corners[:, 0].max())
        self.height = float(np.linalg.norm(corners[3] - corners[0]))

    def beside(self, other: _Placed) -> float:
        """The share of its width that is not above or below the other."""
        shared = min(self.right, other.right) - max(self.left, other.left)
        return 1.0 - max(shared, 0.0) / max(self.right - self.left, 1e-6)


def _page_slope(lines: list[Line]) -> float:
    """Radians; the median of the lines long enough to have a direction."""
    along = np.array([np.subtract(line.box[1], line.box[0]) for line in lines]).reshape(-1, 2)
    down = np.array([np.subtract(line.box[3], line.box[0]) for line in lines]).reshape(-1, 2)
    long = np.hypot(*along.T) > 4 * np.hypot(*down.T)
    return float(np.median(np.arctan2(along[long, 1], along[long, 0]))) if long.any() else 0.0


def _mean_inside(probability: Floats, points: Floats) -> float:
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 1
    region = probability[y0:y1, x0:x1]
    mask = np.zeros(region.shape, dtype=np.uint8)
    cv2.fillPoly(mask, [(points - [x0, y0]).astype(np.int32)], 1)
    return float(cv2.mean(region, mask)[0])


def _clockwise(points: Floats) -> Floats:
    """The four corners from the upper left on."""
    by_x = points[np.argsort(points[:, 0], kind="stable")]
    top_left, bottom_left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    top_right, bottom_right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    return np.stack([top_left, top_right, bottom_right, bottom_left]).astype(np.float32)


def _sides(box: Floats) -> tuple[float, float]:
    """Width and height."""
    return float(np.linalg.norm(box[1] - box[0])), float(np.linalg.norm(box[3] - box[0]))


def _area(box: Floats) -> float:
    width, height = _sides(box)
    return width * height


def _length(box: Floats) -> float:
    return max(_sides(box))


def _is_tall(box: Floats) -> bool:
    width, height = _sides(box)
    return height > 1.5 * width


def _stands(crop: Pixels) -> bool:
    return bool(crop.shape[0] > crop.shape[1])


def _overlap(a: Floats, b: Floats) -> float:
    """Shared area over the smaller box's, both taken upright."""
    low = np.maximum(a.min(axis=0), b.min(axis=0))
    high = np.minimum(a.max(axis=0), b.max(axis=0))
    width, height = np.maximum(high - low, 0)
    smaller = min(np.prod(a.max(axis=0) - a.min(axis=0)), np.prod(b.max(axis=0) - b.min(axis=0)))
    return float(width * height / max(smaller, 1e-6))


def _cut(image: Pixels, box: Floats) -> Pixels:
    """The box's content, straightened."""
    width, height = (max(1, int(side)) for side in _sides(box))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    transform = cv2.getPerspectiveTransform(box, corners)
    crop = cv2.warpPerspective(
        image, transform, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    return np.asarray(crop, dtype=np.uint8)


def _line(crop: Pixels, *, height: int, longest: int) -> Floats:
    """(3, height, width) BGR in [-1, 1]."""
    width = int(np.clip(np.ceil(height * crop.shape[1] / crop.shape[0]), 8, longest))
    pixels = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, ::-1].astype(np.float32)
    return np.ascontiguousarray((pixels / 127.5 - 1.0).transpose(2, 0, 1))


def _turn_back(
    box: tuple[tuple[float, float], ...], turned: int, width: int, height: int
) -> tuple[tuple[float, float], ...]:
    """A box of the turned picture in the coordinates of the given one, (width, height) being the given one's size."""
    if turned == 90:
        return tuple((y, height - x) for x, y in box)
    if turned == 180:
        return tuple((width - x, height - y) for x, y in box)
    if turned == 270:
        return tuple((width - y, x) for x, y in box)
    return box
