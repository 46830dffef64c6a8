"""An evaluation for people: one HTML file with every figure, chart and the worst errors; or text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from duomo.errors import MediaError
from duomo.learn import charts
from duomo.learn.evaluate import MATRIX, Comparison, Detail, Error, Evaluation, HeadComparison, Table
from duomo.learn.metrics import Difference, Figure, Measured
from duomo.learn.page import Html, data_uri, escaped, page, say, tag
from duomo.learn.wording import COLUMNS, FIGURES, HEADLINES, KINDS, NOTHING, TYPES, UNHARMED, Words
from duomo.media import audio, image
from duomo.models.encoders import read
from duomo.types import Sample

SHOWN_ERRORS = 12
ENOUGH = 20  # rows of a kind from which on it decides how far an axis goes
MOST_SOUND_S = 12.0  # longer sounds are cut, to keep the file small
MOST_TEXT = 1200  # characters of a sample's text


def to_html(
    evaluation: Evaluation,
    *,
    title: str = "model",
    model: Mapping[str, str] | None = None,
    comparison: Comparison | None = None,
    sections: Sequence[tuple[str, Html, Html]] = (),
) -> str:
    """The report: one file that asks nothing of any network.

    Args:
        title: the model's name.
        model: facts of the model for the last section, e.g. fusion, version, SHA-256.
        comparison: with another model on the same samples.
        sections: (id, name, content) that come first.
    """
    heads = list(evaluation.heads)
    links: list[tuple[str, object]] = [(id, name) for id, name, _ in sections]
    links += [(_anchor(i), name) for i, name in enumerate(heads)]
    links += [("comparison", say("Comparison", "对比"))] if comparison else []
    links.append(("origin", say("Model and data", "模型与数据")))
    return page(
        f"{title} · Duomo",
        _intro(evaluation, title),
        [content for _, _, content in sections],
        [_head(evaluation, name, i) for i, name in enumerate(heads)],
        comparison_section(comparison) if comparison else None,
        _origin(evaluation, model or {}),
        links=links,
    )


def _anchor(number: int) -> str:
    return f"head-{number + 1}"


def _kind(detail: Detail) -> str:
    return "scope" if "out_of_scope_auroc" in detail.measured.figures else detail.type


def _intro(evaluation: Evaluation, title: str) -> Html:
    return tag(
        "div",
        tag("h1", say("How well {model} understands", "{model} 理解得有多好", model=title)),
        tag(
            "p",
            say(
                "Every figure stands with its 95% interval: resampled {resamples} times, with the rows of one group "
                "(a conversation, a customer) always together.",
                "每个指标都附 95% 区间：重抽样 {resamples} 次，同组（同一会话、同一客户）的样本始终在一起。",
                resamples=f"{evaluation.resamples:,}",
            ),
            class_="lead",
        ),
        tag(
            "ul",
            tag("li", say("{n} samples", "{n} 个样本", n=f"{evaluation.n:,}"), class_="chip"),
            tag("li", say("{n} heads", "{n} 个任务头", n=len(evaluation.heads)), class_="chip")
            if len(evaluation.heads) > 1
            else None,
            tag("li", say("seed {seed}", "随机种子 {seed}", seed=evaluation.seed), class_="chip"),
            class_="chips",
        ),
        class_="intro",
    )


# --- figures


def _name(figure: str) -> Html:
    return say(FIGURES[figure].en, FIGURES[figure].zh)


def shown(name: str, value: float) -> str:
    """A figure's value as people read it, without its unit."""
    size = abs(value)
    if _unit(name):
        text = f"{size * 100:.1f}"
    else:
        text = f"{size:.2f}" if 0.1 <= size < 100 else f"{size:.3f}" if size < 0.1 else f"{size:.4g}"
    return f"−{text}" if value < 0 and float(text) else text


def share(value: float) -> str:
    """A probability as people read it: never "100%" for what is only near."""
    if 0 < value < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < value < 1 else f"{value * 100:.1f}%"


def breakable(label: str) -> Html:
    """A label that may go on in the next line after a joint, not in the middle of a word."""
    return Html(re.sub(r"([_./:-])(?=\w)", r"\1<wbr>", escaped(label)))


