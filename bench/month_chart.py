"""The simulated month as a picture: accuracy and hand-overs by week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 40
INK, GREY, LIVE, CHOSEN, DRAWN = "#1b2a33", "#c9d2d8", "#0c7285", "#0c7285", "#b0472a"

STYLE = f"text {{ font: 12px system-ui, sans-serif; fill: {INK}; }} .title {{ font-weight: 600; font-size: 13px; }}"

Point = tuple[float, float]


def chart(found: Mapping[str, Any]) -> str:
    """SVG with three panels."""
    weeks = found["weeks"]
    by_week = [f"week {week['week']}" for week in weeks]
    by_labels = [f"{found['budget'] * int(week)} labels" for week in sorted(found["choosing"])]
    panels = [
        _panel("Right, live, on the week's own turns", by_week, _live(weeks)),
        _panel("Right on who comes afterwards", by_labels, _choosing(found["choosing"])),
        _panel("Conversations handed over, and as predicted", by_week, _handed(weeks)),
    ]
    inside = "".join(f'<g transform="translate({WIDTH * at} 0)">{panel}</g>' for at, panel in enumerate(panels))
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    paper = f'<rect width="{WIDTH * len(panels)}" height="{HEIGHT}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{paper}{inside}</svg>\n'


def _live(weeks: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for key, colour, dash in (("all", LIVE, ""), ("ways of asking new", "#7a8a94", "4 3")):
        rows = [(week["week"], week["accuracy"][key]) for week in weeks if key in week["accuracy"]]
        if key == "all":
            parts.append(_band([(at, one["low"], one["high"]) for at, one in rows], colour))
        parts.append(_line([(at, one["right"]) for at, one in rows], colour, dash))
    return "".join(parts) + _legend(
        [("all turns, 95 % interval", LIVE, ""), ("never labelled before", "#7a8a94", "4 3")]
    )


def _choosing(compared: Mapping[str, Any]) -> str:
    chosen: list[Point] = []
    drawn: list[tuple[float, float, float, float]] = []
    for week, row in sorted(compared.items()):
        at = float(week) + 1
        own = row.get("active") or row["start"]
        chosen.append((at, own["all"]["right"]))
        rates = [one["all"]["right"] for name, one in row.items() if name.startswith("random")] or [chosen[-1][1]]
        drawn.append((at, sum(rates) / len(rates), min(rates), max(rates)))
    band = _band([(at, low, high) for at, _, low, high in drawn], DRAWN)
    lines = _line([(at, mean) for at, mean, _, _ in drawn], DRAWN, "4 3") + _line(chosen, CHOSEN, "")
    return band + lines + _legend([("chosen by value", CHOSEN, ""), ("at random: mean, range", DRAWN, "4 3")])


def _handed(weeks: Sequence[Mapping[str, Any]]) -> str:
    bars = ""
    for week in weeks:
        told = week.get("forecast")
        if told:
            x, y1, y2 = _x(week["week"]), _y(told["low"]), _y(told["high"])
            bars += f'<path d="M{x} {y1}V{y2}M{x - 6} {y1}h12M{x - 6} {y2}h12" stroke="{DRAWN}" stroke-width="2"/>'
    line = _line([(week["week"], week["handover_rate"]) for week in weeks], LIVE, "")
    return bars + line + _legend([("happened", LIVE, ""), ("predicted the week before, 95 %", DRAWN, "")])


def _panel(title: str, ticks: Sequence[str], inside: str) -> str:
    grid = ""
    for tick in range(0, 101, 20):
        y = _y(tick / 100)
        grid += f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{GREY}" stroke-width=".7"/>'
        grid += f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick} %</text>'
    for at, name in enumerate(ticks, 1):
        grid += f'<text x="{_x(at)}" y="{HEIGHT - 18}" text-anchor="middle">{escape(name)}</text>'
    return f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>{grid}{inside}'


def _x(week: float) -> float:
    return round(LEFT + 24 + (week - 1) / 4 * (WIDTH - LEFT - RIGHT - 48), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _line(points: Sequence[Point], colour: str, dash: str) -> str:
    if not points:
        return ""
    path = "M" + "L".join(f"{_x(at)} {_y(value)}" for at, value in points)
    dots = "".join(f'<circle cx="{_x(at)}" cy="{_y(value)}" r="3" fill="{colour}"/>' for at, value in points)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>{dots}'


def _band(rows: Sequence[tuple[float, float, float]], colour: str) -> str:
    if not rows:
        return ""
    there = [f"{_x(at)} {_y(high)}" for at, _, high in rows]
    back = [f"{_x(at)} {_y(low)}" for at, low, _ in reversed(rows)]
    return f'<path d="M{"L".join([*there, *back])}Z" fill="{colour}" opacity=".15"/>'


def _legend(entries: Sequence[tuple[str, str, str]]) -> str:
    parts = ""
    for at, (name, colour, dash) in enumerate(entries):
        y = HEIGHT - BOTTOM - 14 - 17 * (len(entries) - 1 - at)
        line = f'<line x1="{LEFT + 10}" x2="{LEFT + 34}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"'
        parts += f'{line} stroke-dasharray="{dash}"/><text x="{LEFT + 40}" y="{y + 4}">{escape(name)}</text>'
    return parts
