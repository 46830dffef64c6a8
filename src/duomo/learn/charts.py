"""Charts as SVG, drawn with the page's own colours; and a run's training curves as a file of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from duomo.learn.page import Html, escaped, say, tag
from duomo.media.audio import Samples

Point = tuple[float, float]

WIDTH, HEIGHT = 360, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40


def _ticks(high: float, *, low: float = 0.0, count: int = 5) -> list[float]:
    """Round numbers from at or above `low` to at or below `high`."""
    rough = (high - low) / count or 1.0
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def percent(value: float) -> str:
    return f"{value * 100:.3g}%"


def plain(value: float) -> str:
    return f"{value:.4g}"


class Plane:
    """A square of axes: turns values into places."""

    def __init__(self, x: Point, y: Point, *, form: tuple[Callable[[float], str], Callable[[float], str]]) -> None:
        self.x_range, self.y_range, self.form = x, y, form

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT), 2)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(HEIGHT - BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 2)

    def path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{self.x(x)} {self.y(y)}" for x, y in points)

    def axes(self, names: tuple[Html, Html]) -> list[Html]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for value in _ticks(self.y_range[1], low=self.y_range[0]):
            at = self.y(value)
            parts += [
                tag("line", class_="grid", x1=LEFT, x2=right, y1=at, y2=at),
                tag("text", self.form[1](value), x=LEFT - 6, y=at + 4, text_anchor="end"),
            ]
        for value in _ticks(self.x_range[1], low=self.x_range[0]):
            parts.append(tag("text", self.form[0](value), x=self.x(value), y=bottom + 15, text_anchor="middle"))
        parts.append(tag("line", class_="axis", x1=LEFT, x2=right, y1=bottom, y2=bottom))
        middle = (LEFT + right) / 2, (TOP + bottom) / 2
        parts.append(tag("text", _spans(names[0]), x=middle[0], y=HEIGHT - 6, text_anchor="middle"))
        turned = f"translate(11 {middle[1]}) rotate(-90)"
        parts.append(tag("text", _spans(names[1]), transform=turned, text_anchor="middle"))
        return parts


def _spans(text: Html) -> Html:
    """`say` inside a drawing: SVG has tspan, not span."""
    return Html(text.replace("<span ", "<tspan ").replace("</span>", "</tspan>"))


def _drawing(label: tuple[str, str], *parts: object) -> Html:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=" / ".join(label))


def _callout(plane: Plane, x: float, y: float, text: Html) -> list[Html]:
    """A ring around a point with its words on the side that has room."""
    left = plane.x(x) > WIDTH * 0.6
    at = plane.x(x) - 9 if left else plane.x(x) + 9
    below = plane.y(y) < TOP + 20
    return [
        tag("circle", class_="here", cx=plane.x(x), cy=plane.y(y), r=5),
        tag("text", _spans(text), class_="callout", x=at, y=plane.y(y) + (18 if below else -9),
            text_anchor="end" if left else "start"),
    ]  # fmt: skip


def reliability(bins: Sequence[Mapping[str, float]]) -> Html:
    """Confidence against accuracy: on the dashed line the model's probabilities are true."""
    low = min([0.9, *(min(b["confidence"], b["accuracy"]) for b in bins)])
    low = max(0.0, math.floor(low * 10) / 10)
    plane = Plane((low, 1), (low, 1), form=(percent, percent))
    points = [(b["confidence"], b["accuracy"]) for b in bins]
    return _drawing(
        ("Reliability diagram", "可靠性图"),
        plane.axes((say("confidence", "置信度"), say("accuracy", "准确率"))),
        [
            tag("line", class_="gap", x1=plane.x(x), x2=plane.x(x), y1=plane.y(x), y2=plane.y(y))
            for x, y in points
            if abs(x - y) > 1e-6
        ],
        tag("line", class_="ideal", x1=plane.x(low), y1=plane.y(low), x2=plane.x(1), y2=plane.y(1)),
        tag("path", class_="curve", d=plane.path(points)) if len(points) > 1 else None,
        [tag("circle", class_="dot", cx=plane.x(x), cy=plane.y(y), r=4) for x, y in points],
    )