def _between(name: str, figure: Figure) -> str:
    assert figure.low is not None
    assert figure.high is not None
    return f"{shown(name, figure.low)}–{shown(name, figure.high)}"


def _unit(name: str) -> str:
    return "%" if name not in FIGURES or FIGURES[name].form == "percent" else ""


def _headline(name: str, figure: Figure, *, first: bool) -> Html:
    words = FIGURES[name]
    assert figure.value is not None
    gauge = None
    if words.form == "percent":
        style = f"--v:{figure.value * 100:.2f};--lo:{(figure.low or 0) * 100:.2f};--hi:{(figure.high or 0) * 100:.2f}"
        gauge = tag("div", tag("i"), tag("u"), class_="gauge", style=style, aria_hidden="true")
    return tag(
        "div",
        tag("div", say(words.en, words.zh), class_="name"),
        tag("div", shown(name, figure.value), tag("span", _unit(name), class_="unit") if _unit(name) else None,
            class_="value"),
        tag("div", _between(name, figure), class_="between"),
        gauge,
        tag("div", say(words.en_hint, words.zh_hint), class_="hint") if words.en_hint else None,
        class_="figure first" if first else "figure",
    )  # fmt: skip


def _head(evaluation: Evaluation, name: str, number: int) -> Html:
    detail = evaluation.heads[name]
    figures = detail.measured.figures
    if not figures:
        note = say("No sample has a label for this head.", "没有样本标注了这个任务头。")
        return tag("section", tag("h2", name), tag("p", note, class_="muted"), class_="head", id=_anchor(number))
    wanted = [key for key in HEADLINES[_kind(detail)] if key in figures and figures[key].value is not None]
    wanted = wanted[: len(wanted) - (len(wanted) + 1) % 2]  # the first stands beside two equal rows
    return tag(
        "section",
        tag(
            "header",
            tag(
                "div",
                tag("h2", name),
                tag("span", say(*TYPES[detail.type]), class_="chip accent"),
                tag("span", _counted(detail.measured), class_="chip"),
                tag("span", say("{n} labels", "{n} 个标签", n=len(detail.labels)), class_="chip")
                if detail.labels
                else None,
                class_="title",
            ),
            _verdict(detail),
        ),
        tag(
            "div",
            [_headline(key, figures[key], first=not i) for i, key in enumerate(wanted)],
            class_="cards",
            style=f"--across:{max(1, len(wanted) // 2)}",
        ),
        _charts(detail),
        _confusion(detail, number),
        _kinds(evaluation, evaluation.by_forced_pattern, name,
            say("With less than everything", "信息不全时"),
            say("The same model, with modalities taken away from every row that has them.",
                "同一个模型，从具备这些模态的样本中拿走其余模态。"),
        ),
        _kinds(evaluation, evaluation.by_pattern, name,
            say("By what the samples have", "按样本实际具备的模态"),
            say("Rows as they came.", "样本原样。"),
        ),
        _kinds(evaluation, evaluation.by_corruption, name,
            say("Under damage", "受损输入"),
            say("Rows with a damaged text, picture or sound.",
                "文本、图片或声音受损的样本。"),
        ),
        _kinds(
            evaluation, evaluation.by_language, name,
            say("By language", "按语言"),
            say("Of the text.", "按文本语言。"),
        ),
        _classes(detail, number),
        _errors(detail),
        _all_figures(detail),
        class_="head",
        id=_anchor(number),
        aria_label=name,
    )  # fmt: skip


def _counted(measured: Measured) -> Html:
    if measured.groups == measured.n:
        return say("{n} rows", "{n} 个样本", n=f"{measured.n:,}")
    return say("{n} rows in {g} groups", "{n} 个样本，{g} 组", n=f"{measured.n:,}", g=f"{measured.groups:,}")


def _verdict(detail: Detail) -> Html | None:
    """The result in a sentence that needs no statistics."""
    accuracy = detail.measured.figures.get("accuracy")
    if detail.type != "class" or accuracy is None or accuracy.value is None:
        return None
    bold = tag("b", f"{accuracy.value * 100:.0f}")
    parts = [say("Of 100 samples, {right} get the right answer.", "每 100 个样本中，{right} 个判断正确。", right=bold)]
    covered = [point for point in detail.risk_coverage if point[0] <= 0.805]
    if covered and accuracy.value < 1:
        kept = tag("b", f"{(1 - covered[-1][1]) * 100:.1f}%")
        parts.append(
            say(" Leave the least certain fifth to people, and {kept} of the rest are right.",
                "把最没把握的五分之一交给人工，其余的正确率为 {kept}。", kept=kept)
        )  # fmt: skip
    return tag("p", *parts, class_="verdict")


