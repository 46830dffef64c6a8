"""A small grammar of what customers say, and what thumbs make of it.

    [refund_status]                         an intent; its lines are ways of asking
    !{n2} days and (still |)no refund       "!": urgent, "~": can wait; (a|b|) chooses, {name} fills in
    [= city]                                what {city} may be; {n1} to {n4} are numbers of so many digits

Same seed, same texts, on every machine: only `random.Random` decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

Language = Literal["zh", "en"]
Urgency = Literal["low", "normal", "high"]

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")
_DIGITS = re.compile(r"n([1-4])")
_MARKS: Mapping[str, Urgency] = {"!": "high", "~": "low"}

SOUNDS_ALIKE = {
    "在": "再", "的": "得", "帐": "账", "账": "帐", "已经": "以经", "到": "道", "做": "作", "那": "哪", "坏": "怀",
    "退": "推", "密码": "蜜码", "配对": "配队", "发票": "法票", "快递": "块递", "怎么": "怎末",
    "什么": "神马", "收": "手",
}  # fmt: skip
"""What a Chinese input method offers beside the right word. Only signs that leave the meaning readable."""
MIXED = {
    "zh": {
        "退款": "refund", "订单": "order", "发票": "invoice", "密码": "password", "优惠券": "coupon",
        "保修": "warranty", "地址": "address", "账号": "account", "蓝牙": "bluetooth", "快递": "package",
        "付款": "payment",
    },
    "en": {
        "invoice": "发票", "refund": "退款", "parcel": "快递", "package": "快递", "coupon": "优惠券",
        "warranty": "保修", "router": "路由器", "kettle": "水壶", "address": "地址", "password": "密码",
    },
}  # fmt: skip
SHORT = {
    "please": "pls",
    "you": "u",
    "your": "ur",
    "because": "cuz",
    "tomorrow": "tmrw",
    "order": "ordr",
    "thanks": "thx",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One way of asking."""

    id: str  # LANGUAGE:INTENT:NUMBER, the group of all that is made from it
    intent: str
    language: Language
    pattern: str
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Grammar:
    language: Language
    lines: Mapping[str, Sequence[Line]]  # by intent
    slots: Mapping[str, Sequence[str]]


def read(path: Path, *, name: str = "") -> Grammar:
    """
    Args:
        path: LANGUAGE.txt.
        name: in front of the lines' numbers, where two stocks of phrases are used side by side.
    """
    language: Language = "zh" if path.stem == "zh" else "en"
    lines: dict[str, list[Line]] = {}
    slots: dict[str, list[str]] = {}
    here: list[Line] | list[str] = []
    intent = ""
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("[= "):
            intent, here = "", slots.setdefault(text[3:-1], [])
        elif text.startswith("["):
            intent = text[1:-1]
            here = lines.setdefault(intent, [])
        elif text and not text.startswith("# "):
            if intent:
                mark = text[0] if text[0] in _MARKS else ""
                usual: Urgency = "high" if intent == "safety_hazard" else "normal"
                urgency = _MARKS[mark] if mark else usual
                number = f"{language}:{intent}:{name}{len(here)}"
                lines[intent].append(Line(number, intent, language, text.removeprefix(mark), urgency))
            else:
                slots[list(slots)[-1]].append(text)
    return Grammar(language, lines, slots)


def say(grammar: Grammar, line: Line, random: Random) -> str:
    """The line with its choices made and its slots filled: careful writing."""
    text = line.pattern
    while _CHOICE.search(text):
        text = _CHOICE.sub(lambda found: random.choice(found[1].split("|")), text, count=1)
    while _SLOT.search(text):
        text = _SLOT.sub(lambda found: _fill(grammar, found[1], random), text, count=1)
    return " ".join(text.split())


def _fill(grammar: Grammar, slot: str, random: Random) -> str:
    if digits := _DIGITS.fullmatch(slot):
        count = int(digits[1])
        return str(random.randint(10 ** (count - 1), 10**count - 1))
    return random.choice(grammar.slots[slot])


def customer(grammar: Grammar, line: Line, random: Random, *, rough: float = 0.35) -> tuple[str, Urgency]:
    """What a customer makes of a line: polite or curt, in a hurry or not, with slips and the other language's words.

    Args:
        rough: chance of slips; a spoken sentence has none.
    """
    text, urgency = say(grammar, line, random), line.urgency
    zh = grammar.language == "zh"
    gap = "" if zh else " "
    if random.random() < 0.3:
        before = random.choice(grammar.slots["before"])
        text = f"{before}{'，' if zh and before[-1] not in '，：' else gap}{text}"
    drawn = random.random()
    if drawn < 0.22:
        text = f"{text}{'，' if zh else ', '}{random.choice(grammar.slots['after'])}"
    elif drawn < 0.29:
        text, urgency = f"{text}{'，' if zh else ', '}{random.choice(grammar.slots['hurry'])}", "high"
    elif drawn < 0.34 and urgency != "high":
        text, urgency = f"{text}{'，' if zh else ', '}{random.choice(grammar.slots['no hurry'])}", "low"
    if random.random() < rough:
        text = roughen(text, grammar.language, random)
    return text, urgency


def roughen(text: str, language: Language, random: Random) -> str:
    """One or two slips of a thumb, or a word of the other language."""
    for _ in range(random.choice((1, 1, 2))):
        kind = random.choice(("letter", "letter", "marks", "mixed", "short"))
        if kind == "mixed":
            here = [word for word in MIXED[language] if word in text]
            if here:
                word = random.choice(here)
                text = text.replace(word, MIXED[language][word], 1)
        elif kind == "marks":
            text = re.sub(r"[，。？！,.?!']", " " if language == "zh" else "", text).strip()
        elif language == "zh":
            here = [word for word in SOUNDS_ALIKE if word in text]
            if kind == "letter" and here:
                word = random.choice(here)
                text = text.replace(word, SOUNDS_ALIKE[word], 1)
            elif kind == "short":
                text = text + random.choice(("～", "…", "??", "！！", "啊啊啊", "[流泪]"))
        elif kind == "short":
            text = " ".join(SHORT.get(word, word) for word in text.lower().split())
        else:
            text = _slip(text, random)
    return text


def _slip(text: str, random: Random) -> str:
    """A letter lost, doubled or swapped in one of the longer words."""
    words = text.split()
    long = [at for at, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not long:
        return text
    at = random.choice(long)
    word, place = words[at], random.randrange(1, len(words[at]) - 1)
    words[at] = random.choice(
        (
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
            word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        )
    )
    return " ".join(words)
