"""Text is read whatever way the picture is held, in the order a person reads it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from duomo.models.ocr import PPOCR, Line, reading_order, tiles
from tests.models.sounds import DATA

ZH = "订单编号 20261123\n退款将在三个工作日内到账\n错误代码 E21 请联系客服"
ROWS = ["Order 4711 has been shipped", "Tracking number LT 90210", "Call us between nine and five"]


@pytest.fixture(scope="module")
def ocr() -> PPOCR:
    return PPOCR()


def drawn(rows: list[str], *, width: int = 640, size: int = 28, step: int = 60) -> np.ndarray:
    image = Image.new("RGB", (width, step * len(rows) + step), "white")
    draw = ImageDraw.Draw(image)
    for index, row in enumerate(rows):
        draw.text((30, step // 2 + index * step), row, font=ImageFont.load_default(size), fill="black")
    return np.asarray(image)


def spaceless(text: str) -> str:
    return text.replace(" ", "")


def test_chinese_and_digits_are_read_exactly(ocr: PPOCR):
    reading = ocr.read(np.asarray(Image.open(DATA / "zh.png").convert("RGB")))
    assert spaceless(reading.text) == spaceless(ZH)
    assert (len(reading.lines), reading.size, reading.turned) == (3, (640, 260), 0)
    assert reading.confidence > 0.95


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_page_held_any_way_reads_the_same(ocr: PPOCR, quarters: int):
    upright = drawn(ROWS)
    held = np.ascontiguousarray(np.rot90(upright, k=quarters))  # counter-clockwise
    reading = ocr.read(held)
    assert (spaceless(reading.text), reading.turned) == (spaceless("\n".join(ROWS)), 90 * quarters)
    # The first row's first letters are dark where its box begins, in the coordinates of the picture as given.
    (ax, ay), _, (cx, cy), _ = reading.lines[0].box
    x, y = sorted((int(ax), int(cx))), sorted((int(ay), int(cy)))
    inside = held[y[0] : y[1] + 1, x[0] : x[1] + 1]
    assert (inside < 128).sum() > 0.9 * (upright[:80] < 128).sum()


def test_a_slightly_turned_page_keeps_its_rows(ocr: PPOCR):
    image = Image.fromarray(drawn(ROWS)).rotate(6, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
    assert spaceless(ocr.read(np.asarray(image)).text) == spaceless("\n".join(ROWS))


@pytest.mark.parametrize("degrees", [0, 5, -5])
def test_columns_of_a_row_stand_beside_each_other(ocr: PPOCR, degrees: int):
    image = Image.fromarray(drawn(["Price of the lamp", "Cost of the delivery", "Altogether"], width=700))
    draw = ImageDraw.Draw(image)
    for index, value in enumerate(["one hundred", "nothing at all", "one hundred"]):
        draw.text((420, 30 + index * 60), value, font=ImageFont.load_default(28), fill="black")
    image = image.rotate(degrees, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
    assert ocr.read(np.asarray(image)).text.split("\n") == [
        "Price of the lamp one hundred",
        "Cost of the delivery nothing at all",
        "Altogether one hundred",
    ]


def test_a_long_screenshot_is_read_to_its_end_and_every_row_once(ocr: PPOCR):
    rows = [f"Message number {index}" for index in range(1, 61)]
    reading = ocr.read(drawn(rows, width=420, size=24, step=70))
    assert [spaceless(row) for row in reading.text.split("\n")] == [spaceless(row) for row in rows]


def test_a_picture_without_text_has_none(ocr: PPOCR):
    y, x = np.mgrid[0:300, 0:400]
    hills = np.stack([128 + 60 * np.sin(x / 60), 120 + 60 * np.cos(y / 50), 90 + 20 * np.sin((x + y) / 90)], axis=2)
    reading = ocr.read(hills.astype(np.uint8))
    assert (reading.text, reading.lines, reading.confidence, reading.turned) == ("", (), 0.0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (200, 5), (32, 32), (1, 4000), (3000, 4000)])
def test_a_picture_of_any_size_is_read(ocr: PPOCR, shape: tuple[int, int]):
    assert ocr.read(np.full((*shape, 3), 255, dtype=np.uint8)).text == ""


def test_small_print_in_a_big_photo_survives_the_scaling(ocr: PPOCR):
    page = np.full((2400, 3200, 3), 255, dtype=np.uint8)
    rows = drawn(ROWS, width=1400, size=64, step=140)
    page[900 : 900 + len(rows), 700:2100] = rows
    assert spaceless(ocr.read(page).text) == spaceless("\n".join(ROWS))


def line(text: str, x: float, y: float, *, width: float = 100, height: float = 20) -> Line:
    return Line(text, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)), 1.0)


def test_rows_go_down_and_lines_go_right():
    lines = [line("d", 200, 52), line("a", 0, 0), line("c", 0, 48), line("b", 200, 6)]
    assert [[each.text for each in row] for row in reading_order(lines)] == [["a", "b"], ["c", "d"]]


def test_lines_above_each_other_never_share_a_row():
    lines = [line("a", 0, 0, height=40), line("b", 10, 15, height=40)]
    assert [[each.text for each in row] for row in reading_order(lines)] == [["a"], ["b"]]


def test_tiles_cover_the_long_side_and_overlap():
    assert tiles(90, 430, side=150, overlap=0.1) == [
        (0, 0, 90, 150),
        (0, 135, 90, 150),
        (0, 270, 90, 150),
        (0, 280, 90, 150),
    ]
    assert tiles(430, 200, side=150, overlap=0.1) == [(0, 0, 300, 200), (130, 0, 300, 200)]