# --- charts


def _card(name: Html, about: Html | None, *body: object, class_: str = "") -> Html:
    header = tag("header", tag("h3", name), tag("p", about) if about else None)
    return tag("div", header, *body, class_=f"card {class_}".strip())


def _charts(detail: Detail) -> Html | None:
    drawn = []
    if detail.reliability:
        drawn.append(_card(
            say("Can its confidence be believed?", "置信度可信吗？"),
            say("Reliability: on the dashed line, rows it is 80% sure of are right 80% of the time. This many rows "
                "would show {chance}% error by chance alone.",
                "可靠性图：在虚线上，80% 把握的样本恰有 80% 正确。样本有限，仅偶然就会显示 {chance}% 的误差。",
                chance=shown("ece_by_chance", detail.measured.figures["ece_by_chance"].value or 0)),
            charts.reliability(detail.reliability), class_="chart",
        ))  # fmt: skip
    if len(detail.risk_coverage) > 1:
        drawn.append(_card(
            say("What if it answers less?", "少回答一些会怎样？"),
            say("Risk and coverage: errors among the answers when the least certain rows go to people. The ring is the "
                "model's own threshold.",
                "风险与覆盖：把最没把握的样本转给人工后，其余的错误率。圆环为模型自己的阈值。"),
            charts.risk_coverage(detail.risk_coverage, here=_working_point(detail)), class_="chart",
        ))  # fmt: skip
    if detail.out_of_scope_roc and detail.measured.figures["out_of_scope_auroc"].value is not None:
        drawn.append(_card(
            say("Does it notice what it cannot know?", "能否识别超出范围的问题？"),
            say("Out-of-scope ROC. The ring is the model's own threshold.", "超范围检测 ROC。圆环为模型自己的阈值。"),
            charts.roc(detail.out_of_scope_roc, here=_scope_point(detail)), class_="chart",
        ))  # fmt: skip
    if len(detail.points) > 1:
        drawn.append(_card(
            say("Predicted against true", "预测值与真实值"),
            say("On the dashed line a prediction is exact.", "虚线上的预测完全准确。"),
            charts.scatter(detail.points), class_="chart",
        ))  # fmt: skip
    return tag("div", drawn, class_="charts") if drawn else None


def _working_point(detail: Detail) -> tuple[float, float] | None:
    figures = detail.measured.figures
    left, right = figures.get("abstention_rate"), figures.get("accuracy_answered")
    if left is None or right is None or left.value is None or right.value is None or not 0 < left.value < 1:
        return None
    return 1 - left.value, 1 - right.value


def _scope_point(detail: Detail) -> tuple[float, float] | None:
    recall = detail.measured.figures["out_of_scope_recall"].value
    if detail.confusion is None or recall is None:
        return None
    beyond = _beyond(detail)
    inside = np.delete(detail.confusion, beyond, axis=0)
    return float(inside[:, beyond].sum() / max(1, inside.sum())), recall


def _beyond(detail: Detail) -> int:
    """Place of the out-of-scope label: after the model's own, before labels that it does not know (those have no
    column of their own in the figures by class)."""
    assert detail.out_of_scope is not None
    return detail.labels.index(detail.out_of_scope)


# --- confusion


