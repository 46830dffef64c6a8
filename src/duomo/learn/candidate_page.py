"""What a training of the next model found, for people: what it knows, where it got better or worse, what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from duomo.learn import report
from duomo.learn.evaluate import Comparison, Evaluation
from duomo.learn.page import Html, page, say, tag

KINDS: Mapping[str, tuple[str, str]] = {
    "pattern": ("what was sent", "消息内容"),
    "language": ("language", "语言"),
    "team": ("team", "团队"),
    "label": ("label", "标签"),
}


def to_html(
    result: Mapping[str, Any],
    *,
    evaluation: Evaluation | None,
    comparison: Comparison | None,
    model: Mapping[str, str],
) -> str:
    """One file that asks nothing of any network.

    Args:
        result: of `candidate.run`.
        evaluation: of the candidate on the held-out samples; None where none of them is labelled.
    """
    sections = [("labels", say("Labels", "标签"), _labels(result))]
    if any(one.get("slices") for one in result["comparison"]["heads"].values()):
        sections.append(("slices", say("Where", "分组"), _slices(result)))
    if evaluation is not None:
        return report.to_html(evaluation, title="candidate", model=model, comparison=comparison, sections=sections)
    lead = say("None of the held-out turns has a label yet, so there are no figures of the candidate alone.",
               "留出的对话还没有标签，因此没有候选模型的单独指标。")  # fmt: skip
    intro = tag("div", tag("h1", say("The next model", "下一个模型")), tag("p", lead, class_="lead"), class_="intro")
    compared = report.comparison_section(comparison) if comparison else None
    links = [
        *((id, name) for id, name, _ in sections),
        *([("comparison", say("Comparison", "对比"))] if compared else []),
    ]
    return page("candidate · Duomo", intro, [content for _, _, content in sections], compared, links=links)


def _labels(result: Mapping[str, Any]) -> Html:
    rows = []
    for head, labels in result["labels"].items():
        few = ", ".join(f"{name} ({n})" for name, n in labels["few"].items())
        named = (len(labels["known"]), ", ".join(labels["new"]), ", ".join(labels["lost"]), few)
        rows.append(tag("tr", tag("th", head, scope="row"), [tag("td", value or "–") for value in named]))
    columns = [say("head", "任务头"), say("known before", "原有标签"), say("new", "新增"), say("lost", "丢失"),
               say("too few samples", "样本太少")]  # fmt: skip
    suspects = result["suspects"]
    again = say("{n} labels look wrong and come back for a second look.", "{n} 个标签看起来有误，将再次请人确认。",
                n=len(suspects))  # fmt: skip
    more = tag("p", again, class_="muted") if suspects else None
    return _section("labels", say("Labels", "标签"), _table(columns, rows), more)


def _slices(result: Mapping[str, Any]) -> Html:
    rows = []
    for head, one in result["comparison"]["heads"].items():
        for part in one.get("slices", ()):
            tone = ("plus" if part["low"] > 0 else "minus" if part["high"] < 0 else None) if part["n"] else None
            rows.append(
                tag(
                    "tr",
                    tag("th", f"{head} · ", say(*KINDS[part["kind"]]), f" · {part['name']}", scope="row"),
                    tag("td", f"{part['n']:,}"),
                    tag("td", f"{part['first']:.1%}"),
                    tag("td", f"{part['second']:.1%}"),
                    tag("td", tag("b", f"{part['value']:+.1%}"), class_=tone),
                    tag("td", f"{part['low']:+.1%} … {part['high']:+.1%}"),
                )
            )
    columns = [say("rows that share", "共同点"), say("rows", "样本"), say("active", "现役"), say("candidate", "候选"),
               say("difference", "差值"), say("95% interval", "95% 区间")]  # fmt: skip
    return _section("slices", say("Where it got better or worse", "哪里变好，哪里变差"), _table(columns, rows))


def _section(id: str, name: Html, *body: object) -> Html:
    return tag("section", tag("header", tag("h2", name)), tag("div", *body, class_="card"), class_="head", id=id)


def _table(columns: Sequence[Html], rows: Sequence[Html]) -> Html:
    head = tag("tr", [tag("th", column, scope="col") for column in columns])
    return tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="scroll", tabindex=0)