def risk_coverage(curve: Sequence[Point], *, here: Point | None) -> Html:
    """Error among the rows that are answered. `here`: (coverage, error) of the model's own threshold."""
    high = max(0.02, max(y for x, y in curve if x >= 0.05 or x == curve[-1][0]) * 1.15)
    plane = Plane((0, 1), (0, high), form=(percent, percent))
    shown = [(x, min(y, high)) for x, y in curve]
    area = [(shown[0][0], 0.0), *shown, (shown[-1][0], 0.0)]
    return _drawing(
        ("Risk-coverage curve", "风险覆盖曲线"),
        plane.axes((say("answered", "自动回答的比例"), say("errors among them", "其中的错误率"))),
        tag("path", class_="under", d=plane.path(area) + "Z"),
        tag("path", class_="curve", d=plane.path(shown)),
        _callout(
            plane,
            here[0],
            min(here[1], high),
            say(
                "{a}% answered, {e}% wrong", "回答 {a}%，错误 {e}%", a=f"{here[0] * 100:.1f}", e=f"{here[1] * 100:.1f}"
            ),
        )
        if here
        else None,
    )


def roc(curve: Sequence[Point], *, here: Point | None) -> Html:
    """Rows out of scope that are noticed against rows in scope that are turned away."""
    plane = Plane((0, 1), (0, 1), form=(percent, percent))
    return _drawing(
        ("ROC curve of out-of-scope detection", "超范围检测的 ROC 曲线"),
        plane.axes((say("in scope, turned away", "范围内被误拒"), say("out of scope, noticed", "超范围被识别"))),
        tag("path", class_="under", d=plane.path([*curve, (1.0, 0.0)]) + "Z"),
        tag("line", class_="ideal", x1=plane.x(0), y1=plane.y(0), x2=plane.x(1), y2=plane.y(1)),
        tag("path", class_="curve", d=plane.path(curve)),
        _callout(
            plane,
            *here,
            say(
                "{r}% noticed, {f}% turned away",
                "识别 {r}%，误拒 {f}%",
                r=f"{here[1] * 100:.1f}",
                f=f"{here[0] * 100:.1f}",
            ),
        )
        if here
        else None,
    )


def scatter(points: Sequence[Point]) -> Html:
    """True numbers across, predicted ones up."""
    values = [value for point in points for value in point]
    low, high = min(values), max(values)
    margin = (high - low or 1) * 0.05
    plane = Plane((low - margin, high + margin), (low - margin, high + margin), form=(plain, plain))
    return _drawing(
        ("Predicted against true numbers", "预测值与真实值"),
        plane.axes((say("true", "真实值"), say("predicted", "预测值"))),
        tag("line", class_="ideal", x1=plane.x(low), y1=plane.y(low), x2=plane.x(high), y2=plane.y(high)),
        [tag("circle", class_="point", cx=plane.x(x), cy=plane.y(y), r=3) for x, y in points],
    )


def waveform(samples: Samples, *, columns: int = 160) -> Html:
    """The loudest swing of each stretch of a sound; (samples,) in [-1, 1]."""
    stretches = np.array_split(np.abs(samples), min(columns, max(1, len(samples))))
    peaks = np.array([float(part.max(initial=0.0)) for part in stretches])
    peaks = peaks / max(float(peaks.max(initial=0.0)), 0.05)
    path = "".join(f"M{i * 2 + 1} {24 - 22 * p:.1f}V{24 + 22 * p:.1f}" for i, p in enumerate(np.maximum(peaks, 0.02)))
    return tag(
        "svg", tag("path", d=path), class_="wave", viewBox=f"0 0 {len(peaks) * 2} 48", preserveAspectRatio="none",
        role="img", aria_label="Waveform / 波形",
    )  # fmt: skip


# --- training curves