def _confusion(detail: Detail, number: int) -> Html | None:
    if detail.confusion is None:
        return None
    pairs = detail.confused()
    if len(detail.labels) <= MATRIX:
        return _card(
            say("Confusion matrix", "混淆矩阵"),
            say("True label down, answer across; the shade is the share of the row.",
                "纵向为真实标签，横向为回答；颜色深浅为该行中的比例。"),
            _matrix(detail),
        )  # fmt: skip
    if not pairs:
        return None
    f1 = detail.measured.per_class["f1"]
    order = sorted(
        (c for c in range(len(detail.labels)) if f1[c].value is not None and detail.support[c]),
        key=lambda c: f1[c].value or 0,
    )
    counts = detail.confusion.sum(axis=1)
    place = {label: c for c, label in enumerate(detail.labels)}
    rows = [
        tag(
            "tr",
            tag(
                "th",
                tag("span", tag("span", breakable(true)), ARROW, tag("span", breakable(predicted)), class_="pair"),
                scope="row",
            ),
            tag("td", n),
            tag("td", _meter(n / max(1, int(counts[place[true]]))), class_="wide"),
        )
        for true, predicted, n in pairs[:12]
    ]
    taken = _table(
        say("Most often taken for another", "最常混淆的标签"),
        [
            say("true → answered", "真实 → 回答"),
            say("rows", "样本"),
            say("of its rows", "占比"),
        ],
        rows,
        wide=1,
    )
    worst = _table(
        say("Weakest labels", "最弱的标签"),
        [say("label", "标签"), say("rows", "样本"), say("F1, 95% interval", "F1，95% 区间")],
        [
            tag("tr", tag("th", breakable(detail.labels[c]), scope="row"), tag("td", f"{detail.support[c]:,}"),
                tag("td", _span("f1", f1[c], (0.0, 1.0), None), class_="wide"))
            for c in order[:15]
        ],
        wide=1,
    )  # fmt: skip
    return tag(
        "div",
        _card(
            say("What it mixes up", "容易混淆的标签"),
            say("Labels most often taken for another.", "最常被误认的标签。"),
            taken,
        ),
        _card(say("Where it is weakest", "最薄弱之处"), say("Labels with the lowest F1.", "F1 最低的标签。"), worst),
        class_="charts",
    )


ARROW = Html('<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12h14m-6-6 6 6-6 6"/></svg>')


def _meter(share: float) -> Html:
    bar = tag("span", tag("i"), class_="meter", style=f"--v:{share * 100:.1f}", aria_hidden="true")
    return tag("span", bar, " ", tag("span", f"{share * 100:.0f}%", class_="num"))


def _matrix(detail: Detail) -> Html:
    assert detail.confusion is not None
    counts = detail.confusion
    across = [c for c in range(len(detail.labels)) if counts[:, c].any() or counts[c].any()]
    head = tag("tr", tag("td"), [tag("th", tag("span", detail.labels[c], class_="up"), scope="col") for c in across])
    rows = []
    for r in (r for r in across if counts[r].any()):
        cells = []
        for c in across:
            of_row = counts[r, c] / counts[r].sum()
            shade = of_row if r == c else of_row**0.5  # a few errors should be seen
            known = {"same": r == c, "strong": shade > 0.55, "zero": not counts[r, c]}
            classes = [name for name, yes in known.items() if yes]
            cells.append(tag("td", int(counts[r, c]), class_=" ".join(classes) or None, style=f"--v:{shade:.3f}"))
        rows.append(tag("tr", tag("th", detail.labels[r], scope="row", title=detail.labels[r]), cells))
    caption = tag("caption", say("Rows of each label by answer", "各标签的回答分布"))
    table = tag("table", caption, tag("thead", head), tag("tbody", rows))
    return _scrolled(
        table, say_plain="Confusion matrix 混淆矩阵", class_="matrix few" if len(across) <= 8 else "matrix"
    )


def _scrolled(table: Html, *, say_plain: str, class_: str = "") -> Html:
    return tag("div", table, class_=f"scroll {class_}".strip(), tabindex=0, role="group", aria_label=say_plain)


def _table(caption: Html, columns: Sequence[Html], rows: Sequence[Html], *, wide: int = 0) -> Html:
    """Args: wide: how many of the last columns hold bars, which read from the left."""
    first = len(columns) - wide
    head = tag("tr", [tag("th", c, scope="col", class_="wide" if i >= first else None) for i, c in enumerate(columns)])
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", rows))
    return _scrolled(table, say_plain="Table 表格")


# --- tables of intervals


