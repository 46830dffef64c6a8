"""An explanation as one self-contained page: marked words, a heat map on the picture, seconds on the waveform."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np

from duomo.learn import charts
from duomo.learn.explain import Choice, Explanation, Similar
from duomo.learn.occlude import Unit
from duomo.learn.page import Html, data_uri, page, say, tag
from duomo.media import audio, image
from duomo.media.video import Clip, Pixels
from duomo.models.encoders import Value

SIDE = 480  # pixels of a shown picture, at most
SHOWN_ENTRIES = 12  # of a vector, the strongest

NAMES = {"text": ("Text", "文字"), "image": ("Picture", "图片"), "audio": ("Sound", "声音"), "video": ("Video", "视频")}


def render(found: Explanation) -> str:
    style = resources.files("duomo").joinpath("learn/templates/explain.css").read_text("utf-8")
    parts = [(f"part-{number}", modality) for number, modality in enumerate(found.shares)]
    similar = [_similar(found.similar)] if found.similar else []
    return page(
        f"{found.id} · {found.label} · Duomo",
        tag("style", Html(style)),
        tag(
            "div",
            _answer(found),
            tag("div", _shares(found), _alternatives(found), class_="charts"),
            [_modality(found, modality, anchor) for anchor, modality in parts],
            similar,
            class_="head explained",
        ),
        links=[(anchor, name_of(modality)) for anchor, modality in parts],
    )


def name_of(modality: str) -> Html:
    if modality in NAMES:
        return say(*NAMES[modality])
    name = modality.removeprefix("features.")
    return say("Vector {name}", "向量 {name}", name=name)


def _answer(found: Explanation) -> Html:
    chips = [
        tag("li", say("head {head}", "任务 {head}", head=found.head), class_="chip"),
        tag("li", say("sample {id}", "样本 {id}", id=found.id), class_="chip"),
    ]
    if found.confidence is not None:
        sure = f"{found.confidence:.1%}"
        chips.append(tag("li", say("confidence {sure}", "置信度 {sure}", sure=sure), class_="chip accent"))
    if found.out_of_scope:
        text = say("out of scope; the nearest label is explained", "超出范围；以下解释最接近的标签")
        chips.append(tag("li", text, class_="chip warn"))
    if len(found.shares) > 1:
        tone = "warn" if found.conflict > 0.3 else "ok"
        odd = f"{found.conflict:.2f}"
        text = say("disagreement of the modalities {odd}", "模态分歧 {odd}", odd=odd)
        chips.append(tag("li", text, class_=f"chip {tone}"))
    return tag(
        "header",
        tag("h1", say("Why?", "为什么？")),
        tag("p", found.label, class_="answer"),
        tag("ul", chips, class_="chips"),
    )


def _shares(found: Explanation) -> Html:
    rows = []
    for modality, share in sorted(found.shares.items(), key=lambda one: -one[1]):
        adds = found.contributions[modality]
        alone = found.alone.get(modality)
        rows.append(
            tag(
                "li",
                tag(
                    "div",
                    tag("span", name_of(modality)),
                    tag("b", f"{share:.0%}", tag("span", f" ({adds:+.2f})", class_="muted small")),
                    class_="row",
                ),
                tag("div", tag("i"), class_="gauge", style=f"--v:{share * 100:.1f}"),
                tag("div", _alone(alone), class_="small muted") if alone is not None else None,
                class_="against" if adds < 0 else None,
            )
        )
    return _card(
        say("What each modality adds", "各模态的贡献"),
        say(
            "Shapley values of the log-odds of this answer; red speaks against it. Together they lead from what is "
            "known before anything is seen to the answer.",
            "以该答案对数几率的 Shapley 值衡量；红色表示反对。各项相加，即从先验到最终答案的全部变化。",
        ),
        tag("ul", rows, class_="shares"),
    )


def _alone(alone: Choice) -> Html:
    if alone.probability >= 1.0:
        return say("alone says {label}", "单独判断为 {label}", label=alone.label)
    sure = f"{alone.probability:.1%}"
    return say("alone says {label}, {sure}", "单独判断为 {label}，{sure}", label=alone.label, sure=sure)


def _alternatives(found: Explanation) -> Html | None:
    if not found.alternatives:
        return None
    rows = [
        tag(
            "li",
            tag("div", tag("span", choice.label), tag("b", f"{choice.probability:.1%}"), class_="row"),
            tag("div", tag("i"), class_="gauge", style=f"--v:{choice.probability * 100:.1f}"),
        )
        for choice in found.alternatives
    ]
    return _card(say("Likeliest labels", "最可能的标签"), None, tag("ul", rows, class_="shares"))


def _modality(found: Explanation, modality: str, anchor: str) -> Html:
    value, units = found.values[modality], found.units.get(modality, ())
    drawn: Html | None
    if modality == "text":
        drawn = _words(str(value), units)
    elif isinstance(value, Clip):
        drawn = _video(value, units)
    elif modality == "image":
        drawn = _picture(np.asarray(value, dtype=np.uint8), units)
    elif modality == "audio":
        drawn = _sound(value, units)
    else:
        drawn = _entries(units)
    how = say(
        "How much less the model says for the answer without each piece.",
        "去掉每一部分后，模型对该答案的支持减少多少。",
    )
    return _card(name_of(modality), how if units else None, drawn, _legend() if units else None, id=anchor)


def _card(title: object, hint: object, *body: object, **attributes: object) -> Html:
    header = tag("header", tag("h2", title), tag("p", hint) if hint is not None else None)
    return tag("section", header, *body, class_="card", **attributes)


def _legend() -> Html:
    return tag(
        "div",
        tag("span", tag("i", class_="tone-for"), say("speaks for it", "支持")),
        tag("span", tag("i", class_="tone-against"), say("speaks against it", "反对")),
        class_="legend",
    )


def _tone(unit: Unit, strongest: float) -> tuple[str, float]:
    """Class, and strength in [0, 1]."""
    return ("tone-for" if unit.score >= 0 else "tone-against", min(1.0, abs(unit.score) / max(strongest, 1e-9)))


def _strongest(units: Sequence[Unit]) -> float:
    return max((abs(unit.score) for unit in units), default=0.0)


def _words(text: str, units: Sequence[Unit]) -> Html:
    parts: list[object] = []
    before, most = 0, _strongest(units)
    for unit in units:
        start, end = int(unit.start), int(unit.end)
        tone, strength = _tone(unit, most)
        style = f"--v:{strength:.2f}"
        parts += [
            text[before:start],
            tag("mark", text[start:end], class_=tone, style=style, title=f"{unit.score:+.2f}"),
        ]
        before = end
    return tag("p", parts, text[before:], class_="words")


def _picture(pixels: Pixels, units: Sequence[Unit]) -> Html:
    height, width = pixels.shape[:2]
    most = _strongest(units)
    patches = []
    for unit in units:
        assert unit.box is not None
        left, top, right, bottom = unit.box
        tone, strength = _tone(unit, most)
        place = (left / width, top / height, (right - left) / width, (bottom - top) / height)
        at = ";".join(f"--{name}:{share * 100:.2f}" for name, share in zip("ltwh", place, strict=True))
        patches.append(tag("i", class_=tone, style=f"{at};--v:{strength:.2f}", title=f"{unit.score:+.2f}"))
    return tag("div", _image(pixels, side=SIDE), patches, class_="heat")


def _image(pixels: Pixels, *, side: int) -> Html:
    small = image.thumbnail(image.encode(pixels), max_side=side)
    return tag("img", src=data_uri(small, "image/jpeg"), alt="")


def _sound(value: Value, units: Sequence[Unit]) -> Html:
    samples = np.asarray(value, dtype=np.float32)
    seconds, most = max(len(samples) / audio.SAMPLING_RATE, 1e-9), _strongest(units)
    marks = []
    for unit in units:
        tone, strength = _tone(unit, most)
        at = (
            f"--l:{unit.start / seconds * 100:.2f};--w:{(unit.end - unit.start) / seconds * 100:.2f};--v:{strength:.2f}"
        )
        marks.append(tag("i", class_=tone, style=at, title=f"{unit.start:g}–{unit.end:g} s {unit.score:+.2f}"))
    player = tag("audio", controls=True, preload="none", src=data_uri(audio.encode_flac(samples), "audio/flac"))
    return tag("div", tag("div", charts.waveform(samples), marks, class_="listened"), player, class_="heard")


def _video(clip: Clip, units: Sequence[Unit]) -> Html:
    most = _strongest(units)
    shown = [unit for unit in units if unit.kind == "frame"]
    figures = []
    for number, frame in enumerate(clip.frames):
        tone, strength = _tone(shown[number], most) if shown else ("tone-for", 0.0)
        score = f" {shown[number].score:+.2f}" if shown else ""
        caption = tag("figcaption", f"{clip.times[number]:.1f} s{score}")
        figures.append(tag("figure", _image(frame, side=200), caption, class_=tone, style=f"--v:{strength:.2f}"))
    heard = None
    if clip.waveform is not None and len(clip.waveform):
        heard = _sound(clip.waveform, [unit for unit in units if unit.kind == "sound"])
    return tag("div", tag("div", figures, class_="frames"), heard, class_="heard")


def _entries(units: Sequence[Unit]) -> Html | None:
    strongest = sorted(units, key=lambda unit: -abs(unit.score))[:SHOWN_ENTRIES]
    most = _strongest(units)
    rows = []
    for unit in strongest:
        first, last = int(unit.start), int(unit.end) - 1
        name = f"[{first}] = {unit.text}" if unit.text else f"[{first} … {last}]"
        _, strength = _tone(unit, most)
        rows.append(
            tag(
                "li",
                tag("div", tag("code", name), tag("b", f"{unit.score:+.2f}"), class_="row"),
                tag("div", tag("i"), class_="gauge", style=f"--v:{strength * 100:.1f}"),
                class_="against" if unit.score < 0 else None,
            )
        )
    return tag("ul", rows, class_="shares") if rows else None


def _similar(similar: Sequence[Similar]) -> Html:
    rows = [
        tag(
            "li",
            tag(
                "div",
                tag("code", one.id),
                " ",
                tag("b", one.label),
                tag("span", f" {one.score:.3f}", class_="muted small"),
            ),
            tag("span", one.text) if one.text else None,
        )
        for one in similar
    ]
    return _card(
        say("Similar samples that the model has learnt from", "模型学过的相似样本"),
        say("By the mean cosine of their features.", "按特征的平均余弦相似度。"),
        tag("ul", rows, class_="similar"),
    )