COLOURS = ("#0b6b5d", "#b0561a", "#2450a8", "#8a3d9c", "#5f6b67", "#a3122f")
PANEL = 250
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#4a5652}.n{font-weight:600;fill:#17201d}.g{stroke:#dde2e0}.p{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#bcc7c3}.n{fill:#eef2f0}.g{stroke:#2e3835}.p{fill:#161c1a}"
    ".c{filter:brightness(1.7)}}"
)


def plots(metrics: Path) -> str:
    """Draw the figures that a run wrote by epoch, as one SVG file.

    Args:
        metrics: `metrics.jsonl`; a line an epoch, {"epoch", NAME: number, ...}. Its texts, such as "network" or
            "stage", tell several trainings of one run apart; each has its own panels. Half a line at the end is left
            out.
    """
    series = _series(metrics)
    panels: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for (run, name), points in series.items():
        kind = "loss" if "loss" in name else "seconds" if "seconds" in name else "rate" if "rate" in name else "score"
        panels.setdefault((run, kind), {})[name] = points
    drawn = [_panel(f"{run} {kind}".strip(), lines, i) for i, ((run, kind), lines) in enumerate(sorted(panels.items()))]
    width, height = 720, max(1, math.ceil(len(drawn) / 2)) * PANEL + 10
    body = escaped(drawn) if drawn else tag("text", "no epochs yet", x=20, y=40)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>Training curves</title><style>{STYLE}</style>'
        f'<rect class="p" width="{width}" height="{height}"/>{body}</svg>\n'
    )


def _series(metrics: Path) -> dict[tuple[str, str], list[Point]]:
    found: dict[tuple[str, str], list[Point]] = {}
    for text in metrics.read_text("utf-8").splitlines() if metrics.is_file() else []:
        try:
            entry = json.loads(text)
        except json.JSONDecodeError:
            continue  # the run was killed while writing it
        if not isinstance(entry, dict) or "epoch" not in entry:
            continue
        run = " ".join(value for value in entry.values() if isinstance(value, str))
        for name, value in entry.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if number and name not in ("epoch", "step"):
                found.setdefault((run, name), []).append((float(entry["epoch"]), float(value)))
    return found


def _panel(title: str, lines: Mapping[str, Sequence[Point]], number: int) -> Html:
    points = [point for line in lines.values() for point in line]
    last = max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    low = 0.0 if 0 <= low < high * 0.5 else low
    high = high if high > low else low + 1
    left, top = 56 + number % 2 * 360, 44 + number // 2 * PANEL
    across, down = 280, PANEL - 84

    def place(point: Point) -> str:
        x = left + (point[0] - 1) / max(1.0, last - 1) * across
        return f"{x:.1f} {top + (high - point[1]) / (high - low) * down:.1f}"

    parts = [tag("text", title, class_="n", x=left, y=top - 26)]
    for value in _ticks(high, low=low, count=4):
        y = round(top + (high - value) / (high - low) * down, 1)
        parts.append(tag("line", class_="g", x1=left, x2=left + across, y1=y, y2=y))
        parts.append(tag("text", plain(value), x=left - 6, y=y + 4, text_anchor="end"))
    for value in sorted({1, round((1 + last) / 2), int(last)}):
        parts.append(tag("text", str(value), x=place((value, low)).split()[0], y=top + down + 16, text_anchor="middle"))
    parts.append(tag("text", "epoch", x=left + across, y=top + down + 32, text_anchor="end"))
    at = left
    for colour, (name, line) in zip(COLOURS * len(lines), lines.items(), strict=False):
        path = "M" + "L".join(map(place, line))
        parts.append(
            tag("path", class_="c", d=path, stroke=colour, stroke_width=2, fill="none", stroke_linejoin="round")
        )
        if len(line) == 1:
            x_at, y_at = place(line[0]).split()
            parts.append(tag("circle", class_="c", cx=x_at, cy=y_at, r=3, fill=colour))
        parts.append(tag("rect", class_="c", x=at, y=top - 17, width=10, height=3, fill=colour))
        parts.append(tag("text", name, x=at + 14, y=top - 12))
        at += 24 + int(6.6 * len(name))
    return tag("g", parts)