def _span(name: str, figure: Figure, axis: tuple[float, float], reference: float | None) -> Html:
    """The value, and its interval on an axis that all rows of the column share."""
    if figure.value is None or figure.low is None or figure.high is None:
        return tag("span", "–", title=figure.reason, class_="muted")
    low, high = axis
    scale = 100 / ((high - low) or 1)
    places = [f"--{key}:{np.clip((value - low) * scale, 0, 100):.1f}" for key, value in
              (("v", figure.value), ("lo", figure.low), ("hi", figure.high))]  # fmt: skip
    line = None
    if reference is not None:
        places.append(f"--ref:{(reference - low) * scale:.1f}")
        line = tag("u")
    bar = tag("span", line, tag("i"), tag("b"), class_="range", style=";".join(places), aria_hidden="true")
    between = f"{_between(name, figure)}{_unit(name)}"
    value = tag("span", shown(name, figure.value), tag("span", f" ({between})", class_="unseen"), class_="num")
    return tag("span", value, bar, class_="span", title=between)


def _axis(name: str, figures: Sequence[Figure]) -> tuple[float, float]:
    ends = [end for figure in figures for end in (figure.low, figure.high) if end is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    margin = max((high - low) * 0.08, 0.002 if _unit(name) else 1e-6)
    # an axis with room below zero would say that an error, or a share, can be negative
    bounds = (0.0, 1.0) if _unit(name) else (0.0 if low >= 0 else -np.inf, np.inf)
    return float(max(bounds[0], low - margin)), float(min(bounds[1], high + margin))


def _kinds(evaluation: Evaluation, table: Table, head: str, name: Html, about: Html) -> Html | None:
    kinds = {kind: rows[head] for kind, rows in table.items() if head in rows}
    detail = evaluation.heads[head]
    overall = detail.measured
    same = len(kinds) == 1 and next(iter(kinds.values())).figures == overall.figures
    if not kinds or same:
        return None
    columns = [key for key in COLUMNS[_kind(detail)] if key in overall.figures]
    # A handful of rows has intervals so wide that they would hide all others: their ends are cut.
    large = [row for row in kinds.values() if row.n >= ENOUGH]
    axes = {key: _axis(key, [row.figures[key] for row in (overall, *large)]) for key in columns}

    def line(label: object, measured: Measured, *, reference: bool, class_: str | None = None) -> Html:
        cells = [
            tag("td", _span(key, measured.figures[key], axes[key], overall.figures[key].value if reference else None),
                class_="wide")
            for key in columns
        ]  # fmt: skip
        return tag("tr", tag("th", label, scope="row"), tag("td", f"{measured.n:,}"), cells, class_=class_)

    titles = [Html(f"{_name(key)}{tag('span', _axis_words(key, axes[key]), class_='between')}") for key in columns]
    rows = [line(say("all rows", "全部样本"), overall, reference=False, class_="all")]
    rows += [
        line(_kind_name(kind, damage=table is evaluation.by_corruption), measured, reference=True)
        for kind, measured in kinds.items()
    ]
    legend = say(" The dot is the figure, the band its 95% interval, the dashed line all rows.",
                 "圆点为指标，色带为 95% 区间，虚线为全部样本。")  # fmt: skip
    columns_shown = [say("rows with", "样本类型"), say("rows", "样本"), *titles]
    return _card(name, Html(about + legend), _table(name, columns_shown, rows, wide=len(titles)))


def _axis_words(name: str, axis: tuple[float, float]) -> Html:
    return Html(f"<br>{shown(name, axis[0])} … {shown(name, axis[1])}{_unit(name)}")


def _kind_name(kind: str, *, damage: bool = False) -> Html:
    """A pattern ("text+features.lab"), a language or a corruption in words."""
    names = {**KINDS, NOTHING: UNHARMED} if damage else KINDS
    pieces = []
    for part in kind.split("+"):
        bare = part.removeprefix("features.").replace("_", " ")
        pieces.append(say(*names.get(part, (bare, bare))))
    return Html(" + ".join(pieces))


# --- by class


def _classes(detail: Detail, number: int) -> Html | None:
    if not detail.labels:
        return None
    keys = [key for key in ("precision", "recall", "f1") if key in detail.measured.per_class]
    titles = [_sortable(say("label", "标签"), "text"), _sortable(say("rows", "样本"), "number")]
    titles += [_sortable(_name(key), "number", wide=True) for key in keys]
    rows = []
    for c, label in enumerate(detail.labels):
        cells = []
        for key in keys:
            figure = detail.measured.per_class[key][c]
            value = "" if figure.value is None else f"{figure.value:.4f}"
            cells.append(tag("td", _span(key, figure, (0.0, 1.0), None), class_="wide", data_value=value))
        rows.append(tag("tr", tag("th", breakable(label), scope="row"), tag("td", f"{detail.support[c]:,}",
                        data_value=detail.support[c]), cells))  # fmt: skip
    identity = f"classes-{number + 1}"
    caption = tag("caption", say("Label by label", "逐个标签"))
    table = tag("table", caption, tag("thead", tag("tr", titles)), tag("tbody", rows), id=identity)
    box = _scrolled(table, say_plain="Figures by label 各标签指标", class_="tall" if len(rows) > 14 else "")
    search = (
        tag("label", say("Find", "查找"), tag("input", type="search", data_filter=identity)) if len(rows) > 14 else None
    )
    return _card(
        say("Label by label", "逐个标签"),
        say("Press a column's name to sort by it. Bars go from 0 to 100%.", "点击列名排序。横条范围为 0 至 100%。"),
        tag("div", search, class_="filter") if search else None,
        box,
    )


def _sortable(name: Html, kind: str, *, wide: bool = False) -> Html:
    button = tag("button", name, type="button", data_sort=kind)
    return tag("th", button, scope="col", aria_sort="none", class_="wide" if wide else None)


# --- the worst errors


def _errors(detail: Detail) -> Html | None:
    if not detail.errors:
        return None
    shown_errors = detail.errors[:SHOWN_ERRORS]
    about = {
        "class": say("Wrong answers, the most certain first: mislabelled samples and blind spots show here.",
                     "回答错误的样本，最有把握的在前：标注错误与盲区常出现在这里。"),
        "multilabel": say("Most labels wrong first.", "错误标签最多的在前。"),
        "number": say("Farthest off first.", "偏差最大的在前。"),
    }[detail.type]  # fmt: skip
    cards = tag("div", [_error(error) for error in shown_errors], class_="errors")
    return _card(say("The worst errors", "最严重的错误"), about, cards)


def _error(error: Error) -> Html:
    confidence = None
    if error.confidence is not None:
        confidence = say("{p} sure", "置信度 {p}", p=share(error.confidence))
        if error.chance is not None:
            confidence = Html(confidence + say(", {p} for the truth", "，正确答案 {p}", p=share(error.chance)))
    elif error.distance is not None:
        confidence = say("off by {d}", "偏差 {d}", d=f"{error.distance:+.4g}".replace("-", "−"))
    return tag(
        "article",
        tag("dl",
            tag("dt", say("true", "真实")), tag("dd", tag("span", breakable(error.true), class_="chip ok")),
            tag("dt", say("answered", "回答")), tag("dd", tag("span", breakable(error.predicted), class_="chip bad"))),
        _content(error.sample),
        tag("footer", tag("span", confidence) if confidence else None, tag("span", _kind_name(error.pattern)),
            tag("span", error.sample.id, class_="mono")),
        class_="error",
    )  # fmt: skip


def _content(sample: Sample) -> list[Html]:
    """What the sample holds: text, a small picture, a sound to hear; a file that cannot be read by its name."""
    parts = []
    if sample.text is not None:
        cut = sample.text[:MOST_TEXT] + ("…" if len(sample.text) > MOST_TEXT else "")
        parts.append(tag("blockquote", cut or " "))
    for file, draw in ((sample.image, _picture), (sample.audio, _sound), (sample.video, _frame)):
        if file is not None:
            parts.append(_drawn(file, draw))
    for name, vector in sorted(sample.features.items()):
        start = ", ".join(f"{value:.3g}" for value in vector[:8]) + (" …" if len(vector) > 8 else "")
        parts.append(tag("div", tag("span", name, class_="muted"), " ", tag("code", start), class_="small"))
    return parts


def _drawn(file: Path, draw: Callable[[bytes], Html]) -> Html:
    try:
        return draw(file.read_bytes())
    except (OSError, MediaError):
        return tag("div", say("cannot be read: ", "无法读取："), tag("code", file.name), class_="small muted")


def _picture(data: bytes) -> Html:
    return tag("img", src=data_uri(_thumbnail(read("image", data)), "image/jpeg"), alt="")


def _thumbnail(pixels: object) -> bytes:
    return image.thumbnail(image.encode(np.asarray(pixels, dtype=np.uint8)), max_side=160)


def _sound(data: bytes) -> Html:
    samples = np.asarray(read("audio", data), dtype=np.float32)
    start = samples[: int(MOST_SOUND_S * audio.SAMPLING_RATE)]
    player = tag("audio", controls=True, preload="none", src=data_uri(audio.encode_flac(start), "audio/flac"))
    return tag("div", charts.waveform(start), player)


def _frame(data: bytes) -> Html:
    clip = read("video", data)
    return tag("img", src=data_uri(_thumbnail(clip.frames[len(clip.frames) // 2]), "image/jpeg"), alt="")  # type: ignore[union-attr]


# --- all figures, comparison, origin


def _all_figures(detail: Detail) -> Html:
    rows = []
    for name, figure in detail.measured.figures.items():
        words = FIGURES.get(name, Words(name, name))
        value = f"{shown(name, figure.value)}{_unit(name)}" if figure.value is not None else "–"
        note: object = (
            _between(name, figure) if figure.value is not None else tag("span", figure.reason, class_="muted")
        )
        rows.append(
            tag(
                "tr",
                tag("th", say(words.en, words.zh), " ", tag("code", name, class_="muted"), scope="row"),
                tag("td", value),
                tag("td", note),
            )
        )
    columns = [say("figure", "指标"), say("value", "数值"), say("95% interval", "95% 区间")]
    table = _table(say("Every figure of this head", "该任务头的全部指标"), columns, rows)
    return tag("details", tag("summary", say("All {n} figures", "全部 {n} 项指标", n=len(rows))), table, class_="card")


def comparison_section(comparison: Comparison) -> Html:
    return tag(
        "section",
        tag("header", tag("h2", say("{a} against {b}", "{a} 与 {b} 对比", a=comparison.first, b=comparison.second)),
            tag("p", say("On the same rows. The difference is the second model's figure minus the first's; p is the "
                         "chance of a difference this large if both were equally good.",
                         "在相同样本上。差值为第二个模型减第一个；p 为两者同样好时出现这么大差异的概率。"),
                class_="muted")),
        [_compared(name, head, comparison) for name, head in comparison.heads.items()],
        class_="head",
        id="comparison",
    )  # fmt: skip


def _compared(name: str, head: HeadComparison, comparison: Comparison) -> Html:
    keys = [key for key in FIGURES if key in head.figures and key != "subset_accuracy"]
    if "ece" in head.figures:  # of one label a row, these are the accuracy
        keys = [key for key in keys if not key.endswith("_micro")]
    widest = max(
        (max(abs(head.figures[key].low), abs(head.figures[key].high)) for key in keys if _unit(key)), default=0
    )
    rows = [_difference(key, head.figures[key], widest) for key in keys]
    columns = [say("figure", "指标"), breakable(comparison.first), breakable(comparison.second),
               say("difference", "差值"), Html("p"),
               say("95% interval of the difference", "差值的 95% 区间")]  # fmt: skip
    changed = None
    if head.mcnemar is not None:
        changed = tag(
            "p",
            say("{fixed} fixed, {broken} broken; McNemar's exact test: p {p}.",
                "修正 {fixed} 个样本，弄错 {broken} 个；McNemar 精确检验：p {p}。",
                fixed=tag("b", f"{len(head.fixed):,}"), broken=tag("b", f"{len(head.broken):,}"),
                p=_p(head.mcnemar, "= ")),
        )  # fmt: skip
    return _card(tag("span", name), say("{n} rows", "{n} 个样本", n=f"{head.n:,}"), changed,
                 _table(say("Paired comparison", "配对比较"), columns, rows, wide=1))  # fmt: skip


def _difference(name: str, difference: Difference, widest: float) -> Html:
    words = FIGURES[name]
    sure = difference.low > 0 or difference.high < 0
    gain = (difference.value > 0) == (words.better == "high")
    tone = ("plus" if gain else "minus") if sure and words.better != "neither" else None
    reach = (widest if _unit(name) else max(abs(difference.low), abs(difference.high))) * 1.1 or 1.0
    places = {"v": difference.value, "lo": difference.low, "hi": difference.high, "ref": 0.0}
    style = ";".join(f"--{key}:{50 + 50 * value / reach:.1f}" for key, value in places.items())
    bar = tag("span", tag("u"), tag("i"), tag("b"), class_="range", style=style, aria_hidden="true")
    between = tag("span", f"{_signed(name, difference.low)} … {_signed(name, difference.high)}", class_="between")
    return tag(
        "tr",
        tag("th", say(words.en, words.zh), scope="row"),
        tag("td", shown(name, difference.first), _unit(name)),
        tag("td", shown(name, difference.second), _unit(name)),
        tag("td", tag("b", _signed(name, difference.value)), class_=tone),
        tag("td", _p(difference.p)),
        tag("td", tag("span", between, bar, class_="span difference"), class_="wide"),
    )


def _signed(name: str, value: float) -> str:
    text = shown(name, value)
    return f"+{text}" if value > 0 and float(text) else text


def _p(value: float, sign: str = "") -> str:
    return f"{sign}{value:.3f}" if value >= 0.001 else "< 0.001"


def _origin(evaluation: Evaluation, model: Mapping[str, str]) -> Html:
    def facts(entries: Mapping[str, object]) -> Html:
        return tag("dl", [(tag("dt", name), tag("dd", str(value))) for name, value in entries.items()], class_="facts")

    data = {name: value for name, value in evaluation.data.items() if not isinstance(value, Mapping)}
    present = evaluation.data.get("modalities")
    if isinstance(present, Mapping):
        data["modalities"] = ", ".join(f"{name} {count:,}" for name, count in present.items())
    return tag(
        "section",
        tag("header", tag("h2", say("Model and data", "模型与数据"))),
        tag(
            "div",
            _card(say("Model", "模型"), None, facts(model)) if model else None,
            _card(say("Samples", "样本"), say("Their fingerprint covers content and labels.", "指纹涵盖内容与标签。"),
                  facts({**data, "resamples": evaluation.resamples, "seed": evaluation.seed})),
            class_="charts",
        ),
        class_="head",
        id="origin",
    )  # fmt: skip


# --- for a terminal


def to_text(evaluation: Evaluation) -> str:
    """The headline figures of every head and its tables, as plain text."""
    lines: list[str] = []
    for name, detail in evaluation.heads.items():
        measured = detail.measured
        lines.append(f"{name}  ({detail.type}, {measured.n} rows{_in_groups(measured)})")
        if not measured.figures:
            lines.append("  no sample has a label for this head")
        for key in HEADLINES[_kind(detail)]:
            figure = measured.figures.get(key)
            if figure is not None and figure.value is not None:
                lines.append(f"  {FIGURES[key].en:<26}{_figure_text(key, figure)}")
        columns = [key for key in COLUMNS[_kind(detail)] if key in measured.figures]
        tables = {"with less": evaluation.by_forced_pattern, "by pattern": evaluation.by_pattern,
                  "by language": evaluation.by_language, "under damage": evaluation.by_corruption}  # fmt: skip
        for title, table in tables.items():
            kinds = {kind: rows[name] for kind, rows in table.items() if name in rows}
            if len(kinds) > (title != "under damage"):
                heading = "".join(f"{FIGURES[key].en:>26}" for key in columns)
                lines.append(f"  {title:<28}{'rows':>7}{heading}")
                for kind, row in kinds.items():
                    cells = "".join(f"{_figure_text(key, row.figures[key]):>26}" for key in columns)
                    lines.append(f"    {kind:<26}{row.n:>7}{cells}")
        if pairs := detail.confused()[:5]:
            lines.append("  most often taken for another: " + "; ".join(f"{t} -> {p} ({n})" for t, p, n in pairs))
        lines.append("")
    return "\n".join(lines)


def _in_groups(measured: Measured) -> str:
    return "" if measured.groups == measured.n else f" in {measured.groups} groups"


def _figure_text(name: str, figure: Figure) -> str:
    if figure.value is None:
        return "-"
    return f"{shown(name, figure.value)}{_unit(name)} [{_between(name, figure)}]"
